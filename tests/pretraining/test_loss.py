from __future__ import annotations

import pytest
import torch
from torch import Tensor

from detour.pretraining.batches import Batch
from detour.pretraining.cross_entropy import CPU_PIECE_TOKENS
from detour.pretraining.loss import CrossEntropy, language_model_loss
from tests.pretraining.tiny import VOCABULARY, pack, random_documents, tiny_model


def labelled(every: int) -> Batch:
    """Return 1,200 tokens, so that the loss takes several chunks."""
    tokens = pack([random_documents((300, 100)), random_documents((400,)), random_documents((1, 399))])
    flat = tokens["input_ids"].flatten()
    positions = torch.arange(0, len(flat), every)
    return {**tokens, "labels": (flat[positions] * 7) % VOCABULARY, "label_positions": positions}


def loss_and_gradients(batch: Batch, method: CrossEntropy, bf16: bool = False) -> tuple[Tensor, Tensor]:
    model = tiny_model("varlen").train()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = language_model_loss(model, batch, causal=True, cross_entropy=method)
    torch.autograd.backward(loss)
    return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("every", [1, 7])
def test_the_chunked_loss_equals_the_full_loss(every: int) -> None:
    batch = labelled(every)
    assert (len(batch["labels"]) > CPU_PIECE_TOKENS) == (every == 1)
    full, gradients = loss_and_gradients(batch, "full")
    chunked, chunked_gradients = loss_and_gradients(batch, "chunked")
    torch.testing.assert_close(chunked, full, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(chunked_gradients, gradients, atol=1e-6, rtol=1e-4)


def test_the_loss_equals_that_of_the_plain_model() -> None:
    document = random_documents((50,))[0]
    tokens = pack([[document]])
    labels = torch.full((50,), -100)
    labels[::3] = document[::3]
    batch: Batch = {**tokens, "labels": document[::3], "label_positions": torch.arange(0, 50, 3)}
    expected = tiny_model()(input_ids=document[None], labels=labels[None]).loss
    actual = language_model_loss(tiny_model("varlen"), batch, causal=False)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_autocast_applies_to_the_vocabulary_matrix() -> None:
    batch = labelled(1)
    expected, gradients = loss_and_gradients(batch, "full")
    actual, bf16_gradients = loss_and_gradients(batch, "chunked", bf16=True)
    assert actual.dtype == torch.float32
    assert float(actual) == pytest.approx(float(expected), rel=0.02)
    cosine = torch.nn.functional.cosine_similarity(gradients, bf16_gradients, dim=0)
    assert cosine > 0.99


def test_the_loss_without_gradients_is_exact_under_autocast() -> None:
    batch, model = labelled(1), tiny_model("varlen")
    losses = []
    for enabled in (True, False):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses.append(language_model_loss(model, batch, causal=True))
    assert losses[0].dtype == torch.float32
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=2e-3)
    expected, _ = loss_and_gradients(batch, "full")
    torch.testing.assert_close(losses[1], expected, atol=1e-6, rtol=1e-6)


def test_a_batch_without_labels_has_loss_zero_and_not_nan() -> None:
    batch = labelled(1)
    nothing = torch.empty(0, dtype=torch.int64)
    loss, gradients = loss_and_gradients({**batch, "labels": nothing, "label_positions": nothing}, "auto")
    assert loss == 0
    assert not gradients.any()
