"""Both phases of a planned chain, through the jobs that train and promote them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from detour.checkpoints.manifest import write_manifest
from detour.config.fields import File
from detour.config.models import Recipe
from detour.corpus.files import SourceError
from detour.jobs import pretrain, promote
from detour.jobs.compile_cache import keep_compiled
from detour.jobs.context import StageContext, StageOfKind
from detour.ledger.attempt import Attempt
from detour.orchestration.plans import inspect_entry
from detour.planning.build import Planner
from detour.planning.origins import Content
from detour.planning.plan import Plan
from detour.planning.stage import PretrainStage, PromoteStage
from tests.pretraining.jobs import BATCH_ROWS, CONFIG, ROW_TOKENS, write_corpus
from tests.pretraining.tiny import tiny_model

STEPS = {"clm": 8, "mlm": 4}


def look(_: File | str) -> Content:
    return Content((Path("text.txt"),), ("fingerprint",))


def planned() -> Plan:
    return Planner(look).plan(Recipe.model_validate(planned_recipe()))


def planned_recipe() -> dict[str, Any]:
    step_tokens = BATCH_ROWS * ROW_TOKENS
    return {
        "name": "tiny",
        "model": {"config": CONFIG},
        "tokenizer": {"train": {"vocabulary": 300}},
        "data": {
            "sources": [{"name": "counting", "path": "text.txt"}],
            "sequence_length": 64,
            "validation_tokens": 100,
        },
        "batch": {"sequences": BATCH_ROWS, "microbatch_sequences": 4},
        "optimizer": {"lr": 3e-3},
        "phases": [
            {
                "name": "clm",
                "objective": "causal",
                "tokens": STEPS["clm"] * step_tokens - 1,
                "schedule": {"kind": "warmup_constant", "warmup": 2 * step_tokens},
            },
            {
                "name": "mlm",
                "objective": "masked",
                "masking_rate": 0.3,
                "tokens": STEPS["mlm"] * step_tokens,
                "schedule": {"kind": "one_minus_sqrt"},
                "gate": {"validation_loss_drop": -1.0},
            },
        ],
    }


def planned_from(folder: Path) -> Plan:
    tiny_model().save_pretrained(folder)
    recipe = planned_recipe() | {"model": {"pretrained": str(folder)}}

    def inspect(entry: File | str) -> Content | None:
        return inspect_entry(entry) if isinstance(entry, str) else look(entry)

    return Planner(inspect).plan(Recipe.model_validate(recipe))


def change(folder: Path) -> None:
    with (folder / "config.json").open("a") as file:
        file.write(" ")


CHANGED = r"config\.json: its content changed after the chain was planned"


def test_weights_changed_after_planning_start_no_training(tmp_path: Path) -> None:
    plan = planned_from(tmp_path / "model")
    stage = next(stage for stage in plan.stages if isinstance(stage, PretrainStage))
    change(tmp_path / "model")
    with pytest.raises(SourceError, match=CHANGED):
        pretrain.run(context(tmp_path, stage, {"corpus": tmp_path}))


def test_a_training_is_not_compared_with_weights_that_changed_after_it(tmp_path: Path) -> None:
    plan = planned_from(tmp_path / "model")
    training = next(stage for stage in plan.stages if isinstance(stage, PretrainStage))
    promotion = next(stage for stage in plan.stages if isinstance(stage, PromoteStage))
    corpus = write_corpus(tmp_path / "corpus")
    write_manifest(corpus, {})
    trained = context(tmp_path, training, {"corpus": corpus})
    pretrain.run(trained)
    write_manifest(trained.output_dir, {"stage": training.to_json()})
    change(tmp_path / "model")
    with pytest.raises(SourceError, match=CHANGED):
        promote.run(context(tmp_path, promotion, {"corpus": corpus, "checkpoint": trained.output_dir}))


def context(folder: Path, stage: StageOfKind, inputs: dict[str, Path]) -> StageContext[StageOfKind]:
    work, output = folder / stage.id / "work", folder / stage.id / "output"
    work.mkdir(parents=True)
    output.mkdir()
    return StageContext(stage, inputs, work, output, Attempt())


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planned()


def test_settings_become_a_training_job(tmp_path: Path, plan: Plan) -> None:
    first, second = (stage for stage in plan.stages if isinstance(stage, PretrainStage))
    clm = pretrain.pretrain_job(context(tmp_path, first, {"corpus": tmp_path}))
    assert clm.steps == STEPS["clm"]
    assert clm.warmup_steps == 2
    assert clm.first_row == 0
    assert clm.start.model is not None
    assert clm.start.model.config == CONFIG
    assert clm.batch_sequences == BATCH_ROWS
    assert clm.microbatch_sequences == 4
    assert clm.sequence_length == ROW_TOKENS
    mlm = pretrain.pretrain_job(context(tmp_path, second, {"corpus": tmp_path, "parent": tmp_path / "promoted"}))
    assert mlm.steps == STEPS["mlm"]
    assert mlm.warmup_steps == 0
    assert mlm.first_row == STEPS["clm"] * BATCH_ROWS
    assert (mlm.start.parent, mlm.start.with_optimizer) == (tmp_path / "promoted", True)
    assert mlm.phase.masking_rate == 0.3


def test_a_chain_trains_promotes_and_continues_training(tmp_path: Path, plan: Plan) -> None:
    outputs = {plan.stages[0].id: write_corpus(tmp_path / "corpus")}
    write_manifest(outputs[plan.stages[0].id], {})
    results = []
    for stage in plan.stages[1:5]:
        inputs = {role: outputs[stage_id] for role, stage_id in stage.inputs.items()}
        made = context(tmp_path, stage, inputs)
        results.append({"pretrain": pretrain, "promote": promote}[stage.kind].run(made))
        write_manifest(made.output_dir, {})
        outputs[stage.id] = made.output_dir
    trained, promoted = results[::2], results[1::2]
    assert [result["steps"] for result in trained] == list(STEPS.values())
    for result, verdict in zip(trained, promoted, strict=True):
        assert verdict["validation_loss"] == pytest.approx(result["validation_loss"], rel=1e-4)
        assert verdict["parent_validation_loss"] == pytest.approx(result["validation_loss_start"], rel=1e-4)


CACHES = (
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED",
    "FLASH_ATTENTION_CUTE_DSL_CACHE_DIR",
)


def test_the_compile_cache_is_private_to_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CACHES:
        monkeypatch.delenv(name, raising=False)
    for _ in range(2):
        keep_compiled(tmp_path)
    kept = tmp_path / "compiled" / str(os.getuid())
    assert [os.environ[name] for name in CACHES] == [str(kept), str(kept / "triton"), "1", str(kept / "flash-attn-4")]
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("in_the_way", ["a folder that others can write to", "a file"])
def test_without_a_private_folder_the_stage_runs_and_nothing_compiled_is_kept(
    in_the_way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CACHES:
        monkeypatch.delenv(name, raising=False)
    if in_the_way == "a file":
        (tmp_path / "compiled").touch()
    else:
        (tmp_path / "compiled" / str(os.getuid())).mkdir(parents=True)
        (tmp_path / "compiled" / str(os.getuid())).chmod(0o777)
    keep_compiled(tmp_path)
    assert not [name for name in CACHES if name in os.environ]


def test_a_cache_set_in_the_environment_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CACHES:
        monkeypatch.setenv(name, "/elsewhere")
    keep_compiled(tmp_path)
    assert {os.environ[name] for name in CACHES} == {"/elsewhere"}
