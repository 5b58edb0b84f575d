"""The end of a log, line by line: whose rank a line is, when it was written, how far the work was, which exceptions.

Logs of many ranks are one text: each line may begin with its writer (`[rank5]:`, `5: `, `[1,5]<stderr>:`), and
tracebacks of several ranks are interleaved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from detour.diagnosis.languages import in_english

LONGEST = 2000
"""Characters of a line that are looked at, half of them at either end: the time of patterns grows with the square."""
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;:?]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9])")
"""Sequences for terminals: colours, titles, sets of characters."""
_RANK = re.compile(
    r"^(?:\[(?:rank|default)\s*(?P<a>\d+)\]:?|(?P<b>\d{1,4}):(?=\s|$)|\[\d+,(?P<c>\d+)\]<std(?:out|err)>:)"
    r"\s?(?P<rest>.*)$",
    re.DOTALL,
)
_HOST = re.compile(
    r"^[A-Za-z][\w-]*\d[\w.-]*: (?=Traceback \(|\s+File \"|(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b)"
)
"""A launcher's word for the node that writes, before what a traceback is made of."""
_STAMP = re.compile(
    r"^(?:\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?Z?\]? ?|"
    r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}(?=\[\d+,\d+\]))"
)
_CLOCK = re.compile(
    r"(?:\d{4}-(?P<month>\d\d)-(?P<day>\d\d)[T ]|\[?[EWIF](?P<glog>\d{3,4}) )"
    r"(?P<hours>[01]\d|2[0-3]):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d(?:[.,]\d{1,9})?)"
)
_PROGRESS = (
    re.compile(r"\[(?:batch|step|iter)=(\d+)/\d+\]"),
    re.compile(
        r"\b(?:global[_ ])?(?:[Ss]tep|[Ii]ter(?:ation)?|[Bb]atch|[Uu]pdate)s?\b\s*[:=\[# ]\s*(\d+)\b(?![.\d]*\d\.)"
    ),
    re.compile(r"\|\s*(\d+)/\d+ \[\d+:\d+"),
)
_LOSS_FIGURE = re.compile(r"loss\S*[\"']?\s*[:=|]?\s*[\"']?\d+\.\d", re.IGNORECASE)
_PROGRESS_BESIDE_LOSS = (
    re.compile(r"\[\s*(\d+)/\d+"),
    re.compile(r"\b(\d+)/\s*\d+ batches"),
    re.compile(r"\"(?:step|global_step|num_updates)\"\s*:\s*\"?(\d+)"),
    re.compile(r"^(?:ba|it)\s+(\d+)\b"),
)
"""Figures that stand for a step only in a line that also gives a loss."""
_STEP_ENDS = re.compile(r"srun: (?:Force )?Terminat|STEP \S+ ON \S+ CANCELLED AT|Job step aborted")
_FINITE_LOSS = re.compile(r"loss\S*[\"']?\s*[:=]\s*\d", re.IGNORECASE)
_NO_PROGRESS = re.compile(r"slurmstepd|srun:|Error|Exception|error:|StepId|signal|[Ss]aved|[Ss]aving|[Rr]esum")
_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r"\s+File \".+\", line \d+")
"""Opens a traceback whose beginning the tail of the log has lost."""
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_EXCEPTION = re.compile(
    r"^(?!(?:INFO|DEBUG|WARN|WARNING|ERROR|CRITICAL|FATAL|NOTE)\b)(?=[\w.]*[A-Z.])[A-Za-z_][\w.]*(?::\s.*|:?)$"
)
_NAMED = re.compile(
    r"^(?:.{0,120}\b(?:ERROR|CRITICAL|FATAL|failed:|refused:)\W+|\w+(?:\.\w+)+: )?(?:\w+\.)*"
    r"(?:[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Failure|Failed|Invalid|Denied|Mismatch|Timeout)|BadZipFile|StopIteration|"
    r"Exception|(?<=\bexc\.)[A-Z]\w+|(?<=\berrors\.)[A-Z]\w+|(?<=\bexceptions\.)[A-Z]\w+)(?::\s|:?$)"
)
_ERROR = re.compile(
    r"\b(?:\w*error|errors|fatal|critical|fail|fails|failed|failure|abort\w*|cannot|refused)\b", re.IGNORECASE
)
_CHATTER = re.compile(
    r"(?-i:\bNCCL (?:INFO|TRACE)\b|(?<![=_])\b(?:INFO|DEBUG)\b(?!=|: task \w))|\bwill retry\b|\bretrying\b|"
    r"\bskipping\b|\bfalling back\b|\bcontinuing without\b|\bignor(?:e|ing)\b.{0,40}\bcontinu|"
    r"\bentering retry loop\b",
    re.I,
)
_BOX = re.compile(r"[│╭╰]|\|(?![^|]{0,40}\| (?:Fail\b|GPU \d))")
"""Opens a line of a table or of a framed traceback; a row of `dcgmi diag` that tells of a bad GPU is no such line."""


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    """From 1."""
    raw: str
    text: str
    """Without its rank, the system's words in English."""
    rank: int | None
    clock_s: float | None
    """When it says that it was written; only to be compared with others of the same log."""
    progress: int | None
    """The step that it reports."""
    chain: int | None = None
    """Of a line with an exception: number of its chain, equal for exceptions that were raised from one another."""
    is_quoted: bool = False
    """Source code in a traceback, which speaks of what might have happened."""
    within: str = ""
    """Of a line with an exception: the source code that its traceback quotes."""

    @property
    def has_finite_loss(self) -> bool:
        return _FINITE_LOSS.search(self.text) is not None

    @property
    def gives_loss(self) -> bool:
        """Whether it is a line of the training's metrics."""
        return self.chain is None and _LOSS_FIGURE.search(self.text) is not None

    @property
    def ends_step(self) -> bool:
        """Whether Slurm says here that it ends what is left of the step."""
        return _STEP_ENDS.search(self.text) is not None

    @property
    def is_error(self) -> bool:
        return self.chain is not None or _ERROR.search(self.text) is not None

    @property
    def is_chatter(self) -> bool:
        """What a program says of its normal course, or will try again."""
        return self.chain is None and _CHATTER.search(self.text) is not None


