"""One attempt at a stage: what each kind of end leaves on disk, in the journal and as an exit code."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from detour import disk
from detour.accounting import sampler
from detour.checkpoints.manifest import read_manifest
from detour.errors import Interrupted, PermanentFailure, UserError
from detour.jobs import __main__ as jobs_main
from detour.jobs import heartbeats, work
from detour.jobs.context import StageContext
from detour.jobs.harness import run_stage
from detour.jobs.progress import FRUITLESS_ATTEMPTS
from detour.jobs.rank import read_rank
from detour.ledger.claims import claim, holder
from detour.ledger.events import CheckpointSaved
from detour.ledger.folders import workspace_umask
from detour.ledger.workspace import Workspace
from detour.planning.stage import Stage
from tests.support.stages import export_stage, prepare_stage

Behaviour = Callable[[StageContext[Any]], dict[str, Any]]
ROOT = Path(__file__).parents[2]


class Run(Protocol):
    """Runs one attempt at a stage that does what `behaviour` says; returns the job's exit code."""

    def __call__(self, stage: Stage, behaviour: Behaviour, *, wall_limit_s: float | None = None) -> int: ...


def write(workspace: Workspace, stage: Stage) -> Stage:
    folder = workspace.stage(stage.id)
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text(json.dumps(stage.to_json()))
    return stage


@pytest.fixture
def stage(workspace: Workspace) -> Stage:
    return write(workspace, prepare_stage())


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> Run:
    def run(stage: Stage, behaviour: Behaviour, *, wall_limit_s: float | None = None) -> int:
        monkeypatch.setattr(work, "stage_function", lambda _kind: behaviour)
        executor = jobs_main.executor_of(os.environ)
        return run_stage(workspace, stage.id, read_rank({}), executor=executor, wall_limit_s=wall_limit_s)

    return run


def test_a_process_of_this_machine_is_not_called_a_job(
    monkeypatch: pytest.MonkeyPatch, workspace: Workspace, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="detour")
    owners: list[str] = []

    def behave(_context: StageContext[Any]) -> dict[str, Any]:
        owners.append(str(holder(workspace, stage.id)))
        raise PermanentFailure("no")

    monkeypatch.setattr(work, "stage_function", lambda _kind: behave)
    run_stage(workspace, stage.id, read_rank({}), executor="process-55", wall_limit_s=None)
    assert owners[0].startswith(f"process {os.getpid()}, ")
    assert json.loads(workspace.failure(stage.id).read_text())["job"] is None
    assert "job" not in next(message for message in caplog.messages if message.startswith("begins: "))


def events(workspace: Workspace, kind: str) -> list[dict[str, Any]]:
    lines = [line for path in sorted(workspace.ledger.rglob("*.jsonl")) for line in path.read_text().splitlines()]
    records = [json.loads(line[9:]) for line in lines]
    return [record["data"] for record in records if record["kind"] == kind]


def good(context: StageContext[Any]) -> dict[str, Any]:
    (context.output_dir / "result.txt").write_text("42")
    return {"answer": 42}


def crash(_context: StageContext[Any]) -> dict[str, Any]:
    raise RuntimeError("the node hiccuped")


class Killed(BaseException):
    """Ends an attempt without any record, as SIGKILL does."""


def die(_context: StageContext[Any]) -> dict[str, Any]:
    raise Killed


def crash_with_progress(context: StageContext[Any]) -> dict[str, Any]:
    (context.work_dir / f"checkpoint-{time.monotonic_ns()}").write_text("kept")
    raise RuntimeError("the node hiccuped")


def test_a_finished_stage_has_output_manifest_and_events(workspace: Workspace, stage: Stage, attempt: Run) -> None:
    assert attempt(stage, good) == 0
    manifest = read_manifest(workspace.output(stage.id))
    assert set(manifest["files"]) == {"result.txt"}
    assert manifest["provenance"]["stage"]["key"] == stage.key
    assert events(workspace, "stage.done") == [{"result": {"answer": 42}}]
    assert [data["outcome"] for data in events(workspace, "attempt.ended")] == ["done"]


