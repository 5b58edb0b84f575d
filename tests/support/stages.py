"""Stages of every kind for tests that need only a few of their values; the rest is the basic recipe's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from detour.config.fields import File
from detour.planning.build import Planner
from detour.planning.origins import Content
from detour.planning.stage import (
    ExportStage,
    PrepareStage,
    PretrainStage,
    PromoteStage,
    Stage,
)
from tests.support.recipes import make_recipe

StageOfKind = TypeVar("StageOfKind", bound=Stage)


def assumed_file(entry: File | str) -> Content | None:
    """Let the planner assume that a file exists; a hub id is not a file."""
    return None if isinstance(entry, str) else Content((Path(entry.path),), ("f",), 1)


def make_stages(changes: Mapping[str, object] | None = None) -> tuple[Stage, ...]:
    """The chain of the basic recipe, with `a.b.c` paths replaced; its files are assumed to exist."""

    def inspect(entry: File | str) -> Content | None:
        return None if isinstance(entry, str) else Content((Path("/any") / Path(entry.path).name,), ("f",), 1000)

    return Planner(inspect).plan(make_recipe(changes)).stages


def of_class(stages: Sequence[Stage], kind: type[StageOfKind]) -> StageOfKind:
    """The first stage of a kind."""
    return next(stage for stage in stages if isinstance(stage, kind))


def prepare_stage(seed: int = 42) -> PrepareStage:
    stage = of_class(make_stages(), PrepareStage)
    return PrepareStage(replace(stage.settings, shuffle_seed=seed), {}, stage.runtime)


def pretrain_stage(phase: str = "clm", inputs: Mapping[str, str] | None = None, seed: int = 17) -> PretrainStage:
    """The causal phase under a name; another `seed` makes another key, another name does not."""
    stage = of_class(make_stages({"phases.0.name": phase, "seeds.training": seed}), PretrainStage)
    return PretrainStage(stage.settings, inputs or {}, stage.runtime)


def promote_stage(phase: str = "clm", inputs: Mapping[str, str] | None = None) -> PromoteStage:
    stage = of_class(make_stages({"phases.0.name": phase}), PromoteStage)
    return PromoteStage(stage.settings, inputs or {}, stage.runtime)


def export_stage(inputs: Mapping[str, str] | None = None) -> ExportStage:
    stage = of_class(make_stages(), ExportStage)
    return ExportStage(stage.settings, inputs or {}, stage.runtime)
