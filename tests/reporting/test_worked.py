"""The figures that docs/reports.md derives by hand, in every place that shows them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detour.config.project import Project
from detour.launch.text.compare import rendered
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.monitoring.status import Status
from detour.planning.files import read_plan_outline
from detour.rendering.contents import tables
from detour.rendering.formats import csv_table, json_report, markdown
from detour.rendering.html import render_html
from detour.rendering.summaries import facts
from detour.reporting.build import Question, build_report
from detour.reporting.period import Period, period_of
from detour.reporting.report import Report
from detour.site import Month, Sourced
from detour.statistics.chain_scores import chain_scores
from detour.statistics.comparing import compare
from tests.reporting.worked import CLUSTER, EVENING_S, HOUR_S, NOW_S, RELEASED, SITE, SWEEP, TRIED, make_worked, site_of

PAGE = Path(__file__).parents[2] / "docs" / "reports.md"
PROJECT = Project(name="Detours", released=(RELEASED,))
ALL = "all, shared stages once"
WHERE = {
    "first chain, GPU-hours": ("hours", RELEASED, "gpu_hours"),
    "second chain, GPU-hours": ("hours", TRIED, "gpu_hours"),
    "both, phase 1 once": ("hours", ALL, "gpu_hours"),
    "both, billed": ("hours", ALL, "billed_hours"),
    "useful": ("fates", ALL, "useful_gpu_hours"),
    "start-up": ("fates", ALL, "startup_gpu_hours"),
    "redone": ("fates", ALL, "redone_gpu_hours"),
    "failed": ("fates", ALL, "failed_gpu_hours"),
    "final, the first chain being released": ("purposes", "final", "gpu_hours"),
    "development": ("purposes", "development", "gpu_hours"),
    "first chain by the card's convention, g": ("energy", f"{RELEASED} card convention", "co2_g"),
    "both by the card's convention, g": ("energy", f"{ALL} card convention", "co2_g"),
    "both by M2, kWh with PUE": ("energy", f"{ALL} M2 estimated", "facility_energy_kwh"),
}
"""Figure of the page -> table, row and column of data."""


def by_hand() -> dict[str, float]:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([\d.]+) \|$", PAGE.read_text(), re.MULTILINE)
    return {figure: float(value) for figure, value in rows}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("worked"))
    make_worked(workspace)
    return workspace


@pytest.fixture(scope="module")
def report(workspace: Workspace) -> Report:
    return build_report(workspace, Question(project=PROJECT), site_of, NOW_S)


@pytest.fixture(scope="module")
def status(workspace: Workspace) -> Status:
    return Monitor(workspace).look(now_s=NOW_S)


def named(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows by their first column; for energies, with the method."""
    return {" ".join(filter(None, (str(next(iter(row.values()))), row.get("method")))): row for row in rows}


def test_the_page_derives_every_figure_that_is_compared() -> None:
    assert set(by_hand()) - set(WHERE) == {"used in June, up to midnight"}


@pytest.mark.parametrize("figure", WHERE)
def test_json_and_csv_have_the_figures_of_the_page(report: Report, figure: str) -> None:
    table, row, column = WHERE[figure]
    content = json.loads(json_report(report))["tables"][table]
    (described,) = (one for one in tables(report) if one.name == table)
    written = list(csv.DictReader(io.StringIO(csv_table(described))))
    for rows in (content, written):
        assert float(named(rows)[row][column]) == pytest.approx(by_hand()[figure], rel=1e-6)


