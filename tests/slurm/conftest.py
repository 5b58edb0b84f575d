"""A real Slurm for every test that asks for one, in both versions; where it is not installed, the tests fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings
from tests.slurm.cluster.sharing import own_cluster, shared_cluster


@pytest.fixture(scope="session", params=VERSIONS)
def slurm(request: pytest.FixtureRequest) -> SlurmCluster:
    """The cluster that all tests of this run share, of either version: submit to it, but leave its daemons alone."""
    return shared_cluster(request.param)


@pytest.fixture
def own_slurm() -> Iterator[Callable[[ClusterSettings], SlurmCluster]]:
    """Starts clusters for one test alone, to stop daemons of, break nodes of, or configure otherwise."""
    with ExitStack() as stack:
        yield lambda settings: stack.enter_context(own_cluster(settings))
