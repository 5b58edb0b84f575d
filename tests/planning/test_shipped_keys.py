"""The shipped recipes and sweeps keep their keys; otherwise every workspace would have to train again.

`shipped_keys.json` lists the ids of their stages up to the export, with edsnlp 0.23.0, whose texts the quickstart
trains on. An intended change of results changes the file too, and is named in the changelog.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detour.orchestration.plans import load_plans

CONFIGS = Path(__file__).parents[2] / "configs"
EXPECTED: dict[str, list[str]] = json.loads((Path(__file__).parent / "shipped_keys.json").read_text())
SHIPPED = {path.stem: path for folder in ("recipes", "sweeps") for path in (CONFIGS / folder).glob("*.yaml")}
KINDS = ("prepare", "pretrain", "promote", "export")


def test_every_recipe_and_sweep_is_listed() -> None:
    assert EXPECTED.keys() == SHIPPED.keys()


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_stages_of_shipped_recipes_and_sweeps_have_these_keys(name: str) -> None:
    stages = load_plans(SHIPPED[name]).shared.stages.values()
    assert sorted(stage.id for stage in stages if stage.kind in KINDS) == EXPECTED[name]