def test_stages_of_one_job_share_its_time_in_sequence(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = [write(workspace, prepare_stage(seed)) for seed in range(2)]
    monkeypatch.setattr(work, "stage_function", lambda _kind: good)
    monkeypatch.setenv("SLURM_JOB_START_TIME", "1700000000")
    assert jobs_main._run_stages(workspace, [stage.id for stage in stages], read_rank({}), None) == 0
    first, second = sorted(data["held_since_s"] for data in events(workspace, "attempt.started"))
    assert first == 1_700_000_000
    assert time.time() - second < 60


def test_the_energy_of_an_attempt_is_read_at_its_start_checkpoints_and_end(
    workspace: Workspace, stage: Stage, attempt: Run
) -> None:
    def behaviour(context: StageContext[Any]) -> dict[str, Any]:
        time.sleep(sampler.LEAST_GAP_S + 0.1)
        context.attempt.event(CheckpointSaved(step=1, tokens=1))
        return good(context)

    assert attempt(stage, behaviour) == 0
    readings = events(workspace, "energy.read")
    assert [data["why"] for data in readings] == ["start", "checkpoint", "end"]
    assert readings[0]["elapsed_s"] < readings[-1]["elapsed_s"]


def test_of_the_work_folder_only_files_of_user_loggers_stay(workspace: Workspace, stage: Stage, attempt: Run) -> None:
    def behaviour(context: StageContext[Any]) -> dict[str, Any]:
        for name in ("logs", "checkpoints"):
            (context.work_dir / name).mkdir()
            (context.work_dir / name / "file").write_text("kept?")
        (context.work_dir / "config.json").write_text("{}")
        return {}

    assert attempt(stage, behaviour) == 0
    left = workspace.stage(stage.id) / "work"
    assert [path.relative_to(left).as_posix() for path in left.rglob("*") if path.is_file()] == ["logs/file"]


def test_a_second_start_does_nothing_and_ends_well(workspace: Workspace, stage: Stage, attempt: Run) -> None:
    attempt(stage, good)
    assert attempt(stage, crash) == 0
    assert len(events(workspace, "attempt.started")) == 1


@pytest.mark.parametrize("error", [PermanentFailure("the data hold no text"), UserError("the data hold no text")])
def test_a_permanent_failure_is_marked_and_not_tried_again(
    workspace: Workspace, stage: Stage, attempt: Run, error: Exception
) -> None:
    def fail(_context: StageContext[Any]) -> dict[str, Any]:
        raise error

    assert attempt(stage, fail) == 86
    assert json.loads(workspace.failure(stage.id).read_text())["reason"] == "the data hold no text"
    assert attempt(stage, good) == 86
    assert not workspace.is_done(stage.id)
    workspace.failure(stage.id).unlink()
    assert attempt(stage, good) == 0


@pytest.mark.parametrize("content", ["", "[]", "null", "{}"])
def test_a_damaged_failure_marker_still_counts(workspace: Workspace, stage: Stage, attempt: Run, content: str) -> None:
    workspace.failure(stage.id).write_text(content)
    assert attempt(stage, good) == 86


def test_other_files_among_the_attempts_are_ignored(workspace: Workspace, stage: Stage, attempt: Run) -> None:
    (workspace.stage(stage.id) / "attempts").mkdir()
    (workspace.stage(stage.id) / "attempts" / "notes.json").write_text("{}")
    assert [attempt(stage, crash), attempt(stage, good)] == [1, 0]


def test_an_interrupted_attempt_keeps_its_work_for_the_next(workspace: Workspace, stage: Stage, attempt: Run) -> None:
    def half(context: StageContext[Any]) -> dict[str, Any]:
        (context.work_dir / "half").write_text("done")
        raise Interrupted("signal USR2")

    def rest(context: StageContext[Any]) -> dict[str, Any]:
        assert (context.work_dir / "half").read_text() == "done"
        return good(context)

    assert attempt(stage, half) == 85
    assert not workspace.failure(stage.id).exists()
    assert attempt(stage, rest) == 0
    assert [data["outcome"] for data in events(workspace, "attempt.ended")] == ["interrupted", "done"]


def test_crashes_are_retried_up_to_a_limit(workspace: Workspace, stage: Stage, attempt: Run) -> None:
    codes = [attempt(stage, crash) for _ in range(FRUITLESS_ATTEMPTS)]
    assert codes == [1] * (FRUITLESS_ATTEMPTS - 1) + [86]
    assert "made no progress" in json.loads(workspace.failure(stage.id).read_text())["reason"]


def test_a_failure_that_needs_a_change_ends_the_stage_at_once(workspace: Workspace, stage: Stage, attempt: Run) -> None:
    def fail(_context: StageContext[Any]) -> dict[str, Any]:
        raise FileNotFoundError(2, "No such file or directory", "/data/train.jsonl")

    assert attempt(stage, fail) == 86
    reason = json.loads(workspace.failure(stage.id).read_text())["reason"]
    assert reason.startswith("a file is missing: FileNotFoundError: [Errno 2] No such file or directory")
    (verdict,) = events(workspace, "attempt.diagnosed")
    assert (verdict["cause"], verdict["retry"]) == ("missing_input", "after-change")


@pytest.mark.parametrize(
    ("environment", "log"),
    [
        ({"SLURM_JOB_ID": "7"}, "7_0_log.out"),
        ({"SLURM_JOB_ID": "29", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, "7_3_0_log.out"),
    ],
    ids=["a job", "a task of an array"],
)
def test_the_log_of_a_killed_attempt_gives_the_reason_and_node_failures_do_not_count(
    workspace: Workspace,
    stage: Stage,
    attempt: Run,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    log: str,
) -> None:
    path = workspace.root / "submissions" / stage.id / log
    path.parent.mkdir(parents=True)
    path.write_text("srun: error: Node failure on n3\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for _ in range(FRUITLESS_ATTEMPTS):
        with pytest.raises(Killed):
            attempt(stage, die)
    assert attempt(stage, good) == 0
    verdicts = events(workspace, "attempt.diagnosed")
    assert [(one["cause"], one["nodes"]) for one in verdicts] == [("node_failure", ["n3"])] * FRUITLESS_ATTEMPTS


def test_crashes_with_progress_between_them_do_not_end_the_chain(stage: Stage, attempt: Run) -> None:
    assert [attempt(stage, crash_with_progress) for _ in range(FRUITLESS_ATTEMPTS + 2)] == [1] * (
        FRUITLESS_ATTEMPTS + 2
    )


@pytest.mark.parametrize("reason", ["signal SIGUSR2", "signal SIGTERM"])
def test_a_time_limit_too_short_for_progress_ends_the_chain_and_preemption_does_not(
    stage: Stage, attempt: Run, reason: str
) -> None:
    def cut(context: StageContext[Any]) -> dict[str, Any]:
        (context.work_dir / "logs").mkdir(exist_ok=True)
        (context.work_dir / "logs" / "told").write_text("again")
        context.attempt.request_stop(reason)
        raise Interrupted(reason)

    last = 86 if reason == "signal SIGUSR2" else 85
    assert [attempt(stage, cut) for _ in range(FRUITLESS_ATTEMPTS)] == [85] * (FRUITLESS_ATTEMPTS - 1) + [last]


def test_attempts_killed_in_a_row_end_the_chain_and_a_retry_counts_from_zero(
    workspace: Workspace, stage: Stage, attempt: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    for _ in range(FRUITLESS_ATTEMPTS):
        with pytest.raises(Killed):
            attempt(stage, die)
    assert attempt(stage, good) == 86
    assert "were killed" in json.loads(workspace.failure(stage.id).read_text())["reason"]
    workspace.failure(stage.id).unlink()
    assert attempt(stage, crash) == 1
    assert attempt(stage, good) == 0


def test_a_late_input_is_no_failure_of_the_stage(workspace: Workspace, stage: Stage, attempt: Run) -> None:
    follower = write(workspace, export_stage({"corpus": stage.id}))
    assert [attempt(follower, good) for _ in range(FRUITLESS_ATTEMPTS + 1)] == [87] * (FRUITLESS_ATTEMPTS + 1)
    attempt(stage, good)
    assert attempt(follower, crash) == 1
    assert attempt(follower, good) == 0


def test_a_working_attempt_refreshes_its_claim(
    workspace: Workspace, stage: Stage, attempt: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(context: StageContext[Any]) -> dict[str, Any]:
        time.sleep(0.2)
        return good(context)

    monkeypatch.setattr(heartbeats, "HEARTBEAT_S", 0.02)
    assert attempt(stage, slow) == 0
    assert len(events(workspace, "attempt.heartbeat")) > 2


def test_a_missing_or_damaged_input_stops_the_start_and_marks_nothing(
    workspace: Workspace, stage: Stage, attempt: Run
) -> None:
    follower = write(workspace, export_stage({"corpus": stage.id}))
    assert attempt(follower, good) == 87
    assert attempt(stage, good) == 0
    (workspace.output(stage.id) / "result.txt").write_text("43")
    assert attempt(follower, good) == 87
    assert not workspace.failure(follower.id).exists()
    assert any("damaged" in (data["reason"] or "") for data in events(workspace, "attempt.ended"))
    (workspace.output(stage.id) / "result.txt").write_text("42")
    assert attempt(follower, good) == 0


def test_a_claimed_stage_is_left_to_its_owner(workspace: Workspace, stage: Stage, attempt: Run) -> None:
    with claim(workspace, stage.id, "another terminal"):
        assert attempt(stage, good) == 87
    assert attempt(stage, good) == 0


def test_an_edited_stage_is_refused(workspace: Workspace, stage: Stage, attempt: Run) -> None:
    path = workspace.stage(stage.id) / "stage.json"
    path.write_text(path.read_text().replace('"shuffle_seed": 42', '"shuffle_seed": 43'))
    with pytest.raises(UserError, match="edited"):
        attempt(stage, good)


def test_signals_and_the_time_limit_request_a_stop(stage: Stage, attempt: Run) -> None:
    reasons: list[str] = []

    def until_asked(context: StageContext[Any]) -> dict[str, Any]:
        if not reasons:
            os.kill(os.getpid(), signal.SIGUSR2)
        while context.attempt.stop_reason is None:
            time.sleep(0.01)
        reasons.append(context.attempt.stop_reason)
        raise Interrupted(context.attempt.stop_reason)

    before = signal.getsignal(signal.SIGUSR2)
    assert attempt(stage, until_asked) == 85
    assert attempt(stage, until_asked, wall_limit_s=0.05) == 85
    assert reasons == ["signal SIGUSR2", "wall-time limit"]
    assert signal.getsignal(signal.SIGUSR2) is before


def no_room(times: int) -> Behaviour:
    """A stage whose disk is full this often, and which leaves part of its output each time."""
    left = [errno.ENOSPC] * times

    def behaviour(context: StageContext[Any]) -> dict[str, Any]:
        if left:
            (context.output_dir / f"part-{len(left)}").write_text("half")
            raise OSError(left.pop(), "No space left on device")
        return good(context)

    return behaviour


def test_a_temporarily_full_disk_costs_nothing(
    workspace: Workspace, stage: Stage, attempt: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "ROOM_POLL_S", 0.01)
    assert attempt(stage, no_room(5)) == 0
    assert set(read_manifest(workspace.output(stage.id))["files"]) == {"result.txt"}
    assert len(events(workspace, "attempt.started")) == 1


def test_a_disk_that_stays_full_ends_the_attempt_and_never_the_stage(
    workspace: Workspace, stage: Stage, attempt: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "ROOM_PATIENCE_S", 0.0)
    assert [attempt(stage, no_room(1000)) for _ in range(FRUITLESS_ATTEMPTS + 1)] == [1] * (FRUITLESS_ATTEMPTS + 1)
    assert "free some space" in events(workspace, "attempt.ended")[-1]["reason"]
    assert not workspace.has_failed(stage.id)
    assert attempt(stage, good) == 0


@pytest.mark.parametrize("function", ["unlink", "rmdir"])
def test_once_the_output_exists_nothing_makes_the_stage_fail(
    workspace: Workspace, stage: Stage, attempt: Run, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """Removals after the rename fail with EBUSY, as if another node held a checkpoint open."""
    real = getattr(os, function)

    def busy(*arguments: Any, **options: Any) -> Any:
        if workspace.is_done(stage.id):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return real(*arguments, **options)

    def behaviour(context: StageContext[Any]) -> dict[str, Any]:
        (context.work_dir / "checkpoints").mkdir()
        (context.work_dir / "checkpoints" / "file").write_text("held open")
        return good(context)

    monkeypatch.setattr(os, function, busy)
    assert attempt(stage, behaviour) == 0
    assert [data["outcome"] for data in events(workspace, "attempt.ended")] == ["done"]


def test_a_link_in_place_of_the_work_folder_is_never_followed_by_a_removal(
    stage: Stage, attempt: Run, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "a victim's"
    elsewhere.mkdir()
    (elsewhere / "thesis").write_text("years")

    def behaviour(context: StageContext[Any]) -> dict[str, Any]:
        context.work_dir.rmdir()
        context.work_dir.symlink_to(elsewhere)
        return good(context)

    assert attempt(stage, behaviour) == 0
    assert (elsewhere / "thesis").read_text() == "years"


@pytest.mark.parametrize("name", ["work", "attempts", "logs", "work/checkpoints", "work/sources/text"])
def test_a_link_in_place_of_a_folder_of_the_stage_is_refused_before_anything_is_written(
    workspace: Workspace, stage: Stage, attempt: Run, tmp_path: Path, name: str
) -> None:
    elsewhere, link = tmp_path / "a victim's", workspace.stage(stage.id) / name
    elsewhere.mkdir()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(UserError, match=f"{name}: a link"):
        attempt(stage, good)
    assert list(elsewhere.iterdir()) == []


def test_in_a_group_workspace_files_are_readable_and_folders_writable_by_the_group(
    workspace: Workspace, stage: Stage, attempt: Run
) -> None:
    def half(context: StageContext[Any]) -> dict[str, Any]:
        (context.work_dir / "checkpoints").mkdir()
        (context.work_dir / "checkpoints" / "state").write_text("half")
        raise Interrupted("signal USR2")

    workspace.root.chmod(0o2770)
    for path in workspace.root.rglob("*"):
        path.chmod(0o2770 if path.is_dir() else 0o640)
    with workspace_umask(workspace.root):
        assert attempt(stage, half) == 85
    modes = {path: path.stat().st_mode for path in workspace.root.rglob("*")}
    made = {path for path in modes if path.name != "stage.json" and not path.name.endswith(".reserve")}
    assert {stat.S_IMODE(modes[path]) & 0o777 for path in made if path.is_dir()} == {0o770}
    assert {stat.S_IMODE(modes[path]) for path in made if path.is_file()} == {0o640}


def test_an_output_without_its_manifest_is_replaced_by_a_complete_one(
    workspace: Workspace, stage: Stage, attempt: Run
) -> None:
    assert attempt(stage, good) == 0
    workspace.manifest(stage.id).unlink()
    assert attempt(stage, good) == 0
    assert read_manifest(workspace.output(stage.id))["files"].keys() == {"result.txt"}


def test_a_log_on_a_full_disk_loses_lines_and_no_exit_code(workspace: Workspace) -> None:
    """The job cannot log that this stage does not exist, but its exit code still shows it."""
    command = [sys.executable, "-um", "detour.jobs", "--workspace", str(workspace.root), "prepare-0000"]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, cwd=ROOT, stdout=full, stderr=full, check=False)
    assert result.returncode == 2


def test_a_half_written_output_never_counts(workspace: Workspace, stage: Stage, attempt: Run) -> None:
    def die_half_way(context: StageContext[Any]) -> dict[str, Any]:
        (context.output_dir / "part").write_text("half")
        raise RuntimeError("lost")

    assert attempt(stage, die_half_way) == 1
    assert not workspace.is_done(stage.id)
    assert attempt(stage, good) == 0
    assert set(read_manifest(workspace.output(stage.id))["files"]) == {"result.txt"}
    assert not list(workspace.stage(stage.id).glob("output.*"))


def test_the_job_command_reports_errors_without_a_traceback(workspace: Workspace) -> None:
    command = [sys.executable, "-m", "detour.jobs", "--workspace", str(workspace.root), "prepare-0000"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "no such stage" in result.stderr
    assert "Traceback" not in result.stderr
