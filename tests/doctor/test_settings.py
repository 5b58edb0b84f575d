"""A profile compared with a site; the answers are those of a real Slurm 22.05."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from detour.config.cluster import Cluster
from detour.config.loading import load_cluster
from detour.config.quantities import parse_duration_s, write_duration
from detour.config.roots import config_roots
from detour.doctor.findings import Finding, listed, merged_changes
from detour.doctor.limits import satisfies
from detour.doctor.live_cluster import (
    LiveCluster,
    LivePartition,
    LiveQos,
    NodeKind,
    ask_cluster,
    read_accounting_answer,
    read_accounts,
    read_limit_s,
    read_nodes,
    read_partitions,
    read_qos,
)
from detour.doctor.settings import compare
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm, SubprocessRunner

CONFIGURATION = """\
Configuration data as of 1795380852
AccountingStorageEnforce = associations,limits,qos,safe
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = local
DependencyParameters    = (null)
JobRequeue              = 1
MaxArraySize            = 20001
MinJobAge               = 300 sec
"""
PARTITIONS = """\
PartitionName=gpu_p6 AllowGroups=ALL AllowAccounts=ALL AllowQos=qos_gpu_h100-dev,qos_gpu_h100-t3,qos_gpu_h100-t4,\
qos_gpu_h100-be AllocNodes=ALL Default=YES QoS=N/A DefaultTime=00:10:00 MaxNodes=UNLIMITED MaxTime=4-04:00:00 \
Nodes=gpu[1-4] State=UP TotalCPUs=384 TotalNodes=4 JobDefaults=(null) TRESBillingWeights=GRES/gpu=1.0
PartitionName=cpu_p1 AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=NO QoS=N/A DefaultTime=00:10:00 \
MaxTime=4-04:00:00 Nodes=cpu1 State=UP TotalCPUs=40 TotalNodes=1
PartitionName=prepost AllowAccounts=ALL AllowQos=ALL Default=NO QoS=N/A DefaultTime=NONE MaxTime=20:00:00 State=UP
"""
NODES = "gpu_p6|4|96|gpu:h100:4|h100\ncpu_p1|1|40|(null)|cpu\nprepost|1|40|(null)|cpu\n"
QOS = """\
normal|||
qos_gpu_h100-be|20:00:00||
qos_gpu_h100-dev|02:00:00|10|gres/gpu=32
qos_gpu_h100-t3|20:00:00||
qos_gpu_h100-t4|4-04:00:00||
qos_cpu-t3|20:00:00||
"""
GPU_QOS = "qos_gpu_h100-be,qos_gpu_h100-dev,qos_gpu_h100-t3,qos_gpu_h100-t4"
ACCOUNTS = f"abc@cpu|qos_cpu-t3\nxyz@cpu|qos_cpu-t3\nabc@h100|{GPU_QOS}\nxyz@h100|{GPU_QOS}\nroot|normal\n"
ANSWERS = {
    ("sinfo", "--version"): "slurm-wlm 22.05.8\n",
    ("sinfo", "--noheader"): NODES,
    ("scontrol", "show"): CONFIGURATION,
    ("scontrol", "--oneliner"): PARTITIONS,
    ("sacctmgr", "qos"): QOS,
    ("sacctmgr", "assoc"): ACCOUNTS,
    ("sacct", "--parsable2"): "JobID\n",
}
DOWN = CommandResult(1, "", "slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)\n")
DATABASE_DOWN = CommandResult(1, "", "sacctmgr: error: Sending PersistInit msg: Connection refused\n")
DISABLED = CommandResult(1, "", "Slurm accounting storage is disabled\n")


def shown(command: Sequence[str]) -> str:
    return ANSWERS[command[0], command[4] if command[0] == "sacctmgr" else command[1]]


def ask(answers: dict[str, CommandResult] | None = None) -> tuple[LiveCluster, Slurm]:
    """Ask the site, with different answers from some of its programs."""
    slurm = Slurm(lambda command, _timeout_s: (answers or {}).get(command[0]) or CommandResult(0, shown(command)))
    return ask_cluster(slurm, "me", lambda: 1795380851.7), slurm


@pytest.fixture(scope="module")
def site() -> LiveCluster:
    return ask()[0]


@pytest.fixture(scope="module")
def profile() -> Cluster:
    return load_cluster("slurm-local")


@pytest.fixture
def extended(tmp_path: Path) -> Callable[..., Cluster]:
    """Return slurm-local with changes as a user writes them: a file that extends it."""

    def write(*changes: Mapping[str, Any]) -> Cluster:
        below = SHIPPED
        for number, change in enumerate(changes):
            path = tmp_path / f"own{number}.yaml"
            path.write_text(yaml.safe_dump({"extends": str(below), **change}))
            below = path
        return load_cluster(below)

    return write


def bad(profile: Cluster, site: LiveCluster) -> list[Finding]:
    return [finding for finding in compare(profile, site) if finding.verdict != "ok"]


def only(findings: Sequence[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_the_answers_of_the_site_are_read_completely(site: LiveCluster) -> None:
    assert site.version == "22.05.8"
    assert site.partitions is not None
    assert site.partitions["gpu_p6"] == LivePartition("gpu_p6", "UP", 360_000, 600, frozenset(GPU_QOS.split(",")))
    assert site.partitions["prepost"] == LivePartition("prepost", "UP", 72_000, None)
    assert site.nodes is not None
    assert site.nodes[0] == NodeKind("gpu_p6", 4, 96, 4, "h100", frozenset({"h100"}))
    assert site.qos is not None
    assert site.qos["qos_gpu_h100-dev"] == LiveQos("qos_gpu_h100-dev", 7200, 10, 32)
    assert site.qos["normal"] == LiveQos("normal")
    assert site.accounts is not None
    assert site.accounts["abc@cpu"] == {"qos_cpu-t3"}
    assert site.accounting == "on"
    assert site.clock_offset_s == 1.0
    assert site.unanswered == ()


def test_the_site_is_asked_in_seven_calls() -> None:
    calls = ask()[1].calls
    assert calls == {"sinfo": 2, "scontrol": 2, "sacctmgr": 2, "sacct": 1}


def test_the_profile_of_the_test_cluster_matches_it(site: LiveCluster, profile: Cluster) -> None:
    assert bad(profile, site) == []
    subjects = {finding.subject for finding in compare(profile, site)}
    assert {
        "Slurm",
        "clock",
        "MinJobAge",
        "accounting",
        "GPUs per node",
        "account of CPU jobs",
        "MaxArraySize",
    } <= subjects


@pytest.mark.parametrize(
    ("gres", "gpus", "kind"),
    [
        ("gpu:h100:4(S:0-1)", 4, "h100"),
        ("gpu:8", 8, None),
        ("nvme:1,gpu:nvidia_a100-sxm4-80gb:4(S:0)", 4, "nvidia_a100-sxm4-80gb"),
        ("gpu:a100:2,gpu:v100:2", 4, None),
        ("(null)", 0, None),
    ],
)
def test_gpus_are_read_from_gres(gres: str, gpus: int, kind: str | None) -> None:
    (read,) = read_nodes(f"p|2|64+|{gres}|(null)\n")
    assert read.gpus == gpus
    assert read.gpu_type == kind
    assert read.cpus == 64
    assert read.features == frozenset()


def test_malformed_lines_are_ignored() -> None:
    assert read_nodes("Welcome!\n") == ()
    assert read_partitions("Welcome to the site\n") == {}
    assert read_qos("normal\n") == {"normal": LiveQos("normal")}
    assert read_qos("long|UNLIMITED|5|cpu=9,gres/gpu:h100=8,gres/gpu=16\n")["long"] == LiveQos("long", None, 5, 8)
    assert read_accounts("a|x\na|y,x\n") == {"a": frozenset({"x", "y"})}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (CommandResult(0, "JobID\n"), "on"),
        (CommandResult(0, ""), None),
        (DISABLED, "off"),
        (DATABASE_DOWN, None),
        (CommandResult(None), None),
        (CommandResult(126, "", "permission denied: sacct may not be run here"), "forbidden"),
        (CommandResult(1, "", "sacct: error: Access/permission denied\n"), "forbidden"),
        (CommandResult(127, "", "sacct is not on the path"), None),
    ],
)
def test_accounting_is_on_off_forbidden_or_unknown(answer: CommandResult, expected: str | None) -> None:
    assert read_accounting_answer(answer) == expected


def test_a_silent_controller_is_unknown_and_not_asked_again(profile: Cluster) -> None:
    site, slurm = ask({"scontrol": DOWN})
    assert slurm.calls == {"sinfo": 1, "scontrol": 1, "sacctmgr": 1, "sacct": 1}
    assert {finding.verdict for finding in bad(profile, site)} == {"unknown"}
    assert {finding.subject for finding in bad(profile, site)} == {"partitions", "nodes", "accounts", "settings"}
    assert "Unable to contact slurm controller" in site.unanswered[0]


def test_a_silent_database_is_unknown(profile: Cluster) -> None:
    site, _ = ask({"sacctmgr": DATABASE_DOWN, "sacct": DATABASE_DOWN})
    assert {(finding.subject, finding.verdict) for finding in bad(profile, site)} == {
        ("QOS", "unknown"),
        ("accounts", "unknown"),
        ("accounting", "unknown"),
    }


def test_no_answer_at_all_is_no_problem_of_the_profile(profile: Cluster) -> None:
    nothing = CommandResult(127, "", "it is not on the path: is this a login node of the cluster?")
    site, _ = ask(dict.fromkeys(("sinfo", "scontrol", "sacctmgr", "sacct"), nothing))
    assert {finding.verdict for finding in compare(profile, site)} == {"unknown"}
    assert len(site.unanswered) == 4


@pytest.mark.parametrize("storage", ["accounting_storage/none", "(null)"])
def test_accounting_that_is_off_is_reported_once(profile: Cluster, storage: str) -> None:
    text = CONFIGURATION.replace("accounting_storage/slurmdbd", storage)
    slurm = Slurm(lambda command, _: CommandResult(0, text if "config" in command else shown(command)))
    site = ask_cluster(slurm, "me", lambda: 0.0)
    assert site.accounting == "off"
    assert slurm.calls == {"sinfo": 2, "scontrol": 2}
    assert [finding.subject for finding in bad(profile, replace(site, clock_offset_s=0.0))] == ["accounting"]


SHIPPED = config_roots()[0] / "clusters" / "slurm-local.yaml"
PLANTED: list[tuple[dict[str, Any], str, str, dict[str, Any]]] = [
    ({"gpu_partition": {"name": "gpu_p13"}}, "partition gpu_p13", "problem", {"gpu_partition": {"name": "gpu_p6"}}),
    (
        {"network_partition": {"wall": "30h"}},
        "partition prepost, longest run",
        "problem",
        {"network_partition": {"wall": "20h"}},
    ),
    ({"gpu_partition": {"constraint": "a100"}}, "constraint", "problem", {}),
    (
        {"gpu_partition": {"default_wall": "1m"}},
        "partition gpu_p6, default time",
        "warning",
        {"gpu_partition": {"default_wall": "10m"}},
    ),
    ({"max_array_size": 30_000}, "MaxArraySize", "problem", {"max_array_size": 20_001}),
    ({"max_array_size": None}, "MaxArraySize", "warning", {"max_array_size": 20_001}),
    ({"cores_per_node": 128}, "cores per node", "problem", {"cores_per_node": 96}),
    ({"account": "nobody"}, "account of GPU jobs", "problem", {"account": "abc"}),
    (
        {"cpu_partition": {"account": "no@cpu"}},
        "account of CPU jobs",
        "problem",
        {"cpu_partition": {"account": "abc@cpu"}},
    ),
    ({"export_srun_cpus_per_task": False}, "cores of a task", "warning", {"export_srun_cpus_per_task": True}),
    ({"poll_seconds": "5m"}, "MinJobAge", "warning", {}),
    (
        {"qos": {"qos_gpu_h100-dev": {"wall": "3h"}}},
        "QOS qos_gpu_h100-dev, longest run",
        "problem",
        {"qos": {"qos_gpu_h100-dev": {"wall": "2h"}}},
    ),
    (
        {"qos": {"qos_gpu_h100-dev": {"gpus": 33}}},
        "QOS qos_gpu_h100-dev, GPUs at once",
        "problem",
        {"qos": {"qos_gpu_h100-dev": {"gpus": 32}}},
    ),
    (
        {"qos": {"qos_gpu_h100-dev": {"submitted_jobs": 11}}},
        "QOS qos_gpu_h100-dev, jobs submitted",
        "problem",
        {"qos": {"qos_gpu_h100-dev": {"submitted_jobs": 10}}},
    ),
    (
        {"qos": {"qos_gpu_h100-dev": {"submitted_jobs": None}}},
        "QOS qos_gpu_h100-dev, jobs submitted",
        "warning",
        {"qos": {"qos_gpu_h100-dev": {"submitted_jobs": 10}}},
    ),
]


@pytest.mark.parametrize(("values", "subject", "verdict", "change"), PLANTED)
def test_a_difference_is_found_and_its_correction_resolves_it(
    values: dict[str, Any],
    subject: str,
    verdict: str,
    change: dict[str, Any],
    extended: Callable[..., Cluster],
    site: LiveCluster,
) -> None:
    finding = only(bad(extended(values), site))
    assert finding.subject == subject
    assert finding.verdict == verdict
    assert finding.change == change
    assert finding.advice
    if change:
        assert bad(extended(values, change), site) == []


def test_a_profile_can_request_less_than_the_site_allows(extended: Callable[..., Cluster], site: LiveCluster) -> None:
    modest = {"wall": "1h", "gpus": 1, "submitted_jobs": 1}
    assert bad(extended({"qos": {"qos_gpu_h100-dev": modest}, "max_array_size": 2}), site) == []


def test_a_missing_qos_is_a_problem(extended: Callable[..., Cluster], site: LiveCluster) -> None:
    values = {"qos": {"qos_gpu_h100-t5": {"wall": "1h", "use": ["gpu"]}}}
    findings = bad(extended(values), site)
    assert [(finding.subject, finding.verdict) for finding in findings] == [
        ("partition gpu_p6, QOS", "warning"),
        ("QOS qos_gpu_h100-t5", "problem"),
        ("account of GPU jobs, QOS", "warning"),
    ]
    assert bad(extended(values, merged_changes(findings)), site) == []


def test_a_missing_default_qos_is_a_problem(extended: Callable[..., Cluster], site: LiveCluster) -> None:
    values = {"qos": {"qos_gpu_h100-t3": {"default": False}, "other": {"default": True, "use": ["gpu"]}}}
    problems = [finding for finding in bad(extended(values), site) if finding.verdict == "problem"]
    assert [finding.profile for finding in problems] == ["other"] * 3


def test_a_partition_closed_to_the_qos_or_the_account_is_a_problem(profile: Cluster, site: LiveCluster) -> None:
    assert site.partitions is not None
    gpu = replace(site.partitions["gpu_p6"], qos=frozenset({"qos_gpu_h100-t3"}), accounts=frozenset({"xyz@h100"}))
    findings = bad(profile, replace(site, partitions={**site.partitions, "gpu_p6": replace(gpu, state="DRAIN")}))
    message = [(finding.subject, finding.verdict, finding.profile) for finding in findings]
    assert message == [
        ("partition gpu_p6", "warning", "used"),
        ("partition gpu_p6, QOS", "warning", "qos_gpu_h100-dev"),
        ("partition gpu_p6, QOS", "warning", "qos_gpu_h100-t4"),
        ("partition gpu_p6, QOS", "warning", "qos_gpu_h100-be"),
        ("partition gpu_p6, account", "problem", "abc@h100"),
    ]


def test_an_account_without_a_qos_of_the_partition_is_a_problem_even_if_the_profile_names_no_qos(
    extended: Callable[..., Cluster], site: LiveCluster
) -> None:
    assert site.partitions is not None
    gpu = replace(site.partitions["gpu_p6"], qos=frozenset({"qos_gpu_h100-t3"}))
    accounts = {"abc@cpu": frozenset({"qos_cpu-t3"}), "abc@h100": frozenset({"qos_gpu_h100-t3"})}
    live = replace(site, partitions={**site.partitions, "gpu_p6": gpu}, accounts=accounts)
    values = {"qos_required": False, "gpu_partition": {"account": "abc@cpu"}, "cpu_partition": {"account": "abc@cpu"}}
    profile = extended({**values, "qos": dict.fromkeys((qos.name for qos in extended({}).qos), None)})
    problems = [finding for finding in bad(profile, live) if finding.verdict == "problem"]
    assert [(finding.subject, finding.site) for finding in problems] == [
        ("account of GPU jobs, partition", "no QOS for gpu_p6")
    ]
    assert problems[0].change == {"gpu_partition": {"account": "abc@h100"}}


def test_the_qos_of_a_partition_limits_it_too(
    profile: Cluster, extended: Callable[..., Cluster], site: LiveCluster
) -> None:
    assert site.partitions is not None
    gpu = replace(site.partitions["gpu_p6"], own_qos="qos_gpu_h100-be")
    limited = replace(site, partitions={**site.partitions, "gpu_p6": gpu})
    finding = only(bad(profile, limited))
    assert (finding.profile, finding.site) == ("100h", "20h")
    assert finding.change == {"gpu_partition": {"wall": "20h"}}
    assert bad(extended(finding.change), limited) == []


@pytest.mark.parametrize(
    ("gres", "verdicts"),
    [
        ("gpu:h100:8", [("GPUs per node", "problem", {"gpu": {"per_node": 8}})]),
        ("gpu:a100:4", [("GPU type", "warning", {"gpu": {"type": "a100"}})]),
        ("gpu:nvidia_h100_80gb_hbm3:4", []),
        ("gpu:4", [("GPU type", "unknown", {})]),
        ("(null)", [("GPUs per node", "problem", {}), ("GPU type", "unknown", {})]),
    ],
)
def test_other_gpus_are_reported(gres: str, verdicts: list[Any], profile: Cluster, site: LiveCluster) -> None:
    nodes = read_nodes(NODES.replace("gpu:h100:4", gres))
    found = bad(profile, replace(site, nodes=nodes))
    assert [(finding.subject, finding.verdict, finding.change) for finding in found] == verdicts


@pytest.mark.parametrize(("offset_s", "verdict"), [(0.0, "ok"), (-4.0, "ok"), (9.0, "warning"), (-3600.0, "warning")])
def test_a_large_clock_offset_is_a_warning(offset_s: float, verdict: str, profile: Cluster, site: LiveCluster) -> None:
    findings = compare(profile, replace(site, clock_offset_s=offset_s))
    assert next(finding for finding in findings if finding.subject == "clock").verdict == verdict


@pytest.mark.parametrize(
    ("version", "verdicts"),
    [
        ("20.02.0", ["ok"]),
        ("19.05.7", ["problem"]),
        ("22.05.0-rc1", ["ok", "warning"]),
        ("24.11.5", ["ok", "warning"]),
        (None, ["unknown"]),
    ],
)
def test_unsupported_versions_are_a_problem(
    version: str | None, verdicts: list[str], extended: Callable[..., Cluster], site: LiveCluster
) -> None:
    plain = extended({"export_srun_cpus_per_task": False})
    findings = compare(plain, replace(site, version=version))
    assert [f.verdict for f in findings if f.subject in ("Slurm", "cores of a task")] == verdicts


@pytest.mark.parametrize(
    ("settings", "subject", "verdict"),
    [
        ({"MinJobAge": "2 sec"}, "MinJobAge", "warning"),
        ({"MinJobAge": "0 sec"}, "MinJobAge", "ok"),
        ({"JobRequeue": "0"}, "JobRequeue", "warning"),
        ({"DependencyParameters": "kill_invalid_depend"}, "DependencyParameters", "ok"),
        ({"MaxArraySize": "1001"}, "MaxArraySize", "problem"),
        ({"PrivateData": "accounts,jobs"}, "PrivateData", "warning"),
    ],
)
def test_unsuitable_settings_of_slurm_are_reported(
    settings: dict[str, str], subject: str, verdict: str, profile: Cluster, site: LiveCluster
) -> None:
    assert site.settings is not None
    findings = compare(profile, replace(site, settings={**site.settings, **settings}))
    assert next(finding for finding in findings if finding.subject == subject).verdict == verdict


@pytest.mark.parametrize(
    ("constraint", "features", "fits"),
    [
        ("h100", {"h100", "x"}, True),
        ("gpu&hbm80g", {"gpu", "hbm80g"}, True),
        ("gpu&hbm80g", {"gpu", "hbm40g"}, False),
        ("a100|h100", {"h100"}, True),
        ("[rack1*2|rack2*4]", {"rack2"}, True),
        ("MI250", set(), False),
    ],
)
def test_constraints_are_evaluated_against_features(constraint: str, features: set[str], fits: bool) -> None:
    assert satisfies(constraint, frozenset(features)) is fits


def test_a_site_that_chooses_the_partition_itself_is_accepted(site: LiveCluster) -> None:
    adastra = load_cluster("adastra")
    nodes = read_nodes("mi250|300|128|gpu:8|MI250\ngenoa|500|384|(null)|GENOA\n")
    found = bad(adastra, replace(site, nodes=nodes, accounts={"proj": frozenset()}))
    assert {finding.subject for finding in found} == {"cores of a task", "GPU type", "MaxArraySize"}


def test_changes_are_merged_and_the_first_value_wins() -> None:
    findings = [
        Finding("a", "problem", change={"qos": {"x": {"wall": "2h"}}}),
        Finding("b", "problem", change={"qos": {"x": {"gpus": 4}, "y": None}, "account": "a"}),
        Finding("c", "problem", change={"account": "b", "qos": {"y": {"wall": "1h"}}}),
    ]
    assert merged_changes(findings) == {"qos": {"x": {"wall": "2h", "gpus": 4}, "y": None}, "account": "a"}


@pytest.mark.parametrize("seconds", [1, 45, 60, 90, 5400, 7200, 360_000])
def test_durations_are_written_as_profiles_accept_them(seconds: int) -> None:
    assert parse_duration_s(write_duration(seconds)) == seconds


def test_many_names_are_cut_to_the_most_likely() -> None:
    assert listed([]) == "none"
    assert listed(["b", "a"]) == "a, b"
    message = listed([f"partition{number}" for number in range(30)], "partition17")
    assert message.startswith("partition17, ")
    assert message.endswith("and 22 more")


def test_a_client_that_may_not_be_run_is_forbidden(tmp_path: Path) -> None:
    (tmp_path / "sacct").touch(0o644)
    answer = SubprocessRunner({"PATH": str(tmp_path)})(["sacct"], 5)
    assert read_accounting_answer(answer) == "forbidden"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:07", 7),
        ("02:03:04", 7384),
        ("1-02:03:04", 93784),
        ("UNLIMITED", None),
        ("", None),
        ("NONE", None),
        ("7", 420),
        (f"{'9' * 20}-00:00:00", None),
        ("²:00", None),
    ],
)
def test_limits_are_read_in_seconds(text: str, expected: int | None) -> None:
    assert read_limit_s(text) == expected
