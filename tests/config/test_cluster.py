"""Cluster profiles: the facts that planning, pricing and submission depend on."""

from __future__ import annotations

from pathlib import Path

import pytest

from detour.accounting.site import site_of
from detour.config.cluster import Cluster, Figure, Throughput
from detour.config.loading import available_clusters, load_cluster
from detour.config.problems import RecipeError


def throughput(cluster: Cluster, model: str, objective: str | None) -> Throughput:
    return next(t for t in cluster.throughput if t.model == model and t.objective == objective)


def test_jobs_on_jean_zay_request_gpus_as_documented() -> None:
    jean_zay = load_cluster("jean-zay")
    assert jean_zay.gpu is not None
    assert jean_zay.gpu.selector == "gres"
    assert jean_zay.gpu.per_node == 4
    assert jean_zay.cores_per_gpu == 24
    assert (jean_zay.gpu_partition.name, jean_zay.gpu_partition.constraint) == ("gpu_p6", "h100")
    assert "--hint=nomultithread" in jean_zay.header
    limits = {qos.name: (qos.wall, qos.gpus, qos.submitted_jobs) for qos in jean_zay.qos}
    assert limits["qos_gpu_h100-dev"] == (7200, 32, 10)
    assert limits["qos_gpu_h100-t3"] == (72_000, 512, 10_000)
    assert limits["qos_gpu_h100-t4"] == (360_000, 64, 1000)
    gpu, cpu = jean_zay.default_qos("gpu"), jean_zay.default_qos("cpu")
    assert gpu is not None
    assert cpu is not None
    assert (gpu.name, cpu.name) == ("qos_gpu_h100-t3", "qos_cpu-t3")
    assert jean_zay.offline
    assert jean_zay.billing.rule == "cores-share"


def test_the_account_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETOUR_ACCOUNT", "abc")
    jean_zay = load_cluster("jean-zay")
    assert (jean_zay.full_account("gpu"), jean_zay.full_account("cpu")) == ("abc@h100", "abc@cpu")
    assert load_cluster("local").full_account("gpu") is None


def test_the_profile_has_the_constants_of_the_card_convention() -> None:
    """16 GPU-h x 0.700 kW x 1.2 x 34 g/kWh = 456.96 g, printed as 0.46 kg; large 0.91."""
    jean_zay = load_cluster("jean-zay")
    assert jean_zay.gpu is not None
    assert jean_zay.site.pue is not None
    assert jean_zay.site.grid_gco2_per_kwh is not None
    grams_per_hour = (
        jean_zay.gpu.board_power_w.value / 1000 * jean_zay.site.pue.value * jean_zay.site.grid_gco2_per_kwh.value
    )
    assert 16 * grams_per_hour == pytest.approx(456.96)


def test_the_published_throughputs_give_the_published_gpu_hours() -> None:
    jean_zay = load_cluster("jean-zay")
    base, large = "almanach/moderncamembert-base", "almanach/moderncamembert-large"

    def gpu_hours(tokens: float, model: str, objective: str | None) -> float:
        return tokens / throughput(jean_zay, model, objective).tokens_per_s_per_gpu.value / 3600

    assert gpu_hours(10e9, base, "causal") == pytest.approx(13.7, abs=0.05)
    assert gpu_hours(10e9, base, "masked") == pytest.approx(12.7, abs=0.05)
    assert gpu_hours(11e9, base, None) == pytest.approx(16, abs=0.05)
    assert gpu_hours(11e9, large, None) == pytest.approx(32, abs=0.05)


def test_slurm_local_has_the_shape_of_jean_zay_without_its_figures() -> None:
    local, jean_zay = load_cluster("slurm-local"), load_cluster("jean-zay")
    assert local.full_account("gpu") == "abc@h100"
    assert local.gpu_partition == jean_zay.gpu_partition
    assert local.max_array_size == 20_001
    assert local.throughput == ()
    assert local.billing.rule == "gpu"
    assert {"qos_gpu_h100-be", "qos_gpu_h100-dev"} <= {qos.name for qos in local.qos}


@pytest.mark.parametrize("name", available_clusters())
def test_every_profile_is_complete_with_sources(name: str) -> None:
    cluster = load_cluster(name)
    assert cluster.description
    assert cluster.billing.source
    if cluster.scheduler == "slurm":
        assert cluster.gpu is not None
        assert cluster.cores_per_gpu is not None
        assert cluster.cores_per_node is not None
        assert cluster.full_account("gpu")
        assert cluster.gpu_partition.wall or any(qos.wall for qos in cluster.qos)
        assert cluster.sources


def test_two_dies_are_one_gpu_if_the_site_counts_so() -> None:
    lumi = load_cluster("lumi-g")
    assert lumi.gpu is not None
    assert lumi.gpu.per_node == 8
    assert lumi.gpu.gcd_per_gpu == 2
    assert lumi.cores_per_gpu == 7


def test_unknown_values_stay_unknown() -> None:
    assert load_cluster("leonardo").site.pue is None
    assert load_cluster("leonardo").default_qos("gpu") is None


