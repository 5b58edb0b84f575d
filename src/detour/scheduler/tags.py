"""The tag that makes a job ours: in its name and its comment, so that it can be found without its id.

`detour:1:<workspace>:<unit>:<segment>:<submission>`, without blanks, `|` or anything that a shell or a table would
misread. The unit is what is submitted as one: a stage, or the group of stages that share one array or job.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_BYTES = 1024
"""Maximum length of `--comment`."""
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_TAG = re.compile(
    rf"detour:1:(?P<workspace>{_WORD}):(?P<unit>{_WORD}):(?P<segment>[0-9]{{1,6}}):(?P<submission>{_WORD})"
)


Tasks = tuple[tuple[str, ...], ...]
"""The stages of each task of a job."""


def unit_of(stages: Sequence[str]) -> str:
    """A stage's own id, or one for the ordered group that is submitted as one job or array."""
    if len(stages) == 1:
        return stages[0]
    kinds = {stage.partition("-")[0] for stage in stages}
    kind = kinds.pop() if len(kinds) == 1 else "stages"
    return f"{kind}-x{len(stages)}-{hashlib.sha256(' '.join(stages).encode()).hexdigest()[:16]}"


def may_share(unit: str, kind: str) -> bool:
    """Whether the unit is a group that may have stages of this kind, by its name."""
    of_kind, _, rest = unit.partition("-")
    return rest.startswith("x") and of_kind in (kind, "stages")


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """A place for a job: one segment of one unit. At most one live job may ever fill it."""

    unit: str
    segment: int = 1

    def __str__(self) -> str:
        return self.unit if self.segment == 1 else f"{self.unit} segment {self.segment}"


@dataclass(frozen=True, slots=True)
class Tag:
    workspace: str
    unit: str
    segment: int
    submission: str
    """Different for every decision to send the job, so that a second try differs from the first."""

    def __post_init__(self) -> None:
        if not _TAG.fullmatch(str(self)) or len(str(self)) >= LONGEST_BYTES:
            raise ValueError(f"{self} cannot be the tag of a job")

    def __str__(self) -> str:
        return f"detour:1:{self.workspace}:{self.unit}:{self.segment}:{self.submission}"

    @property
    def slot(self) -> Slot:
        return Slot(self.unit, self.segment)


def find_tag(*texts: str) -> Tag | None:
    """The first tag in a job's name or comment; sites and wrappers may have added text around it."""
    for text in texts:
        if (found := _TAG.search(text)) and len(found[0]) < LONGEST_BYTES:
            return Tag(found["workspace"], found["unit"], int(found["segment"]), found["submission"])
    return None
