"""The promotion as a job: bad checkpoints are refused permanently, with the reason, and nothing of them is passed on.

Every case is a pretraining's output that differs from a good one in one respect. Unless its manifest is the point, the
manifest is written after the damage, so that no digest reveals it.
"""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from detour.checkpoints.acceptance import accept_gate
from detour.checkpoints.manifest import write_manifest
from detour.checkpoints.promoted import OPTIMIZER, read_moments, read_promotion
from detour.checkpoints.trainer_state import TrainerState, read_trainer_state, write_trainer_state
from detour.config.models import Freeze, Model, Phase, Seeds, Task
from detour.corpus.fingerprints import fingerprint
from detour.corpus.layout import read_index
from detour.errors import Interrupted, NotReady, PermanentFailure
from detour.jobs import promote as promote_job
from detour.jobs.harness import run_stage
from detour.jobs.rank import read_rank
from detour.ledger.events import GateJudged
from detour.ledger.reading import history
from detour.ledger.workspace import Workspace
from detour.planning.origins import FileContent
from detour.planning.runtime import EvaluateRuntime, PromoteRuntime
from detour.planning.settings import EvaluateSettings, PromoteSettings
from detour.planning.stage import PromoteStage, Stage
from detour.pretraining.optimizer import freeze
from detour.pretraining.start import Start, load_model
from tests.checkpoints.tiny import STEPS, TOKENS, pretrain_output, trained, trainer_state
from tests.support.corpora import make_corpus
from tests.support.stages import prepare_stage, pretrain_stage

VOCABULARY = 1024
MODEL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "local_attention": 16,
}
PREPARE = prepare_stage()
PRETRAIN = pretrain_stage("clm", {"corpus": PREPARE.id})
OTHER = pretrain_stage("clm", {"corpus": PREPARE.id}, seed=18)
"""A stage of another chain."""
FROZEN = {"first": 0, "last": 0, "embeddings": True}

Saved = dict[str, Any]
"""A training state as a dict, to be damaged."""
WEIGHT = "head.dense.weight"
"""A weight that every case can damage."""
TIED = ("model.embeddings.tok_embeddings.weight", "decoder.weight")


Probed = tuple[EvaluateSettings, Path]
pytestmark = pytest.mark.usefixtures("one_thread")