def cells(page: str) -> Iterator[list[str]]:
    for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL):
        yield [re.sub(r"<small>.*?</small>|<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]


def test_html_and_markdown_have_them_in_the_same_words(report: Report) -> None:
    rows = list(cells(render_html(report)))
    assert [ALL, "–", "–", "10", "18.50", "19.75", "476.00", "83.0 %", "19.7 kWh", "670 g"] in rows
    assert [RELEASED, "done", "70.0", "7", "16.00", "16.75", "404.00", "80.6 %", "17 kWh", "577 g"] in rows
    assert [ALL, "15.35", "0.90", "2.00", "0.25", "0"] in rows
    assert [RELEASED, "card convention", "11.2 kWh", "13.4 kWh", "457 g", "90.1 %", "GPU boards"] in rows
    lines = markdown(report).splitlines()
    assert f"| {ALL} | – | – | 10 | 18.50 | 19.75 | 476.00 | 83.0 % | 19.7 kWh | 670 g |" in lines
    assert f"| {ALL} | 15.35 | 0.90 | 2.00 | 0.25 | 0 |" in lines


def test_the_status_has_the_same_energies_and_time(status: Status, report: Report) -> None:
    chains = {chain.name: chain for chain in report.chains}
    for seen in status.chains:
        cost = chains[seen.name].cost
        assert seen.elapsed_s == pytest.approx(cost.allocated_s)
        ours = {row.method: row.co2_g.expected for row in cost.energy if row.co2_g is not None}
        theirs = {row.method: row.co2_g for row in seen.energy if row.co2_g is not None}
        assert theirs == pytest.approx(ours)
        assert set(ours) == {"M2 estimated", "card convention"}
    (released,) = (seen for seen in status.chains if seen.name == RELEASED)
    card = next(row for row in released.energy if row.method == "card convention")
    assert card.co2_g == pytest.approx(by_hand()["first chain by the card's convention, g"])


SPENT = {
    (RELEASED, "42"): (1800.0, 0.5, 0.63024, 21.42816),
    (RELEASED, "43"): (900.0, 0.25, 0.31512, 10.71408),
    (TRIED, "42"): (900.0, 0.25, 0.31512, 10.71408),
    (TRIED, "43"): (900.0, 0.25, 0.31512, 10.71408),
}
"""A quarter of an hour of 0.7 kW + 48 x 0.0073 kW, x PUE 1.2 = 0.31512 kWh, x 34 g; twice if one attempt failed."""


def test_every_score_of_a_report_has_its_cost(report: Report) -> None:
    (described,) = (one for one in tables(report) if one.name == "results")
    for rows in (
        json.loads(json_report(report))["tables"]["results"],
        list(csv.DictReader(io.StringIO(csv_table(described)))),
    ):
        assert {row["energy_method"] for row in rows} == {"M2 estimated"}
        figures = ("allocated_s", "gpu_hours", "facility_energy_kwh", "co2_g")
        found = {(row["chain"], row["seed"]): tuple(float(row[name]) for name in figures) for row in rows}
        assert found == {place: pytest.approx(spent) for place, spent in SPENT.items()}


def test_every_score_of_a_comparison_has_its_cost(workspace: Workspace) -> None:
    comparison = compare(chain_scores(workspace, [RELEASED, TRIED], site_of=site_of))
    found = {
        (one["model"], str(one["seed"])): tuple(one["spent"].values())
        for one in json.loads(rendered(comparison, "json", 80))["results"]
    }
    assert found == {place: (*map(pytest.approx, spent), "M2 estimated", 1.0) for place, spent in SPENT.items()}


def test_a_period_splits_an_attempt_across_its_boundary_by_seconds(workspace: Workspace) -> None:
    midnight_s = EVENING_S + 4 * HOUR_S
    halves = [
        build_report(workspace, Question(period=period), site_of, NOW_S).total
        for period in (Period(None, midnight_s), Period(midnight_s, None))
    ]
    june, july = (half.gpu_hours.value or 0.0 for half in halves)
    assert june == pytest.approx(by_hand()["used in June, up to midnight"], abs=1e-4)
    assert june + july == pytest.approx(18.5)
    co2 = [{row.method.value: row.co2_g.expected for row in half.energy if row.co2_g} for half in halves]
    assert co2[0]["card convention"] + co2[1]["card convention"] == pytest.approx(528.36)


def test_a_month_in_local_time_holds_its_own_hours_and_states_its_zone(workspace: Workspace) -> None:
    june, july = (period_of(month, None, None, NOW_S, "Europe/Paris") for month in ("2026-06", "2026-07"))
    in_june, in_july = (build_report(workspace, Question(period=month), site_of, NOW_S) for month in (june, july))
    hours = [report.total.gpu_hours.value or 0.0 for report in (in_june, in_july)]
    assert hours == pytest.approx([4 * 1.0, 18.5 - 4 * 1.0]), "4 GPUs from 21:00 UTC; July begins at 22:00 UTC"
    text = markdown(in_july)
    assert "2026-07-01 00:00 CEST" in text
    assert "UTC" not in text.replace("UTC to", "")
    assert ("Period", "2026-07-01 to 2026-07-31 (Europe/Paris)") in facts(in_july)


def test_markdown_begins_with_owner_period_and_main_figures_as_the_page_does(workspace: Workspace) -> None:
    project = Project(name="Detours", grant="A01", people=("A. Researcher",), released=(RELEASED,))
    period = period_of("2026", None, None, NOW_S)
    top = markdown(build_report(workspace, Question(period=period, project=project), site_of, NOW_S)).split("\n## ")[0]
    assert top.startswith(
        "# Detours\n\ndetour report · 2026-07-01 06:00 UTC\n\n- Grant: A01\n- People: A. Researcher\n"
    )
    for line in (
        "- Period: 2026-01-01 to 2026-12-31",
        "- GPU-hours: 18.50 (19.75 billed)",
        "- energy: 19.7 kWh (12.8 to 26.6 kWh, estimated)",
    ):
        assert line in top.splitlines()
    assert f"**{RELEASED}**: an encoder of 2M parameters" in top


def test_the_constants_are_those_of_methods_with_a_figure(workspace: Workspace) -> None:
    """June had 40 g/kWh and July 20: by M2 11.92024 of 19.70976 kWh, by the card 11.3333 of 18.5 h in June."""
    months = tuple(
        Month(month, None, Sourced(grams, "RTE", kind="direct", zone="FR"))
        for month, grams in (("2026-06", 40.0), ("2026-07", 20.0))
    )
    report = build_report(workspace, Question(), lambda _: SITE._replace(months=months), NOW_S)
    table = next(one for one in tables(report) if one.name == "constants")
    mean = ("weighted mean of: RTE", None, "direct", "FR")
    assert list(map(tuple, table.data())) == [
        (CLUSTER, "PUE", 1.2, "by hand", None, None, None),
        (CLUSTER, "grid factor, gCO2eq/kWh", pytest.approx(32.0957, abs=1e-4), *mean),
        (CLUSTER, "grid factor, gCO2eq/kWh", pytest.approx(32.2523, abs=1e-4), *mean),
    ]


def test_a_report_is_named_after_its_sweep(workspace: Workspace, report: Report) -> None:
    alone = build_report(workspace, Question([SWEEP]), site_of, NOW_S)
    assert (alone.title, alone.sweep, len(alone.chains)) == (SWEEP, SWEEP, 2)
    assert (report.title, report.sweep) == ("Detours", SWEEP)


def test_released_models_are_those_of_the_project_or_else_every_exported_one(
    workspace: Workspace, report: Report
) -> None:
    assert report.released == [RELEASED]
    everything = build_report(workspace, Question(), site_of, NOW_S)
    assert everything.released == [RELEASED, TRIED]
    assert {row.purpose: row.gpu_hours.value for row in everything.purposes} == pytest.approx(
        {"final": 18.25, "development": 0.0, "open": 0.0, "failed": 0.25}
    )


def test_without_a_project_the_models_in_production_are_released(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    make_worked(workspace)
    (export,) = (stage for stage in read_plan_outline(workspace, TRIED).stages if stage.kind == "export")
    for alias, target in (("production", workspace.output(export.id)), ("candidate", workspace.root / "elsewhere")):
        (workspace.root / "models" / f"{TRIED}@{alias}").symlink_to(target)
    assert build_report(workspace, Question(), site_of, NOW_S).released == [TRIED]


def hours_by_purpose(report: Report) -> dict[str, float | None]:
    return {row.purpose: row.gpu_hours.value for row in report.purposes}


def test_stages_that_a_released_model_of_another_chain_descends_from_are_final(workspace: Workspace) -> None:
    alone = build_report(workspace, Question([TRIED], project=PROJECT), site_of, NOW_S)
    assert alone.released == []
    assert hours_by_purpose(alone) == pytest.approx({"final": 14.0, "development": 2.5, "open": 0.0, "failed": 0.0})
    written = markdown(alone)
    assert "No released model is in this report." in written
    assert "Stages of released models that are not in this report took 14.00 GPU-hours, work repeated" in written


def test_the_model_in_production_is_the_released_one_in_a_report_of_another_chain(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    make_worked(workspace)
    (export,) = (stage for stage in read_plan_outline(workspace, RELEASED).stages if stage.kind == "export")
    (workspace.root / "models" / f"{RELEASED}@production").symlink_to(workspace.output(export.id))
    alone = build_report(workspace, Question([TRIED]), site_of, NOW_S)
    assert alone.released == []
    assert hours_by_purpose(alone) == pytest.approx({"final": 14.0, "development": 2.5, "open": 0.0, "failed": 0.0})


def test_a_released_chain_that_does_not_exist_is_reported(workspace: Workspace) -> None:
    project = Project(name="Detours", released=(RELEASED, "decay-60K"))
    report = build_report(workspace, Question(project=project), site_of, NOW_S)
    assert report.released == [RELEASED]
    assert "the project counts decay-60K as released, but no chain has this name" in report.warnings


def test_purposes_sum_to_all_attempts(report: Report) -> None:
    assert sum(row.attempts for row in report.purposes) == report.total.attempts == 10
    assert sum(row.gpu_hours.value or 0.0 for row in report.purposes) == pytest.approx(18.5)


def test_waiting_begins_when_only_the_queue_holds_a_job(report: Report) -> None:
    waits = {row.kind: row for row in report.waits}
    minute = 60.0
    # corpus 20:00 to 20:10; phase 1 from the corpus at 20:40 to 21:00, again from the kill at 23:00 to 23:10; both
    # second phases from the promotion at 00:40, to 01:00 and to 03:00
    assert waits["prepare"].total_s == pytest.approx(10 * minute)
    assert waits["pretrain"].starts == 4
    assert waits["pretrain"].total_s == pytest.approx((20 + 10 + 20 + 140) * minute)
    assert waits["pretrain"].median_s == pytest.approx(20 * minute)
    assert waits["pretrain"].longest_s == pytest.approx(140 * minute)


def test_a_period_has_the_whole_waits_of_the_jobs_that_started_in_it(workspace: Workspace) -> None:
    late, after_midnight = Period(EVENING_S + 3 * HOUR_S), Period(EVENING_S + 4 * HOUR_S)
    waits_min = [
        [row.total_s / 60 for row in build_report(workspace, Question(period=period), site_of, NOW_S).waits]
        for period in (late, after_midnight)
    ]
    # phase 1 again at 23:10, ten minutes after the kill at 23:00; then both second phases, 20 and 140 minutes
    assert [waits[0] for waits in waits_min] == pytest.approx([10 + 20 + 140, 20 + 140])


def test_the_interval_between_checkpoints_is_judged_by_attempts_that_the_period_does_not_cut(
    workspace: Workspace,
) -> None:
    """Phase 1 again, ready after 6 minutes, is cut at midnight; by 22:00 there is only a part of its first attempt."""
    begin, end = Period(EVENING_S + 4 * HOUR_S), Period(None, EVENING_S + 2 * HOUR_S)
    assert build_report(workspace, Question(period=end), site_of, NOW_S).intervals == []
    (row,) = build_report(workspace, Question(period=begin), site_of, NOW_S).intervals
    assert (row.stage, row.attempts) == ("pretrain mlm", 2)
    assert row.start_s == pytest.approx(45.0)


def test_a_point_of_score_costs_the_hours_above_the_cheapest_chain(report: Report) -> None:
    cheap, dear = report.point_costs
    assert (cheap.chain, cheap.hours_per_point) == (RELEASED, None)
    assert dear.more_points == pytest.approx(2.0)
    assert dear.hours_per_point == pytest.approx(0.5 / 2.0)


def test_tokens_are_divided_by_the_hours_of_all_their_attempts(report: Report) -> None:
    (first, *_) = report.token_yields
    assert (first.chain, first.phase, first.tokens, first.hours) == ("2 chains", "clm", 300_000, 14.0)
    kwh = (14 * 0.7 + 96 * 3.5 * 0.0073) * 1.2
    assert first.tokens_per_kwh == pytest.approx(300_000 / kwh)
