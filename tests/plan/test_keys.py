"""Same key = same result: what changes a key, what does not, and how far a change reaches."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.plan.build import Content, Plan, Planner
from detour.plan.stage import KEY_LENGTH, Stage, canonical, settings_digest, stage_key
from detour.recipe.models import File
from tests.support.recipes import make_recipe

ASCII = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def plan(changes: dict[str, Any] | None = None, fingerprint: str = "f") -> Plan:
    def inspect(entry: File | str) -> Content | None:
        return None if isinstance(entry, str) else Content((Path("/any") / entry.path,), (fingerprint,))

    return Planner(inspect).plan(make_recipe(changes))


def keys(planned: Plan) -> dict[str, str]:
    return {stage.label: stage.key for stage in planned.stages}


ALL = set(keys(plan()))
FROM_CLM = {label for label in ALL if label != "prepare"}
FROM_MLM = FROM_CLM - {"pretrain clm", "promote clm"}
FROM_EXPORT = {"export", "evaluate chapter seed 1", "evaluate chapter seed 2", "summarize"}

DETERMINING = [
    ("data.sequence_length", 128, ALL),
    ("data.validation_tokens", 2000, ALL),
    ("data.sources.labels.weight", 0.5, ALL),
    ("data.sources.labels.exclude", {"code": "^U"}, ALL),
    ("tokenizer.train.vocabulary", 600, ALL),
    ("seeds.shuffle", 43, ALL),
    ("seeds.training", 18, FROM_CLM),
    ("model.config.hidden_size", 64, FROM_CLM),
    ("optimizer.lr", 2e-3, FROM_CLM),
    ("optimizer.betas", [0.9, 0.99], FROM_CLM),
    ("batch.sequences", 8, FROM_CLM),
    ("training.precision", "bf16", FROM_CLM),
    ("phases.clm.tokens", 16384, FROM_CLM),
    ("phases.clm.schedule.warmup", 1024, FROM_CLM),
    ("phases.clm.freeze", [{"first": 0, "last": 0}], FROM_CLM),
    ("phases.clm.gate.validation_loss_drop", 0.1, FROM_CLM - {"pretrain clm"}),
    ("phases.mlm.masking_rate", 0.3, FROM_MLM),
    ("phases.mlm.schedule.floor", 0.2, FROM_MLM),
    ("phases.mlm.carry", "weights", FROM_MLM),
    ("phases.mlm.gate.validation_loss_drop", 0.1, FROM_MLM - {"pretrain mlm"}),
    ("export.dtype", "float32", FROM_EXPORT),
    ("benchmark.tasks.chapter.lr", 1e-5, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.split.seed", 7, FROM_EXPORT - {"export"}),
]

IRRELEVANT = [
    ("name", "renamed"),
    ("description", "other words"),
    ("batch.microbatch_sequences", 2),
    ("training.attention", "sdpa"),
    ("training.cross_entropy", "chunked"),
    ("training.compile", True),
    ("training.checkpoint_every", 7),
    ("training.checkpoints_kept", 5),
    ("training.validate_every", 10),
    ("training.loggers", ["tensorboard"]),
    ("benchmark.name", "renamed"),
    ("benchmark.tasks.chapter.documents", {"count": 20, "source": "a paper"}),
]


@pytest.mark.parametrize(("path", "value", "changed"), DETERMINING, ids=[case[0] for case in DETERMINING])
def test_a_change_that_matters_changes_exactly_what_is_downstream(path: str, value: Any, changed: set[str]) -> None:
    before, after = keys(plan()), keys(plan({path: value}))
    assert {label for label in before if before[label] != after[label]} == changed


@pytest.mark.parametrize(("path", "value"), IRRELEVANT, ids=[case[0] for case in IRRELEVANT])
def test_names_and_ways_of_running_change_no_key(path: str, value: Any) -> None:
    assert set(keys(plan()).values()) == set(keys(plan({path: value})).values())


def test_renaming_a_phase_changes_no_key() -> None:
    assert set(keys(plan()).values()) == set(keys(plan({"phases.clm.name": "first"})).values())


def test_other_content_in_a_file_changes_all_keys() -> None:
    before, after = keys(plan()), keys(plan(fingerprint="g"))
    assert not set(before.values()) & set(after.values())


def test_a_further_seed_adds_one_evaluation_and_changes_no_other() -> None:
    before, after = keys(plan()), keys(plan({"benchmark.seeds": [1, 2, 3]}))
    assert {label for label in before if before[label] != after[label]} == {"summarize"}
    assert set(after) - set(before) == {"evaluate chapter seed 3"}


def test_arms_that_differ_in_the_first_phase_share_preparation_only() -> None:
    masked = {
        "phases.clm.objective": "masked",
        "phases.clm.masking_rate": 0.3,
    }
    assert set(keys(plan()).values()) & set(keys(plan(masked)).values()) == {keys(plan())["prepare"]}


def test_decays_of_different_length_share_the_first_phase() -> None:
    short, long = keys(plan()), keys(plan({"phases.mlm.tokens": 4096}))
    shared = {label for label in short if short[label] == long[label]}
    assert shared == {"prepare", "pretrain clm", "promote clm"}


@given(st.dictionaries(st.text(), JSON), st.randoms())
def test_a_digest_does_not_depend_on_the_order_of_keys(settings: dict[str, Any], random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(key, shuffled(inner)) for key, inner in value.items()]
            random.shuffle(items)
            return dict(items)
        return [shuffled(inner) for inner in value] if isinstance(value, list) else value

    assert settings_digest(settings) == settings_digest(shuffled(settings))


@given(st.text(ASCII), st.text(ASCII), st.dictionaries(st.text(ASCII), st.text(ASCII)))
def test_a_key_is_the_hash_of_the_canonical_form(kind: str, digest: str, inputs: dict[str, str]) -> None:
    expected = hashlib.sha256(canonical([kind, digest, inputs])).hexdigest()
    assert stage_key(kind, digest, inputs) == expected[:KEY_LENGTH]


def test_keys_are_the_same_in_another_python_with_another_hash_seed() -> None:
    code = "import json; from tests.plan.test_keys import keys, plan; print(json.dumps(keys(plan())))"
    root = Path(__file__).parents[2]
    for seed in ("1", "2"):
        printed = subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert json.loads(printed) == keys(plan())


def test_a_stage_survives_the_round_trip_and_an_edited_one_is_noticed() -> None:
    for stage in plan().stages:
        data = json.loads(json.dumps(stage.to_json()))
        assert Stage.from_json(data) == stage
        with pytest.raises(ValueError, match="edited"):
            Stage.from_json({**data, "settings": {**data["settings"], "sneaked": 1}})
