"""Removal from a workspace: what is removed, what is skipped, and what a kill leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from detour.errors import DetourError, UserError
from detour.housekeeping.finding import TRASH, Kind
from detour.ledger.claims import claim
from detour.ledger.workspace import Workspace
from detour.orchestration.cleaning import Cleaned, clean, removable
from tests.housekeeping.workspaces import make_workspace
from tests.support.small_disk import mounted

NOBODY, USER = 65534, 12345
INPUTS = {"prepare-1": (), "pretrain-1": ("prepare-1",), "pretrain-old": ("prepare-1",), "prepare-old": ()}
SLOWLY = """
import shutil, sys, time
from pathlib import Path
from detour.ledger.workspace import Workspace
from detour.orchestration.cleaning import clean, removable
real = shutil.rmtree
def slow(path, *arguments, **options):
    print("deleting", flush=True)
    time.sleep(float(sys.argv[2]))
    real(path, *arguments, **options)
shutil.rmtree = slow
workspace = Workspace(Path(sys.argv[1]))
clean(workspace, {one.path for one in removable(workspace)}, lambda holder: None)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path, INPUTS, {"base": ("prepare-1", "pretrain-1")})
    (workspace.stage("pretrain-1") / "work" / "step-000000000010-abc").mkdir(parents=True)
    return workspace


def cleaned(workspace: Workspace) -> Cleaned:
    return clean(workspace, {one.path for one in removable(workspace)}, lambda holder: None)  # noqa: ARG005


def test_confirmed_items_are_removed_and_others_stay(workspace: Workspace) -> None:
    agreed = [one for one in removable(workspace) if one.kind is Kind.WORK]
    done = clean(workspace, {one.path for one in agreed}, lambda holder: None)  # noqa: ARG005
    assert [one.path for one in done.removed] == [workspace.stage("pretrain-1") / "work"]
    assert workspace.is_done("pretrain-old")
    assert {one.kind for one in removable(workspace)} == {Kind.STAGE}


def test_after_a_removal_nothing_is_left_to_remove(workspace: Workspace) -> None:
    assert len(cleaned(workspace).removed) == 3
    assert removable(workspace) == []
    assert workspace.is_done("prepare-1")
    assert workspace.is_done("pretrain-1")
    assert not workspace.stage("pretrain-old").exists()


def test_a_link_that_leads_out_of_the_workspace_is_removed_and_not_followed(workspace: Workspace) -> None:
    outside = workspace.root.parent / f"{workspace.root.name}-outside"
    outside.mkdir()
    (outside / "precious").write_text("")
    (workspace.stage("pretrain-old") / "link").symlink_to(outside)
    (workspace.stage("prepare-1") / "output.0001").symlink_to(outside)
    cleaned(workspace)
    assert (outside / "precious").exists()
    assert not (workspace.stage("prepare-1") / "output.0001").is_symlink()


def test_an_item_that_another_process_began_to_use_is_skipped(workspace: Workspace) -> None:
    agreed = {one.path for one in removable(workspace)}
    with claim(workspace, "pretrain-old", "an attempt"):
        done = clean(workspace, agreed, lambda holder: None)  # noqa: ARG005
    assert workspace.stage("pretrain-old").exists()
    assert len(done.removed) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_full_disk_does_not_prevent_a_removal(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", size_mib=4) as disk:
        made = make_workspace(disk.folder / "w", {"prepare-1": (), "prepare-2": ()}, {"base": ("prepare-1",)})
        disk.leave(0)
        assert [one.path.name for one in cleaned(made).removed] == ["prepare-2"]
        assert list(made.claims.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_if_no_file_can_be_created_it_names_what_can_be_removed_by_hand(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", size_mib=4, inodes=500) as disk:
        made = make_workspace(disk.folder / "w", {"prepare-1": (), "prepare-2": ()}, {"base": ("prepare-1",)})
        disk.leave_no_files()
        with pytest.raises(UserError, match=r"by hand, such as .*/stages/prepare-2, and run it again"):
            clean(made, {one.path for one in removable(made)}, on_wait=print)
        assert made.is_done("prepare-2")
        shutil.rmtree(made.stage("prepare-2") / "output")
        assert clean(made, {one.path for one in removable(made)}, on_wait=print).skipped == ()
        assert not made.stage("prepare-2").exists()


def test_items_of_other_users_are_skipped_and_reported(workspace: Workspace) -> None:
    clean(workspace, (), lambda holder: None)  # noqa: ARG005  imports all that the other user may not read
    others = workspace.stage("pretrain-old") / "output"
    for path in (workspace.root, *workspace.root.rglob("*")):
        os.chown(path, *((NOBODY, NOBODY) if path == others else (USER, USER)), follow_symlinks=False)
    for parent in (workspace.root.parent, workspace.root.parent.parent, workspace.root.parent.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o005)
    assert said_by_user(lambda: cleaned(workspace)) == "2 removed, pretrain-old: belongs to nobody"
    assert workspace.is_done("pretrain-old")


def said_by_user(work: Callable[[], Cleaned]) -> str:
    """Return the report of another user's process, a child of this one."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)
        try:
            done = work()
            skipped = [f"{one.path.name}: {one.reason}" for one in done.skipped]
            output = ", ".join([f"{len(done.removed)} removed", *skipped])
        except (OSError, DetourError) as error:
            output = repr(error)
        os.write(writer, output.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        output = file.read()
    os.wait()
    return output


@pytest.mark.parametrize("deletions", [1, 2, 3])
def test_a_killed_removal_leaves_nothing_half_removed_and_is_completed_next_time(
    workspace: Workspace, deletions: int
) -> None:
    command = [sys.executable, "-c", SLOWLY, str(workspace.root), "0.05"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(deletions):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    stages = {path.name for path in (workspace.root / "stages").iterdir()}
    assert all(workspace.is_done(stage) for stage in stages), "each is whole, or gone"
    assert {"prepare-1", "pretrain-1"} <= stages
    assert any((workspace.root / TRASH).iterdir())
    cleaned(workspace)
    assert removable(workspace) == []
    assert list((workspace.root / TRASH).iterdir()) == []
