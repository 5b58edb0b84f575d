"""Whole phases, through Composer's Trainer, on a corpus with a learnable pattern."""

from __future__ import annotations

import errno
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import ModernBertConfig

from detour import disk
from detour.checkpoints.promoted import write_promoted
from detour.checkpoints.store import CheckpointStore
from detour.checkpoints.trainer_state import TrainerState, write_trainer_state
from detour.config.models import Model, Optimizer, Phase
from detour.corpus.layout import SpecialTokens, Split
from detour.errors import Interrupted, PermanentFailure
from detour.ledger.events import CheckpointResumed, CheckpointSaved, CheckpointSkipped, GradientSkipped
from detour.pretraining import composer_seam, layers
from detour.pretraining import run as run_module
from detour.pretraining.job import PretrainJob
from detour.pretraining.kernel_choice import BrokenDevice, Choice
from detour.pretraining.schedules import lr_factor
from detour.pretraining.start import Start, load_model
from detour.pretraining.train import train
from detour.speed.corpus import Documents, write_made_corpus
from tests.pretraining.jobs import (
    CLM,
    CLS,
    CONFIG,
    MLM,
    ROW_TOKENS,
    SEP,
    VOCABULARY,
    Recorder,
    final_state,
    frozen,
    job,
    write_corpus,
)

both_phases = pytest.mark.parametrize("phase", [CLM, MLM], ids=["clm", "mlm"])


def assert_same(actual: TrainerState, expected: TrainerState, tolerance: float = 0.0) -> None:
    """Compare weights and moments, bit for bit unless a tolerance is given."""
    assert (actual.step, actual.tokens) == (expected.step, expected.tokens)
    assert actual.optimizer is not None
    assert expected.optimizer is not None
    pairs = [
        (actual.model, expected.model),
        *((moments, expected.optimizer["state"][name]) for name, moments in actual.optimizer["state"].items()),
    ]
    for one, other in pairs:
        assert set(one) == set(other)
        for name in one:
            torch.testing.assert_close(one[name], other[name], atol=tolerance, rtol=0)


@pytest.fixture
def used_rates() -> Iterator[list[float]]:
    """Return the learning rate of every step, read from the optimizer right after the step."""
    rates: list[float] = []

    def keep(optimizer: torch.optim.Optimizer, *_: object) -> None:
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        rates.append(rate)

    handle = register_optimizer_step_post_hook(keep)
    yield rates
    handle.remove()


@pytest.fixture(scope="module")
def uninterrupted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainerState]:
    """The final states of both phases without interruption."""
    torch.set_num_threads(1)
    ends = {}
    for phase in (CLM, MLM):
        made = job(tmp_path_factory.mktemp(phase.name), corpus, phase)
        train(made, Recorder())
        ends[phase.name] = final_state(made)
    return ends


@both_phases
def test_a_phase_learns_and_records_its_progress(
    tmp_path: Path, corpus: Path, phase: Phase, used_rates: list[float]
) -> None:
    made, recorder = job(tmp_path, corpus, phase, steps=20), Recorder()
    result = train(made, recorder)
    expected = [
        made.optimizer.lr * lr_factor(phase.schedule, step, made.steps, made.warmup_steps) for step in range(made.steps)
    ]
    assert used_rates == recorder.steps("lr") == expected
    assert recorder.steps("tokens") == [made.step_tokens * (step + 1) for step in range(made.steps)]
    assert (result["steps"], result["tokens"]) == (made.steps, made.tokens)
    assert result["final_loss"] == recorder.steps("loss")[-1]
    assert result["validation_loss"] < result["validation_loss_start"]
    assert min(recorder.steps("gradient_norm")) > 0
    assert min(recorder.steps("tokens_per_s")) > 0
    used = made.tokens / _index(corpus).sources["counting"].train_tokens
    assert result["epochs"] == {"counting": pytest.approx(used)}
    assert (made.output_dir / "config.json").is_file()
    assert final_state(made).tokens == made.tokens


def test_a_finished_phase_returns_at_once(tmp_path: Path, corpus: Path) -> None:
    made = job(tmp_path, corpus, steps=3)
    result = train(made, Recorder())
    (made.output_dir / "checkpoint.safetensors").unlink()
    again = Recorder()
    assert train(made, again) == result
    assert not again.figures
    assert final_state(made).step == 3


