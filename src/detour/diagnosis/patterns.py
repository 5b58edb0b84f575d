"""Regular expressions that are tried only on a text that holds a word without which they cannot match.

Whether a word is in a text is known at once, so that of some nine hundred patterns few are tried on a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from re import _parser  # type: ignore[attr-defined]  # the only parser of the syntax that `re` has
from typing import Any

Words = frozenset[str]


@dataclass(frozen=True)
class Pattern:
    """Of letters of either case."""

    text: str

    def is_in(self, text: str) -> bool:
        return self.may_be_in(text) and self._regex.search(text) is not None

    def may_be_in(self, text: str) -> bool:
        return self.words is None or any(map(folded(text).__contains__, self.words))

    @cached_property
    def words(self) -> Words | None:
        """Where it matches there is one of these, once the text is `folded`; None: there are no such words."""
        return _of_all(_parser.parse(self.text))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(self.text, re.IGNORECASE)


def any_in(patterns: Iterable[Pattern], text: str) -> bool:
    return any(pattern.is_in(text) for pattern in patterns)


@lru_cache(maxsize=4)
def folded(text: str) -> str:
    """As `re.IGNORECASE` compares letters: to it an i with two dots or none is an i."""
    return text.casefold().replace("ı", "i").replace("i\N{COMBINING DOT ABOVE}", "i")


def _of_all(items: Sequence[Any]) -> Words | None:
    """Each item must match: the one whose shortest word is longest decides most."""
    found, run = list[Words](), ""
    for operation, argument in items:
        if str(operation) == "LITERAL":
            run += chr(argument)
            continue
        found += [frozenset({folded(run)})] if run else []
        run = ""
        words = _of_item(str(operation), argument)
        found += [words] if words else []
    found += [frozenset({folded(run)})] if run else []
    return max(found, key=lambda words: min(map(len, words)), default=None)


def _of_item(operation: str, argument: Any) -> Words | None:
    match operation:
        case "SUBPATTERN":
            return _of_all(argument[-1])
        case "BRANCH":
            branches = [_of_all(branch) for branch in argument[-1]]
            return None if None in branches else frozenset(word for words in branches for word in words or ())
        case "MAX_REPEAT" | "MIN_REPEAT":
            return _of_all(argument[-1]) if argument[0] else None
    return None