def promote_stage(
    frozen: list[dict[str, Any]], gate: dict[str, Any] | None = None, probe: Probed | None = None
) -> Stage:
    phase = {
        "name": "clm",
        "objective": "causal",
        "tokens": 500,
        "schedule": {"kind": "warmup_constant"},
        "freeze": frozen,
        "gate": gate or {"validation_loss_drop": -1.0},
    }
    settings = PromoteSettings(
        Phase.model_validate(phase),
        TOKENS,
        STEPS,
        sequence_length=128,
        seeds=Seeds(training=17, shuffle=42),
        probe=probe and probe[0],
    )
    model = Model(config=MODEL)
    probed = EvaluateRuntime(model, VOCABULARY, paths=(probe[1],), documents=None) if probe else None
    runtime = PromoteRuntime(model, VOCABULARY, validation_tokens=1000, probe=probed)
    return PromoteStage(settings, {"checkpoint": PRETRAIN.id, "corpus": PREPARE.id}, runtime)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and outputs of pretrainings: `all` trained every weight, `frozen` froze the embeddings and a layer."""
    folder = tmp_path_factory.mktemp("originals")
    corpus = make_corpus(folder / "corpus", vocabulary=VOCABULARY)
    write_manifest(corpus, {"stage": PREPARE.to_json()})
    for name, frozen in (("all", []), ("frozen", [Freeze.model_validate(FROZEN)])):
        model = load_model(Start(Model(config=MODEL)), read_index(corpus), seed=17)
        freeze(model, frozen)
        state = trainer_state(model, trained(model))
        pretrain_output(folder / name, model, state)
        write_manifest(folder / name, {"stage": PRETRAIN.to_json()})
    return folder


class Attempts:
    """A workspace with one promotion, tried on the output of a pretraining."""

    def __init__(self, folder: Path, originals: Path) -> None:
        self.workspace = Workspace(folder / "workspace")
        self.workspace.create()
        self.originals = originals
        self.corpus = self.workspace.output(PREPARE.id)
        shutil.copytree(originals / "corpus", self.corpus)
        self.pretrained = self.workspace.output(PRETRAIN.id)

    def put_output(self, trained: str = "all") -> None:
        shutil.copytree(self.originals / trained, self.pretrained)

    def describe(self, stage: Stage = PRETRAIN) -> None:
        write_manifest(self.pretrained, {"stage": stage.to_json()})

    def rewrite(self, change: Callable[[Saved], object]) -> None:
        """Rewrite it as the trainer does, or as a pickle of an earlier version if its format cannot hold the change."""
        path = self.pretrained / "checkpoint.safetensors"
        state = read_trainer_state(path)
        saved = copy.deepcopy({field.name: getattr(state, field.name) for field in fields(state)})
        content = saved if (changed := change(saved)) is None else changed
        path.unlink()
        try:
            write_trainer_state(path, TrainerState(**content))  # type: ignore[arg-type]
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
            path.unlink(missing_ok=True)
            torch.save(content, self.pretrained / "checkpoint.pt")
        self.describe()

    def configure(self, **changed: Any) -> None:
        path = self.pretrained / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))
        self.describe()

    def plan(
        self,
        frozen: list[dict[str, Any]] | None = None,
        gate: dict[str, Any] | None = None,
        probe: Probed | None = None,
    ) -> None:
        self.stage = promote_stage(frozen or [], gate, probe)
        folder = self.workspace.stage(self.stage.id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stage.json").write_text(json.dumps(self.stage.to_json()))

    def promote(
        self,
        frozen: list[dict[str, Any]] | None = None,
        gate: dict[str, Any] | None = None,
        probe: Probed | None = None,
    ) -> tuple[int, str]:
        """Exit code, and the reason if it failed permanently."""
        self.plan(frozen, gate, probe)
        code = run_stage(self.workspace, self.stage.id, read_rank({}), executor=None, wall_limit_s=None)
        failure = self.workspace.failure(self.stage.id)
        return code, json.loads(failure.read_text())["reason"] if failure.exists() else ""


@pytest.fixture
def attempts(tmp_path: Path, originals: Path) -> Attempts:
    return Attempts(tmp_path, originals)


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code in a checkpoint ran",)


def cast(dtype: torch.dtype, *names: str) -> Callable[[Saved], None]:
    def change(saved: Saved) -> None:
        for name in names or saved["model"]:
            saved["model"][name] = saved["model"][name].to(dtype)

    return change


def weight(value: Any) -> Callable[[Saved], None]:
    """Replace a weight by `value`, or by what it returns for the present weight."""

    def change(saved: Saved) -> None:
        saved["model"][WEIGHT] = value(saved["model"][WEIGHT]) if callable(value) else value

    return change


def filled(number: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def fill(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[-1] = number
        return tensor

    return fill


def moment(key: str, value: Any) -> Callable[[Saved], None]:
    def change(saved: Saved) -> None:
        moments = saved["optimizer"]["state"][WEIGHT]
        moments[key] = value(moments[key]) if callable(value) else value

    return change


def without(*path: str) -> Callable[[Saved], None]:
    def change(saved: Saved) -> None:
        place = saved
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def put(value: Any, *path: Any) -> Callable[[Saved], None]:
    def change(saved: Saved) -> None:
        place: Any = saved
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def half_of_the_moments(saved: Saved) -> None:
    state = saved["optimizer"]["state"]
    for name in list(state)[::2]:
        del state[name]


GROUP = ("optimizer", "param_groups", 0)
BAD_STATES: dict[str, tuple[Callable[[Saved], object], str]] = {
    "fp16 weights": (cast(torch.float16), "is float16, float32 is expected"),
    "bf16 weights": (cast(torch.bfloat16), "is bfloat16, float32 is expected"),
    "float64 weights": (cast(torch.float64), "is float64, float32 is expected"),
    "integer weights": (cast(torch.int64), "is int64, float32 is expected"),
    "complex weights": (cast(torch.complex64), "is complex64, float32 is expected"),
    "boolean weights": (cast(torch.bool), "is bool, float32 is expected"),
    "one fp16 weight": (cast(torch.float16, WEIGHT), f"{WEIGHT} is float16"),
    "a sparse weight": (weight(lambda tensor: tensor.to_sparse()), "not a dense tensor"),
    "a list for a weight": (weight([1.0]), "not a mapping of names to tensors"),
    "a transposed norm": (put(torch.ones(1, 32), "model", "head.norm.weight"), "has the shape (1, 32)"),
    "a larger weight": (weight(torch.ones(33, 32)), "has the shape (33, 32), (32, 32) is expected"),
    "a missing weight": (without("model", WEIGHT), "weights missing, the first is head.dense.weight"),
    "an unknown weight": (put(torch.ones(2), "model", "extra.weight"), "unknown weights, the first is extra.weight"),
    "no weights": (put({}, "model"), "not a mapping of names to tensors"),
    "two embeddings": (put(torch.ones(VOCABULARY, 32), "model", TIED[1]), "are one tensor in the model"),
    "a NaN weight": (weight(filled(math.nan)), f"NaN or infinity in {WEIGHT}"),
    "an infinite weight": (weight(filled(-math.inf)), f"NaN or infinity in {WEIGHT}"),
    "no optimizer": (put(None, "optimizer"), "the optimizer's state is missing"),
    "an empty optimizer": (put({}, "optimizer", "state"), "optimizer states missing"),
    "half an optimizer": (half_of_the_moments, "optimizer states missing"),
    "a weight without moments": (without("optimizer", "state", WEIGHT), f"missing, the first is {WEIGHT}"),
    "a weight without exp_avg_sq": (
        without("optimizer", "state", WEIGHT, "exp_avg_sq"),
        f"moment of {WEIGHT}s missing, the first is exp_avg_sq",
    ),
    "moments of an unknown weight": (
        put({"exp_avg": torch.ones(2)}, "optimizer", "state", "extra"),
        "unknown optimizer states",
    ),
    "another optimizer's moments": (moment("momentum_buffer", torch.ones(2)), "the first is momentum_buffer"),
    "moments of another shape": (moment("exp_avg", torch.ones(32)), f"exp_avg of {WEIGHT} has the shape (32,)"),
    "bf16 moments": (moment("exp_avg", lambda moments: moments.bfloat16()), "is bfloat16, float32 is expected"),
    "a number for a moment": (moment("exp_avg", 1.0), "is a float, not a tensor"),
    "a NaN moment": (moment("exp_avg", filled(math.nan)), f"NaN or infinity in optimizer exp_avg of {WEIGHT}"),
    "an infinite moment": (moment("exp_avg_sq", filled(math.inf)), f"infinity in optimizer exp_avg_sq of {WEIGHT}"),
    "a negative second moment": (moment("exp_avg_sq", filled(-1.0)), "has negative values"),
    "infinitely many steps": (moment("step", torch.tensor(math.inf)), f"infinity in optimizer step of {WEIGHT}"),
    "an infinite number of steps": (moment("step", math.inf), f"infinity in optimizer step of {WEIGHT}"),
    "moments after no step": (moment("step", torch.tensor(0.0)), f"optimizer step of {WEIGHT} is 0"),
    "many step counts": (moment("step", torch.ones(2)), "is not a tensor of one number"),
    "a word for a step count": (moment("step", "four"), "is not a tensor of one number"),
    "a step count outside a tensor": (moment("step", float), "is not a tensor of one number"),
    "a tensor among the groups": (put(torch.ones(1), *GROUP, "weight_decay"), "more than numbers and names"),
    "a NaN learning rate": (put(math.nan, *GROUP, "lr"), "NaN or infinity in optimizer lr of group 0"),
    "an infinite learning rate": (put(math.inf, *GROUP, "lr"), "NaN or infinity in optimizer lr of group 0"),
    "a negative learning rate": (put(-1e-3, *GROUP, "lr"), "no learning rate"),
    "no learning rate": (without("optimizer", "param_groups", 0, "lr"), "no learning rate"),  # type: ignore[arg-type]
    "a NaN beta": (put((0.9, math.nan), *GROUP, "betas"), "NaN or infinity in optimizer betas of group 0"),
    "no groups": (put([], "optimizer", "param_groups"), "groups list 0 weights"),
    "a weight twice in the groups": (
        lambda saved: saved["optimizer"]["param_groups"][0]["params"].append(WEIGHT),
        "trained ones once",
    ),
    "a list for an optimizer": (put([], "optimizer"), "not a mapping of state and param_groups"),
    "too few steps": (put(STEPS - 1, "step"), f"in {STEPS - 1} steps, planned are"),
    "too many tokens": (put(TOKENS + 128, "tokens"), f"trained on {TOKENS + 128} tokens"),
    "a fraction of steps": (put(float(STEPS), "step"), "are not counts"),
    "no token count": (without("tokens"), "is not a training state"),
    "a field too many": (put(1, "epoch"), "is not a training state"),
    "a list": (lambda _: [1, 2], "is not a training state"),
}


@pytest.mark.parametrize(("change", "reason"), BAD_STATES.values(), ids=BAD_STATES)
def test_a_bad_state_is_refused_for_good(attempts: Attempts, change: Callable[[Saved], object], reason: str) -> None:
    attempts.put_output()
    attempts.rewrite(change)
    code, shown = attempts.promote()
    assert (code, reason in shown) == (PermanentFailure.exit_code, True), shown
    assert not attempts.workspace.is_done(attempts.stage.id)


BAD_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "another number of heads": ({"num_attention_heads": 8}, "num_attention_heads = 8, the phase started with 4"),
    "heads that divide nothing": ({"num_attention_heads": 5}, "num_attention_heads = 5"),
    "a word for heads": ({"num_attention_heads": "four"}, "not a valid config"),
    "another window": ({"local_attention": 32}, "local_attention = 32, the phase started with 16"),
    "another epsilon": ({"norm_eps": 1e-3}, "norm_eps = 0.001"),
    "another vocabulary": ({"vocab_size": 50}, "vocab_size = 50"),
    "more layers": ({"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}, "the phase started with"),
    "another architecture": ({"model_type": "bert"}, "not that of a modernbert model"),
}


@pytest.mark.parametrize(("changed", "reason"), BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_config_other_than_that_of_the_phase_is_refused_for_good(
    attempts: Attempts, changed: dict[str, Any], reason: str
) -> None:
    attempts.put_output()
    attempts.configure(**changed)
    code, shown = attempts.promote()
    assert (code, reason in shown) == (PermanentFailure.exit_code, True), shown


def emptied(folder: Path) -> None:
    (folder / "checkpoint.safetensors").write_bytes(b"")


def cut(folder: Path) -> None:
    whole = (folder / "checkpoint.safetensors").read_bytes()
    (folder / "checkpoint.safetensors").write_bytes(whole[: len(whole) // 2])


def earlier(folder: Path) -> Path:
    (folder / "checkpoint.safetensors").unlink()
    return folder / "checkpoint.pt"


def with_code(folder: Path) -> None:
    torch.save({"model": Payload(), "optimizer": None, "step": 1, "tokens": 1}, earlier(folder))


def a_bare_pickle(folder: Path) -> None:
    earlier(folder).write_bytes(pickle.dumps({"model": {}}))


def half_an_archive(folder: Path) -> None:
    torch.save({"model": {}}, earlier(folder))
    whole = (folder / "checkpoint.pt").read_bytes()
    (folder / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])


def without_checkpoint(folder: Path) -> None:
    (folder / "checkpoint.safetensors").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def config_cut(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "modern')


def writable_by_others(folder: Path) -> None:
    torch.save({"model": {}}, earlier(folder))
    (folder / "checkpoint.pt").chmod(0o666)


BAD_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "an empty checkpoint": (emptied, "does not load"),
    "half a checkpoint": (cut, "does not load"),
    "half an archive of torch": (half_an_archive, "does not load"),
    "a checkpoint with code": (with_code, "holds what no training state holds"),
    "a bare pickle": (a_bare_pickle, "checkpoint.pt"),
    "no checkpoint": (without_checkpoint, "does not list checkpoint.safetensors"),
    "no config": (without_config, "does not list config.json"),
    "half a config": (config_cut, "config.json is not JSON"),
    "a pickle that others can write to": (writable_by_others, "others may write to it"),
}


@pytest.mark.parametrize(("damage", "reason"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_for_good(attempts: Attempts, damage: Callable[[Path], None], reason: str) -> None:
    attempts.put_output()
    damage(attempts.pretrained)
    attempts.describe()
    code, shown = attempts.promote()
    assert (code, reason in shown) == (PermanentFailure.exit_code, True), shown


def manifest_of(folder: Path, **changed: Any) -> None:
    """Write a consistent manifest of any content."""
    empty = folder.parent / "empty"
    empty.mkdir()
    made = write_manifest(empty, {"stage": PRETRAIN.to_json()})
    (folder / "manifest.json").write_text(json.dumps(made | changed))


BAD_MANIFESTS: dict[str, tuple[Callable[[Attempts], object], str]] = {
    "a manifest that lists no file": (lambda case: manifest_of(case.pretrained), "its manifest lists no file"),
    "another chain's checkpoint": (lambda case: case.describe(OTHER), f"it is the output of {OTHER.id}"),
    "a checkpoint of no stage": (lambda case: write_manifest(case.pretrained, {}), "does not say which stage"),
    "a stage that is a word": (
        lambda case: write_manifest(case.pretrained, {"stage": PRETRAIN.id}),
        "does not say which stage",
    ),
}


@pytest.mark.parametrize(("damage", "reason"), BAD_MANIFESTS.values(), ids=BAD_MANIFESTS)
def test_an_output_of_another_stage_is_refused_for_good(
    attempts: Attempts, damage: Callable[[Attempts], object], reason: str
) -> None:
    attempts.put_output()
    damage(attempts)
    code, shown = attempts.promote()
    assert (code, reason in shown) == (PermanentFailure.exit_code, True), shown
    assert "detour retry" in shown


@pytest.mark.parametrize("damage", [emptied, cut, without_checkpoint, config_cut])
def test_a_file_changed_after_its_manifest_is_refused_with_the_remedy(
    attempts: Attempts, damage: Callable[[Path], None]
) -> None:
    attempts.put_output()
    damage(attempts.pretrained)
    code, _ = attempts.promote()
    assert code == NotReady.exit_code
    shown = "".join(path.read_text() for path in attempts.workspace.ledger.rglob("*.jsonl"))
    assert "make it again with `detour retry`" in shown


def one_group(saved: Saved) -> None:
    groups = saved["optimizer"]["param_groups"]
    saved["optimizer"]["param_groups"] = [
        {**groups[0], "params": [name for group in groups for name in group["params"]]}
    ]


GOOD_STATES: dict[str, tuple[str, Callable[[Saved], object], list[dict[str, Any]]]] = {
    "as trained": ("all", lambda _: None, []),
    "after a schedule that ends at zero": ("all", put(0.0, *GROUP, "lr"), []),
    "one group": ("all", one_group, []),
    "frozen weights have no moments": ("frozen", lambda _: None, [FROZEN]),
}


@pytest.mark.parametrize(("trained", "change", "frozen"), GOOD_STATES.values(), ids=GOOD_STATES)
def test_a_good_checkpoint_is_promoted(
    attempts: Attempts, trained: str, change: Callable[[Saved], object], frozen: list[dict[str, Any]]
) -> None:
    attempts.put_output(trained)
    attempts.rewrite(change)
    assert attempts.promote(frozen) == (0, "")
    output = attempts.workspace.output(attempts.stage.id)
    assert all(gate["passed"] for gate in read_promotion(output)["gates"])
    moments = read_moments(output)
    assert moments is not None
    with safe_open(output / OPTIMIZER, framework="pt") as file:
        groups = json.loads(file.metadata()["param_groups"])
    assert set(moments) == {name for group in groups for name in group["params"]}


def test_moments_of_frozen_weights_only_are_refused_if_nothing_is_frozen(attempts: Attempts) -> None:
    attempts.put_output("frozen")
    code, shown = attempts.promote()
    assert code == PermanentFailure.exit_code
    assert "optimizer states missing" in shown


def gates(**gate: Any) -> dict[str, Any]:
    return {"validation_loss_drop": -1.0, **gate}


def judged(attempts: Attempts) -> dict[str, GateJudged]:
    entries = history(attempts.workspace, (GateJudged,))
    return {entry.event.gate: entry.event for entry in entries if entry.stage == attempts.stage.id}


def test_every_verdict_is_in_the_ledger_with_its_figures(attempts: Attempts) -> None:
    attempts.put_output()
    assert attempts.promote(gate=gates(perplexity={"most": 1e9}))[0] == 0
    verdicts = judged(attempts)
    assert list(verdicts) == ["digests", "tokens", "finite", "model", "validation_loss", "perplexity"]
    assert all(verdict.passed for verdict in verdicts.values())
    assert verdicts["tokens"].arithmetic == "trained on 512 tokens in 4 steps, planned are 512 in 4"


def test_a_refusal_names_the_gate_and_stops_the_chain(attempts: Attempts) -> None:
    attempts.put_output()
    code, shown = attempts.promote(gate=gates(baseline={"validation_loss": 0.5, "source": "twin"}))
    assert code == PermanentFailure.exit_code
    assert re.search(
        r"not promoted: validation loss .* the gate's limit of 0.5 \(twin\) \(gate baseline, missed by 6\.\d+\)", shown
    )
    assert judged(attempts)["baseline"].short_by == pytest.approx(6.4, abs=0.5)


def test_an_accepted_refusal_is_overridden_and_recorded_with_the_checkpoint(attempts: Attempts) -> None:
    attempts.put_output()
    gate = gates(baseline={"validation_loss": 0.5, "source": "twin"})
    attempts.promote(gate=gate)
    accept_gate(attempts.workspace.stage(attempts.stage.id), "baseline", "the twin saw the test set", "someone")
    attempts.workspace.failure(attempts.stage.id).unlink()
    assert attempts.promote(gate=gate) == (0, "")
    verdicts = read_promotion(attempts.workspace.output(attempts.stage.id))["gates"]
    (kept,) = (verdict for verdict in verdicts if not verdict["passed"])
    assert (kept["name"], kept["overridden"]) == ("baseline", "the twin saw the test set")
    assert judged(attempts)["baseline"].overridden == "the twin saw the test set"


def two_kinds(folder: Path) -> Probed:
    """A task of two labels that follow from single words, and its table."""
    table = folder / "labels.csv"
    rows = [f"{'fracture du bras' if n % 2 else 'tumeur du foie'} {n},{n % 2}" for n in range(60)]
    table.write_text("\n".join(["text,label", *rows]))
    task = {
        "name": "two-kinds",
        "type": "single_label",
        "data": {"path": str(table), "text": "text", "label": "label"},
        "split": {"train": 40, "validation": 10, "test": 10},
        "max_length": 16,
        "epochs": 1,
    }
    return EvaluateSettings(Task.model_validate(task), 3, (FileContent(table.name, fingerprint(table)),)), table


def test_a_probe_fine_tunes_the_checkpoint_before_dependents_use_it(attempts: Attempts, tmp_path: Path) -> None:
    attempts.put_output()
    code, shown = attempts.promote(
        gate=gates(probe={"task": "two-kinds", "least": 1.0, "metric": "macro_f1"}), probe=two_kinds(tmp_path)
    )
    score = judged(attempts)["probe"]
    assert re.match(
        r"probe two-kinds, seed 42: 0\.\d{4} on validation is below the gate's minimum of 1", score.arithmetic
    )
    assert (code, "(gate probe" in shown) == (PermanentFailure.exit_code, True)
    assert "macro_f1" not in shown


def test_a_probe_of_a_training_made_again_does_not_resume_that_of_the_earlier_one(
    attempts: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []

    def interrupted(_settings: object, _paths: object, _model: object, work_dir: Path, _attempt: object) -> None:
        folders.append(work_dir)
        raise Interrupted("signal SIGTERM")

    monkeypatch.setattr(promote_job, "fine_tuned", interrupted)
    gate, probe = gates(probe={"task": "two-kinds", "least": 1.0}), two_kinds(tmp_path)
    attempts.put_output()
    for _ in range(2):
        assert attempts.promote(gate=gate, probe=probe)[0] == Interrupted.exit_code
    attempts.rewrite(weight(lambda tensor: tensor * 1.001))
    assert attempts.promote(gate=gate, probe=probe)[0] == Interrupted.exit_code
    assert folders[0] == folders[1] != folders[2]


def test_a_probe_that_always_fails_is_given_up(
    attempts: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*_: object) -> None:
        raise RuntimeError("no space left on the GPU")

    monkeypatch.setattr(promote_job, "fine_tuned", failed)
    attempts.put_output()
    gate, probe = gates(probe={"task": "two-kinds", "least": 1.0}), two_kinds(tmp_path)
    found = [attempts.promote(gate=gate, probe=probe) for _ in range(4)]
    assert [code for code, _ in found] == [1, 1, 1, 86]
    assert found[-1][1].startswith("3 attempts in a row made no progress")


KILLED = """
import json, os, signal, sys, time
import torch
from pathlib import Path
from detour.checkpoints.manifest import verify_manifest
from detour.errors import NotReady
from detour.jobs.harness import run_stage
from detour.jobs.rank import read_rank
from detour.jobs.work import stage_function
from detour.ledger.workspace import Workspace

