"""Parts of an attempt, as reports of single months cut it: four hours across New Year on four GPUs."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from math import fsum
from pathlib import Path

import pytest

from detour.accounting.attempts import figures_of, usage_of
from detour.accounting.energy import EnergyFigure, Method
from detour.accounting.parts import figures_within
from detour.accounting.traces import spans_in
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.site import Month, Site, Sourced
from tests.support.past import Past
from tests.support.times import utc_s

SITE = Site(
    "here",
    Sourced(1.2, "test"),
    Sourced(34.0, "test"),
    Sourced(700.0, "test"),
    Sourced(7.3, "test"),
    months=(
        Month("2025-12", Sourced(1.5, "test"), Sourced(100.0, "test")),
        Month("2026-01", None, Sourced(10.0, "test")),
    ),
)
START_S, NEW_YEAR_S, END_S = (utc_s(text) for text in ("2025-12-31 22:00", "2026-01-01", "2026-01-01 02:00"))
READ_J = {1: 9e6, 2: 11e6, 3: 12e6, 4: 12.5e6}
"""Energy of one of its GPUs after so many hours: most of it in December."""


@pytest.fixture
def cut(tmp_path: Path) -> partial[list[list[EnergyFigure]]]:
    """A function from instants to the figures of the parts between them."""
    workspace = Workspace(tmp_path)
    workspace.create()
    past = Past(workspace)
    past.attempt("pretrain-a", START_S, END_S - START_S, gpus=4, cpus=96, cluster="here")
    for hours, energy_j in READ_J.items():
        gpu = {"counter_j": energy_j, "power_w": None, "energy_j": energy_j, "sampled_j": 0.0}
        gpus = {f"GPU-{number}": {**gpu, "seen_s": hours * 3600.0, "resets": 0, "share": 1.0} for number in range(4)}
        read = {"why": "interval", "node": "n1", "began_s": START_S, "elapsed_s": hours * 3600.0, "gpus": gpus}
        past.add("energy.read", START_S + hours * 3600 - 1, read, "pretrain-a", 1)
    past.write()
    return partial(_cut, Workspace(tmp_path))


def _cut(workspace: Workspace, instants: list[float]) -> list[list[EnergyFigure]]:
    state = LedgerView(workspace).state
    (attempt,) = state.stages["pretrain-a"].attempts
    whole = usage_of("pretrain-a", attempt, END_S + 1e6)
    assert whole is not None
    of = partial(figures_within, attempt=attempt, whole=whole, site=SITE, spans=spans_in(state))
    assert of(whole) == figures_of(attempt, whole, SITE, spans_in(state))
    return [of(whole._replace(start_s=from_s, end_s=to_s)) for from_s, to_s in pairwise([START_S, *instants, END_S])]


def of_method(parts: list[list[EnergyFigure]], method: Method) -> list[EnergyFigure]:
    return [figure for figures in parts for figure in figures if figure.method is method]


def test_a_part_has_the_constants_of_its_own_month(cut: partial[list[list[EnergyFigure]]]) -> None:
    december, january = of_method(cut([NEW_YEAR_S]), Method.CARD)
    assert december.co2_g is not None
    assert january.co2_g is not None
    assert december.co2_g.expected == pytest.approx(8 * 0.7 * 1.5 * 100)
    assert january.co2_g.expected == pytest.approx(8 * 0.7 * 1.2 * 10)


def test_measured_energy_is_cut_by_the_readings(cut: partial[list[list[EnergyFigure]]]) -> None:
    december, january = of_method(cut([NEW_YEAR_S]), Method.MEASURED)
    assert december.it_energy_kwh is not None
    assert january.it_energy_kwh is not None
    cores_kwh = 96 * 7.3 * 2 / 1000
    assert december.it_energy_kwh.expected == pytest.approx(4 * 11e6 / 3.6e6 + cores_kwh)
    assert january.it_energy_kwh.expected == pytest.approx(4 * 1.5e6 / 3.6e6 + cores_kwh)


@pytest.mark.parametrize("hours", [[], [2.0], [1.9, 2.0, 2.1], [0.5, 1.0, 3.999]])
def test_the_parts_add_up_to_the_whole(cut: partial[list[list[EnergyFigure]]], hours: list[float]) -> None:
    whole, parts = cut([]), cut([START_S + hour * 3600 for hour in hours])
    for method in (Method.MEASURED, Method.ESTIMATED, Method.CARD):
        (one,), several = of_method(whole, method), of_method(parts, method)
        for name in ("it_energy_kwh", "facility_energy_kwh", "co2_g"):
            assert fsum(getattr(part, name).expected for part in several) == pytest.approx(getattr(one, name).expected)
        assert fsum(part.allocated_s for part in several) == pytest.approx(one.allocated_s)
        assert fsum(part.covered_s for part in several) == pytest.approx(one.covered_s)
