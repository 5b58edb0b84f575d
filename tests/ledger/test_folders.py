from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from detour.errors import UserError
from detour.files import write_atomic
from detour.ledger.claims import claim
from detour.ledger.folders import let_group_read, make_folder, workspace_umask
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace


@pytest.mark.parametrize("before", [0o000, 0o022, 0o077])
@pytest.mark.parametrize(("root_mode", "group"), [(0o700, 0o00), (0o2770, 0o70), (0o2750, 0o50), (0o2777, 0o70)])
def test_folders_have_the_permissions_of_the_workspace(tmp_path: Path, root_mode: int, group: int, before: int) -> None:
    tmp_path.chmod(root_mode)
    workspace = Workspace(tmp_path)
    previous = os.umask(before)
    try:
        with workspace_umask(tmp_path):
            workspace.create()
            make_folder(tmp_path, workspace.stage("prepare-0") / "work")
            write_atomic(workspace.stage("prepare-0") / "stage.json", b"{}")
            (workspace.stage("prepare-0") / "work" / "a library's").write_text("")
            held = claim(workspace, "prepare-0", "a test")
            Journal.open(workspace, "run").close()
        assert os.umask(before) == before
    finally:
        os.umask(previous)
    made = {path: path.stat().st_mode for path in tmp_path.rglob("*")}
    assert len(made) > 10
    for path, mode in made.items():
        expected = 0o700 | group if stat.S_ISDIR(mode) else 0o600 | group & 0o40
        assert mode & 0o777 == expected, path
        assert not stat.S_ISDIR(mode) or mode & stat.S_ISGID == root_mode & stat.S_ISGID, path
    held.release()


def test_a_new_workspace_is_private(tmp_path: Path) -> None:
    with workspace_umask(tmp_path / "later"):
        Workspace(tmp_path / "later").create()
    assert stat.S_IMODE((tmp_path / "later" / "stages").stat().st_mode) == 0o700


@pytest.mark.parametrize("link", ["stages", "stages/prepare-0", "stages/prepare-0/work"])
def test_no_folder_is_created_or_used_through_a_link(tmp_path: Path, link: str) -> None:
    """Otherwise one member's job would write and delete, with its user's rights, wherever another member wants."""
    root, elsewhere = tmp_path / "workspace", tmp_path / "a victim's"
    elsewhere.mkdir()
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(elsewhere)
    with pytest.raises(UserError, match=f"{link}: a link instead of the workspace's own folder"):
        make_folder(root, root / "stages" / "prepare-0" / "work")
    assert list(elsewhere.iterdir()) == []


def test_the_workspace_itself_can_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    Workspace(tmp_path / "link").create()
    assert (tmp_path / "real" / "stages").is_dir()


@pytest.mark.parametrize(("root_mode", "file_mode", "folder_mode"), [(0o700, 0o600, 0o700), (0o2770, 0o640, 0o770)])
def test_an_output_can_be_read_but_not_written_by_the_group(
    tmp_path: Path, root_mode: int, file_mode: int, folder_mode: int
) -> None:
    output = tmp_path / "output"
    weights = output / "model" / "weights"
    weights.parent.mkdir(parents=True)
    weights.touch(0o600)
    weights.parent.chmod(0o700)
    (output / "link").symlink_to("/etc/passwd")
    tmp_path.chmod(root_mode)
    let_group_read(tmp_path, output)
    assert stat.S_IMODE(weights.stat().st_mode) == file_mode
    assert stat.S_IMODE(weights.parent.stat().st_mode) == folder_mode