def read_lines(raw_lines: Sequence[str]) -> tuple[Line, ...]:
    lines = [_line(number, raw) for number, raw in enumerate(raw_lines, 1)]
    chains, quoted, within = _tracebacks(lines)
    return tuple(
        replace(
            line,
            chain=chains.get(line.number),
            is_quoted=line.number in quoted or _BOX.match(line.text) is not None,
            within=within.get(line.number, ""),
        )
        for line in lines
    )


def _line(number: int, raw: str) -> Line:
    """The writer may stand before its time or behind it."""
    text = _HOST.sub("", in_english(without_sequences(ends(raw))))
    clock_s = _clock_s(text)
    before, text = _without_rank(text)
    behind, text = _without_rank(_STAMP.sub("", text))
    return Line(number, raw, text, behind if before is None else before, clock_s, _progress(text))


def without_sequences(text: str) -> str:
    """Without what colours and titles a terminal."""
    return _SEQUENCE.sub("", text)


def ends(text: str) -> str:
    """A long line's beginning and end: who writes, and what a progress bar has before it."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def _without_rank(text: str) -> tuple[int | None, str]:
    match = _RANK.match(text)
    return (int(match["a"] or match["b"] or match["c"]), match["rest"]) if match else (None, text)


def _clock_s(text: str) -> float | None:
    """Without the year, which glog's stamps do not have; None without a date, for a day has many midnights."""
    match = _CLOCK.search(text)
    if match is None:
        return None
    glog = match["glog"]
    month, day = (int(glog[:-2]), int(glog[-2:])) if glog else (int(match["month"]), int(match["day"]))
    seconds = float(match["seconds"].replace(",", "."))
    return ((month * 31 + day) * 24 + int(match["hours"])) * 3600.0 + int(match["minutes"]) * 60 + seconds


def _progress(text: str) -> int | None:
    if _NO_PROGRESS.search(text):
        return None
    patterns = (*_PROGRESS_BESIDE_LOSS, *_PROGRESS) if _LOSS_FIGURE.search(text) else _PROGRESS
    found = (pattern.search(text) for pattern in patterns)
    return next((int(match[1]) for match in found if match), None)


def _tracebacks(lines: Iterable[Line]) -> tuple[dict[int, int], set[int], dict[int, str]]:
    """Line number -> chain, for lines that name a raised exception; the lines that quote source code; and exception ->
    what its traceback quotes.
    """
    chains: dict[int, int] = {}
    quoted: set[int] = set()
    within: dict[int, str] = {}
    open_code: dict[int | None, list[str]] = {}
    linked: set[int | None] = set()
    ignored: set[int | None] = set()
    chain: dict[int | None, int] = {}
    for line in lines:
        rank, text = line.rank, line.text.rstrip()
        if _TRACEBACK in text and not _BOX.match(text):
            open_code[rank] = []
            if rank not in linked:
                chain[rank] = line.number
            linked.discard(rank)
        elif text.startswith("Exception ignored"):
            ignored.add(rank)
        elif text.strip() in _CHAINED:
            linked.add(rank)
        elif text[:1].isspace() and (rank in open_code or _FRAME.match(text)):
            quoted.add(line.number)
            open_code.setdefault(rank, []).append(text)
        elif _NAMED.match(text) or (rank in open_code and text and _EXCEPTION.match(text)):
            chains[line.number] = chain.get(rank, line.number) if rank in open_code else line.number
            within[line.number] = "\n".join(open_code.pop(rank, []))
            quoted |= {line.number} if rank in ignored else set()
            ignored.discard(rank)
        elif rank not in chain:  # without its beginning, what follows the code ends it
            open_code.pop(rank, None)
    return chains, quoted, within


def names_exception(text: str) -> bool:
    """Whether a text by itself, outside a log, begins with an exception."""
    return _NAMED.match(text) is not None
