"""What went wrong in training and was lived with: said in the report, because the result alone does not show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from detour.ledger.events import CheckpointSkipped, GradientSkipped
from detour.ledger.record import Entry
from detour.text import counted, stage_names

INCIDENTS = (CheckpointSkipped, GradientSkipped)


def incidents(entries: Iterable[Entry[CheckpointSkipped | GradientSkipped]], labels: Mapping[str, str]) -> list[str]:
    """One sentence a damaged checkpoint, one a stage for its steps without a finite gradient; only of `labels`, by
    stage id. What is equal but for the stage is said once.
    """
    said: dict[str, list[str]] = {}
    steps = Counter[str]()
    for entry in entries:
        label = labels.get(entry.stage or "")
        if label is None:
            continue
        match entry.event:
            case CheckpointSkipped(step=step, reason=reason):
                sentence = f"the checkpoint of step {step} was skipped ({reason}), and an older one was resumed"
                said.setdefault(sentence, []).append(label)
            case GradientSkipped():
                steps[entry.stage or ""] += 1
    for stage, label in labels.items():
        if steps[stage]:
            sentence = f"{counted(steps[stage], 'step')} had no finite gradient and changed nothing"
            said.setdefault(sentence, []).append(label)
    return [f"{stage_names(stages)}: {sentence}" for sentence, stages in said.items()]
