"""Job ids as Slurm prints them: `17`, `17_3`, `17_[0-4,8-20:2%5]`, `17_[4%1]`, `17+0`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_FORM = re.compile(r"^(?P<id>\d+)(?:\+\d+)?(?:_(?:(?P<index>\d+)|\[(?P<ranges>[^\]]*)\]))?$")
_RANGE = re.compile(r"^(\d+)(?:-(\d+)(?::(\d+))?)?$")


@dataclass(frozen=True, slots=True)
class JobIds:
    """The jobs on one line: a plain job, one array task, or the pending tasks of an array."""

    id: str
    """Id of the job or of the whole array."""
    indices: tuple[range, ...] = ()
    """Indices of the array tasks; empty for a plain job."""
    complete: bool = True
    """False if Slurm truncated the list of indices with `...`."""

    @property
    def index(self) -> int | None:
        """The index of a single array task."""
        return self.indices[0][0] if len(self.indices) == 1 and len(self.indices[0]) == 1 else None

    def holds(self, index: int | None) -> bool:
        return not self.indices if index is None else any(index in part for part in self.indices)

    def __len__(self) -> int:
        return sum(len(part) for part in self.indices) if self.indices else 1


def is_job_id(text: str) -> bool:
    """Whether text is a job id. Others may write to the ledger, and a later Slurm may number its jobs differently."""
    try:
        parse_job_ids(text)
    except ValueError:
        return False
    return True


def parse_job_ids(text: str) -> JobIds:
    """Raises ValueError for anything that is not a job id, such as a step (`17.batch`)."""
    form = _FORM.match(text.strip())
    if form is None:
        raise ValueError(f"{text!r} is not a job id")
    if form["index"] is not None:
        index = int(form["index"])
        return JobIds(form["id"], (range(index, index + 1),))
    if form["ranges"] is None:
        return JobIds(form["id"])
    listed = form["ranges"].partition("%")[0]  # after it, how many tasks may run at once
    parts = [part for part in listed.split(",") if part]
    known = [part for part in parts if "..." not in part]
    return JobIds(form["id"], tuple(_range(part) for part in known), known == parts)


def _range(text: str) -> range:
    found = _RANGE.match(text)
    if found is None:
        raise ValueError(f"{text!r} is not a range of array indices")
    first = int(found[1])
    return range(first, int(found[2] or first) + 1, int(found[3] or 1))


def array_option(indices: Sequence[int], throttle: int | None) -> str:
    """The value of `--array` for these indices, in ranges: `0-4,7%3`."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    text = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"{text}%{throttle}" if throttle else text
