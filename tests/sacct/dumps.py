"""Small dumps in the form of sacct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detour.sacct.reading import Dialect, read_rows
from detour.sacct.rows import JobRow

COLUMNS = """JobID JobIDRaw Cluster JobName User Account Partition QOS State Submit Eligible Start End ElapsedRaw
Timelimit ExitCode NodeList NNodes NCPUS AllocTRES ReqTRES"""
HEADER = COLUMNS.split()
DAY_S = 1_772_323_200
"""2026-03-01T00:00:00Z."""
JOB = {
    "JobID": "17",
    "JobIDRaw": "17",
    "Cluster": "jz",
    "JobName": "train",
    "User": "ada",
    "Account": "abc@h100",
    "Partition": "gpu_p6",
    "QOS": "t3",
    "State": "COMPLETED",
    "Submit": "2026-03-01T00:00:00",
    "Eligible": "2026-03-01T00:10:00",
    "Start": "2026-03-01T01:00:00",
    "End": "2026-03-01T03:00:00",
    "ElapsedRaw": "7200",
    "Timelimit": "20:00:00",
    "ExitCode": "0:0",
    "NodeList": "jean-zay-iam01",
    "NNodes": "1",
    "NCPUS": "96",
    "AllocTRES": "billing=4,cpu=96,gres/gpu:h100=4,gres/gpu=4,node=1",
    "ReqTRES": "billing=4,cpu=96,gres/gpu=4,node=1",
}


def job(**cells: str) -> dict[str, str]:
    """Return a completed job of two hours on four GPUs, changed by `cells`."""
    return {**JOB, **cells}


def lines_of(*rows: Mapping[str, str], header: Sequence[str] = HEADER, end: str = "\n") -> list[str]:
    """Return lines as `sacct --parsable2` prints them, or with a trailing delimiter in `end` as `--parsable` does."""
    texts = ["|".join(header), *("|".join(row[column] for column in header) for row in rows)]
    return [line for text in texts for line in f"{text}{end}".splitlines(keepends=True)]


def read(*rows: Mapping[str, str], dialect: Dialect | None = None) -> list[JobRow]:
    return list(read_rows(lines_of(*rows), dialect))


def read_one(dialect: Dialect | None = None, **cells: str) -> JobRow:
    (row,) = read(job(**cells), dialect=dialect)
    return row
