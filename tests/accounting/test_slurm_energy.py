"""M3 of an attempt: its share, by time, of the energy that Slurm counted for a job with exclusive nodes."""

from __future__ import annotations

import pytest

from detour.accounting.attempts import figures_of, usage_of
from detour.accounting.energy import EnergyFigure, Method
from detour.ledger.events import AttemptEnded, AttemptStarted, Event, JobAccounted
from detour.ledger.record import Entry
from detour.ledger.state import State
from detour.site import Node, Site, Sourced

START_S = 1_772_323_200.0
KWH = 3.6e6
SITE = Site("here", gpu_board_w=Sourced(700.0, "t"), core_w=Sourced(7.0, "t"), node=Node(gpus=4, cores=96))


def run(energy_j: float | None, cpus: int = 96, source: str = "sacct") -> JobAccounted:
    return JobAccounted(
        source=source,
        start_s=START_S,
        elapsed_s=3600.0,
        gpus=4,
        cpus=cpus,
        nodes=1,
        energy_j=energy_j,
        stages=["a", "b"],
    )


def by_slurm(accounted: JobAccounted | None, site: Site = SITE) -> list[EnergyFigure]:
    """Return the energies of two stages that one job ran in turn: 0 to 2700 s and 2700 to 3600 s."""
    events: list[tuple[str, Event, float]] = [
        ("a", AttemptStarted(gpus=4, cpus=96), 0.0),
        ("a", AttemptEnded(outcome="done", exit_code=0), 2690.0),
        ("b", AttemptStarted(gpus=4, cpus=96), 2700.0),
        ("b", AttemptEnded(outcome="done", exit_code=0), 3590.0),
    ]
    state = State()
    state.add(
        [
            Entry(n, "w", START_S + at_s, at_s, event, None, stage, "7", 1)
            for n, (stage, event, at_s) in enumerate(events)
        ]
    )
    if accounted is not None:
        state.add([Entry(0, "x", START_S + 5000, 0.0, accounted, None, None, "7", None)])
    found = []
    for name in ("a", "b"):
        (attempt,) = state.stages[name].attempts
        usage = usage_of(name, attempt, START_S + 9000)
        assert usage is not None
        found += [figure for figure in figures_of(attempt, usage, site) if figure.method is Method.SLURM]
    return found


def test_stages_of_one_job_share_its_energy_by_time_and_add_up() -> None:
    figures = by_slurm(run(3.0 * KWH))
    energies = [figure.it_energy_kwh.expected for figure in figures if figure.it_energy_kwh]
    assert energies == pytest.approx([2.25, 0.75])


def test_shared_and_unknown_nodes_have_no_energy() -> None:
    for accounted, site in ((run(3.0 * KWH, cpus=48), SITE), (run(3.0 * KWH), SITE._replace(node=None))):
        assert all("shared" in (figure.missing or "") for figure in by_slurm(accounted, site))
    whole = SITE._replace(node=Node(gpus=4, always_whole=True))
    assert by_slurm(run(3.0 * KWH, cpus=48), whole)[0].it_energy_kwh is not None


def test_without_accounts_it_says_so_and_outside_slurm_it_is_left_out() -> None:
    assert {figure.missing for figure in by_slurm(None)} == {"sacct was not read"}
    assert {figure.missing for figure in by_slurm(run(None))} == {"Slurm recorded no energy"}
    assert by_slurm(run(None, source="local executor")) == []


@pytest.mark.parametrize(
    ("nodes", "gpus", "cpus", "whole"),
    [(1, 4, 96, True), (2, 8, 192, True), (1, 4, 192, True), (1, 1, 24, False), (2, 4, 96, False), (1, 0, 96, None)],
)
def test_an_allocation_that_holds_all_of_its_nodes_is_exclusive(
    nodes: int, gpus: int, cpus: int, whole: bool | None
) -> None:
    assert Node(gpus=4, cores=96).is_exclusive(nodes, gpus, cpus) is whole
