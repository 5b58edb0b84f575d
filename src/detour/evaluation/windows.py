"""A document as words and tokens, and cut into windows that an encoder can take.

A word is a run of letters, a run of digits, or a single other sign, so entities that begin inside a written word
(`l'aspirine`, `5mg`) still begin at one. Windows hold whole words and end, where they can, at a line end, else at the
end of a sentence; no window shares a word with another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_WORDS = re.compile(r"(?:[^\W\d_][\u0300-\u036f]*)+|\d+|[^\w\s]|_")
"""Letters keep their combining accents."""
_SENTENCE_ENDS = frozenset(".!?…")
Place = tuple[int, int]
"""Start and end, the end being the first one after it."""


@dataclass(frozen=True, slots=True)
class Window:
    document: int
    token_ids: list[int]
    """Between the tokenizer's special tokens."""
    places: list[Place]
    """Of its words in the document's text."""
    positions: list[int]
    """Of each word's first token in `token_ids`."""


def word_places(text: str) -> list[Place]:
    return [match.span() for match in _WORDS.finditer(text)]


def first_tokens(words: Sequence[Place], tokens: Sequence[Place]) -> list[int]:
    """Of each word, the first token that shares a character with it; of one without, the token before it.

    Both are in order of their starts, and `tokens` may share characters.
    """
    found, token = [], 0
    for start, end in words:
        while token < len(tokens) and tokens[token][1] <= start:
            token += 1
        inside = token < len(tokens) and tokens[token][0] < end
        found.append(token if inside else max(0, token - 1))
    return found


def cut(text: str, words: Sequence[Place], firsts: Sequence[int], tokens: int, capacity: int) -> list[Place]:
    """Ranges of words, each of at most `capacity` tokens; a single word that is longer has its own.

    `firsts`: each word's first token; `tokens`: of the whole document.
    """
    ends = [*firsts[1:], tokens]
    ranges, start = [], 0
    while start < len(words):
        end = start + 1
        while end < len(words) and ends[end] - firsts[start] <= capacity:
            end += 1
        if end < len(words):
            end = _break_before(text, words, start, end)
        ranges.append((start, end))
        start = end
    return ranges


def _break_before(text: str, words: Sequence[Place], start: int, end: int) -> int:
    """The last word range end in the window's second half that a line or a sentence ends at, else `end`."""
    middle = (start + end + 1) // 2
    sentence = None
    for place in range(end, max(middle, start + 1) - 1, -1):
        gap = text[words[place - 1][1] : words[place][0]]
        if "\n" in gap:
            return place
        if sentence is None and gap.strip() == "" and gap and text[words[place - 1][1] - 1] in _SENTENCE_ENDS:
            sentence = place
    return sentence or end
