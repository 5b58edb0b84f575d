"""Equal keys mean equal results: what changes a key, what does not, and which stages a change affects."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from detour.canonical import canonical, digest
from detour.config.fields import File
from detour.config.models import Recipe
from detour.planning.build import Planner
from detour.planning.origins import Content
from detour.planning.plan import Plan
from detour.planning.stage import KEY_LENGTH, Stage, stage_key
from tests.support.recipes import BASIC, make_recipe

ASCII = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def plan(changes: dict[str, Any] | None = None, fingerprint: str = "f") -> Plan:
    def inspect(entry: File | str) -> Content | None:
        return None if isinstance(entry, str) else Content((Path("/any") / Path(entry.path).name,), (fingerprint,))

    return Planner(inspect).plan(make_recipe(changes))


def keys(planned: Plan) -> dict[str, str]:
    return {stage.label: stage.key for stage in planned.stages}


BEFORE = keys(plan())
ALL = set(BEFORE)
TASK = BASIC["benchmark"]["tasks"][0]
PERCENT = {"train": 80, "validation": 10, "test": 10, "unit": "percent"}
FROM_CLM = {label for label in ALL if label != "prepare"}
FROM_MLM = FROM_CLM - {"pretrain clm", "promote clm"}
FROM_EXPORT = {"export", "evaluate chapter seed 1", "evaluate chapter seed 2", "summarize"}
AFTER_MLM = FROM_MLM - {"pretrain mlm"}

DETERMINING = [
    ("data.sequence_length", 128, ALL),
    ("data.validation_tokens", 2000, ALL),
    ("data.repeats", "drop", ALL),
    ("data.sources.labels.weight", 0.5, ALL),
    ("data.sources.labels.exclude", {"code": "^U"}, ALL),
    ("data.sources.labels.name", "others", ALL),
    ("data.sources.labels.format", "csv", ALL),
    ("data.sources.labels.column", "label", ALL),
    ("data.sources.labels.separator", ";", ALL),
    ("data.sources.labels.quoting", "none", ALL),
    ("tokenizer.train.vocabulary", 600, ALL),
    ("tokenizer.train.documents", 50, ALL),
    ("tokenizer", {"pretrained": "someone/tokenizer"}, ALL),
    ("tokenizer", {"pretrained": "someone/tokenizer", "revision": "v2"}, ALL),
    ("seeds.shuffle", 43, ALL),
    ("seeds.training", 18, FROM_CLM),
    ("model.config.hidden_size", 64, FROM_CLM),
    ("optimizer.lr", 2e-3, FROM_CLM),
    ("optimizer.betas", [0.9, 0.99], FROM_CLM),
    ("optimizer.eps", 1e-8, FROM_CLM),
    ("optimizer.weight_decay", 0.1, FROM_CLM),
    ("optimizer.gradient_clip", 2.0, FROM_CLM),
    ("model", {"pretrained": "someone/model"}, FROM_CLM),
    ("model", {"pretrained": "someone/model", "revision": "v2"}, FROM_CLM),
    ("model", {"pretrained": "someone/model", "head": "new"}, FROM_CLM),
    ("batch.sequences", 8, FROM_CLM),
    ("training.precision", "bf16", FROM_CLM),
    ("phases.clm.tokens", 16384, FROM_CLM),
    ("phases.clm.schedule.warmup", 1024, FROM_CLM),
    ("phases.clm.freeze", [{"first": 0, "last": 0}], FROM_CLM),
    ("phases.clm.freeze", [{"first": 1, "last": 1}], FROM_CLM),
    ("phases.clm.freeze", [{"first": 0, "last": 0, "embeddings": True}], FROM_CLM),
    ("phases.clm.schedule", {"kind": "one_minus_sqrt"}, FROM_CLM),
    ("phases.clm", {**BASIC["phases"][0], "objective": "masked", "masking_rate": 0.3}, FROM_CLM),
    ("phases.clm.gate.validation_loss_drop", 0.1, FROM_CLM - {"pretrain clm"}),
    ("phases.mlm.masking_rate", 0.3, FROM_MLM),
    ("phases.mlm.tokens", 4096, FROM_MLM),
    ("phases.mlm.mask_special_tokens", True, FROM_MLM),
    ("phases.mlm.data", "restart", FROM_MLM),
    ("phases.mlm.attention_output_dropout", 0.1, FROM_MLM),
    ("phases.mlm.schedule.floor", 0.2, FROM_MLM),
    ("phases.mlm.carry", "weights", FROM_MLM),
    ("phases.mlm.gate.validation_loss_drop", 0.1, FROM_MLM - {"pretrain mlm"}),
    ("phases.mlm.gate.baseline", {"validation_loss": 2.0, "source": "twin", "margin": 0.1}, AFTER_MLM),
    ("phases.mlm.gate.perplexity", {"least": 1.5, "most": 90.0}, AFTER_MLM),
    ("phases.mlm.gate.gradient_norm", {"most": 5.0, "last": 10, "skipped": 0}, AFTER_MLM),
    ("phases.mlm.gate.probe", {"task": "chapter", "least": 0.5, "metric": "macro_f1", "seed": 3}, AFTER_MLM),
    ("export.dtype", "float32", FROM_EXPORT),
    ("export.equivalence", {"conversion": 1e-3, "rounding": 1e-2}, FROM_EXPORT),
    ("export.classifier_pooling", "mean", FROM_EXPORT),
    ("benchmark.tasks.chapter.lr", 1e-5, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.split.seed", 7, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.split.train", 11, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.split.validation", 6, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.split.test", 6, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.name", "other", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.type", "multilabel", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.format", "csv", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.separator", ";", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.quoting", "none", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.label_format", "list", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.label_separator", ";", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.text", "body", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.label", "chapter", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.label_map", "icd10_chapter", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.exclude", {"code": "^U"}, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.annotation", "brat", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.split_column", "split", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.max_length", 16, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.epochs", 2, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.batch_sequences", 8, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.head_lr", 1e-3, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.weight_decay", 0.1, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.warmup", 0.2, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.gradient_clip", 5.0, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.validate_every", 3, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.pooling", "mean", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.top_labels", 4, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter", {**TASK, "epochs": None, "steps": 5}, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.split", PERCENT, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data", None, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.reader", "brat-codes", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.entity_labels", ["CHEM"], FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.terminology", "SNOMED", FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter.data.split_files", True, FROM_EXPORT - {"export"}),
    ("benchmark.tasks.chapter", {**TASK, "type": "ner", "entities": "flat"}, FROM_EXPORT - {"export"}),
]

IRRELEVANT = [
    ("data.sources.labels.path", "elsewhere/labels.csv"),
    ("data.sources.labels.package", "some_package"),
    ("benchmark.tasks.chapter.data.path", "elsewhere/labels.csv"),
    ("benchmark.tasks.chapter.data.package", "some_package"),
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
    ("benchmark.tasks.chapter.obtain", "from its authors"),
    ("benchmark.tasks.chapter.data", {**TASK["data"], "hub": "someone/tasks", "revision": "v2"}),
]


TESTED_APART = {"phases.clm.name", "benchmark.seeds"}


def changed_by(changes: dict[str, Any]) -> set[str]:
    after = keys(plan(changes))
    return {label for label, key in BEFORE.items() if key != after.get(label)}


@pytest.mark.parametrize(("path", "value", "changed"), DETERMINING, ids=[case[0] for case in DETERMINING])
def test_a_relevant_change_changes_exactly_the_keys_downstream(path: str, value: Any, changed: set[str]) -> None:
    assert changed_by({path: value}) == changed


OF_SEVERAL_LABELS = {"positive_weights": True, "threshold": 0.4}


@pytest.mark.parametrize("key", OF_SEVERAL_LABELS)
def test_what_only_several_labels_have_changes_the_keys_of_their_evaluations(key: str) -> None:
    several = {"benchmark.tasks.chapter.type": "multilabel"}
    before = keys(plan(several))
    after = keys(plan(several | {f"benchmark.tasks.chapter.{key}": OF_SEVERAL_LABELS[key]}))
    assert {label for label in before if before[label] != after[label]} == FROM_EXPORT - {"export"}


CASES: list[tuple[str, Any, set[str]]] = [*DETERMINING, *((path, value, set[str]()) for path, value in IRRELEVANT)]


@given(st.lists(st.sampled_from(CASES), min_size=1, max_size=6))
def test_several_changes_change_what_each_of_them_does_and_nothing_more(cases: list[tuple[str, Any, set[str]]]) -> None:
    paths = [path for path, _, _ in cases]
    assume(not any(f"{one}.".startswith(f"{other}.") for one, other in permutations(paths, 2)))
    changes = {path: value for path, value, _ in sorted(cases, key=lambda case: case[0].endswith(".name"))}
    try:
        make_recipe(changes)
    except ValidationError:
        assume(False)
    assert changed_by(changes) == set().union(*(changed for _, _, changed in cases))


ITEMS = {"sources": "labels", "phases": "clm", "tasks": "chapter"}


def leaves(model: type[BaseModel], path: str = "") -> set[str]:
    """Return every key that a recipe can have, dotted."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        inner = models_in(field.annotation)
        here = ".".join(filter(None, (path, name, ITEMS.get(name))))
        found |= set().union(*(leaves(one, here) for one in inner)) if inner else {here}
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def keys_of(path: str, value: Any) -> set[str]:
    """Return the keys that a case changes: its own and those inside its value."""
    if isinstance(value, list):
        return {path}.union(*(keys_of(path, item) for item in value))
    if isinstance(value, dict):
        return {path}.union(*(keys_of(f"{path}.{name}", inner) for name, inner in value.items()))
    return {path}


