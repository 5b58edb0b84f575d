"""The site's own figure compared with ours."""

from __future__ import annotations

from typing import Any

import pytest

from detour.accounting.hours import AttemptUsage
from detour.errors import UserError
from detour.reporting.costs import Counted, counted
from detour.reporting.reconciliation import SiteFigure, parse_site_figure, reconcile


@pytest.mark.parametrize(
    ("written", "hours", "kind"),
    [
        ("1,234.5 GPU-h", 1234.5, "gpu"),
        ("1 234,5 h", 1234.5, "gpu"),
        ("1'234.5 gpu hours", 1234.5, "gpu"),
        ("1\u2019234.5 GPU-h", 1234.5, "gpu"),
        ("1.234.567,5 h", 1_234_567.5, "gpu"),
        ("0.312 h", 0.312, "gpu"),
        ("0,312h", 0.312, "gpu"),
        ("1381 GPU-s", 1381 / 3600, "gpu"),
        ("12,345 core-hours", 12_345.0, "cpu"),
        ("500 h CPU", 500.0, "cpu"),
        ("1 234,5 heures de GPU", 1234.5, "gpu"),
        ("Account abc@h100: consumed 457.25 hours of its share", 457.25, "gpu"),
    ],
)
def test_a_figure_is_read_as_people_and_sites_write_it(written: str, hours: float, kind: str) -> None:
    figure = parse_site_figure(written)
    assert figure.hours == pytest.approx(hours)
    assert figure.kind == kind


@pytest.mark.parametrize(
    "written",
    ["", "1234", "h", "12 of 100 GPU", "used 3 h of 10 h", "many hours", "3:30 h", "-3 GPU-h", "\u22123 h", "2-3 h"],
)
def test_a_text_without_exactly_one_figure_is_refused(written: str) -> None:
    with pytest.raises(UserError, match=r"--site-figure: .* give one, such as `1234\.5 GPU-h`"):
        parse_site_figure(written)


def test_a_long_table_of_numbers_without_a_unit_is_refused() -> None:
    with pytest.raises(UserError, match="no figure with a unit of hours"):
        parse_site_figure("12.5 " * 50_000)


def ran(hours: float, gpus: int | None = 4, billed: float | None = None, **more: Any) -> Counted:
    usage = AttemptUsage("a", "s", 0.0, hours * 3600, gpus, 96)
    return counted(usage._replace(**more), lambda _: [], billed_hours=billed)


def test_the_parts_add_up_to_the_difference() -> None:
    attempts = [ran(2.0), ran(1.0, running=True), ran(1.0, open_ended=True), ran(1.0, gpus=None)]
    found = reconcile(SiteFigure(12.5, "gpu", "12.5 GPU-h"), attempts)
    assert (found.our_hours, found.basis) == (16.0, "allocated")
    assert found.difference_hours == pytest.approx(-3.5)
    assert [part.hours for part in found.parts] == pytest.approx([-4.0, 4 * 10 / 3600, None, 3.5 - 3 - 4 * 10 / 3600])
    assert sum(part.hours or 0.0 for part in found.parts) == pytest.approx(found.difference_hours)


def test_time_that_the_site_counts_before_the_first_event_is_listed_by_attempt() -> None:
    """A sweep of short jobs: 90 starts took 1,123 GPU-s, and the site counts 0.36 h."""
    found = reconcile(SiteFigure(0.36, "gpu", "0.36 h"), [ran(1123 / 90 / 3600, gpus=1) for _ in range(90)])
    assert "(1.92 s each would explain all of it)" in found.parts[-1].reason
    found = reconcile(SiteFigure(500.0, "gpu", "500 h"), [ran(1.0, gpus=1) for _ in range(9)])
    assert "(54h33m each would explain all of it)" in found.parts[-1].reason


def test_the_bill_is_compared_if_the_rule_is_known() -> None:
    found = reconcile(SiteFigure(2.0, "gpu", "2 h"), [ran(1.0, gpus=1, billed=2.0)])
    assert (found.our_hours, found.allocated_hours, found.difference) == (2.0, 1.0, 0.0)
    assert [part.reason for part in found.parts] == ["rounding"]


def test_a_site_that_counts_allocated_hours_is_recognized_next_to_a_bill() -> None:
    """Allocated 16 h, billed 20 h; the site states 16.5 h, so 4 h are the bill and half an hour is unknown."""
    found = reconcile(SiteFigure(16.5, "gpu", "16.5 h"), [ran(4.0, billed=20.0, source="Slurm")])
    assert [part.hours for part in found.parts] == pytest.approx([-4.0, 0.5])
    assert found.parts[0].reason == "its billing rule: the site's figure is nearer to allocated hours"


@pytest.mark.parametrize(("site_h", "opened_h"), [(4.0, None), (4.01, 0.01), (5.0, 4 * 10 / 3600), (3.0, None)])
def test_an_attempt_without_an_end_explains_at_most_the_remaining_difference(
    site_h: float, opened_h: float | None
) -> None:
    found = reconcile(SiteFigure(site_h, "gpu", f"{site_h} h"), [ran(1.0, open_ended=True)])
    hours = [part.hours for part in found.parts if "at most 0.0111 h" in part.reason]
    assert hours == ([] if opened_h is None else [pytest.approx(opened_h)])
    assert sum(part.hours or 0.0 for part in found.parts) == pytest.approx(site_h - 4.0)
