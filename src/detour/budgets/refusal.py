"""A budget's arithmetic in words: why a submission is refused, and what of it would fit."""

from __future__ import annotations

from collections.abc import Sequence

from detour.budgets.arithmetic import UNITS, Line, fitting
from detour.budgets.book import Asked
from detour.launch.text.price import amount, counted, label_names, wrapped


def refusal(lines: Sequence[Line], asked: Asked) -> str:
    """Every cap that does not hold the submission, line by line, then what would fit into all of them."""
    told = []
    for line in lines:
        if line.is_refused:
            told += _arithmetic(line)
    told += by_default(lines, asked)
    labels = {stage.id: stage.label for stage in asked.stages}
    inputs = {stage.id: tuple(stage.inputs.values()) for stage in asked.stages}
    fits = fitting(lines, asked.amounts, inputs)
    if fits:
        what = label_names([labels[stage] for stage in fits])
        told += wrapped(f"{len(fits)} of {len(asked.amounts)} stages would fit: {what}", "")
    else:
        told.append("No stage of it would fit.")
    told.append('Ask for less, wait for others to end, or say why: --over-budget "why" submits it, and is recorded.')
    return "\n".join(told)


def by_default(lines: Sequence[Line], asked: Asked) -> list[str]:
    """Why so much is asked for, where stages of unknown duration ask for hours each of what is limited."""
    measures = {line.measure for line in lines}
    number = sum(any(asked.amounts[stage].get(measure) for measure in measures) for stage in asked.unpriced)
    if not number:
        return []
    told = f"{counted(number, 'stage')} of unknown duration {'counts' if number == 1 else 'count'} by default limits"
    return wrapped(f"{told}, which are hours: one chain that has run here prices the next ones", "")


def outlook(line: Line) -> str:
    """What a cap would say to a submission: `budget abc: 70 GPU-h asked for + 30 spent + 0 reserved, of 99: fits`."""
    unit, cap = UNITS[line.measure], line.soft if line.hard is None else line.hard
    told = f"{amount(line.asked)} {unit} asked for + {amount(line.spent)} spent + {amount(line.reserved)} reserved"
    verdict = "it does not fit" if line.is_refused else "past the soft cap" if line.is_warned else "it fits"
    unknown = f", {line.unknown} stages unknown" if line.unknown else ""
    return f"budget {line.budget}: {told}{unknown}, of {amount(cap or 0.0)}: {verdict}"


def warning(line: Line) -> str:
    """For a submission that goes ahead past a soft cap, or knowingly past a hard one."""
    unit = UNITS[line.measure]
    cap = line.hard if line.is_refused else line.soft
    which = "hard" if line.is_refused else "soft"
    if cap is None:
        return f"budget {line.budget}: the {unit} of {line.unknown} stages are unknown"
    if line.is_refused and line.unknown:
        return f"budget {line.budget}: the {unit} of {line.unknown} stages are unknown; the {which} cap is {cap:,.1f}"
    return f"budget {line.budget}: {line.after:,.1f} {unit} are past the {which} cap of {cap:,.1f}"


def _arithmetic(line: Line) -> list[str]:
    assert line.hard is not None
    unit = UNITS[line.measure]
    rows = [("spent", line.spent), ("reserved", line.reserved), ("asked", line.asked), ("together", line.after)]
    told = [f"over budget {line.budget}, in {unit}:"]
    told += [f"  {name:<9} {value:>14,.2f}" for name, value in rows]
    over = line.after - line.hard
    told.append(f"  {'cap':<9} {line.hard:>14,.2f}" + (f"   {over:,.2f} too much" if over > 0 else ""))
    if line.unknown:
        told.append(f"  of {line.unknown} stages nobody knows the {unit}, so they cannot be held to the cap")
    return told
