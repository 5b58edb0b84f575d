from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import ModernBertForMaskedLM

from detour.pretraining.attention import PackedTokens, encode, packed_attention, predict
from detour.pretraining.kernels import KERNELS, reference
from detour.pretraining.window import Window
from tests.pretraining.backends import BACKENDS, DEVICES, Backend
from tests.pretraining.tiny import HALF_WINDOW, VOCABULARY, pack, random_documents, tiny_model

LENGTHS = (40, 1, 7, 90, 23)
"""Documents of one row; the longest is eleven times the half window."""
ROW = random_documents(LENGTHS)
TWO_ROWS = [ROW, random_documents((100, 61), seed=2)]

both_masks = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
every_backend = pytest.mark.parametrize("backend", BACKENDS)


def causal_labels(tokens: PackedTokens) -> Tensor:
    labels = functional.pad(tokens["input_ids"].flatten()[1:], (0, 1))
    labels[tokens["cu_seqlens"][1:].long() - 1] = -100
    return labels


@every_backend
def test_causal_logits_do_not_see_later_tokens(backend: Backend) -> None:
    model = backend.model()
    tokens = pack([ROW], backend.device)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        before = predict(model, tokens, causal=True)
        end = sum(LENGTHS)
        for last in (0, 5, 38, 39, 40, 41, 48, 60, 100, 137, end - 2):
            changed = tokens["input_ids"].clone()
            changed[0, last + 1 :] = torch.randint(3, VOCABULARY, (end - last - 1,), generator=generator)
            after = predict(model, {**tokens, "input_ids": changed}, causal=True)
            torch.testing.assert_close(after[: last + 1], before[: last + 1], atol=1e-6, rtol=0)
            assert (after[last + 1 :] - before[last + 1 :]).abs().max() > 1e-2


@every_backend
def test_bidirectional_logits_equal_those_of_the_plain_model(backend: Backend) -> None:
    model, plain = backend.model(), tiny_model("sdpa")
    with torch.no_grad():
        for document in ROW:
            expected = plain(input_ids=document[None]).logits[0]
            actual = predict(model, pack([[document]], backend.device), causal=False)
            backend.assert_close(actual, expected)


@both_masks
@every_backend
def test_packed_documents_do_not_see_each_other(backend: Backend, causal: bool) -> None:
    model = backend.model()
    with torch.no_grad():
        packed = predict(model, pack(TWO_ROWS, backend.device), causal=causal)
        alone = [
            predict(model, pack([[document]], backend.device), causal=causal) for row in TWO_ROWS for document in row
        ]
    backend.assert_close(packed, torch.cat(alone))


@both_masks
@every_backend
def test_a_local_layer_sees_exactly_its_window(backend: Backend, causal: bool) -> None:
    model = backend.model(num_hidden_layers=1, layer_types=["sliding_attention"])
    tokens = pack([random_documents((100,))], backend.device)
    embedded: list[Tensor] = []

    def keep(_: torch.nn.Module, __: object, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    model.model.embeddings.register_forward_hook(keep)
    logits = predict(model, tokens, causal=causal)
    for token in (0, 7, 8, 9, 50, 91, 92, 99):
        (gradient,) = torch.autograd.grad(logits[token].pow(2).sum(), embedded[0], retain_graph=True)
        seen = gradient[0].abs().sum(-1).nonzero().flatten().tolist()
        last = token if causal else min(99, token + HALF_WINDOW)
        assert seen == list(range(max(0, token - HALF_WINDOW), last + 1))


@both_masks
@pytest.mark.parametrize("device", DEVICES)
def test_attention_backends_agree_on_loss_and_gradients(device: str, causal: bool) -> None:
    tokens = pack(TWO_ROWS, device)
    labels = causal_labels(tokens)
    backends = [parameter.values[0] for parameter in BACKENDS]
    expected: tuple[Tensor, Tensor] | None = None
    for backend in (backend for backend in backends if isinstance(backend, Backend)):
        if backend.device != device:
            continue
        model = backend.model().train()
        loss = functional.cross_entropy(predict(model, tokens, causal=causal), labels)
        torch.autograd.backward(loss)
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        if expected is None:
            expected = loss.detach(), gradients
        backend.assert_close(loss.detach(), expected[0])
        backend.assert_close(gradients, expected[1], atol=2e-4, rtol=1e-3)


class OnCuda(Tensor):
    """Claims to be on a GPU."""

    is_cuda = True


class Kernel:
    """Records the dtypes of its queries, and computes the reference."""

    def __init__(self) -> None:
        self.given: list[torch.dtype] = []

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, cu: Tensor, _longest: int, scale: float | None, window: Window
    ) -> Tensor:
        self.given.append(q.dtype)
        return reference(q, k, v, cu, scale, window)