torch.set_num_threads(1)
workspace, stage = Workspace(Path(sys.argv[1])), sys.argv[2]
stage_function("promote")

def attempt(seconds):
    child = os.fork()
    if child == 0:
        os._exit(run_stage(workspace, stage, read_rank({}), executor=None, wall_limit_s=None))
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]

for number in range(int(sys.argv[3])):
    status = attempt(0.02 + 0.12 * number)
    output = workspace.output(stage)
    print(json.dumps([status, workspace.is_done(stage), output.exists(), output.exists() and verify_manifest(output)]))
ends_s = time.monotonic() + 60
while (status := attempt(None)) == NotReady.exit_code << 8 and time.monotonic() < ends_s:
    time.sleep(1)  # a claim whose owner was not written yet counts for half a minute
print(json.dumps([status, workspace.is_done(stage), True, verify_manifest(workspace.output(stage))]))
"""


def test_a_promotion_killed_at_any_instant_is_complete_or_absent(attempts: Attempts) -> None:
    attempts.put_output()
    attempts.describe()
    attempts.plan()
    command = [sys.executable, "-c", KILLED, str(attempts.workspace.root), attempts.stage.id, "6"]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    *killed, last = (json.loads(line) for line in shown.stdout.splitlines() if line.startswith("["))
    assert len(killed) == 6
    assert any(status == signal.SIGKILL for status, *_ in killed)
    assert all(is_done == exists and not problems for _, is_done, exists, problems in killed)
    assert last == [0, True, True, []]


@pytest.mark.parametrize(
    ("precision", "has_bf16", "in_bf16"),
    [("auto", True, True), ("bf16_residual", True, True), ("fp32", True, False), ("auto", False, False)],
)
def test_the_gate_validates_in_the_precision_of_the_training(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch, precision: str, has_bf16: bool, in_bf16: bool
) -> None:
    stage = PRETRAIN.to_json()
    write_manifest(attempts.pretrained, {"stage": {**stage, "settings": {**stage["settings"], "precision": precision}}})
    monkeypatch.setattr(promote_job, "has_bf16", lambda _: has_bf16)
    assert promote_job.validates_in_bf16(attempts.pretrained, torch.device("cuda")) == in_bf16
