"""Many chains: one line each, worst first, at any width."""

from __future__ import annotations

import time

import pytest

from detour.launch.text.overview import clock, ends_in, headline, overview_lines
from detour.launch.text.states import SIGNS
from detour.launch.text.status import render_text, status_text
from detour.monitoring.costs import EnergyTotal
from detour.monitoring.status import ChainStatus, Status, worst_first
from detour.text import JOINT
from tests.monitoring.made_rows import make_chain, make_row

DONE = make_row(id="prepare-1", name="prepare", kind="prepare", status="done", state="done", gpu_hours=1.0)


def chain(name: str, state: str, status: str, *, needs: bool = False, active_s: float = 0.0) -> ChainStatus:
    row = make_row(
        id=f"pretrain-{name}", state=state, status=status, needs_person=needs, reason="why it is so", gpu_hours=2.0,
        done=1, total=4,
    )  # fmt: skip
    quoted = EnergyTotal("M2 estimated", 1.0, 1.2, 60.0, 1.0, None)
    return make_chain(name, [DONE, row], active_s=active_s, ends_s=4600.0, quoted=quoted, gpu_hours=3.0)


CHAINS = (
    chain("ended", "done", "done"),
    chain("waits", "pending", "submitted"),
    chain("works", "running", "running"),
    chain("broke", "failed", "failed", needs=True),
    chain("parked", "saved at limit", "submitted"),
    chain("lost", "lost contact", "running", needs=True),
    chain("stuck", "timed out", "interrupted", needs=True),
    chain("broke-lately", "failed", "failed", needs=True, active_s=9.0),
)
STATUS = Status("/w", 1000.0, CHAINS, queue_s=965.0)


def test_the_worst_chain_is_first_and_of_equal_ones_the_latest() -> None:
    names = [one.name for one in worst_first(CHAINS)]
    assert names == ["broke-lately", "broke", "lost", "stuck", "parked", "works", "waits", "ended"]


def test_a_chain_is_a_line_with_state_count_end_and_cost() -> None:
    first, second, _, worst, *lines = overview_lines(STATUS, 100, colour=False)
    assert first.startswith("8 chains: 2 failed, 1 lost contact, 1 timed out, 1 saved at limit, 1 running, 1 pending")
    assert second.endswith("queue read 35s ago")
    cells, now = worst.split("  pretrain clm: ")
    assert cells.split() == ["✗", "broke-lately", "failed", "1/2", "-", "3.0", "60", "g"]
    assert now == "why it is so"
    assert lines[4].split()[:7] == ["▶", "works", "running", "1/2", "1h00m", "3.0", "60"]


@pytest.mark.parametrize(("width", "last"), [(80, "CO2eq"), (60, "ends in"), (40, "state"), (100, "now")])
def test_a_narrow_terminal_shows_names_instead_of_figures(width: int, last: str) -> None:
    chains = tuple(chain._replace(name=f"{chain.name}-with-a-long-name") for chain in CHAINS)
    lines = render_text(STATUS._replace(chains=chains), width, one=False).splitlines()
    heading = next(line for line in lines if line.startswith("chain"))
    assert heading.endswith(last)
    assert "broke-lately-with-a-l" in lines[lines.index(heading) + 1]


@pytest.mark.parametrize("width", [40, 80, 100, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = CHAINS[0]._replace(name="n" * 200)
    lines = render_text(STATUS._replace(chains=(*CHAINS, long)), width, one=False).splitlines()
    assert sum(line[0] in SIGNS.values() for line in lines) == len(CHAINS) + 1
    assert max(map(len, lines)) <= width


def test_chains_that_do_not_fit_the_screen_are_counted_and_are_the_better_ones() -> None:
    lines = list(overview_lines(STATUS, 80, most=3, colour=False))
    assert len(lines) == 3 + 3 + 1
    assert lines[-1].startswith("and 5 more (--all lists them): 1 timed out, 1 saved at limit, 1 running, 1 pend")


def test_an_end_that_is_only_the_earliest_says_so() -> None:
    works = CHAINS[2]
    assert ends_in(works, 1000.0) == "1h00m"
    assert ends_in(works._replace(unknown_durations=2), 1000.0) == ">1h00m"
    assert ends_in(works._replace(ends_s=None), 1000.0) == "unknown"


def test_the_year_is_named_only_of_times_long_ago_or_far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_795_780_000.0)
    monkeypatch.setattr("time.localtime", time.gmtime)
    assert clock(1_795_778_381.0) == "Fri 27 Nov 11:19"
    assert clock(1_760_000_000.0) == "Thu 09 Oct 2025 08:53"


def test_long_warnings_do_not_push_the_headline_off_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("detour.launch.text.status.rows_that_fit", lambda besides: 24 - besides)
    lines = status_text(STATUS._replace(chains=CHAINS * 5, warnings=("squeue failed " * 20,))).splitlines()
    assert lines[0].startswith("40 chains: ")
    assert sum(-(-len(line) // 80) for line in lines) <= 23, "with the prompt, 24"


def test_the_headline_sums_co2_by_method_and_site_and_shows_0() -> None:
    def line(*stages: tuple[str, float] | tuple[str, float, str]) -> str:
        rows = [
            make_row(
                status="done",
                state="done",
                id=f"pretrain-{place}",
                co2_g=grams,
                energy_method=method,
                energy_site=site[0] if site else "here",
            )
            for place, (method, grams, *site) in enumerate(stages)
        ]
        return headline(Status("w", 0.0, (make_chain("a", rows),))).replace(JOINT, " ")

    assert line(("M2 estimated", 1.0), ("M2 estimated", 2.0)).endswith("; 3 g CO2eq")
    assert line(("M2 estimated", 1.0), ("M1 measured", 2.0)).endswith(
        "; 1 g CO2eq by M2 estimated, 2 g CO2eq by M1 measured"
    )
    assert line(("M2 estimated", 1.0, "lumi-g"), ("M2 estimated", 2.0, "jean-zay")).endswith(
        "; 1 g CO2eq on lumi-g, 2 g CO2eq on jean-zay"
    )
    assert line(("M2 estimated", 0.0)).endswith("; 0 g CO2eq")


def test_the_headline_says_how_many_attempts_its_hours_leave_out() -> None:
    rows = [make_row(id="pretrain-1", gpu_hours=2.0), make_row(id="pretrain-2", unknown_gpus=1)]
    shown = headline(Status("w", 0.0, (make_chain("a", rows),))).replace(JOINT, " ")
    assert "2.0 GPU-h (+ 1 unknown)" in shown
