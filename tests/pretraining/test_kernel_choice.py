from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from detour.pretraining import kernel_choice
from detour.pretraining.kernel_choice import BrokenDevice, Choice, Heads, choose, named_backend, problem, ready_backend
from detour.pretraining.kernels import KERNELS, Kernel, reference
from detour.pretraining.window import Window
from tests.pretraining.tiny import tiny_model

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
HEADS = Heads(2, 16, {(-1, 0): 2, (64, 0): 2})
CU_SEQLENS = torch.tensor([0, 40, 100], dtype=torch.int32)
FLASH = ("flash_attention_2", "flash_attention_3", "flash_attention_4")


def right(q: Tensor, k: Tensor, v: Tensor, cu: Tensor, _longest: int, scale: float | None, window: Window) -> Tensor:
    return reference(q.float(), k.float(), v.float(), cu, scale, window).to(q.dtype)


def one_token_short(
    q: Tensor, k: Tensor, v: Tensor, cu: Tensor, longest: int, scale: float | None, window: Window
) -> Tensor:
    left, side = window
    return right(q, k, v, cu, longest, scale, (left - 1 if left > 0 else left, side))


def not_causal(
    q: Tensor, k: Tensor, v: Tensor, cu: Tensor, longest: int, scale: float | None, window: Window
) -> Tensor:
    return right(q, k, v, cu, longest, scale, (window[0], window[0]))


def leaves_nan(
    q: Tensor, k: Tensor, v: Tensor, cu: Tensor, longest: int, scale: float | None, window: Window
) -> Tensor:
    output = right(q, k, v, cu, longest, scale, window)
    return output * torch.where(torch.arange(len(q)) == 5, float("nan"), 1.0)[:, None, None].to(q.dtype)


def raises(*_: object) -> Tensor:
    raise RuntimeError("no kernel image is available for execution on the device\nand a second line")


def use_kernels(monkeypatch: pytest.MonkeyPatch, **kernels: Kernel) -> None:
    """Make these the only kernels, all of them installed."""
    for name in list(KERNELS):
        monkeypatch.delitem(KERNELS, name)
    for name, kernel in kernels.items():
        monkeypatch.setitem(KERNELS, name, kernel)
    monkeypatch.setattr(kernel_choice, "is_installed", lambda _: True)


