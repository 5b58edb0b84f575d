"""BIO or CoNLL columns: one token per line with its tag last, and a blank line between sentences.

Documents begin at `-DOCSTART-` lines; if there are none, each sentence is a document. The text consists of the tokens
separated by spaces, with a line end after each sentence. Tags are IOB2 (`B-X`, `I-X`, `O`), optionally with `E-X` and
`S-X`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detour.config.models import Task
from detour.errors import UserError
from detour.tasks.document import Document, Entity
from detour.tasks.readers.lines import numbered_lines
from detour.tasks.readers.registry import Reader

DOCUMENT_START = "-DOCSTART-"
_SPACES = re.compile(" +")
"""Not white space in general: in French, `10 000` is one token with a space that does not break."""


@dataclass(slots=True)
class Growing:
    """A document that is built token by token."""

    text: str = ""
    entities: list[Entity] = field(default_factory=list)
    label: str | None = None
    """Label of the previous token's entity, if the next token may continue it."""
    start: int = 0

    def add(self, token: str, tag: str) -> None:
        """Add a token. Raises ValueError for a tag that is not valid here."""
        prefix, _, label = tag.partition("-")
        goes_on = prefix in ("I", "E")
        if tag != "O" and (prefix not in ("B", "I", "E", "S") or not label):
            raise ValueError(f"the tag {tag!r} is none of O, B-X, I-X, E-X, S-X")
        if goes_on and label != self.label:
            raise ValueError(f"the tag {tag!r} continues an entity that does not end here: IOB2 begins with B-{label}")
        if self.text and not self.text.endswith("\n"):
            self.text += " "
        start = len(self.text)
        self.text += token
        if goes_on:
            self.entities[-1] = Entity(label, ((self.start, len(self.text)),))
        elif tag != "O":
            self.start = start
            self.entities.append(Entity(label, ((start, len(self.text)),)))
        self.label = label if prefix in ("B", "I") and tag != "O" else None

    def end_sentence(self) -> None:
        self.label = None
        if self.text and not self.text.endswith("\n"):
            self.text += "\n"


def read(paths: Sequence[Path], task: Task, dropped: Counter[str]) -> Iterator[Document]:  # noqa: ARG001
    assert task.data is not None
    wanted = set(task.data.entity_labels)
    for path in paths:
        lines = list(numbered_lines(path))
        whole = any(line.startswith(DOCUMENT_START) for _, line in lines)
        for number, grown in enumerate(_documents(path, lines, whole=whole), 1):
            entities = tuple(entity for entity in grown.entities if not wanted or entity.label in wanted)
            name = f"{path.stem} {number}"
            yield Document(grown.text.removesuffix("\n"), entities=entities, name=name, path=path)


def _documents(path: Path, lines: Iterable[tuple[int, str]], *, whole: bool) -> Iterator[Growing]:
    """Yield the documents; with `whole`, they have several sentences and begin at marked lines."""
    growing = Growing()
    for number, line in lines:
        fields = line.split("\t") if "\t" in line else _SPACES.split(line.strip(" "))
        starts = line.startswith(DOCUMENT_START)
        if starts or not line.strip():
            growing.end_sentence()
            if growing.text and (starts or not whole):
                yield growing
                growing = Growing()
            continue
        token, tag = fields[0].strip(" "), fields[-1].strip()
        if len(fields) < 2 or not token:
            expected = "expected a token and its tag, with a tab or spaces between"
            raise UserError(f"{path}: line {number}: {line[:40]!r} has no tag: {expected}")
        try:
            growing.add(token, tag)
        except ValueError as error:
            raise UserError(f"{path}: line {number}: {error}") from None
    growing.end_sentence()
    if growing.text:
        yield growing


READER = Reader(
    read,
    "files of one token per line with its tag in the last column (IOB2), a blank line between sentences",
    suffixes=(".tsv", ".conll", ".bio", ".iob", ".iob2"),
    types=("ner",),
)
