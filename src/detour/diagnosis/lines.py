"""The end of a log, line by line: which rank wrote it, when, how far the work was, which exceptions it shows.

Logs of many ranks are one text: each line may begin with its writer (`[rank5]:`, `5: `, `[1,5]<stderr>:`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from detour.diagnosis.languages import in_english
from detour.diagnosis.progress import gives_loss, has_finite_loss, step_in
from detour.diagnosis.tracebacks import find_tracebacks, is_framed
from detour.text import without_sequences

LONGEST = 2000
"""Characters of a line that are read, half at each end: the time of patterns grows with the square."""
_RANK = re.compile(
    r"^(?:(?:[\da-f]{8} )?\[(?:rank|default)[\s=]*(?P<a>\d+)\](?::| \|\|)?|"
    r"(?P<b>\d{1,4}):(?=\s|$)|\[\d+,(?P<c>\d+)\]<std(?:out|err)>:)"
    r"\s?(?P<rest>.*)$",
    re.DOTALL,
)
_HOST = re.compile(
    r"^[A-Za-z][\w-]*\d[\w.-]*: (?=Traceback \(|\s+File \"|(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b)"
)
"""The node's name that a launcher writes before lines of a traceback."""
_GROUP = re.compile(r"^ {2,}(?:\+-\+-+ \d+ -+|[|+] ?)")
"""The frame that Python draws around exceptions raised together."""
_STAMP = re.compile(
    r"^(?:(?:\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?Z?\]? ?)+|"
    r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}(?=\[\d+,\d+\]))"
)
_CLOCK = re.compile(
    r"(?:\d{4}-(?P<month>\d\d)-(?P<day>\d\d)[T ]|\[?[EWIF](?P<glog>\d{3,4}) )"
    r"(?P<hours>[01]\d|2[0-3]):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d(?:[.,]\d{1,9})?)"
)
_STEP_ENDS = re.compile(r"srun: (?:Force )?Terminat|STEP \S+ ON \S+ CANCELLED AT|Job step aborted")
_ERROR = re.compile(
    r"\b(?:\w*error|errors|fatal|critical|fail|fails|failed|failure|abort\w*|panic\w*|cannot|refused|"
    r"terminate called)\b(?!\.\w)",
    re.IGNORECASE,
)
_QUOTATION = re.compile(r"(?<!\w)(['\"])(?:(?!\1).)+\1(?!\w)")
_CHATTER = re.compile(
    r"(?-i:\bNCCL (?:INFO|TRACE)\b|(?<![=_])\b(?:INFO|DEBUG)\b(?!=|: task \w))|\bwill retry\b|\bretrying\b|"
    r"\bskipping\b|\bfalling back\b|\bcontinuing without\b|\bignor(?:e|ing)\b.{0,40}\bcontinu|"
    r"\bentering retry loop\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    """From 1."""
    raw: str
    text: str
    """Without its rank; messages of the system in English."""
    rank: int | None
    clock_s: float | None
    """The time in the line, comparable only with others in the same log."""
    progress: int | None
    """The step that it reports."""
    names_loss: bool = False
    chain: int | None = None
    """For a line with an exception, the number of its chain: equal for exceptions raised from one another."""
    is_quoted: bool = False
    """Source code in a traceback, which mentions what might have happened."""
    within: str = ""
    """For a line with an exception, the source code quoted in its traceback."""

    @property
    def has_finite_loss(self) -> bool:
        return has_finite_loss(self.text) or (self.names_loss and self.progress is not None)

    @property
    def gives_loss(self) -> bool:
        """Whether it is a line of the training's metrics."""
        return self.chain is None and self.names_loss

    @property
    def ends_step(self) -> bool:
        """Whether Slurm reports here that it ends what is left of the step."""
        return _STEP_ENDS.search(self.text) is not None

    @property
    def is_error(self) -> bool:
        return self.chain is not None or _ERROR.search(self.text) is not None

    @property
    def quotations(self) -> tuple[str, ...]:
        """Quotations in a line that mentions no error otherwise, as one that prints data; none from JSON."""
        if (
            self.chain is not None
            or self.text.lstrip()[:1] in ("{", '"')
            or _ERROR.search(_QUOTATION.sub("", self.text))
        ):
            return ()
        return tuple(match[0] for match in _QUOTATION.finditer(self.text))

    @property
    def is_chatter(self) -> bool:
        """Whether it describes a program's normal course, or something it will retry."""
        return self.chain is None and _CHATTER.search(self.text) is not None


def read_lines(raw_lines: Sequence[str]) -> tuple[Line, ...]:
    lines = [_line(raw) for raw in raw_lines]
    found = find_tracebacks((number, line.rank, line.text.rstrip()) for number, line in enumerate(lines, 1))
    return tuple(
        replace(
            line,
            number=number,
            text=line.text.lstrip() if number in found.chains else line.text,
            chain=found.chains.get(number),
            is_quoted=number in found.quoted or is_framed(line.text),
            within=found.within.get(number, ""),
        )
        for number, line in enumerate(lines, 1)
    )


@lru_cache(maxsize=4096)
def _line(raw: str) -> Line:
    """Parse a line, in which the writer may be before or after the time; cached, since logs repeat themselves."""
    text = _HOST.sub("", in_english(without_sequences(ends(raw))))
    clock_s = _clock_s(text)
    before, text = _without_rank(text)
    behind, text = _without_rank(_STAMP.sub("", text))
    text = _GROUP.sub("", text)
    return Line(0, raw, text, behind if before is None else before, clock_s, step_in(text), gives_loss(text))


def ends(text: str) -> str:
    """The beginning and end of a long line: who writes, and what precedes a progress bar."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def _without_rank(text: str) -> tuple[int | None, str]:
    match = _RANK.match(text)
    return (int(match["a"] or match["b"] or match["c"]), match["rest"]) if match else (None, text)


def _clock_s(text: str) -> float | None:
    """Without the year, which glog's stamps lack; None without a date, since the time of day repeats."""
    match = _CLOCK.search(text)
    if match is None:
        return None
    glog = match["glog"]
    month, day = (int(glog[:-2]), int(glog[-2:])) if glog else (int(match["month"]), int(match["day"]))
    seconds = float(match["seconds"].replace(",", "."))
    return ((month * 31 + day) * 24 + int(match["hours"])) * 3600.0 + int(match["minutes"]) * 60 + seconds
