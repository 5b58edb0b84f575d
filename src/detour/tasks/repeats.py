"""Texts and labels that a reader takes for the same."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from detour.tasks.document import Document


def merge_repeated(documents: Iterable[Document]) -> list[Document]:
    """One document a text and given split, with the labels of all its rows; spelt as the first row that spells it as
    the least of their `order_key` does, whatever the order of other rows."""
    merged: dict[tuple[str | None, str], Document] = {}
    for document in documents:
        key = document.split, text_key(document.text)
        known = merged.get(key, document)
        spelt = min(known, document, key=lambda d: order_key(d.text)).text
        merged[key] = replace(known, text=spelt, labels=known.labels | document.labels)
    return list(merged.values())


_TYPOGRAPHY = str.maketrans(
    dict.fromkeys("’‘‛ʼ´`′", "'") | dict.fromkeys("“”„‟«»″", '"') | dict.fromkeys("‐‑‒–—―−", "-")
)
_WITHOUT_WIDTH = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
_AROUND_MARKS = re.compile(r"\s*([^\w\s])\s*")


def text_key(text: str) -> str:
    """What two texts share that a reader takes for the same.

    They may differ in case, white space (French puts some before a colon, English none), Unicode form, quotation marks,
    apostrophes, dashes, and characters that take no room.
    """
    shown = _WITHOUT_WIDTH.sub("", text.translate(_TYPOGRAPHY))
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", shown).casefold())
    return _AROUND_MARKS.sub(r"\1", " ".join(plain.translate(_TYPOGRAPHY).split()))


def order_key(text: str) -> str:
    """What a text is drawn by; not `text_key`, so that splits stay what they were."""
    return " ".join(text.casefold().split())


def check_spelling(documents: Iterable[Document]) -> None:
    """Raises ValueError for labels that a reader takes for the same."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        for label in document.names:
            spellings[text_key(label)].add(label)
    for found in spellings.values():
        if len(found) > 1:
            raise ValueError(
                f"the labels {' and '.join(repr(label) for label in sorted(found))} differ in case, spaces or Unicode "
                "form alone: write them alike, or set `data.label_format: name` to keep them apart"
            )
