from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detour.errors import PermanentFailure
from detour.pretraining import microbatch
from detour.pretraining.microbatch import microbatch_rows, rows_that_fit

GIB = 2**30


@given(
    rows=st.integers(1, 400),
    fixed=st.integers(0, 100 * GIB),
    row=st.integers(1, 20 * GIB),
    capacity=st.integers(1, 200 * GIB),
)
def test_the_microbatch_is_the_largest_divisor_that_fits(rows: int, fixed: int, row: int, capacity: int) -> None:
    fitting = [n for n in range(1, rows + 1) if rows % n == 0 and fixed + n * row <= 0.9 * capacity]
    assert rows_that_fit(rows, fixed, row, capacity) == max(fitting, default=1)


def test_the_base_recipe_on_an_h100_gets_the_expected_microbatch() -> None:
    """96 rows a rank; 2.4 GiB of weights and moments, 4 GiB a row."""
    assert rows_that_fit(96, round(2.4 * GIB), 4 * GIB, 80 * GIB) == 16


def test_on_a_cpu_the_microbatch_is_one_and_nothing_is_measured() -> None:
    ran: list[int] = []
    assert microbatch_rows(16, torch.device("cpu"), ran.append, 0) == 1
    assert ran == []


def on_a_gpu(monkeypatch: pytest.MonkeyPatch, capacity_bytes: int, rows_in_memory: int = 16) -> torch.device:
    """Simulate a GPU on which a step needs 1,000 bytes and 100 more for each row."""
    monkeypatch.setattr(
        microbatch, "_peak_bytes", lambda _run, rows, _device: 1000 + 100 * rows if rows <= rows_in_memory else None
    )
    board = SimpleNamespace(total_memory=capacity_bytes)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: board)
    return torch.device("cuda")


def test_memory_for_more_rows_is_extrapolated_from_one_and_two(monkeypatch: pytest.MonkeyPatch) -> None:
    device = on_a_gpu(monkeypatch, capacity_bytes=2000)
    assert microbatch_rows(16, device, lambda _: None, moments_bytes=0) == 8
    assert microbatch_rows(16, device, lambda _: None, moments_bytes=300) == 4


def test_a_device_with_memory_for_a_single_row_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    device = on_a_gpu(monkeypatch, capacity_bytes=1230, rows_in_memory=1)
    assert microbatch_rows(16, device, lambda _: None, moments_bytes=0) == 1


@pytest.mark.parametrize(("rows_in_memory", "message"), [(1, "0.0 GiB of the 0.0 that"), (0, "0.0 GiB, too little")])
def test_a_device_too_small_for_one_row_is_an_error(
    monkeypatch: pytest.MonkeyPatch, rows_in_memory: int, message: str
) -> None:
    device = on_a_gpu(monkeypatch, 1100, rows_in_memory)
    with pytest.raises(PermanentFailure, match=message):
        microbatch_rows(16, device, lambda _: None, moments_bytes=0)


def test_a_run_that_does_not_fit_needs_an_unknown_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(_rows: int) -> None:
        raise torch.OutOfMemoryError

    for name in ("reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    assert microbatch._peak_bytes(out_of_memory, 2, torch.device("cuda")) is None
