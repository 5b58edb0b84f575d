from __future__ import annotations

import pytest

from detour.config.cluster import Cluster, Gpu, Qos
from detour.config.loading import load_cluster
from detour.errors import UserError
from detour.orchestration.gpu_shapes import check_gpus
from detour.planning.stage import Stage
from tests.orchestration.test_requests import tiny


def cluster(**changes: object) -> Cluster:
    """Three nodes with four GPUs each, and a QOS of eight."""
    profile = load_cluster("jean-zay")
    assert profile.gpu is not None
    qos = (Qos(name="short", gpus=8, default=True), Qos(name="long", gpus=100))
    gpu = Gpu.model_validate({**profile.gpu.model_dump(), "per_node": 4})
    return profile.model_copy(update={"gpu": gpu, "nodes": 3, "training_gpus": None, "qos": qos, **changes})


def stages(batch: int = 384) -> list[Stage]:
    return tiny(1, {"batch.sequences": batch, "phases.clm.tokens": "1M", "phases.mlm.tokens": "1M"})


def refusal(gpus: int | None, batch: int = 384, qos: str | None = None, **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        check_gpus(stages(batch), cluster(**changes), gpus, qos)
    return str(caught.value)


@pytest.mark.parametrize("gpus", [None, 1, 2, 3, 4, 8])
def test_counts_that_divide_the_batch_and_fill_nodes_are_accepted(gpus: int | None) -> None:
    check_gpus(stages(), cluster(), gpus)


@pytest.mark.parametrize("gpus", [0, -1, -4])
def test_a_training_without_gpus_cannot_be_requested(gpus: int) -> None:
    assert refusal(gpus) == f"--gpus {gpus}: expected 1 or more"


def test_a_number_of_gpus_from_python_is_whole() -> None:
    assert refusal(2.0) == "2.0 GPUs: expected a whole number, found float"  # type: ignore[arg-type]


def test_five_gpus_on_nodes_of_four_are_refused_with_the_valid_counts() -> None:
    assert refusal(5) == "--gpus 5: jean-zay has nodes of 4, and several nodes are taken whole: 4 or 8"


def test_more_nodes_than_the_cluster_has_are_refused() -> None:
    assert "4 nodes of 4, and jean-zay has 3" in refusal(16, qos="long")


def test_more_gpus_than_the_qos_allows_are_refused() -> None:
    assert "the QOS short of jean-zay allows a user 8 GPUs at most" in refusal(12)


def test_a_batch_that_cannot_be_divided_equally_is_refused_with_the_nearest_counts() -> None:
    assert "the 6 sequences of a batch (batch.sequences) of pretrain clm" in refusal(4, batch=6)
    assert "take 3" in refusal(4, batch=6)


def test_the_default_count_of_the_profile_is_checked_too() -> None:
    assert refusal(None, batch=6).startswith("4 GPUs per training, as in jean-zay: the 6 sequences")


def test_on_a_profile_without_gpus_a_count_is_refused() -> None:
    assert "has no GPU" in refusal(1, gpu=None)


def test_without_a_training_no_count_is_checked() -> None:
    check_gpus([stage for stage in tiny(1) if stage.kind != "pretrain"], cluster(), 5)