def attended(kernel: Kernel, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(1, 2, 12, 8, generator=generator).to(dtype).as_subclass(OnCuda) for _ in range(3)]
    cu_seqlens = torch.tensor([0, 5, 12], dtype=torch.int32)
    q, k, v = parts
    joined, _ = packed_attention(kernel, torch.nn.Module(), q, k, v, None, cu_seq_lens_q=cu_seqlens, max_length_q=12)
    return joined


def test_full_precision_on_a_gpu_never_uses_a_half_precision_kernel() -> None:
    kernel = Kernel()
    in_double = attended(kernel, torch.float64)
    torch.testing.assert_close(attended(kernel, torch.float32).double(), in_double, atol=1e-6, rtol=1e-6)
    assert kernel.given == []


def test_half_precision_on_a_gpu_uses_the_kernel_in_autocasts_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    attended(kernel, torch.bfloat16)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: True)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda _: torch.bfloat16)
    attended(kernel, torch.float32)
    assert kernel.given == [torch.bfloat16, torch.bfloat16]


@pytest.mark.parametrize("name", KERNELS)
def test_transformers_accepts_every_kernel_under_its_name(name: str) -> None:
    """A name that contains `flash` would make transformers look for a package, and refuse the kernel without it."""
    model = tiny_model(name)
    logits = predict(model, pack(TWO_ROWS), causal=True)
    torch.testing.assert_close(logits, predict(tiny_model("sdpa"), pack(TWO_ROWS), causal=True), atol=2e-5, rtol=1e-4)


def test_dropout_that_no_packed_kernel_supports_is_refused() -> None:
    model = tiny_model("varlen", attention_dropout=0.1).train()
    with pytest.raises(ValueError, match="attention_dropout"):
        encode(model, pack([ROW]), causal=True)


# Pitfalls of the libraries: these tests fail once a release removes one of them.


def leaks(model: ModernBertForMaskedLM, length: int = 100, **arguments: object) -> bool:
    """Whether logits change if only later tokens do."""
    ids = torch.randint(3, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(5))
    changed = ids.clone()
    changed[0, length * 6 // 10 :] = 7
    with torch.no_grad():
        difference = model(input_ids=ids, **arguments).logits - model(input_ids=changed, **arguments).logits
    return bool(difference[0, : length * 6 // 10].abs().max() > 1e-3)


def test_is_causal_alone_lets_later_tokens_leak() -> None:
    assert leaks(tiny_model("sdpa"), is_causal=True)  # local layers keep their two-sided mask
    assert leaks(tiny_model("eager"), is_causal=True)  # ignored altogether
    in_config = tiny_model("sdpa")
    in_config.config.is_causal = True
    assert leaks(in_config)
    in_layers = tiny_model("sdpa")
    for layer in in_layers.model.layers:
        layer.attn.is_causal = True
    assert leaks(in_layers)


def test_a_leak_test_shorter_than_the_window_finds_no_leak() -> None:
    assert not leaks(tiny_model("sdpa"), length=7, is_causal=True)


def test_position_ids_alone_do_not_mask_packed_documents() -> None:
    first, second = ROW[0], ROW[3]
    tokens = pack([[first, second]])
    with torch.no_grad():
        packed = tiny_model("sdpa")(input_ids=tokens["input_ids"], position_ids=tokens["position_ids"]).logits
        alone = tiny_model("sdpa")(input_ids=first[None]).logits
    assert (packed[:, : len(first)] - alone).abs().max() > 1e-2


def test_the_decoder_class_has_a_window_shorter_by_one() -> None:
    from transformers import ModernBertDecoderConfig, ModernBertDecoderForCausalLM

    encoder = tiny_model("sdpa")
    known = set(ModernBertDecoderConfig().to_dict()) - {
        "model_type",
        "architectures",
        "local_attention",
        "sliding_window",
    }
    settings = {key: value for key, value in encoder.config.to_dict().items() if key in known}
    tokens = pack([[ROW[3]]])
    with torch.no_grad():
        expected = predict(encoder, tokens, causal=True)
        for local_attention, same in ((2 * HALF_WINDOW, False), (2 * HALF_WINDOW + 2, True)):
            config = ModernBertDecoderConfig(local_attention=local_attention, **settings)
            decoder = ModernBertDecoderForCausalLM._from_config(config, attn_implementation="sdpa").eval()
            decoder.load_state_dict(_decoder_weights(encoder))
            actual = decoder(input_ids=tokens["input_ids"]).logits[0]
            assert bool((actual - expected).abs().max() < 1e-4) == same


def _decoder_weights(encoder: ModernBertForMaskedLM) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for name, tensor in encoder.state_dict().items():
        if ".attn.Wqkv." in name:
            for projection, part in zip("qkv", tensor.chunk(3, 0), strict=True):
                weights[name.replace("Wqkv", f"{projection}_proj")] = part
        else:
            renamed = name.replace("head.", "lm_head.", 1) if name.startswith("head.") else name
            weights[renamed] = tensor
    return weights