def test_every_key_of_a_recipe_is_in_these_tests() -> None:
    """A new field must be added to one of the lists: does it affect the result or not?"""
    apart = TESTED_APART | {f"benchmark.tasks.chapter.{key}" for key in OF_SEVERAL_LABELS}
    covered = apart.union(*(keys_of(path, value) for path, value, _ in CASES))
    covered |= {path.rpartition(".")[0] for path in covered}
    known = {path.replace("phases.mlm", "phases.clm") for path in covered}
    assert leaves(Recipe) <= known, sorted(leaves(Recipe) - known)


@pytest.mark.parametrize(("path", "value"), IRRELEVANT, ids=[case[0] for case in IRRELEVANT])
def test_names_and_runtime_values_change_no_key(path: str, value: Any) -> None:
    assert set(keys(plan()).values()) == set(keys(plan({path: value})).values())


def test_renaming_a_phase_changes_no_key() -> None:
    assert set(keys(plan()).values()) == set(keys(plan({"phases.clm.name": "first"})).values())


def test_a_local_model_is_identified_by_its_content_wherever_it_is() -> None:
    def inspect(entry: File | str) -> Content:
        place, fingerprint = str(entry if isinstance(entry, str) else entry.path).split(":")
        return Content((Path(place) / "model.safetensors",), (fingerprint,))

    def at(start: str) -> dict[str, str]:
        changes = {"model": {"pretrained": start}, "data.sources.labels.path": "x:1"}
        return keys(Planner(inspect).plan(make_recipe({**changes, "benchmark.tasks.chapter.data.path": "x:1"})))

    assert at("/here:a") == at("/somewhere/else:a")
    assert {label for label, key in at("/here:a").items() if at("/here:b")[label] != key} == FROM_CLM


