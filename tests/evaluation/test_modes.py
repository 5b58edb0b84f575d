"""Packed and compiled, an encoder computes and learns the same."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from detour.errors import PermanentFailure
from detour.evaluation import mode as modes
from detour.evaluation.classifier import EncoderClassifier, load_encoder
from detour.evaluation.finetune import FineTuning
from detour.evaluation.graphs import Act
from detour.evaluation.mode import mode_for, use
from detour.evaluation.ner_heads import EncoderTagger, Words
from detour.evaluation.sequences import PLAIN, Joined, Mode, filled_up
from detour.evaluation.workload import TaskModel
from detour.pretraining import layers
from detour.pretraining.kernel_choice import BrokenDevice
from tests.gpu.synthetic_tasks import ShapeName, encoder_config, made_workload

TEXTS = [[2, *range(10, 10 + length), 3] for length in (5, 40, 1, 17)]
JOINED, FUSED = Mode(joined=True), Mode(joined=True, fused=True)
GRAPHED = Mode(joined=True, fused=True, graphed=True)


class Silent:
    stop_reason = None

    def progress(self, *_: object, **__: object) -> None:
        """Report nothing."""


def tuning(shape: ShapeName, folder: Path, mode: Mode) -> FineTuning:
    attempt: Any = Silent()
    task, workload = made_workload(shape, encoder_config(tiny=True), tiny=True)
    return FineTuning(folder, task, workload, 1, folder, attempt, mode)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count the graphs into which layers are compiled, and run them as they are: no kernel is built."""
    graphs: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(len(graph.graph.nodes))
        return graph.forward

    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend))
    monkeypatch.setattr(layers, "_compiled", torch.compile(layers.layer, backend=backend))
    torch._dynamo.reset()
    yield graphs
    torch._dynamo.reset()


