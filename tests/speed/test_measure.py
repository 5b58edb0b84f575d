from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detour.config.models import Freeze
from detour.corpus.packing import PackedRows
from detour.errors import PermanentFailure
from detour.planning.build import Planner
from detour.planning.stage import PretrainStage
from detour.pretraining import train as training
from detour.pricing.estimates import model_shape
from detour.speed import measure as measuring
from detour.speed.corpus import write_random_corpus
from detour.speed.measure import measure
from detour.speed.result import BenchSettings, Speed
from tests.support.recipes import make_recipe

TINY = {
    "model.config": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "vocab_size": 512,
    },
    "data.sequence_length": 64,
    "batch": {"sequences": 4, "microbatch_sequences": 2},
}


pytestmark = pytest.mark.usefixtures("one_thread")


def causal_stage() -> PretrainStage:
    stages = Planner(lambda _: None).plan(make_recipe(TINY)).stages
    return next(stage for stage in stages if isinstance(stage, PretrainStage))


@pytest.fixture(scope="module")
def speeds() -> dict[str, Speed]:
    return {speed.loop: speed for speed in measure(causal_stage(), BenchSettings(steps=2))}


def test_every_loop_is_measured(speeds: dict[str, Speed]) -> None:
    assert list(speeds) == ["detour", "bare loop", "transformers", "transformers, sdpa"]
    assert {loop: speed.problem for loop, speed in speeds.items()} == dict.fromkeys(speeds)
    assert all(speed.tokens_per_s and speed.tokens_per_s > 0 for speed in speeds.values())


def test_a_cpu_has_no_peak_no_memory_of_its_own_and_no_energy_counter(speeds: dict[str, Speed]) -> None:
    assert {(speed.mfu, speed.memory_gib, speed.joules_per_token) for speed in speeds.values()} == {(None,) * 3}


def test_only_the_training_chooses_its_attention(speeds: dict[str, Speed]) -> None:
    assert {loop: speed.attention for loop, speed in speeds.items()} == {**dict.fromkeys(speeds), "detour": "varlen"}


def test_all_loops_have_the_microbatch_that_the_training_chooses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(training, "microbatch_rows", lambda *_: 4)
    stage = causal_stage()
    stage = replace(stage, runtime=replace(stage.runtime, microbatch_sequences="auto"))
    shape = model_shape(stage)
    assert shape is not None
    bench = measuring._Bench(stage, shape, BenchSettings(steps=1), tmp_path)
    bench.training()
    assert bench.microbatch == 4


def test_a_step_has_these_parts(speeds: dict[str, Speed]) -> None:
    assert list(speeds["bare loop"].step_ms) == ["data", "to device", "forward", "backward", "optimizer"]
    assert list(speeds["detour"].step_ms) == ["save"]


def test_a_speed_survives_the_round_trip(speeds: dict[str, Speed]) -> None:
    assert [Speed.from_json(speed.to_json()) for speed in speeds.values()] == list(speeds.values())


def test_a_loop_that_runs_out_of_memory_loses_only_its_own_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> Speed:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(measuring._Bench, "bare", full)
    bare, *_ = [
        speed for speed in measure(causal_stage(), BenchSettings(steps=1, peers=False)) if speed.loop == "bare loop"
    ]
    assert bare.problem == "out of memory"


def test_a_peer_whose_package_is_missing_loses_only_its_own_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_accelerate(*_: object, **__: object) -> float:
        raise ImportError("the Trainer requires accelerate")

    monkeypatch.setattr(measuring, "trainer_tokens_per_s", without_accelerate)
    problems = {speed.loop: speed.problem for speed in measure(causal_stage(), BenchSettings(steps=1))}
    assert problems == {**dict.fromkeys(problems), "transformers": "the Trainer requires accelerate"}
    assert "transformers, sdpa" in problems


def test_a_plain_loop_that_runs_out_of_memory_takes_smaller_microbatches(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def needs_one_row(bench: measuring._Bench, microbatch: int) -> Speed:
        tried.append(microbatch)
        if microbatch > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Speed(bench.stage.phase, "transformers", 1.0)

    monkeypatch.setattr(measuring._Bench, "trainer", needs_one_row)
    peer = next(speed for speed in measure(causal_stage(), BenchSettings(steps=1)) if speed.loop == "transformers")
    assert tried == [2, 1]
    assert (peer.tokens_per_s, peer.problem) == (1.0, None)


def test_only_rows_that_the_trainer_reads_count_for_its_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def speed(*_: object, rows_per_step: int, microbatch_rows: int, **__: object) -> float:
        sizes.append((rows_per_step, microbatch_rows))
        return 1.0

    monkeypatch.setattr(measuring, "trainer_tokens_per_s", speed)
    for rows, microbatch in ((10, 4), (16, 12), (3, 4), (12, 2)):
        list(measure(causal_stage(), BenchSettings(steps=1, rows=rows, microbatch_rows=microbatch)))
    assert sizes == [(8, 4), (12, 12), (3, 3), (8, 2)]


@pytest.mark.parametrize("rows", range(1, 12))
def test_random_text_fills_its_rows_whatever_lengths_are_drawn(tmp_path: Path, rows: int) -> None:
    corpus = write_random_corpus(tmp_path / "corpus", 300, 128, rows)
    assert len(PackedRows(corpus, "validation", 128, 0)) >= 2
    assert PackedRows(corpus, "train", 128, 0).epoch_of(rows)["random"] <= 1


def test_frozen_layers_and_dropout_are_those_of_the_phase_in_every_loop(tmp_path: Path) -> None:
    stage = causal_stage()
    phase = stage.settings.phase.model_copy(
        update={"freeze": (Freeze(first=0, last=1),), "attention_output_dropout": 0.2}
    )
    stage, shape = replace(stage, settings=replace(stage.settings, phase=phase)), model_shape(stage)
    assert shape is not None
    bench = measuring._Bench(stage, shape, BenchSettings(steps=1), tmp_path)
    for backend in (None, "sdpa"):
        layers = bench._model(backend).model.layers
        assert [layer.attn.Wo.weight.requires_grad for layer in layers] == [False, False, True]
        assert isinstance(layers[2].attn.out_drop, torch.nn.Dropout)


def test_a_published_size_is_measured_by_its_shape() -> None:
    stage = causal_stage()
    shape = model_shape(stage)
    assert shape is not None
    published = replace(stage, runtime=replace(stage.runtime, model=type(stage.runtime.model)(pretrained="x/y-base")))
    config = measuring._model_config(published, replace(shape, hidden_size=768, num_hidden_layers=22))
    assert (config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]) == (768, 22, 12)


def test_a_published_model_of_unknown_size_can_be_measured_by_a_config_in_its_place() -> None:
    stage = causal_stage()
    unknown = replace(stage, runtime=replace(stage.runtime, model=type(stage.runtime.model)(pretrained="x/y")))
    with pytest.raises(PermanentFailure, match=r"size of x/y is unknown: give `model.config` instead of `model.pretr"):
        next(measure(unknown, BenchSettings(steps=1)))
