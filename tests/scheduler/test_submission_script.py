from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from detour.scheduler.dependency import After
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.submission_script import (
    ScriptStyle,
    gate_of,
    gpu_option,
    log_patterns,
    submission_script,
    tasks_in,
)
from detour.scheduler.tags import Tag, Tasks

STYLE = ScriptStyle(Path("/work space"), "/opt/python", environment={"PYTHONPATH": "/code"}, preamble=("module purge",))
ASKED = Resources(
    cpus_per_task=24,
    gpu_option="gres=gpu:4",
    account="abc@h100",
    options=("--exclusive",),
)
SRUN = "srun --unbuffered --output {}/%j_%t_log.out --open-mode=append --export=ALL --kill-on-bad-exit=1 "
TAG = Tag("w", "pretrain-1", 2, "s")


def options(script: str) -> set[str]:
    return {line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")}


def test_a_segment_is_held_tagged_and_signalled_and_ends_with_its_dependency() -> None:
    request = JobRequest((("pretrain-1",),), ASKED, wall_s=3601, segments=3)
    script = submission_script(request, TAG, After("afternotok", "7"), STYLE, Path("/logs"))
    assert {
        "--hold",
        "--kill-on-invalid-dep=yes",
        f"--comment={TAG}",
        f"--job-name={TAG}",
        "--dependency=afternotok:7",
        "--signal=USR2@120",
        "--open-mode=append",
        "--requeue",
        "--time=61",
        "--gres=gpu:4",
        "--account=abc@h100",
        "--cpus-per-task=24",
        "--exclusive",
    } <= options(script)
    assert not any(option.startswith(("--array", "--wckey", "--error")) for option in options(script))
    assert script.rstrip().endswith("/opt/python -uP -m detour.jobs --workspace '/work space' pretrain-1")


def test_lists_of_the_profile_are_kept_beside_our_own() -> None:
    asked = Resources(gpu_option="gres=gpu:4", options=("--exclude=n1", "--gres=tmpfs:20G", "exclude=n2"))
    script = submission_script(JobRequest((("pretrain-1",),), asked, 3600), TAG, None, STYLE, Path("/logs"))
    assert {"--gres=gpu:4,tmpfs:20G", "--exclude=n1,n2"} <= options(script)
    assert len([option for option in options(script) if option.startswith(("--gres", "--exclude"))]) == 2


def test_each_task_of_an_array_runs_its_own_stages(tmp_path: Path) -> None:
    tasks = (("evaluate-1", "evaluate-2"), ("evaluate-3",))
    request = JobRequest(tasks, Resources(), wall_s=60, parallelism=1)
    style = ScriptStyle(Path("/w"), "echo", login_shell=True, requeue=False)
    script = submission_script(request, TAG, None, style, tmp_path)
    assert {"--array=0-1%1", "--no-requeue", "--time=1"} <= options(script)
    assert not any(option.startswith("--dependency") for option in options(script))
    assert script.startswith("#!/bin/bash -l\n")
    runnable = script.replace(SRUN.replace("%j", "%A_%a").format(tmp_path), "")
    for index, stages in enumerate(tasks):
        environment = {"SLURM_ARRAY_TASK_ID": str(index), "PATH": "/bin:/usr/bin"}
        message = subprocess.run(["bash", "-c", runnable], env=environment, capture_output=True, text=True, check=True)
        assert message.stdout.split()[-len(stages) :] == list(stages)


@pytest.mark.parametrize(
    ("selector", "nodes", "kind", "expected"),
    [
        ("gres", 2, None, "gres=gpu:4"),
        ("gres", 1, "h100", "gres=gpu:h100:4"),
        ("gpus", 1, None, "gpus=4"),
        ("gpus", 2, "a100", "gpus=a100:8"),
        ("gpus-per-node", 2, "a100", "gpus-per-node=a100:4"),
        ("none", 2, "h100", None),
    ],
)
def test_gpus_are_requested_in_the_form_of_the_site_of_which_one_counts_all_nodes(
    selector: str, nodes: int, kind: str | None, expected: str | None
) -> None:
    assert gpu_option(selector, 4, nodes, kind) == expected


def test_no_gpu_is_requested_if_none_is_needed() -> None:
    assert gpu_option("gres", 0, 1, None) is None


def test_a_gated_job_is_not_held_and_does_nothing_until_its_gate_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detour.scheduler.submission_script.GATE_PATIENCE_S", 1)
    script, gate = tmp_path / "1-s.sh", gate_of(tmp_path / "1-s.sh")
    request = JobRequest((("export-1",),), Resources(), wall_s=60)
    text = submission_script(request, TAG, None, ScriptStyle(Path("/w"), "echo"), tmp_path, gate)
    assert "--hold" not in options(text)
    script.write_text(text.replace(SRUN.format(tmp_path), ""))

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)

    assert (run().returncode, "submit the chain again" in run().stdout) == (87, True)
    gate.touch()
    assert run().stdout == "-uP -m detour.jobs --workspace /w export-1\n"


@pytest.mark.parametrize(
    "tasks",
    [(("export-1",),), (("evaluate-1", "evaluate-2"),), (("evaluate-1",), ("evaluate-2", "evaluate-3"))],
)
@pytest.mark.parametrize("workspace", ["/w", "/a b/it's --workspace"])
def test_the_stages_of_each_task_can_be_read_from_a_script(tasks: Tasks, workspace: str) -> None:
    style = ScriptStyle(Path(workspace), "python", preamble=("srun hostname", "stages=(x)"))
    assert tasks_in(submission_script(JobRequest(tasks, Resources(), 60), TAG, None, style, Path("/logs"))) == tasks
    assert tasks_in("#!/bin/sh\nsrun hostname\n") is None


def test_a_percent_sign_in_the_log_path_is_no_pattern() -> None:
    assert log_patterns(Path("/w%j"), TAG) == ("/w%%j/%j_0_log.out", "/w%%j/%j_%t_log.out")
    of_array = ("/w%%j/%A_%a_0_log.out", "/w%%j/%A_%a_%t_log.out")
    assert log_patterns(Path("/w%j"), TAG, is_array=True) == of_array


def test_a_backslash_that_disables_patterns_gives_the_submission_one_log() -> None:
    assert log_patterns(Path("/w\\x%j"), TAG) == ("/w\\\\\\\\x%j/2-s_log.out", None)


def test_variables_exported_by_the_script_reach_the_tasks_whatever_sbatch_exports() -> None:
    request = JobRequest((("export-1",),), Resources(options=("--export=NONE",)), wall_s=60)
    assert "srun --unbuffered --export=ALL" in submission_script(request, TAG, None, STYLE, Path("/a\\b"))
    assert "--export=ALL" in submission_script(request, TAG, None, STYLE, Path("/logs"))
