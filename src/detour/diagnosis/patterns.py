"""Regular expressions that are tried only on texts containing a word without which they cannot match.

Searching for words is fast, so only a few of some nine hundred patterns are tried on a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

Words = frozenset[str]
_OPTIONAL = r"(?:[?*]|\{0?,\d*\})"
_CLASS = r"\[\^?\]?[^]]*\]"
_TOKEN = re.compile(
    rf"(?P<opens>\((?:\?(?:P<\w+>|P=\w+|<?[=!]|:))?)|(?P<closes>\)(?P<maybe>{_OPTIONAL})?)|(?P<other>\|)|"
    rf"(?:\\.|{_CLASS}|.){_OPTIONAL}|\\\w|{_CLASS}|[.^$+]|\{{[\d,]+\}}|\\?(?P<letter>.)"
)
"""A token of a regular expression. One that opens no group and is not a letter matches unknown text."""
_NO_TEXT = ("(?!", "(?<!")


@dataclass(frozen=True)
class Pattern:
    """A pattern that ignores case."""

    text: str

    def is_in(self, text: str) -> bool:
        return self.may_be_in(text) and self._regex.search(text) is not None

    def may_be_in(self, text: str) -> bool:
        return self.words is None or any(map(folded(text).__contains__, self.words))

    @cached_property
    def words(self) -> Words | None:
        """Words of which a match contains at least one, once the text is `folded`; None if there are no such words."""
        return _words(_TOKEN.finditer(self.text))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(self.text, re.IGNORECASE)


def any_in(patterns: Iterable[Pattern], text: str) -> bool:
    return any(pattern.is_in(text) for pattern in patterns)


@lru_cache(maxsize=4)
def folded(text: str) -> str:
    """The text as `re.IGNORECASE` compares letters: an i with two dots or none equals an i."""
    return text.casefold().replace("ı", "i").replace("i\N{COMBINING DOT ABOVE}", "i")


def _words(tokens: Iterator[re.Match[str]]) -> Words | None:
    """The words of a group, up to the bracket that closes it."""
    branches, found, run = list[Words | None](), list[Words](), ""
    optional = False
    for token in tokens:
        if letter := token["letter"]:
            run += letter
            continue
        found, run = [*found, *_word(run)], ""
        if token["opens"]:
            words = _words(tokens)
            found += [words] if words and token["opens"] not in _NO_TEXT else []
        elif token["other"]:
            branches, found = [*branches, _rarest(found)], []
        elif token["closes"]:
            optional = token["maybe"] is not None
            break
    branches.append(_rarest([*found, *_word(run)]))
    return None if optional or None in branches else frozenset().union(*filter(None, branches))


def _word(run: str) -> list[Words]:
    return [frozenset({folded(run)})] if run else []


def _rarest(found: Iterable[Words]) -> Words | None:
    """The most selective of several required sets of words: the one whose shortest word is longest."""
    return max(found, key=lambda words: min(map(len, words)), default=None)
