"""Energy and carbon in addition to those of jobs: hardware, idle nodes; and tokens per kilowatt-hour."""

from __future__ import annotations

import pytest

from detour.accounting.energy import Band, EnergyFigure, Method
from detour.accounting.methods import card_convention, estimated, slurm_counted
from detour.accounting.overheads import embodied, idle, tokens_per_kwh
from detour.accounting.site import site_of
from detour.config.loading import load_cluster
from detour.site import Site, Sourced

SITE = Site(
    "here",
    Sourced(1.2, "t"),
    Sourced(50.0, "t"),
    embodied_g_per_gpu_hour=Sourced(10.3, "BLOOM"),
    idle_kwh_per_kwh=Sourced(0.5, "t"),
)
FIGURE = EnergyFigure(Method.MEASURED, SITE, Band(8.0, 10.0, 12.0), 3600.0, 3600.0)


def test_embodied_carbon_follows_gpu_hours_and_is_in_no_energy_figure() -> None:
    assert embodied(SITE, 100.0).co2_g == pytest.approx(1030.0)
    assert FIGURE.co2_g == Band(8.0, 10.0, 12.0) * 1.2 * 50.0
    assert embodied(SITE, None).missing == "the number of GPUs is unknown"
    assert embodied(Site("far"), 1.0) == (None, None, "no embodied carbon is known for far")


def test_idle_energy_is_a_share_in_addition_to_that_of_the_job() -> None:
    beside = idle(FIGURE)
    assert beside.it_energy_kwh == Band(4.0, 5.0, 6.0)
    assert beside.co2_g is not None
    assert beside.co2_g.expected == pytest.approx(300.0)
    assert idle(FIGURE._replace(site=Site("far"))).missing == "no idle energy is known for far"


def test_tokens_per_kilowatt_hour_use_facility_energy_and_invert_the_range() -> None:
    rate = tokens_per_kwh(12_000_000, FIGURE)
    assert rate is not None
    assert [rate.low, rate.expected, rate.high] == pytest.approx([12e6 / 14.4, 1e6, 12e6 / 9.6])
    assert tokens_per_kwh(None, FIGURE) is None
    assert tokens_per_kwh(1, FIGURE._replace(it_energy_kwh=None)) is None


@pytest.mark.parametrize(("gpus", "cores", "hours"), [(4, 96, 4.0), (1, 24, 16.0), (4, 4, 4.0), (16, 1, 1.0)])
def test_the_estimate_of_16_gpu_hours_holds_the_known_draw_of_h100_nodes(gpus: int, cores: int, hours: float) -> None:
    """0.97 to 1.05 kW of IT power a GPU: 633 to 685 g, above the card's 457 g."""
    site = site_of(load_cluster("jean-zay"))
    estimate = estimated(site, hours * 3600, gpus=gpus, cores=cores, ram_gb=None).co2_g
    assert estimate is not None
    low, high = (16 * kw * 1.2 * 34 for kw in (0.97, 1.05))
    assert (round(low), round(high)) == (633, 685)
    assert estimate.low < low < high <= estimate.high + 1e-6
    card = card_convention(site, 16, hours * 3600).co2_g
    assert card is not None
    assert card.expected == pytest.approx(456.96)


def slurm(consumed_j: float | None, is_exclusive: bool | None = True, site: Site = SITE) -> EnergyFigure:
    powered = site._replace(gpu_board_w=Sourced(700.0, "t"), core_w=Sourced(7.0, "t"))
    return slurm_counted(powered, consumed_j, 3600.0, is_exclusive=is_exclusive, gpus=4, cores=0, ram_gb=None)


def test_the_energy_of_slurm_is_used_for_whole_nodes_only() -> None:
    figure = slurm(2.8 * 3.6e6)
    assert figure.it_energy_kwh == Band.around(2.8, 0.1)
    assert (figure.method, figure.coverage) == (Method.SLURM, 1.0)
    for shared in (False, None):
        assert "shared" in (slurm(2.8 * 3.6e6, shared).missing or "")


@pytest.mark.parametrize(("consumed_j", "reason"), [(None, "no energy"), (0, "no energy"), (4.21 * 3.6e6, "1.5 times")])
def test_an_impossible_energy_of_slurm_is_rejected(consumed_j: float | None, reason: str) -> None:
    figure = slurm(consumed_j)
    assert figure.it_energy_kwh is None
    assert reason in (figure.missing or "")
    assert slurm(4.19 * 3.6e6).it_energy_kwh is not None


def test_the_energy_of_slurm_without_a_known_power_is_kept_with_a_note() -> None:
    figure = slurm_counted(Site("far"), 3.6e6, 3600.0, is_exclusive=True, gpus=4, cores=1, ram_gb=None)
    assert figure.it_energy_kwh == Band.around(1.0, 0.1)
    assert "not compared" in (figure.reason or "")
