"""Which attention a training uses: the recipe's, or the fastest of those that are installed and right.

A kernel is believed only after it has been compared with the exact reference on this device, in both directions: a
wheel built for another architecture, or one whose windows are counted otherwise, is left out with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from math import inf, isfinite

import torch
from torch import Tensor
from transformers import ModernBertConfig

from detour.pretraining.kernels import KERNELS, LOCAL, Kernel, reference
from detour.pretraining.window import UNBOUNDED, Window

PACKAGES = {
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
    "flash_attention_4": "flash_attn.cute",
}
"""What must be importable."""
TRIAL_LENGTHS = (1, 300, 17, 128, 129, 449)
"""Documents of the comparison: shorter and longer than a window, and a single token."""
TOLERANCE = 0.03
"""Largest error of outputs and gradients over the largest value of the reference, which a half-precision kernel keeps;
a window that is off by one token is ten times that."""
REPEATS = 5
FILLER_SIZE, FILLERS = 4096, 200
"""Over 30 ms on the fastest boards: several times what the launches of a trial take."""


class BrokenDevice(RuntimeError):
    """A kernel left the device in a state in which nothing runs any more in this process."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and what was found out about the others."""

    backend: str
    layer_ms: Mapping[str, float] = field(default_factory=dict)
    """Forward and backward of a mean layer on the measured rows, of each kernel that is right."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why a kernel cannot be used."""


