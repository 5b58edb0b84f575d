"""Job dependencies as an algebra: `After("afterok", a) | After("afterok", b)`, rendered in Slurm's syntax.

Slurm has `,` for AND and `?` for OR, and allows only one of them in an expression; mixing them is refused here, before
Slurm misreads it. The two functions at the end are the rules for a chain of segments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, NamedTuple

Kind = Literal["afterok", "afternotok", "afterany", "after", "aftercorr"]


class MixedDependency(ValueError):
    """AND and OR in one expression, which Slurm cannot represent."""


class Dependency:
    """Base class of the expressions; `&` and `|` combine them, `str` renders them."""

    def __and__(self, other: Dependency) -> Dependency:
        return All(_parts(self, All) + _parts(other, All))

    def __or__(self, other: Dependency) -> Dependency:
        return AnyOf(_parts(self, AnyOf) + _parts(other, AnyOf))


@dataclass(frozen=True, slots=True)
class After(Dependency):
    kind: Kind
    job_id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.job_id}"


@dataclass(frozen=True, slots=True)
class All(Dependency):
    terms: tuple[After, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.terms))


@dataclass(frozen=True, slots=True)
class AnyOf(Dependency):
    terms: tuple[After, ...]

    def __str__(self) -> str:
        return "?".join(map(str, self.terms))


def _parts(term: Dependency, kind: type[All] | type[AnyOf]) -> tuple[After, ...]:
    """The terms of an expression of this kind, each once. A single term is of either kind."""
    if isinstance(term, After):
        return (term,)
    if isinstance(term, kind):
        return tuple(dict.fromkeys(term.terms))
    if isinstance(term, All | AnyOf) and len(term.terms) == 1:
        return term.terms
    raise MixedDependency(f"`{term}` cannot be joined to an expression of the other kind")


def all_of(terms: Sequence[Dependency]) -> Dependency | None:
    """All terms joined by AND; None if there are none."""
    return reduce(lambda left, right: left & right, terms) if terms else None


def any_of(terms: Sequence[Dependency]) -> Dependency | None:
    return reduce(lambda left, right: left | right, terms) if terms else None


def terms_of(dependency: str) -> tuple[str, list[str]]:
    """The separator of a dependency in Slurm's syntax, and its terms."""
    separator = "?" if "?" in dependency else ","
    return separator, [term for term in dependency.split(separator) if term]


def is_blocked(dependency: str, blocks: Callable[[str], bool]) -> bool:
    """Whether terms that cannot be fulfilled block the whole dependency: one of several joined by AND, all by OR."""
    separator, terms = terms_of(dependency)
    blocked = list(map(blocks, terms))
    return any(blocked) and (separator == "," or all(blocked))


def waited_ids(dependency: str) -> frozenset[str]:
    """Ids of the jobs and array tasks in a dependency."""
    return frozenset(term.partition(":")[2] for term in terms_of(dependency)[1])


def replaced(dependency: str, successors: Mapping[str, str | None]) -> str:
    """The dependency with other jobs in place of these; None removes the terms about a job."""
    separator, terms = terms_of(dependency)
    kept = []
    for term in terms:
        kind, _, job = term.partition(":")
        base, underscore, index = job.partition("_")
        successor = successors.get(base, base)
        if successor is not None:
            kept.append(f"{kind}:{successor}{underscore}{index}")
    return separator.join(dict.fromkeys(kept))


class Upstream(NamedTuple):
    """A unit to wait for, by the job ids of its segments."""

    jobs: Sequence[str]
    kind: Kind = "afterok"
    """`aftercorr` for an array each of whose tasks is awaited by the task of the same number."""


def after_units(units: Sequence[Upstream]) -> Dependency | None:
    """Wait until every unit has succeeded.

    For one unit of several segments, any of them may succeed: `afterok:a?afterok:b`. This cannot be joined by AND to
    another unit. With several units, each segment must therefore have *ended*, successfully or not; Slurm cancels those
    that are not needed. The follower may then start after a failure, and its start gate refuses.
    """
    if len(units) == 1:
        return any_of([After(units[0].kind, job) for job in units[0].jobs])
    return all_of([After(unit.kind if len(unit.jobs) == 1 else "afterany", job) for unit in units for job in unit.jobs])


def after_segments(upstream: Dependency | None, earlier: Sequence[str]) -> Dependency | None:
    """Wait, as the next segment, until no earlier segment has succeeded.

    All of them, because a segment that Slurm cancels as not needed also counts as "not ok". The first segment's own
    inputs are included, since otherwise a failed input would start the second segment; unless they form an OR, which
    cannot be combined with the AND. The start gate then refuses.
    """
    if not earlier:
        return upstream
    failed = all_of([After("afternotok", job) for job in earlier])
    assert failed is not None
    return failed if upstream is None or isinstance(upstream, AnyOf) else upstream & failed
