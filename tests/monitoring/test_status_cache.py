"""A cached status is shown again only while everything it was made of is unchanged."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from detour.accounting.attempts import DEAD_AFTER_S
from detour.ledger import private
from detour.ledger.private import keep_private, read_private
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.monitoring.status_cache import CachedStatus
from tests.monitoring.workspaces import (
    CHAIN,
    PREPARE,
    PROMOTE,
    TRAIN,
    end,
    make_workspace,
    mark_done,
    mark_failed,
    start,
)

WAY = (80, None, False, "base")


@pytest.fixture
def workspace(tmp_path: Path, node_folder: Path) -> Workspace:  # noqa: ARG001
    made = make_workspace(tmp_path)
    end(start(made, PREPARE))
    mark_done(made, PREPARE)
    mark_failed(made, PROMOTE, "a gate")
    kept = CachedStatus(str(made.root), WAY)
    assert kept.text() is None
    factors = tmp_path / "hours.csv"
    factors.write_text("hour,g_per_kwh\n2026-01-01T00:00Z,50\n")
    kept.keep([stage.id for stage in CHAIN], [str(factors)], "as it was")
    return made


def text(workspace: Workspace) -> str | None:
    return CachedStatus(str(workspace.root), WAY).text()


def add_chain(workspace: Workspace) -> None:
    workspace.chain("twin").mkdir()
    (workspace.chain("twin") / "plan.json").write_bytes((workspace.chain("base") / "plan.json").read_bytes())


def replace_factors(workspace: Workspace) -> None:
    """Replace the file of grid factors by one of the same size and time."""
    path = workspace.root.with_name("hours.csv")
    before, other = path.stat(), path.with_name("other")
    other.write_text("hour,g_per_kwh\n2026-01-01T00:00Z,90\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


CHANGES: dict[str, Callable[[Workspace], object]] = {
    "an event": lambda workspace: start(workspace, TRAIN),
    "a shorter journal": lambda workspace: os.truncate(next(workspace.ledger.glob("*/*.jsonl")), 10),
    "a new chain": add_chain,
    "a chain less": lambda workspace: (workspace.chain("base") / "plan.json").unlink(),
    "another plan": lambda workspace: (workspace.chain("base") / "plan.json").write_text("{}"),
    "other grid factors": replace_factors,
    "no grid factors": lambda workspace: workspace.root.with_name("hours.csv").unlink(),
    "a stage done": lambda workspace: mark_done(workspace, TRAIN),
    "an output gone": lambda workspace: workspace.manifest(PREPARE.id).unlink(),
    "a failure cleared": lambda workspace: workspace.failure(PROMOTE.id).unlink(),
    "no workspace": lambda workspace: workspace.root.rename(workspace.root.with_name("moved")),
}


def test_while_nothing_changes_the_same_status_is_shown(workspace: Workspace) -> None:
    assert text(workspace) == "as it was"
    assert text(workspace) == "as it was"


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_invalidates_the_cached_status(workspace: Workspace, change: str) -> None:
    CHANGES[change](workspace)
    assert text(workspace) is None


def test_what_has_just_been_written_is_not_recognised_by_its_time(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert text(workspace) == "as it was"
    monkeypatch.setattr(private, "SETTLED_NS", 2 * 10**9)
    assert text(workspace) is None


def test_other_options_have_their_own_text(workspace: Workspace) -> None:
    assert CachedStatus(str(workspace.root), (100, *WAY[1:])).text() is None
    assert CachedStatus(str(workspace.root), (*WAY[:3], "ba", "se")).text() is None


def test_a_change_during_the_making_prevents_caching(workspace: Workspace) -> None:
    kept = CachedStatus(str(workspace.root), WAY)
    start(workspace, TRAIN)
    kept.text()
    start(workspace, TRAIN, 2)
    kept.keep([stage.id for stage in CHAIN], [], "made of the first attempt alone")
    assert text(workspace) is None


def test_damaged_files_and_those_that_others_can_write_are_ignored(workspace: Workspace, node_folder: Path) -> None:
    (folder,) = node_folder.glob("detour-cache-*")
    (kept,) = folder.glob("*.status-*")
    folder.chmod(0o755)
    assert text(workspace) is None
    folder.chmod(0o700)
    keep_private(str(kept), read_private(str(kept)).replace(b"\0", b" "))
    assert text(workspace) is None


def test_only_a_status_that_can_stay_is_cached(workspace: Workspace) -> None:
    silent_s = time.time() + DEAD_AFTER_S
    assert Monitor(workspace).look(now_s=silent_s).is_still
    start(workspace, TRAIN)
    assert not Monitor(workspace).look(now_s=silent_s).is_still


def test_a_status_is_not_cached_until_attempts_without_an_end_are_silent(workspace: Workspace) -> None:
    attempt = start(workspace, TRAIN)
    assert attempt.journal is not None
    attempt.journal.close()
    mark_done(workspace, TRAIN)
    now_s = time.time()
    assert not Monitor(workspace).look(now_s=now_s).is_still
    assert Monitor(workspace).look(now_s=now_s + DEAD_AFTER_S).is_still
