"""How far the work was, from a line of its metrics in any of the forms that trainers print."""

from __future__ import annotations

import re

_STEPS = (
    re.compile(r"\[(?:batch|step|iter)=(\d+)/\d+\]"),
    re.compile(
        r"\b(?:global[_ ])?(?:[Ss]tep|[Ii]ter(?:ation)?|[Bb]atch|[Uu]pdate)s?\b\s*[:=\[# ]\s*(\d+)\b(?![.\d]*\d\.)"
    ),
    re.compile(r"\|\s*(\d+)/\d+ \[\d+:\d+"),
)
_LOSS_FIGURE = re.compile(r"loss\S*[\"']?\s*[:=|]?\s*[\"']?\d+\.\d", re.IGNORECASE)
_STEPS_BESIDE_LOSS = (
    re.compile(r"\[\s*(\d+)/\d+"),
    re.compile(r"\b(\d+)/\s*\d+ batches"),
    re.compile(r"\"(?:step|global_step|num_updates)\"\s*:\s*\"?(\d+)"),
    re.compile(r"^(?:ba|it)\s+(\d+)\b"),
)
"""Figures that mean a step only in a line that also gives a loss."""
_FINITE_LOSS = re.compile(r"loss\S*[\"']?\s*[:=]\s*\d", re.IGNORECASE)
_NO_METRICS = re.compile(r"slurmstepd|srun:|Error|Exception|error:|StepId|signal|[Ss]aved|[Ss]aving|[Rr]esum")


def step_in(text: str) -> int | None:
    """The step that the line reports."""
    if _NO_METRICS.search(text):
        return None
    patterns = (*_STEPS_BESIDE_LOSS, *_STEPS) if gives_loss(text) else _STEPS
    found = (pattern.search(text) for pattern in patterns)
    return next((int(match[1]) for match in found if match), None)


def gives_loss(text: str) -> bool:
    return _LOSS_FIGURE.search(text) is not None


def has_finite_loss(text: str) -> bool:
    """Whether the line gives a finite loss, which may be a whole number."""
    return _FINITE_LOSS.search(text) is not None