def logits_and_gradients(model: TaskModel, inputs: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    logits = model(inputs)
    logits.square().sum().backward()
    return logits.detach(), [weight.grad for weight in model.parameters() if weight.grad is not None]


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_packed_documents_have_the_logits_and_gradients_of_padded_ones(pooling: Any, model_folder: Path) -> None:
    found = []
    for mode in (PLAIN, JOINED):
        torch.manual_seed(0)
        model = EncoderClassifier(load_encoder(model_folder), 3, pooling).eval()
        use(mode, model)
        found.append(logits_and_gradients(model, model.sequences(TEXTS, 0, most=6, longest=64)))
    (padded, padded_gradients), (joined, joined_gradients) = found
    torch.testing.assert_close(joined, padded)
    torch.testing.assert_close(joined_gradients, padded_gradients, rtol=1e-4, atol=1e-5)


def test_words_of_packed_windows_have_the_logits_of_padded_ones(model_folder: Path) -> None:
    positions, lengths = torch.tensor([[1, 5], [1, 40], [1, 0], [3, 3]]), torch.tensor([2, 2, 1, 2])
    found = []
    for mode in (PLAIN, JOINED):
        torch.manual_seed(0)
        model = EncoderTagger(load_encoder(model_folder), 3, longest_span=2).eval()
        use(mode, model)
        windows = model.sequences(TEXTS, 0, most=4, longest=64)
        found.append(logits_and_gradients(model, Words(windows, positions, lengths)))
    (padded, padded_gradients), (joined, joined_gradients) = found
    torch.testing.assert_close(joined, padded)
    torch.testing.assert_close(joined_gradients, padded_gradients, rtol=1e-4, atol=1e-5)


def test_no_packed_token_follows_the_last_boundary_and_sizes_are_round() -> None:
    joined = Joined.of(TEXTS, 0, torch.device("cpu"), most=6, longest=64, mode=JOINED)
    assert joined.token_ids.shape == joined.position_ids.shape == (1, 128)
    assert joined.cu_seqlens.tolist() == [0, 7, 49, 52, 71, 128, 128, 128]
    assert joined.starts.tolist() == [0, 7, 49, 52]
    assert joined.position_ids[0, joined.starts].tolist() == [0, 0, 0, 0]
    assert joined.owners.sum(1).tolist() == pytest.approx([1, 1, 1, 1])


def test_the_padding_is_not_longer_than_what_a_kernel_is_prepared_for() -> None:
    joined = Joined.of([[1, 2, 3]], 0, torch.device("cpu"), most=4, longest=64, mode=JOINED)
    assert joined.cu_seqlens.diff().tolist() == [3, 125, 0, 0, 0]
    assert joined.longest >= 125


def test_there_are_few_sizes_and_each_is_filled_up_by_at_most_an_eighth() -> None:
    sizes = {tokens: filled_up(tokens, 4096) for tokens in range(1, 40_000)}
    assert len({size for tokens, size in sizes.items() if 4096 < tokens <= 8192}) == 8
    assert all(0 <= size - tokens <= max(127, tokens / 8) for tokens, size in sizes.items())
    assert all(filled_up(tokens, 1024) - tokens < 1024 for tokens in range(30_000, 40_000))
    assert filled_up(5, 64) == 128


@pytest.fixture
def rerun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the functions that launch kernels, and run them again on the same tensors; return their names."""
    names: list[str] = []

    def record(act: Act) -> Act:
        def again() -> None:
            names.append(act.__name__)
            act()

        act()
        return again

    monkeypatch.setattr(modes, "cuda_recorder", lambda: record)
    monkeypatch.setattr(layers, "_compiled", layers.layer)
    return names


def with_and_without_graphs(shape: ShapeName, folder: Path) -> list[FineTuning]:
    """Train on documents of several lengths, each cut into parts whose gradients are accumulated."""
    done = []
    for mode in (FUSED, GRAPHED):
        one = tuning(shape, folder, mode)
        one.progress.parts = 2
        for start in (0, 8, 16, 0, 8, 16, 24, 0):
            one.update(torch.arange(start, start + 8).numpy())
        one.decide("validation")
        done.append(one)
    return done


@pytest.mark.parametrize("shape", ["cases", "titles"])
def test_graphs_compute_the_same_as_layers_for_documents_of_any_length(
    shape: ShapeName, tmp_path: Path, rerun: list[str]
) -> None:
    plain, graphed = with_and_without_graphs(shape, tmp_path)
    assert rerun.count("forward") == rerun.count("backward") >= 8
    assert graphed.progress.losses == pytest.approx(plain.progress.losses, rel=1e-6)
    torch.testing.assert_close(graphed.model.state_dict(), plain.model.state_dict(), rtol=1e-5, atol=1e-7)


def does_nothing_in_the_backward_pass(act: Act) -> Act:
    act()
    return (lambda: None) if act.__name__ == "backward" else act


def cannot_record(_: Act) -> Act:
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize(
    ("record", "why"), [(does_nothing_in_the_backward_pass, "are off by 1"), (cannot_record, "not permitted")]
)
def test_graphs_that_are_wrong_or_cannot_be_recorded_are_not_used(
    record: Any,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rerun: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(modes, "cuda_recorder", lambda: record)
    plain, graphed = with_and_without_graphs("titles", tmp_path)
    assert [why in message for message in caplog.messages if "one by one" in message] == [True]
    assert graphed.progress.losses == pytest.approx(plain.progress.losses, rel=1e-6)
    assert rerun == []


@pytest.mark.parametrize("mode", [JOINED, FUSED])
@pytest.mark.parametrize("shape", ["cases", "titles"])
def test_a_packed_fine_tuning_learns_the_same_as_a_padded_one(
    shape: ShapeName, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "_compiled", layers.layer)  # what is compiled is another test's
    weights, losses = [], []
    for each in (PLAIN, mode):
        one = tuning(shape, tmp_path, each)
        one.update(torch.arange(4).numpy())
        one.update(torch.arange(4, 8).numpy())
        weights.append(one.model.state_dict())
        losses.append(one.progress.losses)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("mode", [Mode(joined=True, compiled=True), FUSED])
def test_graphs_are_made_in_the_first_step_and_serve_all_documents_and_seeds(
    mode: Mode, tmp_path: Path, counted: list[int]
) -> None:
    one = tuning("titles", tmp_path, mode)
    for start in range(0, 320, 16):
        one.update(torch.arange(start, start + 16).numpy())
        if start == 0:
            one.decide("validation")
            first = len(counted)
    next_seed = tuning("titles", tmp_path, mode)
    next_seed.update(torch.arange(16).numpy())
    plain = tuning("titles", tmp_path, PLAIN)
    plain.update(torch.arange(16).numpy())
    assert len(counted) == first == 2
    assert one.progress.losses[0] == pytest.approx(plain.progress.losses[0], rel=1e-5)


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def mode_on_a_gpu(model: TaskModel, monkeypatch: pytest.MonkeyPatch, problems: dict[str, str | None]) -> Mode:
    monkeypatch.setattr(modes, "problem", lambda kernel, *_: problems[kernel])
    return mode_for(model, CUDA, {})


def test_on_a_cpu_nothing_is_packed_or_compiled(model_folder: Path) -> None:
    assert mode_for(EncoderClassifier(load_encoder(model_folder), 3, "mean"), CPU, {}) == PLAIN


def test_a_gpu_uses_the_first_correct_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tuning("titles", tmp_path, PLAIN).model
    own = mode_on_a_gpu(model, monkeypatch, {"varlen+local": None})
    assert own == Mode(joined=True, fused=True, graphed=True, kernel="varlen+local")
    torchs = mode_on_a_gpu(model, monkeypatch, {"varlen+local": "not installed", "varlen": None})
    assert torchs == GRAPHED
    assert mode_on_a_gpu(model, monkeypatch, {"varlen+local": "gives NaN", "varlen": "gives NaN"}) == PLAIN


def test_layers_unknown_to_pretraining_are_compiled_as_they_are(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = EncoderClassifier(load_encoder(model_folder), 3, "mean")
    mode = mode_on_a_gpu(model, monkeypatch, {"varlen+local": None})
    assert mode == Mode(joined=True, compiled=True, kernel="varlen+local")


def test_padding_can_be_requested_and_is_suggested_if_a_kernel_breaks_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise BrokenDevice("the attention kernel varlen+local broke the GPU's context")

    model = tuning("titles", tmp_path, PLAIN).model
    monkeypatch.setattr(modes, "problem", breaks)
    with pytest.raises(PermanentFailure, match=r"broke the GPU's context: set DETOUR_FINE_TUNING=padded"):
        mode_for(model, CUDA, {})
    assert mode_for(model, CUDA, {"DETOUR_FINE_TUNING": "padded"}) == PLAIN
    with pytest.raises(PermanentFailure, match="DETOUR_FINE_TUNING is 'fast': write `padded`"):
        mode_for(model, CPU, {"DETOUR_FINE_TUNING": "fast"})


def test_padded_documents_avoid_the_attention_that_recompiles_for_every_length(
    model_folder: Path,
) -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    use(PLAIN, EncoderClassifier(load_encoder(model_folder), 3, "mean"))
    assert not torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
