from __future__ import annotations

import os
from pathlib import Path

import pytest

from detour.checkpoints.trust import require_private
from detour.errors import UserError


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """Reachable by others all the way from pytest's folder, unlike `tmp_path`."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o755)
    for ancestor in (tmp_path, *tmp_path.parents):
        if ancestor.stat().st_uid != os.geteuid() or ancestor == Path("/tmp"):
            break
        ancestor.chmod(0o755)
    return folder


def state_in(folder: Path, mode: int) -> Path:
    path = folder / "state.pt"
    path.write_bytes(b"state")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_file_that_only_we_can_write_is_trusted(open_folder: Path, mode: int) -> None:
    require_private(state_in(open_folder, mode))


@pytest.mark.parametrize("mode", [0o620, 0o664, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(open_folder: Path, mode: int) -> None:
    path = state_in(open_folder, mode)
    with pytest.raises(UserError, match=f"chmod go-w {path}"):
        require_private(path)


@pytest.mark.parametrize("mode", [0o775, 0o777])
def test_a_folder_in_which_others_can_replace_the_file_is_refused(open_folder: Path, mode: int) -> None:
    path = state_in(open_folder, 0o600)
    open_folder.chmod(mode)
    with pytest.raises(UserError, match=f"chmod go-w {open_folder}"):
        require_private(path)


def test_what_lies_in_a_closed_folder_is_out_of_reach(open_folder: Path) -> None:
    path = state_in(open_folder, 0o666)
    open_folder.chmod(0o700)
    require_private(path)


def test_the_sticky_bit_protects_our_file(open_folder: Path) -> None:
    path = state_in(open_folder, 0o600)
    open_folder.chmod(0o1777)
    require_private(path)


def test_a_link_is_judged_by_what_it_points_to(open_folder: Path) -> None:
    path = state_in(open_folder, 0o666)
    link = open_folder / "link.pt"
    link.symlink_to(path)
    with pytest.raises(UserError, match="others may write"):
        require_private(link)


def test_a_file_of_another_user_is_refused(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = state_in(open_folder, 0o600)
    if os.geteuid() == 0:
        os.chown(path, 424242, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 424242)
    with pytest.raises(UserError, match="not to you"):
        require_private(path)