@both_phases
def test_the_microbatch_size_does_not_change_what_is_learnt(tmp_path: Path, corpus: Path, phase: Phase) -> None:
    """With the published rate; AdamW turns rounding of a tiny gradient into a proportional difference."""
    ends = []
    for rows in (16, 4, 1):
        made = job(
            tmp_path / str(rows), corpus, phase, steps=3, microbatch_sequences=rows, optimizer=Optimizer(lr=2e-4)
        )
        train(made, Recorder())
        ends.append(final_state(made).model)
    for other in ends[1:]:
        for name, tensor in other.items():
            torch.testing.assert_close(tensor, ends[0][name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_attention_backends_learn_the_same(
    tmp_path: Path, corpus: Path, backend: str, uninterrupted: dict[str, TrainerState]
) -> None:
    made = job(tmp_path, corpus, training={"attention": backend, "cross_entropy": "full"})
    train(made, Recorder())
    for name, tensor in final_state(made).model.items():
        torch.testing.assert_close(tensor, uninterrupted["clm"].model[name], atol=1e-5, rtol=0)


def test_a_compiled_model_learns_the_same_and_saves_under_the_same_names(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced, then run with torch's own operators: inductor would take minutes, and is tested by torch."""
    compile_by(monkeypatch, "eager")
    ends = []
    for wanted in (False, True):
        made = job(tmp_path / str(wanted), corpus, steps=2, training={"compile": wanted})
        train(made, Recorder())
        ends.append(final_state(made))
    assert_same(ends[1], ends[0], tolerance=1e-7)


@both_phases
def test_in_fifty_steps_each_layer_is_compiled_whole_and_not_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: Phase
) -> None:
    """No document is repeated.

    Each kind of layer, and the head, is compiled once, and again when the number of documents first changes; graphs
    that break at attention, depend on lengths, or belong to a single layer would be more.
    """
    recorder, corpus = Recorder(), write_corpus(tmp_path / "corpus", documents=3000)
    compiled_at: list[int] = []

    def count(graph: torch.fx.GraphModule, _inputs: object) -> Callable[..., Any]:
        compiled_at.append(len(recorder.steps("loss")))
        return graph.forward

    compile_by(monkeypatch, count)
    torch.compiler.reset()
    frames = torch._dynamo.utils.counters["frames"]
    frames.clear()
    training = {"compile": True, "validate_every": 10, "checkpoint_every": 25}
    train(job(tmp_path, corpus, phase, steps=50, training=training), recorder)
    kinds = 3  # global layers, local ones, the head
    assert len(recorder.steps("loss")) == 50
    assert kinds <= len(compiled_at) <= 2 * kinds
    assert max(compiled_at) <= 2
    assert frames["total"] == len(compiled_at)


def compile_by(monkeypatch: pytest.MonkeyPatch, backend: str | Callable[..., Any]) -> None:
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend=backend))
    monkeypatch.setattr(layers, "_compiled", torch.compile(layers.layer, backend=backend))


@pytest.mark.parametrize("phase", [frozen(CLM, (0, 1)), frozen(MLM, (2, 2), embeddings=True)], ids=["clm", "mlm"])
def test_frozen_layers_stay_identical_while_others_change(tmp_path: Path, corpus: Path, phase: Phase) -> None:
    made = job(tmp_path, corpus, phase, steps=4)
    train(made, Recorder())
    start = load_model(made.start, _index(corpus), made.seeds.training).state_dict()
    held = phase.freeze[0]
    for name, tensor in final_state(made).model.items():
        parts = name.split(".")
        is_held = parts[1] == "layers" and held.first <= int(parts[2]) <= held.last
        is_held |= held.embeddings and ("embeddings" in name or name == "decoder.weight")
        assert torch.equal(tensor, start[name]) == is_held, name


def test_dropout_depends_only_on_the_step(tmp_path: Path, corpus: Path) -> None:
    config = {"mlp_dropout": 0.2}
    whole = job(tmp_path / "whole", corpus, steps=6, config=config)
    train(whole, Recorder())
    stopped = job(tmp_path / "stopped", corpus, steps=6, config=config)
    with pytest.raises(Interrupted):
        train(stopped, Recorder(stop_at=4 * stopped.step_tokens))
    train(stopped, Recorder())
    assert_same(final_state(stopped), final_state(whole))


