"""The rules and causes in `rules/*.yaml`, whose comments explain the keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

from detour.diagnosis.patterns import Pattern, any_in, folded

Source = Literal["log", "job", "ending", "step", "queue", "event"]
"""Where something is reported; `event` is the ledger, whose reasons are read with the rules for logs."""
Retry = Literal["yes", "no", "after-change", "unknown"]


@dataclass(frozen=True, slots=True)
class Cause:
    id: str
    title: str
    retry: Retry
    advice: str
    explains: frozenset[str]
    """Causes that are only its consequences if both are seen."""
    exclude: bool = False
    """Whether the next submission should avoid the node."""
    automatic: bool = False
    """Whether the same job may be sent again without a person."""


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    patterns: tuple[Pattern, ...] = ()
    cause: str | None = None
    unless: tuple[Pattern, ...] = ()
    within: tuple[Pattern, ...] = ()
    source: Source = "log"
    strength: int = 2
    complaint: bool = False
    echo: bool = False
    lasting: bool = False
    needs: str | None = None
    of_step: bool = False
    raised: bool = False
    silent: bool = False
    retry: Retry | None = None
    advice: str | None = None
    exclude: bool | None = None

    def fits(self, text: str, *, is_error: bool = True, within: str = "") -> bool:
        """Whether the rule matches; `within` is the source code quoted in an exception's traceback."""
        if (self.raised and not is_error) or (self.within and not any_in(self.within, within)):
            return False
        return any_in(self.patterns, text) and not any_in(self.unless, text)


EXCEPTION = Rule("exception", cause="code_error")
"""An exception that matches no other rule; `tracebacks` recognises the lines."""


@cache
def causes() -> dict[str, Cause]:
    """Causes by id, in the order of the file."""
    return {
        name: Cause(name, **{**content, "explains": frozenset(content["explains"])})
        for name, content in read_rules("causes.yaml").items()
    }


@cache
def rules(source: Source) -> tuple[Rule, ...]:
    """The rules of one source, in the order in which they are tried."""
    return tuple(rule for rule in _all_rules() if rule.source == source)


def first_fitting(source: Source, text: str) -> Rule | None:
    return next((rule for rule in rules(source) if rule.fits(text)), None)


def likely(line: str) -> Iterator[Rule]:
    """The rules for logs that may match the line, by the words it contains."""
    known, (by_word, always) = folded(line), _by_word()
    places = always.union(*(places for word, places in by_word.items() if word in known))
    return (rules("log")[place] for place in sorted(places))


@cache
def _by_word() -> tuple[Mapping[str, Set[int]], frozenset[int]]:
    """Word -> indices of the rules for logs that need it to match; and the indices of those that may match any line."""
    by_word, always = dict[str, set[int]](), set[int]()
    for place, rule in enumerate(rules("log")):
        for pattern in rule.patterns:
            if pattern.words is None:
                always.add(place)
            for word in pattern.words or ():
                by_word.setdefault(word, set()).add(place)
    return by_word, frozenset(always)


@cache
def _all_rules() -> tuple[Rule, ...]:
    return tuple(_rule(content) for name in ("logs.yaml", "scheduler.yaml") for content in read_rules(name))


def _rule(content: dict[str, Any]) -> Rule:
    patterns, unless, within = (tuple(map(Pattern, content.pop(name, ()))) for name in ("patterns", "unless", "within"))
    return Rule(patterns=patterns, unless=unless, within=within, **content)


def read_rules(name: str) -> Any:
    text = resources.files(__package__).joinpath("rules", name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
