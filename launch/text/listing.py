"""Chains, sweeps and stages by name, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detour.grouping import grouped
from detour.ledger.workspace import Workspace
from detour.planning.files import ChainOutline
from detour.planning.selection import SWEEP
from detour.text import cells, counted, fitted, plain


def chain_lines(outlines: Sequence[ChainOutline], workspace: Workspace) -> Iterator[str]:
    """Chains by name, those of a sweep under its name."""
    if not outlines:
        yield f"No chain in {workspace.root}. `detour run RECIPE` or `detour submit RECIPE` starts one."
    by_sweep = grouped((outline.target.sweep, outline) for outline in outlines)
    width = max((cells(plain(outline.chain)) for outline in outlines), default=0) + 2
    for sweep, chains in sorted(by_sweep.items(), key=lambda item: item[0] or ""):
        if sweep is not None:
            shared = {stage.id for outline in chains for stage in outline.stages}
            facts = [f"sweep of {counted(len(chains), 'chain')}", counted(len(shared), "distinct stage")]
            facts += [f"named {SWEEP}{sweep}"] if any(outline.chain == sweep for outline in outlines) else []
            yield plain(f"{sweep} ({', '.join(facts)})")
        for outline in chains:
            on = f", {plain(outline.target.cluster)}" if outline.target.cluster else ""
            indent = "" if sweep is None else "  "
            yield f"{indent}{fitted(plain(outline.chain), width)}{counted(len(outline.stages), 'stage')}{on}"


def name_lines(outlines: Sequence[ChainOutline], *, stages: bool) -> Iterator[str]:
    """One name per line, for scripts: the chains', or the ids of their stages, each once."""
    ids = dict.fromkeys(stage.id for outline in outlines for stage in outline.stages)
    yield from map(plain, ids if stages else (outline.chain for outline in outlines))


def stage_lines(outlines: Sequence[ChainOutline], needed_by: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for outline in outlines:
        yield plain(outline.chain)
        width = max((cells(plain(stage.label)) for stage in outline.stages), default=0)
        for stage in outline.stages:
            chains = len(needed_by[stage.id])
            shared = f"  in {chains:,} chains" if chains > 1 else ""
            yield f"  {fitted(plain(stage.label), width)}  {plain(stage.id)}{shared}"


def chains_json(outlines: Sequence[ChainOutline]) -> list[dict[str, Any]]:
    return [
        {
            "chain": outline.chain,
            "sweep": outline.target.sweep,
            "project": outline.target.project,
            "cluster": outline.target.cluster,
            "stages": [{"id": stage.id, "label": stage.label, "kind": stage.kind} for stage in outline.stages],
        }
        for outline in outlines
    ]
