"""The purpose of compute: released models, development, and failed attempts; pure.

For large open models, most compute was development, ablations and failures, and readers want to know that share. It is
derived from lineage: a stage counts as final if a released model descends from it, or if it evaluates one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from detour.accounting.fates import Known
from detour.planning.order import upstream
from detour.reporting.costs import Counted

Purpose = Literal["final", "development", "open", "failed"]
PURPOSES: dict[Purpose, str] = {
    "final": "final: a released model descends from it, or it evaluated one",
    "development": "development: no released model descends from it",
    "open": "not decided: its chain is still running or pending",
    "failed": "failed: attempts that ended in an error, of whatever stage",
}


@dataclass(frozen=True, slots=True)
class PurposeRow:
    purpose: Purpose
    attempts: int
    stages: int
    gpu_hours: Known
    cpu_hours: Known


def lineage(released: Iterable[str], inputs: Mapping[str, Mapping[str, str]]) -> set[str]:
    """Return the released exports, the stages they descend from, and the stages that read an export.

    `inputs` maps a stage's id to the ids of its inputs, by role.
    """
    exports = set(released)
    found = upstream(exports, lambda stage: inputs.get(stage, {}).values())
    measured = {stage for stage, read in inputs.items() if exports.intersection(read.values())}
    return found | measured | {stage for stage, read in inputs.items() if measured.intersection(read.values())}


def purpose_rows(
    attempts: Mapping[str, Iterable[Counted]], final: Collection[str], open_stages: Collection[str]
) -> list[PurposeRow]:
    """Return a row for every purpose, in the order of PURPOSES; the rows sum to all attempts of the stages."""
    groups: dict[Purpose, list[tuple[str, Counted]]] = {purpose: [] for purpose in PURPOSES}
    for stage, of_stage in attempts.items():
        fate: Purpose = "final" if stage in final else "open" if stage in open_stages else "development"
        for attempt in of_stage:
            groups["failed" if attempt.outcome == "failed" else fate].append((stage, attempt))
    return [
        PurposeRow(
            purpose,
            len(group),
            len({stage for stage, _ in group}),
            Known.sum(one.gpu_hours for _, one in group),
            Known.sum(one.cpu_hours for _, one in group),
        )
        for purpose, group in groups.items()
    ]
