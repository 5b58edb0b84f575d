import io
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from detour.launch.text.live import draw, live_view, show_looks
from detour.launch.text.status import DETAIL_LINES, energy_lines, outlook_line, render_text
from detour.monitoring.costs import EnergyTotal
from detour.monitoring.monitor import Monitor
from detour.monitoring.status import Status
from detour.text import ENERGY_UNITS, cells, cut, plain, scaled, stage_label
from tests.monitoring.made_rows import make_chain, make_row
from tests.monitoring.workspaces import PREPARE, PROMOTE, TRAIN, end, make_workspace, mark_done, mark_failed, start


@pytest.fixture(autouse=True)
def workspace_found_without_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETOUR_WORKSPACE", str(tmp_path / "workspace"))


@pytest.fixture
def status(tmp_path: Path) -> Status:
    """Done, running and failed stages, and figures of energy."""
    workspace = make_workspace(tmp_path)
    attempt = start(workspace, PREPARE, gpus=0)
    attempt.progress(1_200_000, 1_200_000, "tokens")
    end(attempt)
    mark_done(workspace, PREPARE)
    attempt = start(workspace, TRAIN)
    attempt.progress(120_000, 300_000, "tokens", loss=3.21, tokens_per_s=12_345.0)
    mark_failed(workspace, PROMOTE, "worse than its parent\x1b[2J\nby 0.3")
    return Monitor(workspace).look()


def test_the_text_is_readable_in_100_columns(status: Status) -> None:
    lines = render_text(status).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("base: 1 of 3 stages done, 1 failed, 1 running; ")
    assert "GPU-h" in lines[1]
    prepare, train, left, promote, reason = lines[3:8]
    assert prepare.startswith("✓ prepare")
    assert "1.2M tokens" in prepare
    assert all(word in train for word in ("▶ pretrain clm", "running", "120k/300k tokens", "12.3k/s"))
    assert left.strip() == "15s left, loss 3.21"
    assert promote.startswith("✗ promote clm")
    assert reason.strip() == "worse than its parent [2J by 0.3"
    assert any("codecarbon: unknown (codecarbon recorded nothing)" in line for line in lines)
    assert any("M2 estimated:" in line and "CO2eq" in line for line in lines)


