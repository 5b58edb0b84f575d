"""Arithmetic of energy: PUE once, one method in each sum, and the published CO2 figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.accounting.energy import (
    Band,
    EnergyFigure,
    Method,
    implausible,
    preferred,
    quotable_method,
    total,
)
from detour.accounting.methods import (
    card_convention,
    estimated,
    tracked,
)
from detour.ledger.events import EnergyCounted
from detour.site import Site, Sourced

CARD_SITE = Site(
    "jean-zay",
    pue=Sourced(1.2, "model card, derived", 2025),
    grid_g_per_kwh=Sourced(34.0, "model card, derived", 2025),
    gpu_board_w=Sourced(700.0, "H100 SXM data sheet", 2023),
    core_w=Sourced(4.0, "test"),
    ram_w_per_gb=Sourced(0.3725, "Green Algorithms", 2021),
)
CODECARBON_FRANCE = Sourced(56.039, "codecarbon 3.3.0, France", 2023)
amounts = st.floats(0.0, 1e6, allow_nan=False)


def flush(
    energy_kwh: float | None, duration_s: float | None, gpu_kwh: float = 0.0, reason: str | None = None
) -> EnergyCounted:
    return EnergyCounted(
        energy_kwh=energy_kwh, duration_s=duration_s, gpu_kwh=gpu_kwh, tool="codecarbon", reason=reason
    )


def without(constant: str) -> Site:
    return CARD_SITE._replace(pue=None) if constant == "pue" else CARD_SITE._replace(grid_g_per_kwh=None)


@pytest.mark.parametrize(
    ("gpu_hours", "grams"),
    [(16, 456.96), (383, 10_938.48), (564, 16_107.84), (5_537, 158_136.72), (2, 57.12)],
)
def test_the_card_convention_gives_the_published_figures(gpu_hours: float, grams: float) -> None:
    figure = card_convention(CARD_SITE, gpu_hours, allocated_s=3600.0)
    assert figure.method is Method.CARD
    assert figure.co2_g is not None
    assert figure.co2_g.expected == pytest.approx(grams, rel=1e-12)
    assert figure.co2_g.low == figure.co2_g.high == figure.co2_g.expected


def test_another_grid_factor_changes_the_figure_of_the_same_hours() -> None:
    site = CARD_SITE._replace(grid_g_per_kwh=CODECARBON_FRANCE)
    figure = card_convention(site, 16, allocated_s=3600.0)
    assert figure.co2_g is not None
    assert figure.co2_g.expected == pytest.approx(753.16, abs=0.01)


def test_pue_is_applied_exactly_once_even_in_sums() -> None:
    part = card_convention(CARD_SITE, 8, allocated_s=7200.0)
    summed = total([part, part])
    assert summed.it_energy_kwh == Band.around(11.2)
    assert summed.facility_energy_kwh == Band.around(11.2 * 1.2)


@given(amounts, st.floats(1.0, 3.0), st.floats(0.0, 1500.0))
def test_co2_is_facility_energy_times_the_factor(it_kwh: float, pue: float, factor: float) -> None:
    site = Site("somewhere", Sourced(pue, "test"), Sourced(factor, "test"))
    figure = EnergyFigure(Method.ESTIMATED, site, Band.around(it_kwh, 0.35), 1.0, 1.0)
    assert figure.co2_g is not None
    assert figure.co2_g.expected == pytest.approx(it_kwh * pue * factor)
    assert figure.co2_g.low <= figure.co2_g.expected <= figure.co2_g.high


@pytest.mark.parametrize("unknown", ["pue", "grid_g_per_kwh"])
def test_an_unknown_constant_gives_no_co2_and_is_named(unknown: str) -> None:
    figure = card_convention(without(unknown), 16, allocated_s=1.0)
    assert figure.it_energy_kwh == Band.around(11.2)
    assert figure.co2_g is None
    assert figure.missing is not None
    assert {"pue": "PUE", "grid_g_per_kwh": "grid factor"}[unknown] in figure.missing


@pytest.mark.parametrize(
    ("gpu_hours", "site", "reason"),
    [
        (None, CARD_SITE, "number of GPUs is unknown"),
        (0.0, CARD_SITE, "counts GPUs only"),
        (16.0, Site("laptop"), "no board power"),
    ],
)
def test_the_convention_states_why_it_has_no_figure(gpu_hours: float | None, site: Site, reason: str) -> None:
    figure = card_convention(site, gpu_hours, allocated_s=10.0)
    assert figure.it_energy_kwh is None
    assert figure.missing is not None
    assert reason in figure.missing


def test_four_gpus_of_300_w_for_an_hour_are_1_2_kwh_not_0_3() -> None:
    site = CARD_SITE._replace(gpu_board_w=Sourced(300.0, "test"))
    figure = estimated(site, allocated_s=3600.0, gpus=4, cores=0, ram_gb=None)
    assert figure.it_energy_kwh is not None
    assert figure.it_energy_kwh.expected == pytest.approx(1.2)


def test_the_estimate_adds_boards_cores_and_ram_within_35_percent() -> None:
    figure = estimated(CARD_SITE, allocated_s=7200.0, gpus=4, cores=96, ram_gb=500.0)
    expected = (4 * 700 + 96 * 4.0 + 500 * 0.3725) * 2 / 1000
    assert figure.it_energy_kwh is not None
    assert figure.it_energy_kwh.expected == pytest.approx(expected)
    assert figure.it_energy_kwh.low == pytest.approx(expected * 0.65)
    assert figure.it_energy_kwh.high == pytest.approx(expected * 1.35)
    assert figure.scope == "GPU boards and CPU cores and RAM"


def test_the_estimate_needs_counts_and_says_if_ram_is_unknown() -> None:
    assert estimated(CARD_SITE, 1.0, gpus=None, cores=4, ram_gb=1.0).missing == "the number of GPUs is unknown"
    assert estimated(CARD_SITE, 1.0, gpus=0, cores=None, ram_gb=1.0).missing == "the number of cores is unknown"
    assert "RAM unknown" in estimated(CARD_SITE, 1.0, gpus=0, cores=2, ram_gb=None).scope
    no_power = estimated(Site("laptop"), 1.0, gpus=0, cores=2, ram_gb=1.0)
    assert no_power.missing == "no power per core is known for laptop"


def test_trackers_of_several_nodes_add_up_and_a_node_without_one_is_filled_in() -> None:
    both = tracked(CARD_SITE, [flush(1.0, 10.0), flush(2.0, 10.0)], allocated_s=10.0, nodes=2)
    assert both.it_energy_kwh is not None
    assert both.it_energy_kwh.expected == pytest.approx(3.0)
    assert both.coverage == 1.0
    one_of_two = tracked(CARD_SITE, [flush(1.0, 10.0)], allocated_s=10.0, nodes=2)
    assert one_of_two.it_energy_kwh is not None
    assert one_of_two.it_energy_kwh.expected == pytest.approx(2.0)
    assert one_of_two.coverage == 0.5


def test_each_of_several_concurrent_attempts_gets_its_part_of_what_all_tracked() -> None:
    figure = tracked(CARD_SITE, [flush(3.0, 90.0)], allocated_s=30.0)
    assert figure.it_energy_kwh is not None
    assert figure.it_energy_kwh.expected == pytest.approx(1.0)
    assert figure.covered_s == 30.0


def test_a_lost_tail_is_filled_in_at_the_mean_power_and_marked() -> None:
    figure = tracked(CARD_SITE, [flush(2.0, 80.0)], allocated_s=100.0)
    assert figure.it_energy_kwh is not None
    assert figure.it_energy_kwh.expected == pytest.approx(2.5)
    assert figure.it_energy_kwh.high == pytest.approx(2.0 * 1.3 + 0.5 * 1.35)
    assert figure.extended_s == pytest.approx(20.0)
    assert figure.coverage == pytest.approx(0.8)
    assert figure.uncounted_s == 0.0


def test_the_gpu_share_has_the_narrower_range() -> None:
    figure = tracked(CARD_SITE, [flush(10.0, 10.0, gpu_kwh=8.0)], allocated_s=10.0)
    assert figure.it_energy_kwh is not None
    assert figure.it_energy_kwh.high == pytest.approx(8 * 1.05 + 2 * 1.3)


def test_codecarbon_without_a_figure_says_why() -> None:
    figure = tracked(CARD_SITE, [flush(None, None, reason="codecarbon: no hardware")], allocated_s=10.0)
    assert (figure.it_energy_kwh, figure.missing) == (None, "codecarbon: no hardware")
    assert tracked(CARD_SITE, [], allocated_s=10.0).missing == "codecarbon recorded nothing"


def test_methods_and_sites_are_never_added() -> None:
    card = card_convention(CARD_SITE, 1, 10.0)
    with pytest.raises(ValueError, match="different methods or sites"):
        total([card, estimated(CARD_SITE, 10.0, 1, 0, None)])
    with pytest.raises(ValueError, match="different methods or sites"):
        total([card, card_convention(CARD_SITE._replace(name="elsewhere"), 1, 10.0)])
    with pytest.raises(ValueError, match="nothing"):
        total([])


def test_the_sum_of_one_figure_is_that_figure() -> None:
    card = card_convention(CARD_SITE, 1, 10.0)
    assert total([card]) == card


def test_an_attempt_without_a_figure_lowers_the_coverage_of_the_sum() -> None:
    seen = tracked(CARD_SITE, [flush(1.0, 30.0)], allocated_s=30.0)
    unseen = tracked(CARD_SITE, [], allocated_s=10.0)
    summed = total([seen, unseen])
    assert summed.it_energy_kwh is not None
    assert summed.it_energy_kwh.expected == 1.0
    assert summed.coverage == pytest.approx(0.75)
    assert summed.uncounted_s == pytest.approx(10.0)
    assert total([unseen, unseen]).it_energy_kwh is None


def test_counters_are_quoted_if_they_covered_enough_and_slurm_before_an_estimate() -> None:
    estimate = estimated(CARD_SITE, 100.0, 1, 0, None)
    card = card_convention(CARD_SITE, 1, 100.0)
    enough = EnergyFigure(Method.MEASURED, CARD_SITE, Band.around(1.0, 0.05), 100.0, 90.0)
    too_little = enough._replace(covered_s=89.9)
    slurm = EnergyFigure(Method.SLURM, CARD_SITE, Band.around(1.0, 0.1), 100.0, 100.0)
    assert preferred([card, estimate, slurm, enough]) is enough
    assert preferred([card, estimate, slurm, too_little]) is slurm
    assert preferred([card, estimate, too_little]) is estimate
    assert preferred([card, too_little]) is too_little
    assert preferred([card]) is None


def test_chains_are_compared_by_a_method_of_all_that_have_a_figure_of_one_site() -> None:
    estimate = estimated(CARD_SITE, 100.0, 1, 0, None)
    counted = EnergyFigure(Method.MEASURED, CARD_SITE, Band.around(1.0, 0.05), 100.0, 100.0)
    unknown = estimated(CARD_SITE, 100.0, None, 0, None)
    elsewhere = counted._replace(site=CARD_SITE._replace(name="elsewhere"))
    assert quotable_method([[counted, estimate], [estimate]]) is Method.ESTIMATED
    assert quotable_method([[counted], [estimate]]) is None
    for without_one in ([], [unknown], [estimate, elsewhere]):
        assert quotable_method([[counted, estimate], without_one]) is Method.MEASURED
    assert preferred([counted, elsewhere]) is None
    assert preferred([counted, unknown._replace(site=elsewhere.site)]) is None


def test_codecarbon_is_quoted_only_if_there_is_nothing_else() -> None:
    seen = tracked(CARD_SITE, [flush(1.0, 100.0)], allocated_s=100.0)
    estimate = estimated(CARD_SITE, 100.0, 1, 0, None)
    assert preferred([seen, estimate]) is estimate
    assert preferred([seen]) is seen


def test_an_implausible_energy_per_gpu_hour_is_reported() -> None:
    figure = card_convention(CARD_SITE, 10, 100.0)
    assert implausible(figure, 10.0) is None
    assert implausible(figure, None) is None
    warning = implausible(figure, 1.0)
    assert warning is not None
    assert "7 kWh per GPU-hour" in warning
