"""Dumps of centres in different forms, compared with an independent count to the fourth decimal."""

from __future__ import annotations

import io
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.sacct.reading import Dialect, read_rows
from detour.usage.tally import Question, Tally, Usage
from tests.usage.centres import FIGURES, TABLES, Attempt, Centre, attempts, count

_MANY = """AdminComment AllocCPUS Account AllocTRES AssocID AveCPU AveRSS BlockID Cluster Comment Constraints Container
    CPUTimeRAW DerivedExitCode Elapsed ElapsedRaw Eligible End ExitCode Extra FailedNode Flags GID Group JobID JobIDRaw
    JobName Layout Licenses MaxRSS NCPUS NNodes NodeList NTasks Partition PlannedCPURAW Priority QOS ReqCPUS ReqMem
    ReqTRES Reservation Restarts SegmentSize Start State StdErr Submit SubmitLine Suspended Timelimit TotalCPU
    TRESUsageInAve UID User WCKey WorkDir"""
MANY = _MANY.split()
_PLAIN = "JobIDRaw JobID JobName User Account Partition QOS Cluster State Submit Eligible Start End"
PLAIN = _PLAIN.split()
HELD = ["NNodes", "NCPUS", "NodeList", "AllocTRES"]


def on_a_line(one: Attempt) -> bool:
    return "\n" not in one.name


def over(one: Attempt) -> bool:
    return one.state != "RUNNING"


CENTRES = {
    "all of sacct's columns, in any order": Centre(Random(2).sample(MANY, len(MANY)), "Europe/Paris"),
    "--parsable, offsets, no node list, types alone": Centre(
        [*PLAIN[1:], "Elapsed", "AllocTRES"], "America/New_York", end="|\n", time="%Y-%m-%dT%H:%M:%S%z",
        gpus="gres/gpu:v100={0}",
    ),
    "epochs, no duration but the time suspended": Centre([*PLAIN, *HELD, "Suspended"], "UTC", time="%s", has=over),
    "a delimiter of two characters": Centre([*PLAIN, *HELD, "Elapsed"], "Australia/Lord_Howe", delimiter="@@"),
    "tabs, and quotation marks that quote nothing": Centre(
        [*PLAIN, *HELD, "ElapsedRaw"], "Asia/Kolkata", delimiter="\t", gpus="gres/gpu={0}", has=on_a_line
    ),
}  # fmt: skip


def made(centre: Centre, number: int) -> list[Attempt]:
    return [one for one in attempts(Random(7), number, centre.zone) if centre.has(one)]


def usage_of(centre: Centre, *dumps: str) -> Usage:
    place = ZoneInfo(centre.zone)
    tally = Tally(Question(by=tuple((table,) for table in TABLES), zone=place))
    for dump in dumps:
        tally.add(read_rows(io.StringIO(dump, "\n"), Dialect(time_zone=place)))
    return tally.usage()


@pytest.mark.parametrize("centre", CENTRES.values(), ids=CENTRES)
def test_every_table_agrees_with_an_independent_count(centre: Centre) -> None:
    rows = made(centre, 300)
    found = {
        (table.by[0], line.key[0]): line.totals for table in usage_of(centre, centre.dump(rows)).tables
        for line in table.lines if table.by != ("gpus",) or line.totals.jobs
    }  # fmt: skip
    expected = count(rows, centre.zone)
    assert found.keys() == expected.keys()
    for line, figures in expected.items():
        compared = FIGURES[:5] if line[0] == "gpus" else FIGURES
        assert {name: getattr(found[line], name) for name in compared} == pytest.approx(
            {name: float(figures[name]) for name in compared}, abs=5e-5
        ), line


@settings(max_examples=15)
@given(st.sampled_from(list(CENTRES.values())), st.integers(1, 5), st.randoms())
def test_splitting_and_reordering_files_changes_no_figure(centre: Centre, files: int, chance: Random) -> None:
    rows = made(centre, 25)
    whole = usage_of(centre, centre.dump(rows))
    chance.shuffle(rows)
    parts = [rows[first::files] for first in range(files)]
    assert usage_of(centre, *map(centre.dump, parts)) == whole