def why_not(monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> str | None:
    use_kernels(monkeypatch, flash_attention_3=kernel)
    return problem("flash_attention_3", CPU, torch.bfloat16, HEADS)


def test_a_correct_kernel_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not(monkeypatch, right) is None


@pytest.mark.parametrize("kernel", [one_token_short, not_causal])
def test_a_kernel_with_a_wrong_window_is_refused(monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> None:
    assert str(why_not(monkeypatch, kernel)).startswith("differs from exact attention by ")


def test_a_kernel_that_produces_nan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not(monkeypatch, leaves_nan) == "gives NaN or infinity"


def test_a_kernel_that_raises_is_refused_with_the_first_line_of_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "RuntimeError: no kernel image is available for execution on the device"
    assert why_not(monkeypatch, raises) == expected


def test_a_kernel_that_breaks_the_device_ends_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    use_kernels(monkeypatch, flash_attention_3=raises)
    monkeypatch.setattr(kernel_choice, "_error", raises)
    monkeypatch.setattr(torch.cuda, "synchronize", raises)
    with pytest.raises(
        BrokenDevice, match=r"flash_attention_3 broke the GPU's context \(RuntimeError: no kernel image"
    ):
        choose("auto", CUDA, HEADS, CU_SEQLENS, torch.bfloat16)


@pytest.mark.parametrize("name", FLASH)
def test_a_package_that_is_not_installed_is_reported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_choice, "find_spec", lambda _: None)
    assert problem(name, CPU, torch.bfloat16, HEADS) == "not installed"


def test_flash_attn_4_does_not_count_as_flash_attn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flash_attn" / "cute").mkdir(parents=True)
    (tmp_path / "flash_attn" / "cute" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with patch.dict(sys.modules):  # the fake package must not stay for tests of the real one
        for name in [name for name in sys.modules if name.partition(".")[0] == "flash_attn"]:
            del sys.modules[name]
        assert problem("flash_attention_2", CPU, torch.bfloat16, HEADS) == "not installed"
        assert problem("flash_attention_4", CPU, torch.bfloat16, HEADS) != "not installed"


def test_auto_takes_the_fastest_correct_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    use_kernels(monkeypatch, varlen=right, flash_attention_2=one_token_short, flash_attention_3=right)
    speeds = iter([3.0, 2.0])
    monkeypatch.setattr(kernel_choice, "problem", lambda name, *_: problem(name, CPU, torch.bfloat16, HEADS))
    monkeypatch.setattr(kernel_choice, "_layer_ms", lambda *_: next(speeds))
    choice = choose("auto", CUDA, HEADS, CU_SEQLENS, torch.bfloat16)
    assert choice.backend == "flash_attention_3"
    assert choice.layer_ms == {"varlen": 3.0, "flash_attention_3": 2.0}
    assert list(choice.refused) == ["flash_attention_2"]


def test_auto_falls_back_to_masks_if_no_kernel_is_correct(monkeypatch: pytest.MonkeyPatch) -> None:
    use_kernels(monkeypatch, varlen=raises)
    monkeypatch.setattr(kernel_choice, "problem", lambda *_: "broken")
    assert choose("auto", CUDA, HEADS, CU_SEQLENS, torch.bfloat16) == Choice("sdpa", {}, {"varlen": "broken"})


def test_a_named_kernel_that_is_wrong_on_this_machine_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    use_kernels(monkeypatch, flash_attention_3=raises)
    monkeypatch.setattr(kernel_choice, "problem", lambda *_: "broken")
    with pytest.raises(ValueError, match="broken"):
        choose("flash_attention_3", CUDA, HEADS, CU_SEQLENS, torch.bfloat16)


@pytest.mark.parametrize(
    ("setting", "device", "dtype", "backend"),
    [("auto", CPU, None, "varlen"), ("auto", CUDA, None, "sdpa"), ("eager", CUDA, torch.bfloat16, "eager")],
)
def test_nothing_is_measured_if_there_is_no_choice(
    setting: str, device: torch.device, dtype: torch.dtype | None, backend: str
) -> None:
    assert choose(setting, device, HEADS, CU_SEQLENS, dtype) == Choice(backend)


@pytest.mark.parametrize("name", FLASH)
def test_flash_kernels_need_a_gpu_and_half_precision(name: str) -> None:
    with pytest.raises(ValueError, match="need a GPU"):
        named_backend(name, CPU, half=False)
    with pytest.raises(ValueError, match="only compute in half precision"):
        named_backend(name, CUDA, half=False)
    assert named_backend(name, CUDA, half=True) == name


@pytest.mark.parametrize(
    ("device", "half", "backend"),
    [("cuda", True, "varlen"), ("cuda", False, "sdpa"), ("cpu", False, "varlen"), ("mps", True, "sdpa")],
)
def test_the_backend_chosen_without_measurement_suits_device_and_precision(
    device: str, half: bool, backend: str
) -> None:
    assert ready_backend(torch.device(device), half=half) == backend


@pytest.mark.parametrize(("causal", "sides"), [(True, (0, 0)), (False, (-1, 8))])
def test_the_windows_of_a_model_are_counted_by_layer(causal: bool, sides: tuple[int, int]) -> None:
    assert Heads.of(tiny_model().config, causal=causal).windows == {(-1, sides[0]): 2, (8, sides[1]): 2}


if torch.cuda.is_available():

    @pytest.mark.gpu
    @pytest.mark.parametrize("causal", [True, False])
    @pytest.mark.parametrize("name", KERNELS)
    def test_installed_kernels_are_exact_on_a_gpu(name: str, causal: bool) -> None:
        heads = Heads(12, 64, {(-1, 0 if causal else -1): 1, (64, 0 if causal else 64): 1})
        assert problem(name, CUDA, torch.bfloat16, heads) in (None, "not installed")
