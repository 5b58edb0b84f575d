"""Choose the attention kernel of a training: the recipe's, or the fastest one that is installed and correct.

A kernel is used only after its outputs and gradients have been compared with the exact reference on this device. One
that fails, for instance a wheel built for another architecture or with a different definition of windows, is excluded
with the reason.
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
"""The module that each backend imports."""
TRIAL_LENGTHS = (1, 300, 17, 128, 129, 449)
"""Document lengths for the comparison: shorter and longer than a window, and a single token."""
TOLERANCE = 0.03
"""Upper bound on the largest error of outputs and gradients, relative to the reference's largest value.

Correct half-precision kernels stay below it; a window that is off by one token exceeds it tenfold.
"""
REPEATS = 5
FILLER_SIZE, FILLERS = 4096, 200
"""More than 30 ms on the fastest GPUs: several times what launching a trial takes."""


class BrokenDevice(RuntimeError):
    """A kernel left the device unusable for the rest of this process."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen backend, and the findings on all candidates."""

    backend: str
    layer_ms: Mapping[str, float] = field(default_factory=dict)
    """Forward and backward time of the average layer on the trial rows, for each correct kernel."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Kernel -> why it cannot be used."""


@dataclass(frozen=True, slots=True)
class Heads:
    """The shape of a model's attention."""

    heads: int
    head_size: int
    windows: Mapping[Window, int]
    """Window -> number of layers that have it."""

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
    """A backend that needs no measurement: `varlen` on the CPU and on CUDA in half precision, otherwise `sdpa`."""
    return "varlen" if device.type == "cpu" or (device.type == "cuda" and half) else "sdpa"


def named_backend(setting: str, device: torch.device, *, half: bool) -> str | None:
    """The backend for `training.attention`, or None if the kernels have to be timed against each other.

    `half`: the training computes in half precision. Raises ValueError for a kernel that the device or the precision
    rules out.
    """
    if setting == "auto":
        return None if device.type == "cuda" and half else ready_backend(device, half=half)
    if setting in PACKAGES:
        if device.type != "cuda":
            raise ValueError("its kernels need a GPU")
        if not half:
            raise ValueError("its kernels only compute in half precision, and the training is in fp32")
    return setting


def choose(setting: str, device: torch.device, heads: Heads, cu_seqlens: Tensor, dtype: torch.dtype | None) -> Choice:
    """Resolve `training.attention`; `sdpa`, with masks, is the fallback if no kernel is correct.

    `dtype` is the training's half-precision type, None in fp32. `cu_seqlens` are boundaries of rows that it will read.
    Raises ValueError if the recipe names a backend that cannot be used here, and BrokenDevice if trying a kernel makes
    the device unusable.
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
    """Why the kernel cannot be used here, or None if it can."""
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
    """Raise BrokenDevice if the GPU is unusable: after a fault in a kernel, every later call of the process fails."""
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
    """Largest error of output and gradients, relative to the reference's largest value; infinite if not finite."""
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
    """Time on the device without launch overhead, as compiled layers have it: they launch ahead of the device.

    Matrix products keep the device busy until every launch is queued.
    """
    run()  # compile, load and tune
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
