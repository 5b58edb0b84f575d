"""Reading the text of squeue and sacct, also malformed text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.scheduler.commands import ACCOUNTING_FIELDS, QUEUE_FIELDS, SEPARATOR
from detour.scheduler.job_ids import parse_job_ids
from detour.scheduler.records import Unreadable, parse_time_s, read_accounting, read_queue
from detour.scheduler.states import JobState
from detour.scheduler.tags import Tag

TAG = Tag("w", "pretrain-1", 2, "s1")
QUEUE_HEADER = SEPARATOR.join(QUEUE_FIELDS) + "\n"
ACCOUNTING_HEADER = SEPARATOR.join(ACCOUNTING_FIELDS) + "\n"


def queue_line(
    job: str = "7",
    state: str = "PENDING",
    name: str = "n",
    comment: str = "(null)",
    *,
    reason: str = "JobHeldUser",
    priority: str = "0",
    dependency: str = "(null)",
    qos: str = "(null)",
    script: str = "(null)",
) -> str:
    fields = [job, state, "1795378999", "N/A", "N/A", "cpu_p1", "", reason, priority, dependency, "root", qos]
    return SEPARATOR.join([*fields, name, comment, script]) + "\n"


def accounting_line(
    job: str = "7", state: str = "FAILED", code: str = "3:0", name: str = "n", comment: str = ""
) -> str:
    fields = [job, job, state, code, "1795378999", "Unknown", "1795379000", "12", "cpu_p1", "cpu1", "cpu=1"]
    return SEPARATOR.join([*fields, "cpu=1", "1", "1", "jz", "0", "root", comment, name]) + "\n"


def test_a_pending_job_is_read_from_the_queue() -> None:
    (record,), broken = read_queue(QUEUE_HEADER + queue_line(comment=str(TAG)))
    assert broken == 0
    assert record.ids == parse_job_ids("7")
    assert record.tag == TAG
    assert record.state == JobState.PENDING
    assert record.is_held
    assert record.submitted_s == 1795378999
    assert record.started_s is None


@pytest.mark.parametrize(("shown", "qos"), [("dev", "dev"), ("(null)", ""), ("N/A", "")])
def test_the_qos_of_a_job_in_the_queue_is_known(shown: str, qos: str) -> None:
    assert read_queue(QUEUE_HEADER + queue_line(qos=shown))[0][0].qos == qos


def test_an_ended_job_is_read_from_the_accounts() -> None:
    (record,), _ = read_accounting(ACCOUNTING_HEADER + accounting_line(state="CANCELLED by 1234", code="0:15"))
    assert record.state is JobState.CANCELLED
    assert record.exit_code == 0
    assert record.signal == 15
    assert record.nodes == "cpu1"
    assert record.started_s is None


@given(st.text(alphabet=st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=40))
def test_free_text_shifts_no_column(text: str) -> None:
    (first, second), broken = read_queue(QUEUE_HEADER + queue_line(comment=text) + queue_line("8"))
    assert first.ids.id == "7"
    assert first.state == JobState.PENDING
    assert second.ids.id == "8"
    assert broken == 0
    (record,), _ = read_accounting(ACCOUNTING_HEADER + accounting_line(name=text))
    assert record.exit_code == 3


@pytest.mark.parametrize("text", ["", "\n", "slurm_load_jobs error: Unable to contact slurm controller\n"])
def test_an_answer_without_its_header_is_no_answer(text: str) -> None:
    with pytest.raises(Unreadable):
        read_queue(text)
    with pytest.raises(Unreadable):
        read_accounting(text)


def test_a_truncated_answer_is_no_answer() -> None:
    whole = QUEUE_HEADER + queue_line() + queue_line("8")
    for length in range(len(whole) - 1):
        try:
            records, broken = read_queue(whole[:length])
        except Unreadable:
            continue
        assert whole[:length].endswith("\n")
        assert len(records) + broken == whole[:length].count("\n") - 1


def test_an_empty_queue_is_an_answer() -> None:
    assert read_queue(QUEUE_HEADER) == ((), 0)


@given(st.lists(st.text(max_size=60), max_size=5))
def test_broken_lines_are_counted_and_the_others_read(lines: list[str]) -> None:
    noise = [line for text in lines for line in text.split("\n")]
    records, broken = read_queue(QUEUE_HEADER + "".join(f"{line}\n" for line in noise) + queue_line())
    assert records[-1].ids.id == "7"
    assert len(records) + broken == len(noise) + 1


@pytest.mark.parametrize(
    "text", ["N/A", "Unknown", "None", "", "0", "99999999999999999999", "9999-01-01T00:00:00", "²"]
)
def test_missing_times_are_unknown(text: str) -> None:
    assert parse_time_s(text) is None


def test_a_time_in_the_default_form_of_slurm_is_read() -> None:
    second, first = parse_time_s("2026-11-22T20:00:01"), parse_time_s("2026-11-22T20:00:00")
    assert first is not None
    assert second == first + 1


@pytest.mark.parametrize(
    ("state", "reason", "priority", "held"),
    [
        ("PENDING", "JobHeldUser", "0", True),
        ("PENDING", "JobHeldAdmin", "0", True),
        ("PENDING", "launch failed requeued held", "0", True),
        ("PENDING", "job requeued in held state", "0", True),
        ("PENDING", "JobHoldMaxRequeue", "0", True),
        ("REQUEUE_HOLD", "job requeued in held state", "0", True),
        ("PENDING", "Dependency", "0", True),
        ("PENDING", "Dependency", "5000", False),
        ("PENDING", "Priority", "", False),
        ("RUNNING", "None", "0", False),
    ],
)
def test_a_pending_job_without_priority_is_held(state: str, reason: str, priority: str, held: bool) -> None:
    (record,), _ = read_queue(QUEUE_HEADER + queue_line(state=state, reason=reason, priority=priority))
    assert record.is_held is held


@pytest.mark.parametrize(
    ("state", "reason", "priority", "why"),
    [
        ("PENDING", "JobHeldUser", "0", ""),
        ("PENDING", "job requeued in held state", "0", "job requeued in held state"),
        (
            "REQUEUE_HOLD",
            "launch failure limit exceeded requeued held",
            "0",
            "launch failure limit exceeded requeued held",
        ),
        ("SPECIAL_EXIT", "JobHeldUser", "0", "SPECIAL_EXIT"),
        ("REQUEUE_HOLD", "None", "5000", ""),
    ],
)
def test_a_requeued_job_states_why_until_it_is_released(state: str, reason: str, priority: str, why: str) -> None:
    (record,), _ = read_queue(QUEUE_HEADER + queue_line(state=state, reason=reason, priority=priority))
    assert record.by_slurm == why


def test_a_dependency_is_read_as_it_is_written() -> None:
    message = "afterok:7_*(unfulfilled),afternotok:8(failed),afterok:9_3(unfulfilled)"
    (record,), _ = read_queue(QUEUE_HEADER + queue_line(dependency=message))
    assert record.dependency == "afterok:7,afternotok:8,afterok:9_3"
    assert record.waits_for == {"7", "8", "9_3"}


@pytest.mark.parametrize(
    ("script", "submission"),
    [("/a b/submissions/prepare-1/1-5f3a.sh", "5f3a"), ("(null)", ""), ("/home/x/train.py", "")],
)
def test_the_path_of_a_script_names_its_submission(script: str, submission: str) -> None:
    (record,), _ = read_queue(QUEUE_HEADER + queue_line(script=script))
    assert record.script == submission


def test_the_comment_in_the_accounts_holds_the_tag() -> None:
    (record,), _ = read_accounting(ACCOUNTING_HEADER + accounting_line(name="rewritten", comment=str(TAG)))
    assert record.tag == TAG
