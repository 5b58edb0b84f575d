"""What sites charge: Jean Zay's share of cores, whole nodes, dies of MI250."""

from __future__ import annotations

from typing import Any

import pytest

from detour.accounting.hours import AttemptUsage
from detour.accounting.site import site_of
from detour.config.cluster import Cluster
from detour.pricing.billing import billed_gpu_hours, billed_gpus, boards
from detour.pricing.totals import energy_of

FIGURE = {"value": 1.0, "source": "test", "year": 2026}


def cluster(rule: str, per_node: int = 4, gpu_type: str = "h100", **billing: Any) -> Cluster:
    return Cluster.model_validate(
        {
            "name": "test",
            "scheduler": "slurm",
            "cores_per_node": 96,
            "gpu": {
                "type": gpu_type,
                "per_node": per_node,
                "board_power_w": {**FIGURE, "value": 700},
                "gcd_per_gpu": billing.pop("gcd_per_gpu", 1),
            },
            "billing": {"rule": rule, "source": "test", **billing},
            "site": {"pue": {**FIGURE, "value": 1.2}},
            "cpu_power": {"watt_per_core": FIGURE, "watt_per_gb_memory": FIGURE},
        }
    )


@pytest.mark.parametrize(
    ("gpus", "cpus", "nodes", "billed"),
    [
        (1, 24, 1, 1.0),
        (1, 48, 1, 2.0),
        (4, 96, 1, 4.0),
        (1, 192, 1, 4.0),
        (0, 40, 1, 0.0),
        (8, 192, 2, 8.0),
    ],
)
def test_the_larger_share_of_cores_or_gpus_is_billed(gpus: int, cpus: int, nodes: int, billed: float) -> None:
    assert billed_gpus(cluster("cores-share"), gpus, cpus, nodes) == billed


def test_whole_nodes_are_billed_where_the_site_says_so() -> None:
    assert billed_gpus(cluster("whole-node"), 1, 8, 2) == 8.0
    shared = cluster("cores-share", multi_node_bills_whole_nodes=True)
    assert billed_gpus(shared, 2, 48, 2) == 8.0
    assert billed_gpus(shared, 1, 24, 1) == 1.0


def test_reserved_gpus_dies_and_free_sites_are_billed_by_their_rules() -> None:
    assert billed_gpus(cluster("gpu"), 3, None, 1) == 3.0
    assert billed_gpus(cluster("gpu", per_node=8, gcd_per_gpu=2), 8, None, 1) == 4.0
    assert billed_gpus(cluster("none"), 4, 96, 1) == 0.0


def test_a_bill_is_unknown_if_a_figure_that_its_rule_needs_is() -> None:
    assert billed_gpus(cluster("cores-share"), 1, None, 1) is None
    unknown = AttemptUsage("1", None, 0.0, 7200.0, gpus=None, cpus=24)
    assert billed_gpu_hours(cluster("gpu"), unknown) is None
    known = AttemptUsage("1", None, 0.0, 7200.0, gpus=1, cpus=48)
    assert billed_gpu_hours(cluster("cores-share"), known) == 4.0


def test_constants_keep_their_source_and_unknown_ones_stay_unknown() -> None:
    site = site_of(cluster("gpu"))
    assert site.grid_g_per_kwh is None
    assert str(site.pue) == "1.2 (test, 2026)"
    assert site.gpu_board_w is not None
    assert site.gpu_board_w.value == 700


def test_a_slice_is_priced_and_billed_as_its_share_of_a_board() -> None:
    sliced = cluster("gpu", per_node=28, gpu_type="1g.10gb")
    assert boards(sliced, 2) == pytest.approx(2 / 7)
    assert billed_gpus(sliced, boards(sliced, 2), 8, 1) == pytest.approx(2 / 7)
    by_card, estimated = energy_of(sliced, 7, 0, 3600.0)
    for figure in (by_card, estimated):
        assert figure.it_energy_kwh is not None
        assert figure.it_energy_kwh.expected == pytest.approx(0.7)


def test_a_slice_of_unknown_size_has_no_price() -> None:
    unknown = cluster("gpu", gpu_type="mig")
    assert (boards(unknown, 1), boards(unknown, 0), boards(cluster("gpu"), 4)) == (None, 0, 4)
    assert billed_gpus(unknown, None, 8, 1) is None
    assert billed_gpus(cluster("whole-node", gpu_type="mig"), None, 8, 1) == 4
    assert [figure.it_energy_kwh for figure in energy_of(unknown, 1, 0, 3600.0)] == [None, None]
