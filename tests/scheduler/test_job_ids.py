from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.scheduler.job_ids import JobIds, array_option, parse_job_ids

INDICES = st.sets(st.integers(0, 5000), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("17", JobIds("17")),
        ("17+1", JobIds("17")),
        ("4_[4%1]", JobIds("4", (range(4, 5),))),
        ("123_[5-9]", JobIds("123", (range(5, 10),))),
        ("123_[1,3-5%2]", JobIds("123", (range(1, 2), range(3, 6)))),
        ("8_[0-10:5]", JobIds("8", (range(0, 11, 5),))),
        ("8_[1,3,...]", JobIds("8", (range(1, 2), range(3, 4)), complete=False)),
        ("8_7", JobIds("8", (range(7, 8),))),
    ],
)
def test_every_form_that_slurm_prints_is_read(text: str, expected: JobIds) -> None:
    assert parse_job_ids(text) == expected


@pytest.mark.parametrize("text", ["", "17.batch", "17.0", "x", "17_[a]", "17_", "-1", "17_[1-2"])
def test_an_invalid_job_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_job_ids(text)


@given(INDICES, st.one_of(st.none(), st.integers(1, 99)))
def test_an_array_option_is_read_back_as_the_same_tasks(indices: set[int], throttle: int | None) -> None:
    ids = parse_job_ids(f"9_[{array_option(sorted(indices), throttle)}]")
    assert {index for part in ids.indices for index in part} == indices
    assert len(ids) == len(indices)


def test_a_plain_job_is_no_array_task() -> None:
    assert parse_job_ids("9").holds(None)
    assert not parse_job_ids("9").holds(0)
    assert not parse_job_ids("9_[0-3]").holds(None)
    assert parse_job_ids("9_[0-3]").holds(3)
