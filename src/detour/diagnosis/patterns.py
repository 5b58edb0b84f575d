"""Regular expressions that are tried only on a text that holds a word without which they cannot match.

Whether a word is in a text is known at once, so that of some nine hundred patterns few are tried on a line.
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
"""Of a regular expression. What opens no group and is no letter stands for text that is not known."""
_NO_TEXT = ("(?!", "(?<!")


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
        return _words(_TOKEN.finditer(self.text))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(self.text, re.IGNORECASE)


def any_in(patterns: Iterable[Pattern], text: str) -> bool:
    return any(pattern.is_in(text) for pattern in patterns)


@lru_cache(maxsize=4)
def folded(text: str) -> str:
    """As `re.IGNORECASE` compares letters: to it an i with two dots or none is an i."""
    return text.casefold().replace("ı", "i").replace("i\N{COMBINING DOT ABOVE}", "i")


def _words(tokens: Iterator[re.Match[str]]) -> Words | None:
    """Of a group, up to the bracket that closes it."""
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
    """Each of them must be there: the one whose shortest word is longest decides most."""
    return max(found, key=lambda words: min(map(len, words)), default=None)
