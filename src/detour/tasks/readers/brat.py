"""BRAT standoff: `ID.txt` and `ID.ann`, with nested, discontinuous and coded entities.

Offsets count the characters of the file. The tool that wrote them may have counted without a byte-order mark, with one
character per line end, or after Unicode composition, so the text is read in the form in which every mention matches
its span. Relations, events and attributes are ignored.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

from detour.config.models import Task
from detour.errors import UserError
from detour.tasks.document import Document, Entity, Fragment
from detour.tasks.readers.lines import decoded, numbered_lines
from detour.tasks.readers.registry import Reader

TEXT, ANNOTATIONS = ".txt", ".ann"
_OTHER_LINES = tuple("REAMN*")
"""First characters of relations, events, attributes (two letters), normalisations and equivalences."""
_CODE_SEPARATORS = re.compile(r"[\s+,;]+")
BYTE_ORDER_MARK = "\ufeff"


class Mention(NamedTuple):
    """A mention of an entity (T line)."""

    label: str
    fragments: tuple[Fragment, ...]
    """Fragments as written: in the order of the mention's text, which may differ from that of the document."""
    text: str
    line: int

    @property
    def end(self) -> int:
        return max(end for _, end in self.fragments)


class Note(NamedTuple):
    kind: str
    """`AnnotatorNotes`, or the code's terminology."""
    text: str


def read(paths: Sequence[Path], task: Task, dropped: Counter[str]) -> Iterator[Document]:
    """Yield every document with its entities."""
    assert task.data is not None
    wanted, terminology = set(task.data.entity_labels), task.data.terminology
    for text_path, annotation_path in pairs(paths):
        mentions, notes = parse(annotation_path)
        if adrift := sum(len(notes[key]) for key in notes.keys() - mentions.keys() if key.startswith("T")):
            dropped["a note on an entity that is not in its file"] += adrift
        text = _fitting(decoded(text_path), list(mentions.values()), text_path, annotation_path)
        entities = tuple(
            Entity(mention.label, _whole(mention.fragments, text), _codes(notes[key], terminology))
            for key, mention in mentions.items()
            if not wanted or mention.label in wanted
        )
        yield Document(text, entities=entities, name=text_path.stem, path=text_path)


def pairs(paths: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pair texts with their annotations. Raises UserError for one without the other."""
    texts = {path.with_suffix("") for path in paths if path.suffix == TEXT}
    annotations = {path.with_suffix("") for path in paths if path.suffix == ANNOTATIONS}
    for stem in sorted(annotations - texts):
        raise UserError(f"{_with(stem, ANNOTATIONS)}: has no text: {stem.name}{TEXT} is not next to it")
    for stem in sorted(texts - annotations):
        raise UserError(
            f"{_with(stem, TEXT)}: has no annotations: {stem.name}{ANNOTATIONS} is not next to it; an empty one says "
            "that there are no entities"
        )
    return [(_with(stem, TEXT), _with(stem, ANNOTATIONS)) for stem in sorted(texts)]


def _with(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def parse(path: Path) -> tuple[dict[str, Mention], dict[str, list[Note]]]:
    """Return mentions and their notes by the mention's id. Raises UserError with the line of a malformed one."""
    mentions: dict[str, Mention] = {}
    notes: dict[str, list[Note]] = defaultdict(list)
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        key, _, rest = line.partition("\t")
        if key.startswith("T"):
            if key in mentions:
                raise UserError(f"{path}: line {number}: {key} appears twice: ids must be unique")
            mentions[key] = _mention(path, number, rest or line)
        elif key.startswith("#"):
            head, _, text = rest.partition("\t")
            kind, _, target = head.rpartition(" ")
            notes[target].append(Note(kind, text.strip()))
        elif not key.startswith(_OTHER_LINES):
            raise UserError(f"{path}: line {number}: not BRAT: begins with {key[:20]!r}, expected T1, R1, A1 or #1")
    return mentions, notes


def _mention(path: Path, number: int, rest: str) -> Mention:
    head, _, text = rest.partition("\t")
    label, _, spans = head.partition(" ")
    try:
        fragments = tuple((int(start), int(end)) for start, end in (span.split() for span in spans.split(";")))
    except ValueError:
        raise UserError(
            f"{path}: line {number}: {_short(head)} is not an entity: expected LABEL START END, or LABEL START "
            "END;START END, between tabs"
        ) from None
    if any(start >= end or start < 0 for start, end in fragments):
        raise UserError(f"{path}: line {number}: {spans!r} holds a span without characters: expected 0 <= START < END")
    if any(start < end for (_, end), (start, _) in pairwise(sorted(fragments))):
        raise UserError(f"{path}: line {number}: the fragments {spans!r} of one entity overlap")
    return Mention(label, fragments, text, number)


def _fitting(raw: str, mentions: Sequence[Mention], text_path: Path, annotation_path: Path) -> str:
    """Return the form of the text in which every mention matches its span. Raises UserError if there is none."""
    for text in _forms(raw):
        if all(_says(text, mention) for mention in mentions):
            return text
    wrong = next(mention for mention in mentions if not _says(raw, mention))
    place = f"{annotation_path}: line {wrong.line}"
    if wrong.end > len(raw):
        raise UserError(f"{place}: the span ends at {wrong.end:,} and {text_path.name} has {len(raw):,} characters")
    found = _slices(raw, wrong.fragments)
    raise UserError(f"{place}: says {_short(wrong.text)}, and {text_path.name} has {_short(found)} there")


def _forms(raw: str) -> Iterator[str]:
    """Yield the text as in the file, then as other tools may have counted it."""
    for without_mark, unix_lines, composed in product((False, True), repeat=3):
        text = raw.removeprefix(BYTE_ORDER_MARK) if without_mark else raw
        text = text.replace("\r\n", "\n") if unix_lines else text
        yield unicodedata.normalize("NFC", text) if composed else text


def _says(text: str, mention: Mention) -> bool:
    return mention.end <= len(text) and _plain(_slices(text, mention.fragments)) == _plain(mention.text)


def _slices(text: str, fragments: Sequence[Fragment]) -> str:
    return " ".join(text[start:end] for start, end in fragments)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _whole(fragments: tuple[Fragment, ...], text: str) -> tuple[Fragment, ...]:
    """Return the fragments in order, joining those separated only by a line end, at which BRAT splits entities."""
    first, *others = sorted(fragments)
    joined = [first]
    for start, end in others:
        gap = text[joined[-1][1] : start]
        if not gap.strip() and "\n" in gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple(joined)


def _codes(notes: Sequence[Note], terminology: str | None) -> tuple[str, ...]:
    """Return the codes in the notes, separated by space, `+`, comma or semicolon, of one terminology if given."""
    texts = [note.text for note in notes if terminology in (None, note.kind)]
    return tuple(dict.fromkeys(code for text in texts for code in _CODE_SEPARATORS.split(text) if code))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


READER = Reader(
    read,
    "a folder of ID.txt and ID.ann (BRAT standoff); an empty ID.ann says that there are no entities",
    suffixes=(TEXT, ANNOTATIONS),
    types=("ner",),
    is_paired=True,
)
