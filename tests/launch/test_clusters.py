"""`detour clusters` as a user calls it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from detour.config.cluster import Cluster
from detour.config.loading import available_clusters, load_cluster
from detour.config.roots import config_roots
from detour.errors import DetourError
from detour.launch.clusters import command
from detour.launch.text.cluster import page
from tests.support.invoking import invoke

call = partial(invoke, command)
SHIPPED = config_roots()[-1] / "clusters"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of profiles, one of them broken."""
    folder = tmp_path / "configs" / "clusters"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        f'extends: {SHIPPED / "jean-zay.yaml"}\nname: mine\naccount: own\ndescription: "mine \\u001b[31m"\n'
    )
    (folder / "broken.yaml").write_text("schduler: slurm\n")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("columns", [80, 100])
def test_all_shipped_profiles_fit_the_screen(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = call().stdout.splitlines()
    assert max(map(len, lines)) <= columns
    listed = {line.split()[0] for line in lines if line.startswith("  ")} - {"name"}
    assert listed == set(available_clusters())
    jean_zay = next(line for line in lines if line.split()[:1] == ["jean-zay"])
    assert jean_zay.split()[1:6] == ["4", "x", "h100", "100h", "xyz@h100"]


def test_own_profiles_are_listed_with_their_folder_and_a_broken_one_does_not_affect_others(own: Path) -> None:
    text = call().stdout
    assert text.index("configs/clusters:") < text.index("mine ") < text.index(f"{SHIPPED}:") < text.index("jean-zay ")
    assert "broken" in text[: text.index(f"{SHIPPED}:")]
    assert "not readable: configs/clusters/broken.yaml:1:1: " in text
    assert "\x1b" not in text
    rows = {row["name"]: row for row in json.loads(call("--json").stdout)}
    assert rows["mine"]["file"] == str(own / "mine.yaml")
    assert rows["mine"]["account"] == "own"
    assert rows["broken"]["problem"].startswith("configs/clusters/broken.yaml:1:1: ")


@pytest.mark.parametrize("name", available_clusters())
def test_a_profile_is_shown_completely_with_its_sources(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    cluster = load_cluster(name)
    text = call(name).stdout
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    sources = [
        *cluster.sources,
        cluster.billing.source,
        *(qos.source for qos in cluster.qos if qos.source),
        *(row.tokens_per_s_per_gpu.source for row in cluster.throughput),
        *(figure.source for figure in (cluster.site.pue, cluster.site.grid_gco2_per_kwh) if figure),
        *([cluster.gpu.board_power_w.source] if cluster.gpu else []),
    ]
    assert [source for source in sources if source not in words] == []
    assert [qos.name for qos in cluster.qos if qos.name not in words] == []


def test_unknown_figures_are_shown_as_unknown() -> None:
    assert "PUE                   unknown" in call("leonardo").stdout


def test_a_narrow_page_is_as_complete() -> None:
    wide, narrow = (page(load_cluster("jean-zay"), "x", width) for width in (200, 60))
    assert wide.split() == narrow.split()
    assert max(map(len, narrow.splitlines())) <= 60


def test_a_profile_can_be_given_as_a_file_and_json_holds_everything(own: Path) -> None:
    data = json.loads(call(str(own / "mine.yaml"), "--json").stdout)
    assert data.pop("file") == str(own / "mine.yaml")
    assert data == load_cluster("mine").model_dump(mode="json")
    assert call("mine").stdout.startswith("mine: mine [31m\n  file                  configs/clusters/mine.yaml\n")


def test_an_unknown_profile_is_one_message() -> None:
    error = call("jean-zey").exception
    assert isinstance(error, DetourError)
    assert error.exit_code == 2
    assert "did you mean `jean-zay`" in str(error)


def test_the_example_of_the_docs_is_a_valid_profile(tmp_path: Path) -> None:
    text = (SHIPPED.parents[1] / "docs" / "clusters.md").read_text()
    example = text.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "mine.yaml").write_text(example.replace("/path/to/detour/configs/clusters", str(SHIPPED)))
    cluster = load_cluster(tmp_path / "mine.yaml")
    assert cluster.full_account("gpu") == "abc@h100"
    assert cluster.training_gpus == 8
    assert len(cluster.preamble) == 3
    assert {qos.name: qos.wall for qos in cluster.qos}["qos_gpu_h100-dev"] == 5400
    assert "qos_gpu_h100-t4" not in {qos.name for qos in cluster.qos}


def test_the_docs_name_every_key_of_a_profile() -> None:
    text = (SHIPPED.parents[1] / "docs" / "clusters.md").read_text()
    shown = {"name", "description", "sources"}
    assert [key for key in Cluster.model_fields if key not in shown and f"`{key}`" not in text] == []
