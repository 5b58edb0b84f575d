from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.scheduler.dependency import (
    After,
    Dependency,
    MixedDependency,
    Upstream,
    after_segments,
    after_units,
    all_of,
    any_of,
)

IDS = st.integers(1, 10**9).map(str)


def test_expressions_are_rendered_as_slurm_reads_them() -> None:
    a, b, c = After("afterok", "1"), After("afterany", "2"), After("afterok", "3")
    assert str(a & b & c) == "afterok:1,afterany:2,afterok:3"
    assert str(a | b | c) == "afterok:1?afterany:2?afterok:3"
    assert str((a & b) & (a & c)) == "afterok:1,afterany:2,afterok:1,afterok:3"


def test_and_mixed_with_or_is_refused_because_slurm_misreads_it() -> None:
    a, b, c = (After("afterok", job) for job in "123")
    with pytest.raises(MixedDependency, match="afterok:1,afterok:2"):
        _ = (a & b) | c
    with pytest.raises(MixedDependency):
        _ = c & (a | b)


@given(st.lists(IDS, min_size=1, max_size=6, unique=True))
def test_an_expression_has_only_one_kind_of_operator(ids: list[str]) -> None:
    terms: list[Dependency] = [After("afterok", job) for job in ids]
    assert str(all_of(terms)).split(",") == [f"afterok:{job}" for job in ids]
    assert str(any_of(terms)).split("?") == [f"afterok:{job}" for job in ids]


def test_a_segment_waits_until_every_earlier_one_has_failed() -> None:
    parent = After("afterok", "7")
    assert after_segments(parent, []) is parent
    assert str(after_segments(None, ["1", "2"])) == "afternotok:1,afternotok:2"
    assert str(after_segments(parent, ["1", "2"])) == "afterok:7,afternotok:1,afternotok:2"
    assert str(after_segments(any_of([parent, After("afterok", "8")]), ["1"])) == "afternotok:1"


def test_dependents_wait_for_any_segment_of_one_unit_or_for_all_units() -> None:
    assert after_units([]) is None
    assert str(after_units([Upstream(["1", "2", "3"])])) == "afterok:1?afterok:2?afterok:3"
    assert str(after_units([Upstream(["1"]), Upstream(["2"])])) == "afterok:1,afterok:2"
    assert str(after_units([Upstream(["1"]), Upstream(["2", "3"])])) == "afterok:1,afterany:2,afterany:3"


def test_an_array_waits_for_another_task_by_task() -> None:
    assert str(after_units([Upstream(["1", "2"], "aftercorr")])) == "aftercorr:1?aftercorr:2"
    assert str(after_units([Upstream(["1"], "aftercorr"), Upstream(["7"])])) == "aftercorr:1,afterok:7"
    spare = after_segments(after_units([Upstream(["1"], "aftercorr")]), ["4"])
    assert str(spare) == "aftercorr:1,afternotok:4"