def test_an_own_profile_is_found(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    shipped = Path(__file__).resolve().parents[2] / "configs" / "clusters" / "jean-zay.yaml"
    own.write_text(f"extends: {shipped}\nname: mine\naccount: own\nqos: {{qos_gpu_h100-dev: null}}\n")
    mine = load_cluster(own)
    assert mine.full_account("gpu") == "own@h100"
    assert "qos_gpu_h100-dev" not in {qos.name for qos in mine.qos}


def test_months_hours_and_hardware_of_a_site_reach_the_accounting(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    shipped = Path(__file__).resolve().parents[2] / "configs" / "clusters" / "jean-zay-a100.yaml"
    own.write_text(
        f"extends: {shipped}\nname: mine\nsite:\n"
        "  months: {2026-01: {grid_gco2_per_kwh: {value: 20, source: grid, kind: direct, zone: FR}}}\n"
        "  grid_hourly: {path: hours.csv, source: operator, kind: lifecycle}\n"
    )
    site = site_of(load_cluster(own))
    (month,) = site.months
    assert month.month == "2026-01"
    assert str(month.grid_g_per_kwh) == "20 (grid, direct, FR)"
    assert site.hourly is not None
    assert site.hourly.path == str(tmp_path / "hours.csv")
    assert site.embodied_g_per_gpu_hour is not None
    assert site.embodied_g_per_gpu_hour.value == 10.3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poll_seconds: 60\n", "poll_seconds: 60 has no unit: write 20h"),
        ("qos: [{name: a}, {name: a}]\n", "qos.a: `a` appears twice"),
        ("cores_per_gpu: 48\n", "cores_per_gpu: 192 cores for a node's 4 GPUs are more than its 96"),
        ("schduler: slurm\n", "schduler: unknown key; did you mean `scheduler`?"),
        ("site: {pue: {value: 1.2, low: 2, source: x}}\n", "site.pue.low: is above the value 1.2"),
        (
            "site: {pue: {value: 0.9, source: x}}\n",
            "site.pue.value: is facility energy over IT energy: expected",
        ),
        (
            "site: {months: {2026-13: {pue: {value: 1.2, source: x}}}}\n",
            "site.months.2026-13: expected a month such as 2026-01",
        ),
        ("site: {months: {2026-01: {pue: {value: 0.2, source: x}}}}\n", "site.months.2026-01.pue.value"),
        ("site: {grid_gco2_per_kwh: {value: 1, source: x, kind: net}}\n", '"net" is none of direct, lifecycle'),
        ("site: {grid_hourly: {source: x}}\n", "site.grid_hourly"),
        ("qos: [{name: ''}]\n", "qos..name: is empty: write a value, or leave the key out"),
        ("gpu: {per_node: true}\n", "gpu.per_node: expected a number, found true"),
        ("header: [-A abc]\n", "header.0: '-A abc' is not an sbatch option: write `--name=value`"),
        ('header: ["--mem=1G\\nrm x"]\n', "header.0: "),
        ("gpu_header: [--job-name=mine]\n", "gpu_header.0: `--job-name` is set for each job: remove it"),
        ("header: [--time=1-0]\n", "`--time` is set for each job: set `wall` of the partition or the QOS"),
        ("header: [--nodes=2]\n", "header.0: `--nodes` is set for each job: set `training_gpus`"),
        ("header: [--partition=gpu_p5]\n", "`--partition` is set for each job: set `name` of the partition"),
        ("gpu_header: ['--gres=tmpfs:20G,gpu:2']\n", "gpu_header.0: `--gres` is set for each job: set `gpu`"),
        ("header: [--clusters=other]\n", "`--clusters` is set for each job: set `slurm_cluster`"),
        ("account: |\n  abc\n", r"account: 'abc\n' holds a line break or another character that cannot be seen"),
        ('qos: [{name: "dev\\r"}]\n', r"name: 'dev\r' holds a line break"),
        ("environment: {MY VAR: x}\n", "environment.MY VAR: 'MY VAR' is not a variable name"),
        ("billing: {rule: per-node}\n", '"per-node" is none of gpu, cores-share, whole-node, none'),
    ],
)
def test_a_bad_profile_is_one_message(text: str, message: str, tmp_path: Path) -> None:
    shipped = Path(__file__).resolve().parents[2] / "configs" / "clusters" / "jean-zay.yaml"
    own = tmp_path / "mine.yaml"
    own.write_text(f"extends: {shipped}\n{text}")
    with pytest.raises(RecipeError) as caught:
        load_cluster(own)
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


def test_an_unknown_profile_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"jean-zey: no such cluster profile; did you mean `jean-zay`\?"):
        load_cluster("jean-zey")


def test_a_figure_keeps_its_source() -> None:
    figure = Figure(value=1.2, source="site", year=2024, low=1.1, high=1.3)
    assert figure.model_dump() == {"value": 1.2, "source": "site", "year": 2024, "low": 1.1, "high": 1.3}


@pytest.mark.parametrize("speed", ["0", "1.0e-320"])
def test_a_speed_of_zero_is_refused(tmp_path: Path, speed: str) -> None:
    shipped = Path(__file__).resolve().parents[2] / "configs" / "clusters" / "jean-zay.yaml"
    profile = tmp_path / "slow.yaml"
    profile.write_text(f"extends: {shipped}\nname: slow\ngpu: {{peak_tflops_bf16: {{value: {speed}, source: none}}}}\n")
    with pytest.raises(RecipeError, match=r"is a speed: expected at least 0\.001"):
        load_cluster(profile)
