from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from detour.errors import SchedulerUnavailable
from detour.scheduler.answers import CommandResult, SubmitAnswer, read_submission
from detour.scheduler.commands import Slurm, SubprocessRunner


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (CommandResult(0, "17\n"), SubmitAnswer("17")),
        (CommandResult(0, "17;cluster\n"), SubmitAnswer("17")),
        (CommandResult(0, "Welcome to the site\n\n17\n"), SubmitAnswer("17")),
        (CommandResult(0, "\n"), SubmitAnswer(unknown="sbatch printed no job id")),
        (CommandResult(0, "Submitted\n"), SubmitAnswer(unknown="sbatch printed no job id")),
        (CommandResult(0, "17\n4711\n"), SubmitAnswer(unknown="sbatch printed several numbers")),
        (CommandResult(None), SubmitAnswer(unknown="sbatch gave no answer in time")),
        (CommandResult(None, "", "busy\n"), SubmitAnswer(unknown="sbatch gave no answer in time (busy)")),
    ],
)
def test_only_a_number_is_a_job_id(result: CommandResult, expected: SubmitAnswer) -> None:
    assert read_submission(result) == expected


LIMIT = """\
sbatch: error: QOSMaxSubmitJobPerUserLimit
sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size)
"""


@pytest.mark.parametrize("text", [LIMIT, "sbatch: error: AssocMaxSubmitJobLimit\n"])
def test_a_submit_limit_is_no_refusal(text: str) -> None:
    answer = read_submission(CommandResult(1, "", text))
    assert answer.limit
    assert not answer.refusal


@pytest.mark.parametrize(
    "text",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
        "Killed",
        "",
    ],
)
def test_a_controller_that_does_not_answer_proves_nothing(text: str) -> None:
    answer = read_submission(CommandResult(1, "", text))
    assert answer.unknown
    assert answer == SubmitAnswer(unknown=answer.unknown)


def test_a_refusal_keeps_the_message_of_slurm() -> None:
    text = "sbatch: error: Batch job submission failed: Invalid qos specification\n"
    assert read_submission(CommandResult(1, "", text)).refusal == text.strip()


def test_calls_are_counted_and_empty_answers_refused() -> None:
    def run(command: Sequence[str], timeout_s: float) -> CommandResult:
        assert timeout_s > 0
        return CommandResult(0, "A = 1\nB=2\n" if command[0] == "scontrol" else "")

    slurm = Slurm(run)
    assert slurm.configuration() == {"A": "1", "B": "2"}
    with pytest.raises(SchedulerUnavailable, match="no usable answer"):
        slurm.version()
    assert slurm.calls == {"scontrol": 1, "sinfo": 1}


def test_the_runner_never_raises(tmp_path: Path) -> None:
    run = SubprocessRunner({"PATH": f"{tmp_path}:/bin:/usr/bin", "WORD": "x"})
    assert run(["sh", "-c", "echo $WORD; exit 3"], 5) == CommandResult(3, "x\n", "")
    assert run(["sleep", "5"], 0.05).returncode is None
    missing = SubprocessRunner()(["no-such-client"], 5)
    assert missing.returncode == 127
    assert "is not on the path" in missing.message


def test_a_client_that_cannot_be_started_proves_nothing() -> None:
    result = SubprocessRunner()(["sh", "-c", "true", "x" * 2_000_000], 5)
    assert result == CommandResult(126, "", "sh cannot be started: Argument list too long")
    assert read_submission(result).unknown == "sh cannot be started: Argument list too long"


@pytest.mark.parametrize("verb", ["hold", "release", "cancel"])
def test_an_order_about_many_tasks_fits_command_lines_and_names_the_first_failure(verb: str) -> None:
    asked: list[str] = []

    def run(command: Sequence[str], timeout_s: float) -> CommandResult:  # noqa: ARG001
        jobs = [job for word in command if "_" in word for job in word.split(",")]
        assert max(map(len, command)) < 131_072, "the longest argument that Linux takes"
        asked.extend(jobs)
        return CommandResult(1, "", "no such task") if "7_1500" in jobs else CommandResult(0)

    tasks = [f"7_{index}" for index in range(12_000)]
    result = getattr(Slurm(run), verb)(tasks)
    assert asked == tasks
    assert result.message == "no such task"


def test_a_full_queue_costs_seconds_and_is_reported_with_the_message_of_slurm(tmp_path: Path) -> None:
    """sbatch itself retries for two minutes."""
    words = "Slurm temporarily unable to accept job"
    (tmp_path / "sbatch").write_text(
        f"#!/bin/sh\necho 'sbatch: error: {words}, sleeping and retrying' >&2\nexec sleep 120\n"
    )
    (tmp_path / "sbatch").chmod(0o755)
    began_s = time.monotonic()
    answer = Slurm(SubprocessRunner({"PATH": f"{tmp_path}:/bin:/usr/bin"})).submit(tmp_path / "script.sh")
    assert answer == SubmitAnswer(limit=words)
    assert time.monotonic() - began_s < 10


def test_the_last_lines_of_an_error_are_reported() -> None:
    text = "banner\nslurm_suspend error: first\nslurm_suspend error: first\nslurm_suspend error: second\n"
    assert CommandResult(1, "", text).message == "banner; slurm_suspend error: first; slurm_suspend error: second"


def test_the_cluster_of_the_profile_is_passed_to_every_client_and_its_header_line_dropped() -> None:
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str], timeout_s: float) -> CommandResult:  # noqa: ARG001
        asked.append(command)
        return CommandResult(0, "CLUSTER: far\nJOBID\n7\n")

    slurm = Slurm(run, cluster="far")
    assert slurm.queue(["me"]).stdout == "JOBID\n7\n"
    slurm.cancel(["7"])
    slurm.release(["7"])
    assert all(command[1] == "--clusters=far" for command in asked)
    assert slurm.calls == {"squeue": 1, "scancel": 1, "scontrol": 1}


def test_a_wrapper_whose_child_does_not_end_blocks_nothing(tmp_path: Path) -> None:
    wrapper = tmp_path / "squeue"
    wrapper.write_text("#!/bin/sh\necho 'still trying' >&2\nsleep 20\n")  # a child, which holds the shell's pipes open
    wrapper.chmod(0o755)
    began_s = time.monotonic()
    result = SubprocessRunner()([str(wrapper)], timeout_s=0.2)
    assert (result.returncode, result.message) == (None, "no answer in time (still trying)")
    assert time.monotonic() - began_s < 10
