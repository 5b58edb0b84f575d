"""A real Slurm for every test that requests one, in both versions; the tests fail if it is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings
from tests.slurm.cluster.sharing import own_cluster, shared_cluster


@pytest.fixture(scope="session", params=VERSIONS)
def slurm(request: pytest.FixtureRequest) -> SlurmCluster:
    """The cluster shared by all tests of this run, of either version: submit to it, but leave its daemons alone."""
    return shared_cluster(request.param)


@pytest.fixture
def own_slurm() -> Iterator[Callable[[ClusterSettings], SlurmCluster]]:
    """Starts clusters for a single test, to stop their daemons, break their nodes, or configure them differently."""
    with ExitStack() as stack:
        yield lambda settings: stack.enter_context(own_cluster(settings))
