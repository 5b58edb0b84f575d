"""What went wrong in training and was lived with: said in the report, because the result alone does not show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from detour.ledger.record import Record

KINDS = ("checkpoint.skipped", "gradient.skipped")


def incidents(records: Iterable[Record], labels: Mapping[str, str]) -> list[str]:
    """One sentence a damaged checkpoint, one a stage for its steps without a finite gradient; only of `labels`."""
    told, steps = [], dict.fromkeys(labels, 0)
    for record in records:
        label = labels.get(record["stage"] or "")
        if label is None:
            continue
        if record["kind"] == "gradient.skipped":
            steps[str(record["stage"])] += 1
            continue
        step, reason = record["data"].get("step"), record["data"].get("reason")
        told.append(f"{label}: the checkpoint of step {step} was left out ({reason}); an older one was gone on from")
    told += [
        f"{labels[stage]}: {count} steps had no finite gradient and changed nothing"
        for stage, count in steps.items()
        if count
    ]
    return told