@dataclass(frozen=True, slots=True)
class Heads:
    """A model's attention, as kernels see it."""

    heads: int
    head_size: int
    windows: Mapping[Window, int]
    """How many layers have each."""

    @classmethod
    def of(cls, config: ModernBertConfig, *, causal: bool) -> Heads:
        half, layers = config.sliding_window, config.layer_types
        local = sum(kind == "sliding_attention" for kind in layers)
        windows = {
            (UNBOUNDED, 0 if causal else UNBOUNDED): len(layers) - local,
            (half, 0 if causal else half): local,
        }
        return cls(config.num_attention_heads, config.hidden_size // config.num_attention_heads, windows)


def ready_backend(device: torch.device, *, half: bool) -> str:
    """One that needs no measurement: torch's packed kernel where it computes, packed on the CPU too, else masks."""
    return "varlen" if device.type == "cpu" or (device.type == "cuda" and half) else "sdpa"


def named_backend(setting: str, device: torch.device, *, half: bool) -> str | None:
    """The backend for `training.attention`, None where kernels are to be measured against each other.

    `half` says that the training computes in half precision. Raises ValueError for a kernel that the device or the
    precision rules out.
    """
    if setting == "auto":
        return None if device.type == "cuda" and half else ready_backend(device, half=half)
    if setting in PACKAGES:
        if device.type != "cuda":
            raise ValueError("its kernels run on a GPU alone")
        if not half:
            raise ValueError("its kernels compute in half precision alone, and the training is in fp32")
    return setting


def choose(setting: str, device: torch.device, heads: Heads, cu_seqlens: Tensor, dtype: torch.dtype | None) -> Choice:
    """`dtype` is the training's half precision, None where it has none; `cu_seqlens` are rows as it will read them.

    Raises ValueError when the recipe names a backend that cannot be used here, BrokenDevice when the trial of a kernel
    ends the use of the device. Where no kernel is right, `sdpa` is left, with its masks.
    """
    named = named_backend(setting, device, half=dtype is not None)
    if named is not None and (dtype is None or named not in KERNELS or device.type != "cuda"):
        return Choice(named)
    assert dtype is not None
    candidates = [named] if named is not None else list(KERNELS)
    refused = {name: reason for name in candidates if (reason := problem(name, device, dtype, heads)) is not None}
    usable = [name for name in candidates if name not in refused]
    if named is not None and refused:
        raise ValueError(refused[named])
    if not usable:
        return Choice("sdpa", refused=refused)
    if len(usable) == 1:
        return Choice(usable[0], refused=refused)
    layer_ms = {name: _layer_ms(KERNELS[name], device, dtype, heads, cu_seqlens) for name in usable}
    return Choice(min(layer_ms, key=layer_ms.__getitem__), layer_ms, refused)


def problem(name: str, device: torch.device, dtype: torch.dtype, heads: Heads) -> str | None:
    """Why the kernel cannot be used here, None when it can."""
    if not is_installed(name):
        return "not installed"
    try:
        errors = [_error(KERNELS[name], device, dtype, heads, window) for window in heads.windows]
    except Exception as error:  # noqa: BLE001, a foreign kernel may raise anything, and another one is at hand
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        _require_device(device, f"the attention kernel {name} broke the GPU's context ({reason})")
        return reason
    worst = max(errors)
    if worst <= TOLERANCE:
        return None
    return f"differs from exact attention by {worst:.0%}" if worst < inf else "gives NaN or infinity"


def _require_device(device: torch.device, problem: str) -> None:
    """A fault inside a kernel ends a process's use of its GPU, and shows again at whatever comes next."""
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        raise BrokenDevice(problem) from error


def is_installed(name: str) -> bool:
    other = name.removesuffix(LOCAL)
    if other != name and find_spec("triton") is None:
        return False
    if other == "varlen":
        return True
    try:
        spec = find_spec(PACKAGES[other])
    except ModuleNotFoundError:
        return False
    return spec is not None and spec.origin is not None  # flash-attn-4 alone leaves `flash_attn` as an empty namespace


def _error(kernel: Kernel, device: torch.device, dtype: torch.dtype, heads: Heads, window: Window) -> float:
    """Of output and gradients, relative to the largest value of the reference's; infinite where not finite."""
    cu_seqlens = torch.tensor((0, *TRIAL_LENGTHS), device=device).cumsum(0).to(torch.int32)
    inputs, weight = _random(sum(TRIAL_LENGTHS), heads, device, dtype)
    exact_attention = partial(_attend, _as_kernel, cu_seqlens, max(TRIAL_LENGTHS), window)
    attention = partial(_attend, kernel, cu_seqlens, max(TRIAL_LENGTHS), window)
    exact = _with_gradients(exact_attention, [x.float() for x in inputs], weight.float())
    actual = _with_gradients(attention, inputs, weight)
    errors = [float((a.float() - e).abs().max() / e.abs().max()) for a, e in zip(actual, exact, strict=True)]
    return max(error if isfinite(error) else inf for error in errors)


def _random(tokens: int, heads: Heads, device: torch.device, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (tokens, heads.heads, heads.head_size)
    *inputs, weight = (torch.randn(shape, generator=generator).to(device, dtype) for _ in range(4))
    return inputs, weight


def _with_gradients(attention: Callable[..., Tensor], inputs: list[Tensor], weight: Tensor) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    output = attention(*leaves)
    return [output.detach(), *torch.autograd.grad(output, leaves, weight)]


def _layer_ms(kernel: Kernel, device: torch.device, dtype: torch.dtype, heads: Heads, cu_seqlens: Tensor) -> float:
    inputs, weight = _random(int(cu_seqlens[-1]), heads, device, dtype)
    cu_seqlens, longest = cu_seqlens.to(device), int(cu_seqlens.diff().max())
    total_ms = 0.0
    for window, layers in heads.windows.items():
        attention = partial(_attend, kernel, cu_seqlens, longest, window)
        total_ms += layers * _device_ms(partial(_with_gradients, attention, inputs, weight), device)
    return total_ms / sum(heads.windows.values())


def _device_ms(run: Callable[[], object], device: torch.device) -> float:
    """What the device takes, without the launches: compiled layers launch ahead of it, a loop of Python may not.

    Products of matrices keep the device busy until all launches wait in its queue.
    """
    run()  # compiles, loads or tunes
    filler = torch.zeros(FILLER_SIZE, FILLER_SIZE, dtype=torch.bfloat16, device=device)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    for _ in range(FILLERS):
        torch.mm(filler, filler)
    start.record()
    for _ in range(REPEATS):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / REPEATS


def _as_kernel(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, _longest: int, scale: float | None, window: Window
) -> Tensor:
    return reference(q, k, v, cu_seqlens, scale, window)


def _attend(
    kernel: Kernel, cu_seqlens: Tensor, longest: int, window: Window, q: Tensor, k: Tensor, v: Tensor
) -> Tensor:
    return kernel(q, k, v, cu_seqlens, longest, None, window)
