"""Incidents in training that did not stop it; the report lists them, because the result does not show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from detour.ledger.events import CheckpointSkipped, GradientSkipped
from detour.ledger.record import Entry
from detour.text import counted, stage_names

INCIDENTS = (CheckpointSkipped, GradientSkipped)


def incidents(entries: Iterable[Entry[CheckpointSkipped | GradientSkipped]], labels: Mapping[str, str]) -> list[str]:
    """Return a sentence per damaged checkpoint, and per stage with steps without a finite gradient.

    Only stages in `labels` (by id) are covered. Sentences that differ only in the stage are merged.
    """
    said: dict[str, list[str]] = {}
    steps = Counter[str]()
    for entry in entries:
        label = labels.get(entry.stage or "")
        if label is None:
            continue
        match entry.event:
            case CheckpointSkipped(step=step, reason=reason):
                sentence = f"the checkpoint of step {step} was skipped ({reason}); an older one was used"
                said.setdefault(sentence, []).append(label)
            case GradientSkipped():
                steps[entry.stage or ""] += 1
    for stage, label in labels.items():
        if steps[stage]:
            sentence = f"{counted(steps[stage], 'step')} had no finite gradient and changed nothing"
            said.setdefault(sentence, []).append(label)
    return [f"{stage_names(stages)}: {sentence}" for sentence, stages in said.items()]
