"""Recognise texts and labels that look the same to a reader."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from detour.tasks.document import Document


def merge_repeated(documents: Iterable[Document]) -> list[Document]:
    """Merge rows of the same text and given split into one document with all their labels.

    Its text is that of the row with the least `order_key`, of equal ones the first.
    """
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
    """Return a key that is equal for texts that look the same to a reader.

    They may differ in case, white space (French puts a space before a colon, English does not), Unicode form, quotation
    marks, apostrophes, dashes and zero-width characters.
    """
    shown = _WITHOUT_WIDTH.sub("", text.translate(_TYPOGRAPHY))
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", shown).casefold())
    return _AROUND_MARKS.sub(r"\1", " ".join(plain.translate(_TYPOGRAPHY).split()))


def order_key(text: str) -> str:
    """Return the key by which a text is drawn; it differs from `text_key` so that earlier splits stay valid."""
    return " ".join(text.casefold().split())


def check_spelling(documents: Iterable[Document]) -> None:
    """Raise ValueError if different labels look the same to a reader."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        for label in document.names:
            spellings[text_key(label)].add(label)
    for found in spellings.values():
        if len(found) > 1:
            raise ValueError(
                f"the labels {' and '.join(repr(label) for label in sorted(found))} differ only in case, spaces or "
                "Unicode form: write them alike, or set `data.label_format: name` to keep them apart"
            )
