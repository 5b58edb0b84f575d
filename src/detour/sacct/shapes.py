"""Forms of the values in all of sacct's columns, which show where a name that contains the delimiter ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from detour.sacct.columns import plain_name
from detour.sacct.values import parse_duration_s

_FILLED = """jobid jobidraw cluster state submit start end elapsed elapsedraw exitcode nnodes allocnodes ncpus
    alloccpus"""
_FILLED_IN_JOBS = "partition suspended derivedexitcode timelimit timelimitraw restarts reqcpus reqnodes uid gid"
_CLOCKS = "avecpu mincpu systemcpu usercpu totalcpu cputime planned plannedcpu reserved resvcpu timelimit"
_CODES = "exitcode derivedexitcode"
_NUMBERS = """priority associd ntasks reqcpus reqnodes allocnodes alloccpus nnodes ncpus cputimeraw plannedcpuraw
    resvcpuraw dbindex qosraw segmentsize reservationid mincputask maxrsstask maxvmsizetask maxpagestask
    maxdiskreadtask maxdiskwritetask"""
_SIZES = """averss maxrss avevmsize maxvmsize avepages maxpages avediskread maxdiskread avediskwrite maxdiskwrite
    reqmem avecpufreq"""
_LISTS = """tresusageinave tresusageinmax tresusageinmin tresusageintot tresusageoutave tresusageoutmax tresusageoutmin
    tresusageouttot"""
_GRES = "reqgres allocgres"
_WORDS = "group gid uid sluid mcslabel qosreq blockid failednode flags mincpunode maxrssnode maxvmsizenode maxpagesnode"
_SHAPES = {
    _CLOCKS: re.compile(r"(?:(?:\d+-)?\d+(?::\d+){1,2}(?:\.\d+)?|INVALID|None|UNLIMITED|Partition_Limit)?$"),
    _CODES: re.compile(r"(?:\d+:\d+)?$"),
    _NUMBERS: re.compile(r"(?:-?\d+(?:\.\d+)?)?$"),
    _SIZES: re.compile(r"(?:-?\d+(?:\.\d+)?[KMGTPE]?[cn?]?|Unknown)?$"),
    _LISTS: re.compile(r"(?:[^=,]+=[^=,]*(?:,[^=,]+=[^=,]*)*)?$"),
    _GRES: re.compile(r"(?!(?:billing|cpu|mem|node)=)"),
    _WORDS: re.compile(r"\S*$"),
}
SHAPES = {column: shape for columns, shape in _SHAPES.items() for column in columns.split()}
FILLED = frozenset(_FILLED.split())
"""Columns in which sacct always prints something, possibly `Unknown`."""
FILLED_IN_JOBS = frozenset(_FILLED_IN_JOBS.split())
"""Columns that are empty only in rows of steps."""
NOT_ASSIGNED = frozenset({"none assigned", "(null)", "none"})
"""NodeList, in lower case, of a job that never got nodes."""
_STATE = re.compile(r"\d{1,2}$|[A-Za-z][A-Za-z_ -]*\+?(?: by \S+)?$")
_NODES = re.compile(r"[\w.,\[\]-]*$")
SLURM_BEGAN_S = 978_307_200
"""2001, before which there were no Slurm jobs."""


class Shapes:
    """Checks by text whether cells can be a row of sacct; `at` maps our field to the index of its cell."""

    def __init__(self, header: Sequence[str], at: Mapping[str, int], parse_time: Callable[[str], float | None]) -> None:
        names = list(enumerate(map(plain_name, header)))
        self._at = at
        self._time = parse_time
        self._filled = frozenset(column for column, name in names if name in FILLED)
        self._filled_in_jobs = [column for column, name in names if name in FILLED_IN_JOBS]
        self._shapes = {column: SHAPES[name] for column, name in names if name in SHAPES}

    def fits(self, column: int, cell: str) -> bool:
        shape = self._shapes.get(column)
        return (shape is None or shape.match(cell) is not None) and (column not in self._filled or bool(cell.strip()))

    def sound(self, cells: Sequence[str]) -> bool:
        """Whether cells that fit individually can form a row."""
        return (self._is_step(cells) or all(cells[column].strip() for column in self._filled_in_jobs)) and (
            self._are_coherent({field: cells[column].strip() for field, column in self._at.items()})
        )

    def _is_step(self, cells: Sequence[str]) -> bool:
        return any("." in cells[self._at[field]] for field in ("job", "raw_id") if field in self._at)

    def _are_coherent(self, texts: Mapping[str, str]) -> bool:
        """Whether columns of the same meaning agree, and all times are within Slurm's lifetime."""
        times = [self._time(texts.get(field, "")) for field in ("submit", "eligible", "start", "end")]
        job, raw_id = (texts.get(field, "").partition(".")[0] for field in ("job", "raw_id"))
        clock_s, raw_s = (parse_duration_s(texts.get(field, "")) for field in ("elapsed", "elapsed_raw"))
        return (
            all(at is None or at >= SLURM_BEGAN_S for at in times)
            and (job == raw_id or not (job.isdecimal() and raw_id.isdecimal()))
            and (clock_s is None or raw_s is None or int(clock_s) == int(raw_s))
        )


def tres_text(text: str) -> None:
    if text and not all("=" in part for part in text.split(",")):
        raise ValueError("trackable resources, such as cpu=8,gres/gpu=4")


def nodes_text(text: str) -> None:
    if not _NODES.match(text) and text.lower() not in NOT_ASSIGNED:
        raise ValueError("nodes, such as n1 or n[2-4]")


def state_word(text: str) -> None:
    if text and not _STATE.match(text):
        raise ValueError("a state, such as COMPLETED or CANCELLED by 1001")


def plain_word(text: str) -> None:
    if " " in text.strip():
        raise ValueError("a name without blanks")
