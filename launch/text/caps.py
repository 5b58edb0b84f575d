"""A cap of a budget and what it means for a submission."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from detour.budgets.arithmetic import UNITS, Line
from detour.budgets.refusal import by_default
from detour.budgets.reserve import Outlook
from detour.text import counted


def outlook_lines(outlook: Outlook) -> Iterator[str]:
    """`budget abc: 70 GPU-h asked + 30 spent + 0 reserved of 99: over the hard cap`, one line per cap."""
    for cap in outlook.lines:
        limit = cap.soft if cap.hard is None else cap.hard
        asked, spent, reserved, most = _figures(cap, cap.asked, cap.spent, cap.reserved, limit or 0.0)
        sums = f"{asked} {UNITS[cap.measure]} asked + {spent} spent + {reserved} reserved"
        unknown = f", without {counted(cap.unknown, 'stage')} of unknown amount" if cap.unknown else ""
        yield f"budget {cap.budget}: {sums} of {most}{unknown}: {_verdict(cap)}"
    yield from by_default(outlook.lines, outlook.demand)


def _verdict(cap: Line) -> str:
    if cap.is_refused:
        return "refused" if cap.unknown else "over the hard cap"
    return "over the soft cap" if cap.is_warned else "fits"


def cap_warnings(caps: Iterable[Line]) -> Iterator[str]:
    """Warnings of a submission that proceeds over a soft cap, or over a hard one for a recorded reason."""
    for cap in caps:
        unit = UNITS[cap.measure]
        limit, name = (cap.hard, "hard") if cap.is_refused else (cap.soft, "soft")
        unknown = f"the {unit} of {counted(cap.unknown, 'stage')} are unknown"
        if limit is None:
            yield f"budget {cap.budget}: {unknown}"
        elif cap.is_refused and cap.unknown:
            yield f"budget {cap.budget}: {unknown}; the {name} cap is {_figures(cap, limit)[0]}"
        else:
            after, most = _figures(cap, cap.rounded().after, limit)
            yield f"budget {cap.budget}: {after} {unit} exceed the {name} cap of {most}"


def _figures(cap: Line, *values: float) -> list[str]:
    """As in a refusal, but without zeros at the end."""
    return [f"{value:,.{cap.places}f}".rstrip("0").rstrip(".") for value in values]
