"""Tables over dumps: totals worked out by hand, equal for any order of rows and any number of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.sacct.reading import read_rows
from detour.sacct.rows import JobRow
from detour.usage.tally import Question, Tally, Usage, size_of
from detour.usage.totals import Totals
from tests.sacct.dumps import DAY_S, job, lines_of


def usage_of(*rows: JobRow, **question: object) -> Usage:
    tally = Tally(Question(**question))  # type: ignore[arg-type]
    tally.add(rows)
    return tally.usage()


def table(usage: Usage, *by: str) -> dict[tuple[str, ...], Totals]:
    (found,) = (one for one in usage.tables if one.by == by)
    return {line.key: line.totals for line in found.lines}


ENTRIES = (
    # 2 h on 4 GPUs, after waiting 1 h: 8 GPU-h, 192 CPU-h
    job(),
    # its steps: no hours
    job(JobID="17.batch", JobIDRaw="17.batch"),
    job(JobID="17.0", JobIDRaw="17.0"),
    # a requeued job: two attempts of 1 h and 30 min on 4 GPUs: 6 GPU-h, 144 CPU-h, waits of 0 and 2 h
    job(JobID="18", JobIDRaw="18", State="PREEMPTED", Submit="2026-03-01T01:00:00", ElapsedRaw="3600"),
    job(
        JobID="18", JobIDRaw="18", State="TIMEOUT", Submit="2026-03-02T00:00:00", Start="2026-03-02T02:00:00",
        End="2026-03-02T02:30:00", ElapsedRaw="1800",
    ),
    # the id again after the counter wrapped, of another user: 1 h on one GPU, typed only: 1 GPU-h, 8 CPU-h, wait 0
    job(
        User="bob", JobName="a|b", Submit="2026-04-30T23:30:00", Start="2026-04-30T23:30:00",
        End="2026-05-01T00:30:00", ElapsedRaw="3600", NCPUS="8", AllocTRES="cpu=8,gres/gpu:a100=1,node=1",
        State="CANCELLED by 1001",
    ),
    # cancelled while three array tasks waited: no hours
    job(
        JobID="20_[1-3%2]", JobIDRaw="20", State="CANCELLED by 1001", Start="2026-03-05T00:00:00",
        End="2026-03-05T00:00:00", ElapsedRaw="0", NodeList="None assigned",
    ),
    # on CPUs alone, 1 h: 4 CPU-h, wait 1 h
    job(
        JobID="21", JobIDRaw="21", User="bob", JobName="two\nlines", End="2026-03-01T02:00:00", ElapsedRaw="3600",
        NCPUS="4", AllocTRES="cpu=4,node=1", ReqTRES="cpu=4,node=1",
    ),
)  # fmt: skip
DUMP = lines_of(*ENTRIES)


def test_totals_equal_those_worked_out_by_hand() -> None:
    usage = usage_of(*read_rows(DUMP), by=(("user",), ("month",), ("month", "user"), ("gpus",)))
    assert (usage.whole.jobs, usage.whole.never_ran) == (5, 3)
    assert (usage.whole.gpu_hours, usage.whole.cpu_hours, usage.whole.wait_hours) == (15.0, 348.0, 4.0)
    users = table(usage, "user")
    assert {key: (one.jobs, one.gpu_hours, one.cpu_hours, one.wait_hours) for key, one in users.items()} == {
        ("ada",): (3, 14.0, 336.0, 3.0),
        ("bob",): (2, 1.0, 12.0, 1.0),
    }
    months = table(usage, "month")
    assert {key: (one.jobs, one.gpu_hours, one.cpu_hours) for key, one in months.items()} == {
        ("2026-03",): (4, 14.0, 340.0),
        ("2026-04",): (0, 0.5, 4.0),
        ("2026-05",): (1, 0.5, 4.0),
    }
    assert table(usage, "month", "user")["2026-03", "bob"].cpu_hours == 4.0
    assert {key: one.jobs for key, one in table(usage, "gpus").items()} == {("0",): 1, ("1",): 1, ("3-4",): 3}


def test_rows_can_be_limited_to_one_user() -> None:
    usage = usage_of(*read_rows(DUMP), by=(("state",),), only={"user": "bob"})
    assert {key: one.jobs for key, one in table(usage, "state").items()} == {("CANCELLED",): 1, ("COMPLETED",): 1}


def test_an_attempt_in_overlapping_dumps_counts_once() -> None:
    rows = list(read_rows(DUMP))
    assert usage_of(*rows, *rows[:3]).whole == usage_of(*rows).whole
    assert usage_of(*rows, *rows[:3]).repeated == 3


@pytest.mark.parametrize("ended_first", [True, False])
def test_the_end_of_an_attempt_replaces_its_running_row(ended_first: bool) -> None:
    (ended,) = read_rows(lines_of(job()))
    running = ended._replace(end_s=None, elapsed_s=600, state="RUNNING")
    pending = running._replace(start_s=None, elapsed_s=0, state="PENDING")
    rows = (ended, running, pending) if ended_first else (pending, running, ended)
    usage = usage_of(*rows)
    assert usage.whole == usage_of(ended).whole
    assert usage.superseded == 2


def test_of_an_unfinished_attempt_the_latest_row_counts() -> None:
    (ended,) = read_rows(lines_of(job()))
    early, late = (ended._replace(end_s=None, elapsed_s=seconds, state="RUNNING") for seconds in (600, 1800))
    assert usage_of(late, early).whole.gpu_hours == 2.0
    assert usage_of(early, late).whole.gpu_hours == 2.0


@pytest.mark.parametrize(
    ("gpus", "size"),
    [(None, "unknown"), (0, "0"), (1, "1"), (2, "2"), (3, "3-4"), (4, "3-4"), (5, "5-8"), (64, "33-64")],
)
def test_classes_of_size_double(gpus: int | None, size: str) -> None:
    assert size_of(gpus) == size


ATTEMPTS = st.builds(
    lambda number, submit, wait, elapsed, state: JobRow(
        job_id=number,
        shown_id=str(number),
        user=("ada", "bob", None)[number % 3],
        state=state,
        submit_s=DAY_S + submit,
        eligible_s=DAY_S + submit,
        start_s=None if state == "PENDING" else DAY_S + submit + wait,
        end_s=None if state in ("PENDING", "RUNNING") else DAY_S + submit + wait + elapsed,
        elapsed_s=elapsed,
        n_cpus=24,
        n_gpus=(None, 0, 1, 4)[number % 4],
        n_nodes=1,
    ),
    st.integers(1, 9),
    st.floats(0, 4e6, allow_nan=False) | st.sampled_from([0.0, 1e6]),
    st.integers(0, 90_000),
    st.integers(0, 400_000),
    st.sampled_from(["COMPLETED", "PENDING", "RUNNING"]),
)
"""Some are the same attempt, seen twice or again later."""


@given(st.lists(ATTEMPTS, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_digit(rows: list[JobRow], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    by = (("day",), ("month", "user"), ("gpus",))
    assert usage_of(*shuffled, by=by).tables == usage_of(*rows, by=by).tables


@given(st.lists(ATTEMPTS, max_size=12))
def test_the_pieces_of_every_period_add_up_to_the_whole(rows: list[JobRow]) -> None:
    usage = usage_of(*rows, by=(("day",), ("month",), ("year",), ("user",)))
    for one in usage.tables:
        assert tuple(map(sum, zip(*(line.totals for line in one.lines), strict=True))) == tuple(
            usage.whole if one.lines else ()
        )


@given(st.permutations(ENTRIES), st.lists(st.integers(0, 3), min_size=len(ENTRIES), max_size=len(ENTRIES)))
def test_any_split_into_files_gives_the_same_tables(entries: Sequence[Mapping[str, str]], files: list[int]) -> None:
    parts = [
        lines_of(*(entry for entry, file in zip(entries, files, strict=True) if file == part)) for part in range(4)
    ]
    rows = [row for lines in parts for row in read_rows(lines)]
    assert usage_of(*rows).tables == usage_of(*read_rows(DUMP)).tables
