"""Read the outputs of finished stages leniently: a missing or damaged file leaves a gap in the report."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from detour.accounting.account import Counted
from detour.accounting.methods import number
from detour.canonical import at
from detour.ledger.private import FileStamp, stamp_of
from detour.ledger.workspace import Workspace
from detour.planning.files import plan_file
from detour.planning.stage import EvaluateStage, Stage
from detour.reporting.data import SOURCE_COUNTS, SourceCounts, TaskScores, Versions
from detour.statistics.scores import as_score

READ_BYTES = 1 << 16
CORPUS_INDEX = "index.json"
PROVENANCE = ("code", "python", "packages", "machine")
PRODUCTION = "production"
PACKAGES = ("torch", "transformers", "mosaicml", "numpy", "tokenizers", "safetensors", "scikit-learn", "codecarbon")
"""Packages listed in the report; the manifests contain all."""


def read_json(path: str | Path) -> dict[str, Any]:
    """Return the object in a JSON file, empty if there is none."""
    return read_stamped(path)[1]


def read_stamped(path: str | Path) -> tuple[FileStamp | None, dict[str, Any]]:
    """Return the same, behind the stamp that the file had before it was read; None for no file or a new one."""
    stamp = None
    try:
        status, written = _content(path)
        stamp = stamp_of(status)
        content = orjson.loads(written)
    except (OSError, orjson.JSONDecodeError):
        return stamp, {}
    return stamp, content if isinstance(content, dict) else {}


def _content(path: str | Path) -> tuple[os.stat_result, bytes]:
    """Read a file in four system calls, because there may be ten thousand small ones."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status, content = os.fstat(descriptor), os.read(descriptor, READ_BYTES)
        if len(content) < READ_BYTES:
            return status, content
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return status, content + file.read()
    finally:
        os.close(descriptor)


def by_age(workspace: Workspace, chains: Iterable[str]) -> list[str]:
    """Sort planned chains, oldest plan first."""
    return sorted(chains, key=lambda name: plan_file(workspace, name).stat().st_mtime)


def exports_in_production(workspace: Workspace) -> set[str]:
    """Return the ids of the exports that an alias `production` points to (`detour models`)."""
    links = (workspace.root / "models").glob(f"*@{PRODUCTION}")
    return {Path(os.path.normpath(link.parent / link.readlink())).parent.name for link in links if link.is_symlink()}


def source_counts(index: Mapping[str, Any]) -> list[SourceCounts]:
    """Return the row counts of each source in a corpus's index."""
    sources = index.get("sources")
    return [
        SourceCounts(str(name), {key: whole(counts.get(key)) for key in SOURCE_COUNTS})
        for name, counts in (sources.items() if isinstance(sources, dict) else ())
        if isinstance(counts, dict)
    ]


def scores_of(
    result_of: Callable[[str], Mapping[str, Any]], stages: Iterable[tuple[Stage, Sequence[Counted]]]
) -> list[TaskScores]:
    """Return test scores by task, read from the evaluations, so seeds appear as they finish."""
    table: dict[str, dict[str, Mapping[str, Any]]] = {}
    attempts: dict[str, dict[str, Sequence[Counted]]] = {}
    for stage, counted in stages:
        if isinstance(stage, EvaluateStage):
            table.setdefault(stage.task, {})[str(stage.seed)] = result_of(stage.id)
            attempts.setdefault(stage.task, {})[str(stage.seed)] = counted
    return [task_scores(task, by_seed, attempts[task]) for task, by_seed in table.items()]


def task_scores(
    task: str,
    results: Mapping[str, Mapping[str, Any]],
    attempts: Mapping[str, Sequence[Counted]] = MappingProxyType({}),
) -> TaskScores:
    metric = next((str(result["primary_metric"]) for result in results.values() if "primary_metric" in result), None)
    by_seed = {seed: _score(result, metric) for seed, result in results.items()}
    scores = [score for score in by_seed.values() if score is not None]
    complete = len(scores) == len(by_seed) and bool(scores)
    return TaskScores(
        task=task,
        metric=metric,
        by_seed=by_seed,
        mean=statistics.fmean(scores) if complete else None,
        standard_deviation=statistics.stdev(scores) if complete and len(scores) > 1 else None,
        notes=tuple(dict.fromkeys(str(note) for result in results.values() for note in _list(result.get("notes")))),
        attempts=attempts,
    )


def versions_of(provenances: Iterable[Mapping[str, Any]]) -> Versions:
    """Return the distinct versions over all stages."""
    recorded = ([provenance.get(part) for part in PROVENANCE] for provenance in provenances)
    alike = {orjson.dumps(parts): parts for parts in recorded}  # most of ten thousand ran with the same
    sources = [dict(zip(PROVENANCE, parts, strict=True)) for parts in alike.values()]
    packages: dict[str, list[str]] = {}
    for name in PACKAGES:
        if found := _distinct(at(source, "packages", name) for source in sources):
            packages[name] = found
    return Versions(
        code=_distinct(map(_code, _mappings(at(source, "code") for source in sources))),
        python=_distinct(str(at(source, "python") or "").split(" ")[0] for source in sources),
        packages=packages,
        machines=_distinct(map(_machine, _mappings(at(source, "machine") for source in sources))),
    )


def whole(value: Any) -> int | None:
    """Return a whole number as it is, None for anything else."""
    return value if type(value) is int else None


def _mappings(values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    return (value for value in values if isinstance(value, dict))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _score(result: Mapping[str, Any], metric: str | None) -> float | None:
    test = result.get("test")
    return as_score(test.get(metric)) if isinstance(test, dict) and metric else None


def _code(code: Mapping[str, Any]) -> str:
    snapshot = code.get("snapshot") if isinstance(code.get("snapshot"), dict) else None
    source = snapshot or code
    if not source.get("git_commit"):  # installed, not from a checkout
        return f"detour {source['version']}" if source.get("version") else ""
    return str(source["git_commit"])[:12] + (" with local changes" if source.get("diff_sha256") else "")


def _machine(machine: Mapping[str, Any]) -> str:
    parts = [
        str(machine["cpu"]) if machine.get("cpu") else "",
        f"{machine['cpus_usable']} cores" if machine.get("cpus_usable") else "",
        f"{memory / 1e9:.0f} GB" if (memory := number(machine.get("memory_bytes"))) else "",
        *_counted([str(gpu) for gpu in _list(machine.get("nvidia_gpus"))]),
    ]
    return ", ".join(part for part in parts if part)


def _counted(names: Sequence[str]) -> list[str]:
    return [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]


def _distinct(values: Any) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value))
