"""The cost of a score: only known figures, of one site."""

from __future__ import annotations

from detour.accounting.account import site_energies
from detour.accounting.attempts import estimate_of
from detour.accounting.hours import AttemptUsage
from detour.accounting.result_cost import Spent
from detour.site import Site, Sourced


def spent(*attempts: tuple[str, int | None]) -> Spent:
    """Return the cost of attempts of half an hour each, given by site and GPUs."""
    counted = []
    for name, gpus in attempts:
        usage = AttemptUsage(id="a", stage="s", start_s=0.0, end_s=1800.0, gpus=gpus, cpus=0)
        site = Site(name, pue=Sourced(1.2, "x"), grid_g_per_kwh=Sourced(50.0, "x"), gpu_board_w=Sourced(500.0, "x"))
        counted.append((usage, [estimate_of(usage, site)]))
    return Spent.of(site_energies(counted))


def test_the_cost_of_a_stage_that_never_ran_is_unknown() -> None:
    assert spent() == Spent(None, None, None, None, None)


def test_attempts_at_one_site_add_up() -> None:
    assert spent(("here", 2), ("here", 2)) == Spent(3600.0, 2.0, 1.2, 60.0, "M2 estimated", 1.0)


def test_hours_at_two_sites_are_added_but_energies_are_not() -> None:
    assert spent(("here", 2), ("there", 2)) == Spent(3600.0, 2.0, None, None, None)


def test_if_the_gpus_of_one_attempt_are_unknown_hours_are_and_the_energy_states_its_coverage() -> None:
    found = spent(("here", 2), ("here", None))
    assert (found.gpu_hours, found.facility_energy_kwh, found.energy_coverage) == (None, 0.6, 0.5)


def test_at_a_place_without_constants_only_the_time_is_known() -> None:
    usage = AttemptUsage(id="a", stage="s", start_s=0.0, end_s=1800.0, gpus=2, cpus=0)
    found = Spent.of(site_energies([(usage, [estimate_of(usage, Site("unknown"))])]))
    assert found == Spent(1800.0, 1.0, None, None, None)
