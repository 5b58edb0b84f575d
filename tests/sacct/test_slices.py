"""Slices (MIG) as shares of a board, by the names that sites give their types."""

from __future__ import annotations

import io

import pytest

from detour.sacct.reading import read_rows
from detour.sacct.rows import JobRow
from detour.sacct.slices import board_share, boards_of, holds_slices


@pytest.mark.parametrize(
    ("gpu_type", "share"),
    [
        ("h100", 1.0),
        ("a100-sxm4-80gb", 1.0),
        ("1g.10gb", 1 / 7),
        ("nvidia_a100_1g.5gb", 1 / 7),
        ("3g.40gb", 3 / 7),
        ("7g.80gb", 1.0),
        ("1g.10gb+me", 1 / 7),
        ("1c.3g.40gb", 1 / 7),
        ("a30_1g.6gb", 1 / 4),
        ("4g.24gb", 1.0),
        ("4g.40gb", 4 / 7),
        ("2g.48gb", 2 / 4),
        ("1g.24gb", None),
        ("0g.5gb", None),
        ("mig", None),
        ("a100_mig", None),
    ],
)
def test_a_type_gives_its_share_of_a_board(gpu_type: str, share: float | None) -> None:
    assert board_share(gpu_type) == share


def row(allocated: str) -> JobRow:
    header = "JobID|State|Start|End|AllocTRES|NodeList"
    job = f"7|COMPLETED|2026-01-01T00:00:00|2026-01-01T01:00:00|{allocated}|n1"
    (found,) = read_rows(io.StringIO(f"{header}\n{job}\n"))
    return found


@pytest.mark.parametrize(
    ("allocated", "sliced", "boards"),
    [
        ("cpu=8,gres/gpu=4", False, 4),
        ("cpu=8,gres/gpu=4,gres/gpu:h100=4", False, 4),
        ("cpu=8,gres/gpu=2,gres/gpu:1g.10gb=2", True, 2 / 7),
        ("cpu=8,gres/gpu=3,gres/gpu:1g.10gb=2,gres/gpu:h100=1", True, 9 / 7),
        ("cpu=8,gres/gpu=4,gres/gpu:1g.10gb=2,gres/gpu:h100=1", True, None),
        ("cpu=8,gres/gpu=1,gres/gpu:mig=1", True, None),
        ("cpu=8", False, 0),
    ],
)
def test_a_row_gives_the_boards_of_its_gpus(allocated: str, sliced: bool, boards: float | None) -> None:
    assert holds_slices(row(allocated)) is sliced
    assert boards_of(row(allocated)) == (None if boards is None else pytest.approx(boards))
