"""The rules and causes as they are written in `rules/*.yaml`, where each says what it means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

Source = Literal["log", "job", "ending", "step", "queue", "event"]
"""Where something is said; `event` is the ledger's, whose reasons are read with the rules for logs."""
Retry = Literal["yes", "no", "after-change", "unknown"]


@dataclass(frozen=True, slots=True)
class Cause:
    id: str
    title: str
    retry: Retry
    advice: str
    explains: frozenset[str]
    """Causes that are only its consequences where both are seen."""
    exclude: bool = False
    """Whether the next submission should avoid the node."""
    automatic: bool = False
    """Whether the same job may be sent again without a person."""


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    pattern: re.Pattern[str]
    cause: str | None = None
    unless: re.Pattern[str] | None = None
    within: re.Pattern[str] | None = None
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
        """`within` is the source code that the traceback of an exception quotes."""
        if (self.raised and not is_error) or (self.within is not None and not self.within.search(within)):
            return False
        return self.pattern.search(text) is not None and (self.unless is None or self.unless.search(text) is None)


EXCEPTION = Rule("exception", re.compile(r"(?!)"), "code_error")
"""An exception that no other rule knows; lines of tracebacks are recognised in `lines`."""


@cache
def causes() -> dict[str, Cause]:
    """By id, in the order of the file."""
    return {
        name: Cause(name, **{**content, "explains": frozenset(content["explains"])})
        for name, content in _content("causes.yaml").items()
    }


@cache
def rules(source: Source) -> tuple[Rule, ...]:
    """Of one source, in the order in which they are tried."""
    return tuple(rule for rule in _all_rules() if rule.source == source)


@cache
def _all_rules() -> tuple[Rule, ...]:
    return tuple(_rule(content) for name in ("logs.yaml", "scheduler.yaml") for content in _content(name))


def _rule(content: dict[str, Any]) -> Rule:
    patterns, unless, within = content.pop("patterns"), content.pop("unless", []), content.pop("within", [])
    return Rule(
        pattern=_any(patterns),
        unless=_any(unless) if unless else None,
        within=_any(within) if within else None,
        **content,
    )


def _any(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


def _content(name: str) -> Any:
    text = resources.files(__package__).joinpath("rules", name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
