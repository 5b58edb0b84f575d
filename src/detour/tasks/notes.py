"""Notes for readers of a score about the task's data, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from detour.text import counted

MOST_LISTED = 10


def data_notes(counts: Mapping[str, int], labels: Mapping[str, Mapping[str, int]], unit: str) -> Iterator[str]:
    """Yield notes on the data; `unit` is what the labels belong to, documents or entities."""
    if seen := counts["test_seen"]:
        yield (
            f"{seen:,} of {counts['test']:,} test documents have a text that training or validation has too: "
            "the score may be too high"
        )
    elif shared := counts["shared_texts"]:
        are = counted(shared, "text is", "texts are")
        yield f"{are} in both training and validation: the best epoch may be chosen too late"
    if contradictory := counts["contradictory"]:
        labelled = "with contradictory labels"
        yield f"{counted(contradictory, f'text {labelled} is', f'texts {labelled} are')} left out"
    if merged := counts["rows_merged"]:
        repeat = counted(merged, "row repeats a text and counts", "rows repeat a text and count")
        yield f"{repeat} as one document with it"
    if without := counts["without_frequent_label"]:
        lacking = "without one of the most frequent labels"
        yield f"{counted(without, f'document {lacking} is', f'documents {lacking} are')} left out"
    by_number = sorted(labels, key=lambda label: -labels[label]["train"])
    if absent := [label for label in by_number if not labels[label]["train"]]:
        where = "no training document" if unit == "documents" else "no entity to train on"
        yield f"{counted(len(absent), 'label is', 'labels are')} in {where}: {_listed(absent)}"
    for split in ("validation", "test"):
        if not any(found[split] for found in labels.values()):
            yield f"no {split} document has any label: its scores say nothing"
    numbers = [f"{label} ({labels[label]['train']:,})" for label in by_number]
    whose = "its" if len(labels) == 1 else "their"
    yield f"{counted(len(labels), 'label')}, with {whose} training {unit}: {_listed(numbers)}"


def entity_notes(counts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Yield notes on the entities; `counts` is split -> the fields of `EntityCounts`."""
    for kind, meaning in (
        ("discontinuous", "the model finds the span from their first to their last character"),
        ("repeated", "they repeat an entity, and count once"),
    ):
        numbers = [f"{split} {found[kind]:,}" for split, found in counts.items() if found[kind]]
        if numbers:
            yield f"{kind} entities ({', '.join(numbers)}): {meaning}"


def _listed(names: Sequence[str]) -> str:
    """List all names if they are few, otherwise the first and the last ones."""
    if len(names) <= MOST_LISTED:
        return ", ".join(names)
    half = MOST_LISTED // 2
    return ", ".join([*names[:half], "...", *names[-half:]])