def test_the_outcome_of_the_rows_of_a_corpus_is_shown_with_its_stage(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    attempt = start(workspace, PREPARE, gpus=0)
    counts = {"read": 42_886, "blank": 0, "excluded": 27_206, "repeated": 14, "left_out": 0, "validation_seen": None}
    attempt.progress(604_577, 604_577, "bytes", **counts)
    end(attempt)
    mark_done(workspace, PREPARE)
    assert "42,886 rows read: 27,206 excluded, 14 repeated" in render_text(Monitor(workspace).look())


def test_a_narrow_terminal_shows_names_instead_of_rates(status: Status) -> None:
    lines = render_text(status, 80).splitlines()
    assert "rate" not in lines[2]
    assert "12.3k/s" not in lines[4]
    assert max(map(len, lines)) <= 80


def test_a_failure_is_shown_once_with_what_to_do(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    start(workspace, PREPARE, gpus=0)
    mark_failed(workspace, PREPARE, "no space left on device")
    lines = [line.strip() for line in render_text(Monitor(workspace).look()).splitlines()]
    assert lines[4] == "no space left on device"
    assert lines[5] == "2 dependents not run; `detour why base`; once the cause is fixed: `detour retry base`"
    assert not any("job" in line for line in lines[6:8]), "no line of its own for each dependent"


@pytest.mark.parametrize(("status", "state", "needs"), [("cancelled", "cancelled", False), ("submitted", "held", True)])
def test_the_same_advice_for_several_stages_is_shown_once(status: str, state: str, needs: bool) -> None:
    step = "`detour retry base` submits it again"
    alike = {"status": status, "state": state, "needs_person": needs, "next_step": step}
    rows = [make_row(id=f"pretrain-{number}", **alike) for number in "12"]
    text = render_text(Status("/w", 0.0, (make_chain("base", rows),)), 80)
    assert text.count("pretrain clm") == 2
    assert text.count(step) == 1


def test_a_long_reason_is_wrapped_so_that_its_advice_stays_readable(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    start(workspace, PREPARE, gpus=0)
    mark_failed(workspace, PREPARE, f"{'the reason is long ' * 8}; write it with `--fix`")
    text = render_text(Monitor(workspace).look(), 80)
    assert "write it with `--fix`" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_colour_changes_no_character(status: Status) -> None:
    coloured = Console(file=io.StringIO(), width=200)
    coloured.print(render_text(status, colour=True), end="")
    assert "\x1b[" in render_text(status, colour=True)
    assert "\x1b[" not in render_text(status)


def test_an_empty_workspace_says_what_to_do() -> None:
    assert "`detour run RECIPE`" in render_text(Status("/w", 0.0, ()))
    status = Status("/w", 0.0, (), warnings=("1 damaged\x1bline",))
    assert render_text(status).splitlines()[-1] == "warning: 1 damaged line"


@given(st.text(max_size=80), st.text(max_size=80), st.integers(80, 200))
def test_no_text_controls_the_terminal_or_breaks_the_line(label: str, reason: str, width: int) -> None:
    row = make_row(name=label, seed=7, unit=label, done=5, total=7, reason=reason, next_step=reason, needs_person=True)
    chain = make_chain(label, [row], sweep=reason, cluster=label, user=reason)
    status = Status("/w", 0.0, (chain,))
    lines = render_text(status, width).splitlines()
    assert all(line.isprintable() and cells(line) <= width for line in lines)
    assert len(lines) <= 3 + 1 + 2 * DETAIL_LINES, "headings, the stage, its reason and what to do"
    lines = render_text(status._replace(chains=(chain, chain)), width, one=False).splitlines()
    assert all(line.isprintable() and cells(line) <= width for line in lines)
    assert len(lines) == 2 + 2, "headline, headings, a line for each chain"


def test_plain_text_keeps_its_words() -> None:
    assert plain("a\tb\r\nc\x9b31m é") == "a b c 31m é"
    assert cut("abcdef", 4) == "abc…"


def test_a_workspace_whose_only_plan_is_damaged_says_so() -> None:
    warning = "/w/chains/a/plan.json: not a plan written by detour"
    text = render_text(Status("/w", 0.0, (), warnings=(warning,)))
    assert "warning: /w/chains/a/plan.json: not a plan" in text


@pytest.mark.parametrize(
    ("name", "seed", "expected"),
    [
        ("evaluate", 42, "evaluate seed 42"),
        ("evaluate icd10", 42, "evaluat… seed 42"),
        ("x" * 20, None, "x" * 15 + "…"),
    ],
)
def test_stages_that_differ_in_their_seed_are_distinguished(name: str, seed: int | None, expected: str) -> None:
    assert stage_label(name, seed, 16) == expected


@pytest.mark.parametrize(
    ("kwh", "text"),
    [(None, "unknown"), (0.0, "0 kWh"), (1.5, "1.5 kWh"), (0.0123, "12.3 Wh"), (1234.5, "1.23 MWh"), (0.45, "450 Wh")],
)
def test_energy_is_shown_in_a_fitting_unit(kwh: float | None, text: str) -> None:
    assert scaled(kwh, ENERGY_UNITS) == text


def test_energy_names_its_method_or_its_gap() -> None:
    totals = [
        EnergyTotal("M1 measured", None, None, None, None, "no energy counter was read"),
        EnergyTotal("codecarbon", 0.5, 0.6, 30.0, 0.8, None),
        EnergyTotal("M2 estimated", 0.5, None, None, 1.0, "no PUE is known"),
    ]
    assert energy_lines(totals) == [
        "M1 measured: unknown (no energy counter was read)",
        "codecarbon: 600 Wh, 30 g CO2eq (covers 80% of the time)",
        "M2 estimated: 500 Wh before PUE; unknown (no PUE is known)",
    ]


def test_one_reason_for_all_methods_is_one_line() -> None:
    totals = [EnergyTotal(method, None, None, None, None, "several sites") for method in ("M1", "M2")]
    assert energy_lines(totals) == ["energy and CO2eq: unknown (several sites)"]


def test_the_live_view_shows_the_same(status: Status) -> None:
    output = io.StringIO()
    with live_view(Console(file=output, width=120)) as show:
        show(status)
    shown = output.getvalue()
    for words in ("✓ prepare", "▶ pretrain clm", "15s left, loss 3.21", "worse than its parent [2J by 0.3"):
        assert words in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_live_view_fits_the_width(status: Status, width: int) -> None:
    output = io.StringIO()
    Console(file=output, width=1000).print(draw(status, width, 50))
    lines = output.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    assert len(lines) == 6
    assert all("120k/300k tokens" in line for line in lines if "pretrain" in line)


def test_a_watched_status_that_is_terminated_gives_the_cursor_back(
    status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks() -> Iterator[Status]:
        yield status
        signal.raise_signal(signal.SIGTERM)

    screen, before = io.StringIO(), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("detour.launch.text.live.is_animated", lambda: True)
    monkeypatch.setattr("detour.launch.text.live.Console", lambda: Console(file=screen, force_terminal=True, width=100))
    with pytest.raises(KeyboardInterrupt):
        show_looks(looks(), (), as_json=False)
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_narrow_live_view_omits_the_rate_so_that_names_are_readable() -> None:
    rows = [make_row(name=f"pretrain {phase}", rate_per_s=12_345.0, unit="tokens") for phase in ("clm", "mlm")]
    rows.append(make_row(name="evaluate icd10-chapters", seed=42, kind="evaluate"))
    status = Status("/w", 0.0, (make_chain("base", rows),))
    narrow, wide = io.StringIO(), io.StringIO()
    Console(file=narrow, width=1000).print(draw(status, 80, 50))
    Console(file=wide, width=1000).print(draw(status, 100, 50))
    for words in ("pretrain clm", "pretrain mlm", "evaluate icd10-chap… seed 42"):
        assert words in narrow.getvalue()
    assert "12.3k/s" not in narrow.getvalue()
    assert "12.3k/s" in wide.getvalue()


def test_the_live_view_fits_a_small_screen(status: Status) -> None:
    output = io.StringIO()
    Console(file=output, width=120).print(draw(status, width=120, height=4))
    assert "prepare" not in output.getvalue()
    assert "pretrain clm" in output.getvalue()


def test_hours_without_accounts_are_labelled_as_those_of_the_journal() -> None:
    assert (
        outlook_line(make_chain("a", [], gpu_hours=12.5, by_journal=3), 0.0) == "12.5 GPU-h (3 attempts by the journal)"
    )
    assert outlook_line(make_chain("a", [], gpu_hours=12.5, by_journal=0), 0.0) == "12.5 GPU-h"
    assert outlook_line(make_chain("a", [], gpu_hours=0.0, by_journal=3), 0.0) == "0 GPU-h"
    assert outlook_line(make_chain("a", [], gpu_hours=0.5, unknown_gpus=1), 0.0) == "0.5 GPU-h (+ 1 unknown)"