def test_keys_equal_those_of_earlier_versions_and_other_machines() -> None:
    """A change here makes users compute their results again: state it in the commit and the changelog."""
    shown = {
        "prepare": "69b48c0c615c7a76",
        "pretrain clm": "26f7d79d61aedc56",
        "evaluate chapter seed 1": "19bd4d50294bc649",
        "summarize": "12ec5167a8e1adc3",
    }
    assert {label: keys(plan())[label] for label in shown} == shown


@pytest.mark.parametrize("place", ["data.sources.labels", "benchmark.tasks.chapter.data"])
def test_the_key_of_a_tsv_has_the_quoting_implied_by_its_name(place: str) -> None:
    auto, none, double = (
        keys(plan({f"{place}.path": "labels.TSV.gz", f"{place}.quoting": quoting}))
        for quoting in ("auto", "none", "double")
    )
    assert auto == none != double


def test_changed_content_of_a_file_changes_all_keys() -> None:
    before, after = keys(plan()), keys(plan(fingerprint="g"))
    assert not set(before.values()) & set(after.values())


def test_another_seed_adds_one_evaluation_and_changes_no_other() -> None:
    before, after = keys(plan()), keys(plan({"benchmark.seeds": [1, 2, 3]}))
    assert {label for label in before if before[label] != after[label]} == {"summarize"}
    assert set(after) - set(before) == {"evaluate chapter seed 3"}


def test_arms_that_differ_in_the_first_phase_share_only_the_preparation() -> None:
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

    assert digest(settings) == digest(shuffled(settings))


@given(st.text(ASCII), st.text(ASCII), st.dictionaries(st.text(ASCII), st.text(ASCII)))
def test_a_key_is_the_hash_of_the_canonical_form(kind: str, settings: str, inputs: dict[str, str]) -> None:
    expected = hashlib.sha256(canonical([kind, settings, inputs])).hexdigest()
    assert stage_key(kind, settings, inputs) == expected[:KEY_LENGTH]


def test_keys_do_not_depend_on_the_hash_seed_of_python() -> None:
    code = "import json; from tests.planning.test_keys import keys, plan; print(json.dumps(keys(plan())))"
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


def test_a_stage_survives_the_round_trip_and_an_edit_is_detected() -> None:
    for stage in plan().stages:
        data = json.loads(json.dumps(stage.to_json()))
        assert Stage.from_json(data) == stage
        with pytest.raises(ValueError, match="edited"):
            Stage.from_json({**data, "settings": {**data["settings"], "sneaked": 1}})


def test_a_promotion_with_a_probe_survives_the_round_trip() -> None:
    gate = {"probe": {"task": "chapter", "least": 0.5}}
    promotion = next(stage for stage in plan({"phases.mlm.gate": gate}).stages if stage.label == "promote mlm")
    assert Stage.from_json(json.loads(json.dumps(promotion.to_json()))) == promotion
    assert "probe" in promotion.to_json()["settings"]