@both_phases
@pytest.mark.parametrize("stop_step", [1, 7])
def test_a_stopped_training_resumes_and_ends_with_the_same_weights(
    tmp_path: Path, corpus: Path, phase: Phase, stop_step: int, uninterrupted: dict[str, TrainerState],
    used_rates: list[float],
) -> None:  # fmt: skip
    made = job(tmp_path, corpus, phase)
    first = Recorder(stop_at=stop_step * made.step_tokens)
    with pytest.raises(Interrupted, match=f"signal SIGTERM: saved at step {stop_step} of 12"):
        train(made, first)
    assert first.of(CheckpointSaved)[-1].step == stop_step
    second = Recorder()
    train(made, second)
    assert second.of(CheckpointResumed) == [CheckpointResumed(step=stop_step, tokens=stop_step * made.step_tokens)]
    expected = [
        made.optimizer.lr * lr_factor(phase.schedule, step, made.steps, made.warmup_steps) for step in range(made.steps)
    ]
    assert used_rates == expected
    assert_same(final_state(made), uninterrupted[phase.name])


def test_a_stop_during_the_last_step_completes_the_phase(tmp_path: Path, corpus: Path) -> None:
    made = job(tmp_path, corpus, steps=2)
    assert train(made, Recorder(stop_at=made.tokens))["steps"] == 2


def test_signal_handlers_survive_composer(tmp_path: Path, corpus: Path) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: seen.append(number))
    try:
        made = job(tmp_path, corpus, steps=1)
        train(made, Recorder())
        signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen == [signal.SIGUSR2]


