from __future__ import annotations

import os
from pathlib import Path

import pytest

from detour.checkpoints.store import CheckpointStore
from detour.checkpoints.trust import open_private
from detour.errors import UserError


def state_in(folder: Path, mode: int) -> Path:
    path = folder / "state.pt"
    path.write_bytes(b"state")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_file_that_only_its_owner_can_write_is_read(tmp_path: Path, mode: int) -> None:
    with open_private(state_in(tmp_path, mode)) as file:
        assert file.read() == b"state"


@pytest.mark.parametrize("mode", [0o620, 0o664, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = state_in(tmp_path, mode)
    with pytest.raises(UserError, match=f"chmod go-w -- {path}"):
        open_private(path)


def test_a_link_is_judged_by_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link.pt"
    link.symlink_to(state_in(tmp_path, 0o666))
    with pytest.raises(UserError, match="others may write to it"):
        open_private(link)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = state_in(tmp_path, 0o600)
    if os.geteuid() == 0:
        os.chown(path, 424242, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 424242)
    with pytest.raises(UserError, match="it belongs to user"):
        open_private(path)


def test_a_saved_checkpoint_can_be_read_under_any_umask(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.touch()
        path.chmod(0o666)

    checkpoint = CheckpointStore(tmp_path).save(1, 1, write, {})
    open_private(checkpoint.path).close()
