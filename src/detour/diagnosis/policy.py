"""What follows from a verdict without a person: whether to send the job again, and which nodes to avoid. Pure."""

from __future__ import annotations

import re

from detour.diagnosis.verdict import Verdict

_NODE = re.compile(
    r"Node failure on (?P<named>[\w.-]+)|\*\*\* (?:JOB|STEP) \S+ ON (?P<first>[\w.-]+) CANCELLED .*NODE FAILURE"
)
_ONE_NODE = re.compile(r"[\w.-]+")


def ends_for_good(verdict: Verdict, *, is_further: bool) -> bool:
    """Whether only a change can help, with high confidence.

    An attempt that made progress may be repeated anyway, since the next one starts at a different point.
    """
    return not is_further and verdict.first.confidence == "high" and verdict.first.retry in ("no", "after-change")


def counts_as_fruitless(verdict: Verdict) -> bool:
    """Whether an attempt without progress counts against the stage; a node's failure does not."""
    return not verdict.retries_by_itself


def nodes_to_avoid(verdict: Verdict) -> tuple[str, ...]:
    """The node that failed: named by Slurm, or the job's only node. With several, none is known to be at fault."""
    if not verdict.first.exclude:
        return ()
    named = (_NODE.search(place.text) for place in verdict.first.evidence)
    if match := next((match for match in named if match), None):
        return (match["named"] or match["first"],)
    return verdict.nodes if len(verdict.nodes) == 1 and _ONE_NODE.fullmatch(verdict.nodes[0]) else ()