DAMAGE = {
    "truncated": lambda state: state.write_bytes(state.read_bytes()[:-100]),
    "half-written": lambda state: state.write_bytes(state.read_bytes()[: state.stat().st_size // 2]),
    "deleted": lambda state: state.unlink(),
    "flipped": lambda state: state.write_bytes(b"\0" + state.read_bytes()[1:]),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_newest_checkpoint_is_skipped_and_reported(
    tmp_path: Path,
    corpus: Path,
    kind: str,
    uninterrupted: dict[str, TrainerState],
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = job(tmp_path, corpus)
    with pytest.raises(Interrupted):
        train(made, Recorder(stop_at=9 * made.step_tokens))
    DAMAGE[kind](_newest_state(made))
    recorder = Recorder()
    train(made, recorder)
    (skipped,) = recorder.of(CheckpointSkipped)
    assert skipped.step == 9
    assert skipped.reason
    assert recorder.of(CheckpointResumed)[0].step == 6
    log = caplog.text
    assert f"the checkpoint of step 9 is left out: {skipped.reason}" in log
    assert "resuming from the checkpoint of step 6" in log
    assert_same(final_state(made), uninterrupted["clm"])


def test_a_checkpoint_with_nan_is_skipped_and_reported(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, TrainerState]
) -> None:
    made = job(tmp_path, corpus)

    def poison(path: Path, state: TrainerState) -> None:
        if state.step == 9:
            state.model["decoder.bias"][0] = float("nan")
        write_trainer_state(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_trainer_state", poison)
        with pytest.raises(Interrupted):
            train(made, Recorder(stop_at=9 * made.step_tokens))
    recorder = Recorder()
    train(made, recorder)
    assert "NaN" in recorder.of(CheckpointSkipped)[0].reason
    assert_same(final_state(made), uninterrupted["clm"])


class Poisoned(run_module.LossOf):
    """A loss that is NaN in the given forward passes."""

    calls = 0
    bad: frozenset[int] = frozenset()

    def forward(self, batch: Any) -> Tensor:
        Poisoned.calls += 1
        return super().forward(batch) * (float("nan") if Poisoned.calls in Poisoned.bad else 1.0)


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> type[Poisoned]:
    Poisoned.calls = 0
    monkeypatch.setattr("detour.pretraining.train.LossOf", Poisoned)
    return Poisoned


@pytest.mark.parametrize("content", ["", '{"hidden_size": 33'])
def test_a_config_that_was_cut_short_is_written_again(tmp_path: Path, corpus: Path, content: str) -> None:
    made = job(tmp_path, corpus, steps=1)
    made.work_dir.mkdir(exist_ok=True)
    (made.work_dir / "config.json").write_text(content)
    train(made, Recorder())
    assert ModernBertConfig.from_pretrained(made.output_dir).hidden_size == CONFIG["hidden_size"]


def test_a_temporarily_full_disk_costs_no_step(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, TrainerState]
) -> None:
    refusals = [errno.ENOSPC] * 3

    def refused(path: Path, state: TrainerState) -> None:
        if refusals:
            path.write_bytes(b"half")
            raise OSError(refusals.pop(), "No space left on device", str(path))
        write_trainer_state(path, state)

    monkeypatch.setattr(run_module, "write_trainer_state", refused)
    monkeypatch.setattr(disk, "ROOM_POLL_S", 0.01)
    made = job(tmp_path, corpus)
    train(made, Recorder())
    assert refusals == []
    assert_same(final_state(made), uninterrupted["clm"])


def test_a_slow_disk_does_not_delay_the_steps(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, TrainerState]
) -> None:
    """The first checkpoint is written only after two further steps, and contains the state of its own step."""
    recorder, go_on = Recorder(), threading.Event()
    made = job(tmp_path, corpus)
    real_after_step = run_module.Run.after_step

    def after_step(run: run_module.Run, steps_done: int, loss: float) -> dict[str, float]:
        if steps_done == made.training.checkpoint_every + 2:
            go_on.set()
        return real_after_step(run, steps_done, loss)

    def slow(path: Path, state: TrainerState) -> None:
        assert go_on.wait(60)
        write_trainer_state(path, state)

    monkeypatch.setattr(run_module.Run, "after_step", after_step)
    monkeypatch.setattr(run_module, "write_trainer_state", slow)
    train(made, recorder)
    assert recorder.of(CheckpointSaved)[0].step == made.training.checkpoint_every
    assert_same(final_state(made), uninterrupted["clm"])


def test_an_error_of_a_background_write_ends_the_training(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_path: Path, _state: TrainerState) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(run_module, "write_trainer_state", broken)
    with pytest.raises(OSError, match="Input/output error"):
        train(job(tmp_path, corpus), Recorder())


def test_an_old_checkpoint_that_cannot_be_removed_stays(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, TrainerState]
) -> None:
    def busy(*_: Any) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(CheckpointStore, "prune", busy)
    made = job(tmp_path, corpus)
    train(made, Recorder())
    assert_same(final_state(made), uninterrupted["clm"])


def test_a_step_with_a_gradient_that_is_not_finite_is_skipped(
    tmp_path: Path, corpus: Path, poisoned: type[Poisoned]
) -> None:
    poisoned.bad = frozenset({2, 3, 5})
    made, recorder = job(tmp_path, corpus, steps=6), Recorder()
    assert train(made, recorder)["tokens"] == made.tokens
    assert [event.step for event in recorder.of(GradientSkipped)] == [1, 2, 4]
    state = final_state(made)
    assert all(torch.isfinite(tensor).all() for tensor in state.model.values())
    assert state.optimizer is not None
    assert {float(moments["step"]) for moments in state.optimizer["state"].values()} == {3.0}


def test_three_gradients_in_a_row_that_are_not_finite_end_the_phase_for_good(
    tmp_path: Path, corpus: Path, poisoned: type[Poisoned]
) -> None:
    poisoned.bad = frozenset({5, 6, 7})
    made, recorder = job(tmp_path, corpus), Recorder()
    with pytest.raises(PermanentFailure, match="not finite in 3 steps in a row, up to step 6"):
        train(made, recorder)
    assert [saved.step for saved in recorder.of(CheckpointSaved)] == [3, 6]


def test_a_validation_without_a_token_to_predict_ends_the_phase_for_good(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(
        PermanentFailure,
        match=r"validation rows of 1 tokens hold no token to predict: "
        r"a larger `data.validation_tokens` or `data.sequence_length` is needed",
    ):
        train(job(tmp_path, corpus, sequence_length=1), Recorder())


def test_a_masked_validation_without_a_token_to_predict_also_names_the_masking_rate(
    tmp_path: Path, corpus: Path
) -> None:
    rare = MLM.model_copy(update={"masking_rate": 1e-9})
    with pytest.raises(
        PermanentFailure, match=r"validation_tokens`, `data.sequence_length` or `phases.mlm.masking_rate` is needed"
    ):
        train(job(tmp_path, corpus, rare), Recorder())


def test_a_masked_step_without_a_token_to_predict_ends_the_phase_for_good(tmp_path: Path, corpus: Path) -> None:
    rare = MLM.model_copy(update={"masking_rate": 1e-3})
    with pytest.raises(
        PermanentFailure,
        match=r"the rows of step \d hold no token to predict: "
        r"a larger `batch.sequences`, `data.sequence_length` or `phases.mlm.masking_rate` is needed",
    ):
        train(job(tmp_path, corpus, rare, batch_sequences=1, microbatch_sequences=1), Recorder())


def test_a_causal_step_without_a_token_to_predict_names_only_settings_of_its_phase(tmp_path: Path) -> None:
    single = np.full(2_000, CLS), np.arange(1, 2_001)
    pairs = np.tile([CLS, SEP], 200), np.arange(2, 401, 2)
    special = SpecialTokens(pad=0, cls=CLS, sep=SEP, mask=3)
    splits: dict[Split, Documents] = {"train": single, "validation": pairs}
    corpus = write_made_corpus(tmp_path / "corpus", "single tokens", splits, VOCABULARY, ROW_TOKENS, special)
    with pytest.raises(
        PermanentFailure,
        match=r"the rows of step 1 hold no token to predict: "
        r"a larger `batch.sequences` or `data.sequence_length` is needed",
    ):
        train(job(tmp_path, corpus, steps=1), Recorder())


def test_dropout_in_attention_takes_a_backend_that_has_it(tmp_path: Path, corpus: Path) -> None:
    dropout = {"attention_dropout": 0.1}
    with pytest.raises(
        PermanentFailure, match=r"training.attention: auto cannot be used.*`attention_dropout`.*write `sdpa`"
    ):
        train(job(tmp_path / "auto", corpus, config=dropout), Recorder())
    with_masks = job(tmp_path / "sdpa", corpus, config=dropout, steps=1, training={"attention": "sdpa"})
    assert train(with_masks, Recorder())["steps"] == 1


@pytest.mark.parametrize(
    ("setting", "other"), [("auto", "varlen"), ("flash_attention_3", "varlen"), ("varlen", "sdpa")]
)
def test_a_kernel_that_breaks_the_device_is_not_proposed_again(
    setting: str, other: str, tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Choice:
        raise BrokenDevice("a kernel broke the GPU's context")

    monkeypatch.setattr("detour.pretraining.train.choose", broken)
    with pytest.raises(PermanentFailure, match=f"training.attention: a kernel broke .* context: write `{other}`"):
        train(job(tmp_path, corpus, training={"attention": setting}), Recorder())


def test_gradients_that_are_not_finite_are_counted_across_an_interruption(
    tmp_path: Path, corpus: Path, poisoned: type[Poisoned]
) -> None:
    poisoned.bad = frozenset({2, 3, 4})
    made = job(tmp_path, corpus)
    with pytest.raises(Interrupted):
        train(made, Recorder(stop_at=3 * made.step_tokens))
    with pytest.raises(PermanentFailure, match="not finite in 3 steps in a row, up to step 3"):
        train(made, Recorder())


def test_the_second_phase_inherits_weights_and_moments_but_not_the_schedule(
    tmp_path: Path, corpus: Path, used_rates: list[float], uninterrupted: dict[str, TrainerState]
) -> None:
    parent = promoted(tmp_path / "parent", corpus, uninterrupted["clm"])
    carried = job(tmp_path / "carried", corpus, MLM, start=Start(None, parent, with_optimizer=True), first_row=192)
    fresh = job(tmp_path / "fresh", corpus, MLM, start=Start(None, parent), first_row=192)
    first = Recorder(stop_at=4 * carried.step_tokens)
    with pytest.raises(Interrupted):
        train(carried, first)
    train(carried, Recorder())
    factors = [lr_factor(MLM.schedule, step, 12, 0) for step in range(12)]
    assert used_rates == [carried.optimizer.lr * factor for factor in factors]
    train(fresh, Recorder())
    ends = final_state(carried), final_state(fresh)
    steps = [
        {float(moments["step"]) for moments in end.optimizer["state"].values()}
        for end in ends
        if end.optimizer is not None
    ]
    assert steps == [{24.0}, {12.0}]
    assert any(not torch.equal(ends[0].model[name], ends[1].model[name]) for name in ends[0].model)


def test_a_parent_without_optimizer_state_cannot_provide_one(
    tmp_path: Path, corpus: Path, uninterrupted: dict[str, TrainerState]
) -> None:
    parent = promoted(tmp_path / "parent", corpus, uninterrupted["clm"], with_optimizer=False)
    made = job(tmp_path, corpus, MLM, start=Start(None, parent, with_optimizer=True))
    with pytest.raises(PermanentFailure, match="no optimizer state"):
        train(made, Recorder())


def test_validations_and_checkpoints_happen_at_the_configured_steps(tmp_path: Path, corpus: Path) -> None:
    made = job(tmp_path, corpus, steps=7, training={"validate_every": 2, "checkpoint_every": 3, "checkpoints_kept": 1})
    recorder = Recorder()
    train(made, recorder)
    measured = [entry["tokens"] for entry in recorder.figures if "validation_loss" in entry]
    assert measured == [step * made.step_tokens for step in (0, 2, 4, 6, 7)]
    assert [saved.step for saved in recorder.of(CheckpointSaved)] == [3, 6, 7]
    assert len(list((made.work_dir / "checkpoints").glob("step-*"))) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "bf16"}, "no bf16"),
        ({"start": Start(Model(pretrained="nobody/no-such-model"))}, "nobody/no-such-model: cannot be loaded"),
        ({"start": Start(Model(config=CONFIG | {"vocab_size": 10}))}, "leave out `model.config.vocab_size`"),
        ({"phase": frozen(CLM, (3, 9))}, "no layer 9"),
        ({"training": {"loggers": ("wandb",)}}, "pip install wandb"),
        ({"training": {"attention": "flash_attention_2"}}, "training.attention: flash_attention_2 cannot be used here"),
    ],
)
def test_a_setting_that_cannot_work_is_one_sentence(
    tmp_path: Path, corpus: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(PermanentFailure, match=message):
        train(job(tmp_path, corpus, **changes), Recorder())


def test_user_loggers_receive_the_metrics(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composer_seam._import_composer()
    from composer.loggers import InMemoryLogger

    logger = InMemoryLogger()
    monkeypatch.setattr(composer_seam, "_loggers", lambda _: [logger])
    recorder = Recorder()
    train(job(tmp_path, corpus, steps=3, training={"validate_every": 2}), recorder)
    for name in ("loss", "lr", "gradient_norm", "tokens_per_s"):
        assert [value for _, value in logger.data[name]] == recorder.steps(name)
    assert len(logger.data["validation_loss"]) == 2


LEFT_BY = {
    "tensorboard": "clm/events.out.tfevents.*",
    "wandb": "wandb/offline-run-*/*.wandb",
    "mlflow": "mlflow/*/*/metrics/loss",
}


@pytest.mark.parametrize("name", LEFT_BY)
def test_user_loggers_write_into_the_folder_of_the_stage(
    tmp_path: Path, corpus: Path, name: str, uninterrupted: dict[str, TrainerState]
) -> None:
    made = job(tmp_path / "é %41 #1?", corpus, training={"loggers": (name,)})
    with pytest.raises(Interrupted):
        train(made, Recorder(stop_at=5 * made.step_tokens))
    train(made, Recorder())
    assert list((made.work_dir / "logs").glob(LEFT_BY[name]))
    assert_same(final_state(made), uninterrupted["clm"])


def promoted(folder: Path, corpus: Path, state: TrainerState, with_optimizer: bool = True) -> Path:
    model = load_model(Start(Model(config=CONFIG)), _index(corpus), seed=0)
    model.load_state_dict(state.model)
    folder.mkdir()
    write_promoted(folder, model, state.optimizer if with_optimizer else None)
    return folder


def _index(corpus: Path) -> Any:
    from detour.corpus.layout import read_index

    return read_index(corpus)


def _newest_state(made: PretrainJob) -> Path:
    return max((made.work_dir / "checkpoints").glob("step-*")) / "state.safetensors"
