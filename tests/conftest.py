"""Fixtures of the whole suite: the clusters of a test run, and an order in which long tests start first."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from detour.imports import uncollected
from detour.ledger import private
from detour.ledger.workspace import VARIABLE, Workspace
from tests.slurm.cluster.sharing import FOLDER, close_run, open_run

TESTS = Path(__file__).parent

# A busy machine is no failure. The same examples in every run, so that a failure belongs to the change at hand;
# `pytest --hypothesis-profile search` tries new ones.
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


def pytest_configure() -> None:
    os.environ.pop("COLUMNS", None)  # xdist's workers have one, and without it all outputs are as wide
    os.unsetenv("COLUMNS")  # readline, which pytest imports, sets it behind Python's back
    open_run()
    # Not ./workspace, which is a quickstart's if one ran in this checkout.
    os.environ[VARIABLE] = f"{os.environ[FOLDER]}/workspace-{os.getpid()}"


def pytest_unconfigure() -> None:
    close_run()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector: every worker imports all test modules and torch, in half the time."""
    with uncollected():
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on Slurm mostly wait, so they come early and overlap with those that compute.

    Those on the shared cluster of one version run in sequence (an xdist group), unless they name a group.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "slurm" in fixtures or "own_slurm" in fixtures:
            item.add_marker(pytest.mark.slurm)
            if "slurm" in fixtures and item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(f"{item.nodeid.partition('::')[0]}-{_version(item)}"))
    items.sort(key=_turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from tests.support.by_file import ByFile

    return ByFile(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.fixture
def node_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's temporary folder, where caches are stored: empty, and private to the test.

    Files count as settled at once.
    """
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.setattr(private, "SETTLED_NS", -(10**12))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch computes on one thread: tiny models only lose time by sharing cores with concurrent tests."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _logging_as_found() -> Iterator[None]:
    """A job configures logging and the output of its whole process; tests restore both."""
    logger, streams = logging.getLogger("detour"), (sys.stdout, sys.stderr)
    found = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = found
    sys.stdout, sys.stderr = streams


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    workspace = Workspace(tmp_path / "workspace")
    workspace.create()
    return workspace


def _turn(item: pytest.Item) -> int:
    """Chains on this machine come first, because they compute longest, then Slurm, then chains of other top files."""
    if item.get_closest_marker("slurm"):
        return 1
    if item.get_closest_marker("xdist_group"):
        return 0
    return 2 if item.path.parent == TESTS else 3


def _version(item: pytest.Item) -> object:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("slurm") if callspec else None
