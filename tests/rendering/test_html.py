"""The page: self-contained, escaped, and correct in what it draws."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from itertools import pairwise
from math import isclose
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.accounting.energy import Band
from detour.accounting.fates import Fates, Known
from detour.ledger.events import AttemptEnded
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.rendering import words
from detour.rendering.charts.costs import fates_chart
from detour.rendering.charts.scores import grid_chart, score_chart
from detour.rendering.charts.svg import CANVASES, WIDE, Canvas, ticks
from detour.rendering.charts.timeline import timeline_chart
from detour.rendering.charts.training import training_chart
from detour.rendering.html import render_html, with_code
from detour.rendering.summaries import chain_summaries
from detour.reporting.build import Question, build_report
from detour.reporting.curves import thinned
from detour.reporting.data import AttemptRow, Curve, TaskScores
from detour.reporting.grid import Axis, Grid, Point
from detour.reporting.outputs import task_scores
from detour.reporting.period import Period
from tests.reporting.fabricate import HELD, PROVENANCE, Made, make_twins, record_chain, stages_of, write_chain
from tests.reporting.test_build import site_of
from tests.support.week import write_week

HOSTILE = "<script>alert(1)</script>\"'&"
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Every tag with its attributes, and whether the tags are balanced."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_twins(Workspace(tmp_path_factory.mktemp("twins")))


@pytest.fixture(scope="module")
def page(made: Made) -> str:
    return render_html(build_report(made.workspace, Question(), site_of, made.clock.now_s))


def test_the_page_fetches_and_runs_nothing(page: str) -> None:
    parsed = Page(page)
    assert parsed.open == []
    assert not {"script", "link", "img", "iframe", "object", "form", "image", "use"} & set(parsed.tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on") or name in {"src", "srcset"}]
    assert all(value.startswith("#") for name, value in parsed.attributes if name == "href")
    assert not re.search(r"url\(|@import|https?:", page)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in parsed.attributes


def test_the_first_lines_state_what_was_trained_its_cost_and_its_scores(page: str) -> None:
    lede = re.search(r'<p class="lede">(.*?)</p>', page, re.DOTALL)
    assert lede
    text = re.sub(r"<[^>]+>|\s+", " ", lede[1])
    assert "an encoder of 2.11M parameters on 300k tokens causal, then 60k tokens masked at 15 %" in text
    took = r"It took 0\.\d+ CPU-hours, [\d.]+ Wh and [\d.]+ mg CO2eq \((tracked by codecarbon|estimated)\)"
    assert re.search(took, text)
    assert re.search(r"Macro F1 7\d\.\d ± \d\.\d on icd10-chapters over 3 seeds \(± one standard deviation\)", text)


def test_the_cost_of_a_chain_in_a_period_is_not_called_its_total(made: Made) -> None:
    period = Period(made.clock.now_s - 86_400, None)
    report = build_report(made.workspace, Question(period=period), site_of, made.clock.now_s)
    assert all(". In this period it used " in one.sentence for one in chain_summaries(report))


def test_a_period_in_which_nothing_ran_has_no_cost(made: Made) -> None:
    period = Period(made.clock.now_s + 86_400, None)
    report = build_report(made.workspace, Question(period=period), site_of, made.clock.now_s)
    assert all(one.sentence.endswith(". Nothing ran on it in this period.") for one in chain_summaries(report))
    assert any(warning.startswith("all of the work on ") for warning in report.warnings)


def test_chains_that_share_a_source_share_the_table_of_its_rows(page: str) -> None:
    (row,) = re.findall(r'<tr><th scope="row" class="short">icd10</th>(.*?)</tr>', page)
    assert re.findall(r">([^<]+)</td>", row) == ["42,886", "27,206", "181,000"]


def test_both_chains_are_quoted_by_the_same_method(page: str) -> None:
    methods = re.findall(r'<p class="lede">.*?CO2eq \((.*?)\)', page, re.DOTALL)
    assert len(methods) == 2
    assert len(set(methods)) == 1


def test_a_chain_that_never_ran_or_ran_at_two_sites_leaves_the_energy_of_others_known(tmp_path: Path) -> None:
    made = make_twins(Workspace(tmp_path))
    write_chain(made.workspace, "planned", stages_of("causal", (45,)))
    moved = stages_of("causal", (46,))
    write_chain(made.workspace, "moved", moved)
    made.run(moved[-2], 21.0, {}, HELD | {"cluster": "elsewhere"})
    report = build_report(made.workspace, Question(), site_of, made.clock.now_s)
    said = {one.name: one.sentence for one in chain_summaries(report)}
    assert said["quickstart-mlm"].endswith("It took 0.0974 CPU-hours, 1.85 Wh and 92.5 mg CO2eq (estimated).")
    assert said["moved"].endswith("energy by site.")


def test_plots_are_well_formed_named_and_have_their_table(page: str) -> None:
    figures = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    plots = [(plot, figure) for figure in figures for plot in re.findall(r"<svg.*?</svg>", figure, re.DOTALL)]
    # consumption, grid by score and by cost, scores, points, losses, fates, stages, energy, attempts: each wide and
    # narrow
    assert len(plots) == page.count("<svg") == 20
    for plot, figure in plots:
        root = ElementTree.fromstring(plot)
        assert root.get("aria-label") == root[0].text
        assert figure.count("<table>") == 1
        for line in root.iter("polyline"):
            points = [tuple(map(float, point.split(","))) for point in (line.get("points") or "").split()]
            assert all(0 <= x <= 720 and 0 <= y <= 340 for x, y in points)


def test_hostile_names_reasons_and_versions_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = {"cpu": HOSTILE, "nvidia_gpus": [HOSTILE]}
    hostile = {**PROVENANCE, "python": HOSTILE, "packages": {"torch": HOSTILE}, "machine": machine}
    monkeypatch.setattr("tests.reporting.fabricate.PROVENANCE", hostile)
    made = Made(Workspace(tmp_path))
    made.workspace.create()
    name = "<script>alert(2)<" + "\u2215script>"  # a folder's name holds no slash
    stages = stages_of("causal")
    record_chain(made, name, stages, 0.7)
    with made.attempt(stages[-1], 2, {**HELD, "node": HOSTILE, "cluster": HOSTILE}) as attempt:
        attempt.event(AttemptEnded(outcome="failed", exit_code=1, reason=HOSTILE))
    (made.workspace.output(stages[-1].id) / "manifest.json").unlink()
    made.workspace.failure(stages[-1].id).write_text('{"reason": "<img src=x onerror=alert(3)>"}')
    content = render_html(build_report(made.workspace, Question(), site_of, made.clock.now_s))
    parsed = Page(content)
    assert not {"script", "img"} & set(parsed.tags)
    assert parsed.open == []
    assert "&lt;script&gt;alert(2)&lt;" in content
    assert "&lt;img src=x onerror=alert(3)&gt;" in content
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in content


def test_a_report_of_a_chain_that_never_ran_can_be_drawn(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.create()
    write_chain(workspace, "planned", stages_of("causal"))
    content = render_html(build_report(workspace, Question(), site_of, 0.0))
    assert "Planned: 0 of 10 stages are done" in content
    assert "<svg" not in content
    assert 'id="statements"' not in content
    assert "unknown → unknown" not in content


@given(st.floats(-100, 100), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_round_and_inside_the_plot(low_in_spans: float, span: float, wanted: int) -> None:
    low = low_in_spans * span
    found = ticks(low, low + span, wanted)
    slack = span * 1e-6
    assert all(low - slack <= tick <= low + span + slack for tick in found)
    assert len(found) <= wanted + 1
    steps = {round((second - first) / span, 6) for first, second in pairwise(found)}
    assert len(steps) <= 1


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=3000))
def test_thinning_keeps_the_ends_and_the_mean(values: list[float]) -> None:
    curve = Curve("loss", "tokens", [float(index) for index in range(len(values))], values)
    points = thinned(curve, 50)
    assert len(points) <= max(50, min(len(values), 50))
    assert points[-1] == (curve.x[-1], curve.y[-1])
    assert min(values) - 1e-9 <= min(y for _, y in points)
    assert max(y for _, y in points) <= max(values) + 1e-9


def test_empty_charts_are_empty() -> None:
    nothing = TaskScores("task", None, {"42": None}, None, None)
    assert score_chart(WIDE, "task", [("chain", 0, nothing)]) == ""
    assert fates_chart(WIDE, [("chain", Fates())]) == ""


def test_one_seed_and_equal_scores_can_be_drawn() -> None:
    one = TaskScores("task", "macro_f1", {"42": 0.5}, 0.5, None)
    same = TaskScores("task", "macro_f1", {"42": 1.0, "43": 1.0}, 1.0, 0.0)
    for scores, dots in ((one, 1), (same, 2)):
        chart = score_chart(WIDE, "task", [("chain", 7, scores)])
        assert [element.tag for element in ElementTree.fromstring(chart).iter()].count("circle") == dots


def test_a_negative_score_can_be_drawn() -> None:
    """A correlation can be negative."""
    found = {"1": -0.25, "2": -0.15}
    results = {seed: {"primary_metric": "pearson", "test": {"pearson": value}} for seed, value in found.items()}
    scores = task_scores("similarity", results)
    assert scores.by_seed == found
    assert scores.mean == pytest.approx(-0.2)
    assert "mean -20.0" in score_chart(WIDE, "similarity", [("chain", 0, scores)])


def test_fates_fill_their_bar() -> None:
    bar = ElementTree.fromstring(fates_chart(WIDE, [("chain", Fates(useful=3.0, redone=1.0))]))
    widths = {rect.get("class"): float(rect.get("width") or 0) for rect in bar.iter("rect")}
    assert isclose(widths["fate-useful"], 3 * widths["fate-redone"], abs_tol=0.1)
    assert set(widths) == {"fate-useful", "fate-redone"}


def test_a_plot_that_omits_rows_says_so() -> None:
    scores = TaskScores("task", "macro_f1", {"42": 0.5}, 0.5, None)
    assert "the best 12 of 13; the table has all" in score_chart(
        WIDE, "task", [(f"c{n}", n, scores) for n in range(13)]
    )
    assert "the table has all" not in score_chart(WIDE, "task", [(f"c{n}", n, scores) for n in range(12)])


def test_a_chart_of_many_chains_shows_those_with_most_hours_lost_below_the_total() -> None:
    chains = [(f"c{number:02d}", Fates(useful=1.0, redone=float(number))) for number in range(30)]
    chart = fates_chart(WIDE, [("all", Fates.sum(fates for _, fates in chains)), *chains])
    assert "most hours lost: 11 of 30; the table has all" in chart
    names = re.findall(r'class="row-name"[^>]*>([^<]*)<', chart)
    assert names == ["all", *(f"c{number}" for number in range(29, 18, -1))]


@pytest.mark.parametrize("canvas", CANVASES)
def test_a_long_name_of_a_row_keeps_its_start_and_its_end(canvas: Canvas) -> None:
    name = "clm-decay-with-a-rather-long-name-07"
    start, end = canvas.row(name).split("…")
    assert name.startswith(start)
    assert name.endswith(end)
    assert canvas.letters - 1 <= len(canvas.row(name)) <= canvas.letters
    assert canvas.row("short") == "short"


def test_the_cells_of_a_narrow_grid_have_fewer_labels_that_do_not_overlap() -> None:
    labels = [f"{number}00k" for number in range(10)]
    grid = Grid([Axis("tokens", labels)], [Point(label, [label]) for label in labels])
    values: dict[str, float | None] = {label: 0.5 + number for number, label in enumerate(labels)}
    wide, narrow = (grid_chart(canvas, grid, values, "hours") for canvas in CANVASES)
    assert [label for label in labels if f">{label}<" in wide] == labels
    assert [label for label in labels if f">{label}<" in narrow] == labels[::2]
    assert (wide.count("in-shade"), narrow.count("in-shade")) == (10, 0)


def test_a_flat_loss_can_be_drawn(tmp_path: Path) -> None:
    made = Made(Workspace(tmp_path))
    made.workspace.create()
    stages = stages_of("causal")
    record_chain(made, "flat", stages[:1], 0.5)
    write_chain(made.workspace, "flat", stages)
    with made.attempt(stages[1], 1, HELD) as attempt:
        attempt.progress(0, 300_000, "tokens", loss=0.0)
    report = build_report(made.workspace, Question(), site_of, made.clock.now_s)
    ElementTree.fromstring(training_chart(WIDE, report.chains))


@pytest.mark.parametrize(
    ("kwh", "text"),
    [(0.00184, "1.84 Wh"), (13.44, "13.4 kWh"), (1234.0, "1.23 MWh"), (0.0, "0 kWh"), (None, "unknown")],
)
def test_energy_is_worded(kwh: float | None, text: str) -> None:
    assert words.energy(kwh) == text


@pytest.mark.parametrize(
    ("grams", "text"), [(456.96, "457 g"), (10_938.5, "10.9 kg"), (0.0071, "7.1 mg"), (None, "unknown")]
)
def test_co2_is_worded(grams: float | None, text: str) -> None:
    assert words.co2(grams) == text


def test_text_of_others_is_one_line_without_control_characters() -> None:
    assert words.text("a\x1b[31m red\nb\u202ec") == "a [31m red b c"
    assert words.text(None) == "–"


def test_ranges_and_unknowns_are_worded() -> None:
    assert words.co2_spread(Band(0.8, 1.2, 1.6)) == "0.8 to 1.6 g"
    assert words.co2_spread(Band(457.0, 457.0, 457.0)) == ""
    assert words.hours(Known(None, 2)) == "unknown"
    assert words.hours(Known(1.5, 2)) == "1.50 (+ 2 unknown)"
    assert words.significant(0.000012) == "0.000012"
    assert words.instant(None) == "unknown"


def test_a_range_has_the_unit_of_its_figure_also_just_below_the_next_one() -> None:
    band = Band(0.6, 0.9996, 1.4)
    assert (words.energy_of(band), words.energy_spread(band)) == ("1 kWh", "0.6 to 1.4 kWh")


def test_notes_on_the_data_of_a_task_come_with_its_scores() -> None:
    note = "3 of 40 test documents have a text that training or validation has too"
    result = {"primary_metric": "macro_f1", "test": {"macro_f1": 0.5}, "notes": [note]}
    assert task_scores("organs", {"1": result, "2": result}).notes == (note,)
    assert task_scores("organs", {"1": {**result, "notes": None}}).notes == ()


def test_tasks_without_scores_have_no_table(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.create()
    write_chain(workspace, "planned", stages_of("causal"))
    report = build_report(workspace, Question(), site_of, 1_790_000_000.0)
    assert report.chains[0].scores
    assert ">Results<" not in render_html(report)


def test_the_live_page_begins_with_consumption_and_attempts_and_what_is_going_on(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_week(workspace)
    content = render_html(build_report(workspace, Question(), site_of, time.time()), Monitor(workspace).look())
    headings = re.findall("<h[23]>(.*?)</h[23]>", content)
    assert headings[:5] == ["Now", "GPU-h used", "Attempts", "Stages under way", "Chains"]
    assert headings.count("Attempts") == 1
    assert "<h2>Consumption</h2>" in content


def test_a_bar_of_the_timeline_spans_its_attempt_in_the_colour_of_its_outcome() -> None:
    rows = {"a": [attempt(0.0, 50.0, "interrupted"), attempt(75.0, 100.0, "done")], "b": [attempt(0.0, 100.0, "lost")]}
    chart = ElementTree.fromstring(timeline_chart(WIDE, rows, "UTC"))
    bars = [(bar.attrib["class"], float(bar.attrib["x"]), float(bar.attrib["width"])) for bar in chart.iter("rect")]
    room = WIDE.right - WIDE.row_name
    assert bars == [
        ("attempt outcome-interrupted", WIDE.row_name, room / 2),
        ("attempt outcome-done", WIDE.row_name + 0.75 * room, room / 4),
        ("attempt outcome-lost", WIDE.row_name, room),
    ]


def test_attempts_of_one_outcome_without_a_visible_gap_share_a_bar() -> None:
    short = [attempt(100.0 * number, 100.0 * number + 99.99, "done") for number in range(1000)]
    chart = ElementTree.fromstring(timeline_chart(WIDE, {"a": [*short, attempt(500.0, 900.0, "failed")]}, "UTC"))
    assert [(bar.attrib["class"], bar[0].text) for bar in chart.iter("rect")] == [
        ("attempt outcome-done", "a, 1,000 attempts: done"),
        ("attempt outcome-failed", "a, attempt 1: failed after 6m40s"),
    ]


def test_a_timeline_of_many_rows_says_that_it_shows_those_active_last() -> None:
    rows = {f"chain {number:02d}": [attempt(0.0, 100.0 + number, "done")] for number in range(40)}
    chart = timeline_chart(WIDE, rows, "UTC")
    assert "active last: 30 of 40; the table has all" in chart
    assert "chain 39" in chart
    assert "chain 09<" not in chart


def attempt(started_s: float, ended_s: float, outcome: str) -> AttemptRow:
    """One attempt of a report."""
    return AttemptRow(
        number=1,
        job=None,
        node=None,
        cluster=None,
        started_s=started_s,
        ended_s=ended_s,
        allocated_s=ended_s - started_s,
        outcome=outcome,
        reason=None,
        gpus=None,
        cpus=None,
        billed_hours=None,
        fates_s=Fates(0.0, 0.0, 0.0, 0.0, 0.0),
        open_ended=False,
    )


def test_commands_are_marked_as_code_and_stay_text() -> None:
    assert with_code("`detour why a<b`; then `x`") == "<code>detour why a&lt;b</code>; then <code>x</code>"
    assert with_code("one ` alone <b>") == "one ` alone &lt;b&gt;"
