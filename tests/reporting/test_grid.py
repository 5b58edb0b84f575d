"""The axes of a sweep, derived from its plans."""

from __future__ import annotations

from collections.abc import Mapping

from detour.planning.plan import Plan
from detour.reporting.grid import grid_of
from tests.support.stages import make_stages


def plans(**changes: Mapping[str, object]) -> list[Plan]:
    return [Plan(name, make_stages(of_chain)) for name, of_chain in changes.items()]


def test_settings_that_change_together_are_one_axis_named_by_the_simplest() -> None:
    masked = {"phases.0.objective": "masked", "phases.0.masking_rate": 0.3}
    long, short = {"phases.1.tokens": 2_000_000}, {"phases.1.tokens": 1_000_000}
    grid = grid_of(plans(a=short, b=masked | short, c=long, d=masked | long))
    assert grid is not None
    assert [(axis.name, axis.labels) for axis in grid.axes] == [
        ("phase 1 objective", ["causal", "masked"]),
        ("phase 2 tokens", ["1M", "2M"]),
    ]
    assert [point.labels for point in grid.points] == [
        ["causal", "1M"],
        ["masked", "1M"],
        ["causal", "2M"],
        ["masked", "2M"],
    ]


def test_the_axis_with_most_labels_is_last() -> None:
    grid = grid_of(plans(a={}, b={"optimizer.lr": 2e-3}, c={"optimizer.lr": 4e-3}, d={"seeds.training": 3}))
    assert grid is not None
    assert [len(axis.labels) for axis in grid.axes] == [2, 3]


def test_frozen_layers_are_written_as_ranges() -> None:
    grid = grid_of(plans(a={}, b={"phases.0.freeze": [{"first": 0, "last": 1}]}))
    assert grid is not None
    assert grid.axes[0].labels == ["none", "0-1"]


def test_equal_chains_have_no_grid() -> None:
    assert grid_of(plans(a={}, b={})) is None
    assert grid_of([]) is None
