"""Split a document into words, and cut it into windows that fit an encoder.

A word is a run of letters, a run of digits, or any other single character, so that entities inside a written word
(`l'aspirine`, `5mg`) still begin at a word. Windows contain whole words and do not overlap; if possible they end at the
end of a line, otherwise of a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_WORDS = re.compile(r"(?:[^\W\d_][\u0300-\u036f]*)+|\d+|[^\w\s]|_")
"""Letters include their combining accents."""
_SENTENCE_ENDS = frozenset(".!?…")
Place = tuple[int, int]
"""Start and exclusive end."""


@dataclass(frozen=True, slots=True)
class Window:
    document: int
    token_ids: list[int]
    """Includes the tokenizer's special tokens at both ends."""
    places: list[Place]
    """Span of each word in the document's text."""
    positions: list[int]
    """Index in `token_ids` of each word's first token."""


def word_places(text: str) -> list[Place]:
    return [match.span() for match in _WORDS.finditer(text)]


def first_tokens(words: Sequence[Place], tokens: Sequence[Place]) -> list[int]:
    """The first token that shares a character with each word; if there is none, the token before the word.

    Both sequences are sorted by start; `tokens` may overlap.
    """
    found, token = [], 0
    for start, end in words:
        while token < len(tokens) and tokens[token][1] <= start:
            token += 1
        inside = token < len(tokens) and tokens[token][0] < end
        found.append(token if inside else max(0, token - 1))
    return found


def cut(text: str, words: Sequence[Place], firsts: Sequence[int], tokens: int, capacity: int) -> list[Place]:
    """Ranges of words, each with at most `capacity` tokens; a longer word gets its own range.

    `firsts` has the first token of each word, `tokens` is the number of tokens of the document.
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
    """The last end of a line or else of a sentence in the second half of the window; `end` if there is none."""
    middle = (start + end + 1) // 2
    sentence = None
    for place in range(end, max(middle, start + 1) - 1, -1):
        gap = text[words[place - 1][1] : words[place][0]]
        if "\n" in gap:
            return place
        if sentence is None and gap.strip() == "" and gap and text[words[place - 1][1] - 1] in _SENTENCE_ENDS:
            sentence = place
    return sentence or end
