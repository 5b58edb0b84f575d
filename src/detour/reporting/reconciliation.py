"""Compare our hours with the site's figure, and break down the difference; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from detour.accounting.hours import HOUR_S
from detour.errors import UserError
from detour.ledger.events import HEARTBEAT_S
from detour.reporting.costs import Counted
from detour.text import counted, format_duration
from detour.usage.site_export import number_of

_FIGURE = re.compile(
    r"(?<![\w.,\-\u2212])(?<!\d[^\w\s])(?P<number>\d[\d\s.,'\u2019]{0,40}?)\s*(?P<kind>gpu|cpu|core)?[-\s]*"
    r"(?P<unit>hours?|heures?|hrs?|h|seconds?|sec|s)\b(?:\s+(?:of\s+|de\s+)?(?P<after>gpu|cpu|core)s?\b)?",
    re.IGNORECASE,
)
LEAST_H = 1e-6
"""Difference below which the remainder is floating-point noise."""


@dataclass(frozen=True, slots=True)
class SiteFigure:
    hours: float
    kind: str
    """`gpu` or `cpu`."""
    written: str


@dataclass(frozen=True, slots=True)
class Part:
    """One reason for the difference; `hours` is what it adds to the site's figure, None if unknown."""

    reason: str
    hours: float | None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    written: str
    unit: str
    """`GPU-h` or `CPU-h`."""
    site_hours: float
    our_hours: float
    allocated_hours: float
    basis: str
    """Which of our hours are compared: billed ones if the site's rule is known, otherwise allocated ones."""
    difference_hours: float
    difference: float | None
    """Difference as a share of the site's figure."""
    parts: list[Part]


def parse_site_figure(written: str) -> SiteFigure:
    """Parse `1,234.5 GPU-h`, `0.312 h` or `1381 GPU-s`, or a text with exactly one such figure. Raises UserError."""
    found = list(_FIGURE.finditer(written))
    if len(found) != 1:
        raise UserError(
            f"--site-figure: {'no figure' if not found else f'{len(found)} figures'} with a unit of hours in "
            f"{written.strip()[:60]!r}; give one, such as `1234.5 GPU-h`, or the path of a file"
        )
    number = number_of(found[0]["number"])
    seconds = found[0]["unit"].lower().startswith("s")
    kind = (found[0]["kind"] or found[0]["after"] or "gpu").lower()
    return SiteFigure(number / (HOUR_S if seconds else 1), "gpu" if kind == "gpu" else "cpu", found[0][0].strip())


def reconcile(site: SiteFigure, attempts: Sequence[Counted]) -> Reconciliation:
    """Compare the figures, with every reason for the difference in our records, and the unexplained rest."""
    counts = [one.usage.gpus if site.kind == "gpu" else one.usage.cpus for one in attempts]
    ran = [(one, count) for one, count in zip(attempts, counts, strict=True) if count]
    allocated = fsum(count * one.usage.allocated_s / HOUR_S for one, count in ran)
    bills = [one.billed_hours for one, _ in ran] if site.kind == "gpu" else [None]
    known = [bill for bill in bills if bill is not None]
    is_billed = bool(ran) and len(known) == len(bills) and fsum(known) > 0
    ours = fsum(known) if is_billed else allocated
    difference = site.hours - ours
    parts = _parts(ran, allocated - ours, difference)
    if unknown := sum(count is None for count in counts):
        parts.append(
            Part(
                f"{counted(unknown, 'attempt')} whose {site.kind.upper()}s are unknown, not included in our sums", None
            )
        )
    left = difference - fsum(part.hours or 0.0 for part in parts)
    parts.append(Part(_rest(left, ran), left))
    return Reconciliation(
        site.written,
        f"{site.kind.upper()}-h",
        site.hours,
        ours,
        allocated,
        "billed by the site's rule" if is_billed else "allocated",
        difference,
        difference / site.hours if site.hours else None,
        parts,
    )


def _parts(ran: Sequence[tuple[Counted, float]], unbilled_hours: float, difference_hours: float) -> list[Part]:
    """Return the reasons in our records; `unbilled_hours` are allocated hours minus those compared."""
    parts = []
    if abs(difference_hours - unbilled_hours) < abs(difference_hours):
        parts.append(Part("its billing rule: the site's figure is nearer to allocated hours", unbilled_hours))
    if running := [(one, count) for one, count in ran if one.usage.running]:
        hours = fsum(count * one.usage.allocated_s / HOUR_S for one, count in running)
        parts.append(Part(f"{counted(len(running), 'attempt')} still running, which a site counts at the end", -hours))
    opened = [count for one, count in ran if one.usage.open_ended]
    most_hours = sum(opened) * HEARTBEAT_S / HOUR_S
    left_hours = difference_hours - fsum(part.hours or 0.0 for part in parts)
    if hours := min(most_hours, max(0.0, left_hours)):
        what = "without a recorded end, counted to the last heartbeat"
        parts.append(Part(f"{counted(len(opened), 'attempt')} {what}: at most {most_hours:.3g} h", hours))
    return parts


def _rest(left_hours: float, ran: Sequence[tuple[Counted, float]]) -> str:
    units = sum(count for _, count in ran)
    if left_hours > LEAST_H and units:
        if all(one.usage.source != "journal" for one, _ in ran):
            return "not in our records: jobs that did not go through detour, or another period or account"
        each_s = left_hours * HOUR_S / units
        took = f"{each_s:.3g} s" if each_s < 60 else format_duration(each_s)
        return (
            f"not in our records: time before the first and after the last entry of {counted(len(ran), 'attempt')} "
            f"({took} each would explain all of it), or jobs that did not go through detour"
        )
    return "rounding" if abs(left_hours) < 0.005 else "we count more than the site: another period or account perhaps"
