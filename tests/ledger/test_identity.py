"""A workspace's jobs are found by its id, whatever happens to its path."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import orjson
import pytest

from detour.errors import UserError
from detour.ledger.identity import FILE, establish, workspace_id
from detour.ledger.workspace import Workspace


def made(root: Path) -> Path:
    Workspace(root).create()
    return root


def by_path(root: Path) -> str:
    """The id as of commit a411181."""
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]


def older(root: Path) -> Path:
    """A workspace as commit a411181 left it."""
    for name in ("ledger", "stages", "chains", "code", "models", "claims"):
        (root / name).mkdir(parents=True)
    return root


def submitted(root: Path) -> None:
    script = root / "submissions" / "prepare-1" / "1-abc.sh"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/bash\n#SBATCH --comment=detour:1:{by_path(root)}:prepare-1:1:abc\n")


def test_the_id_is_created_with_the_workspace_and_stays(tmp_path: Path) -> None:
    first = workspace_id(made(tmp_path / "w"))
    assert workspace_id(made(tmp_path / "w")) == first
    assert workspace_id(made(tmp_path / "other")) != first


def test_a_workspace_recreated_under_the_same_path_is_another_one(tmp_path: Path) -> None:
    first = workspace_id(made(tmp_path / "w"))
    shutil.rmtree(tmp_path / "w")
    assert workspace_id(made(tmp_path / "w")) != first


def test_users_who_create_it_at_once_agree_on_the_id(tmp_path: Path) -> None:
    together = Barrier(8)

    def user(_: int) -> str:
        together.wait()
        return workspace_id(made(tmp_path / "w"))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(user, range(8)))) == 1
    assert [path.name for path in (tmp_path / "w").glob(".workspace*")] == []


def test_a_moved_workspace_keeps_its_id(tmp_path: Path) -> None:
    first = workspace_id(made(tmp_path / "w"))
    (tmp_path / "w").rename(tmp_path / "moved")
    assert workspace_id(made(tmp_path / "moved")) == first


@pytest.fixture
def mounted_twice(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", one, other], check=False).returncode != 0:
        pytest.skip("only root may mount")
    yield one, other
    subprocess.run(["umount", other], check=True)


def test_a_second_mount_is_the_same_workspace(mounted_twice: tuple[Path, Path]) -> None:
    one, other = mounted_twice
    first = workspace_id(made(one / "w"))
    assert workspace_id(made(other / "w")) == first
    assert workspace_id(made(one / "w")) == first


def test_a_copy_becomes_a_workspace_of_its_own_and_the_original_keeps_its_id(tmp_path: Path) -> None:
    first = workspace_id(made(tmp_path / "w"))
    shutil.copytree(tmp_path / "w", tmp_path / "copy")
    copied = workspace_id(made(tmp_path / "copy"))
    assert copied != first
    assert workspace_id(made(tmp_path / "copy")) == copied
    assert workspace_id(made(tmp_path / "w")) == first


def test_a_copy_at_the_place_of_a_moved_original_does_not_take_its_jobs(tmp_path: Path) -> None:
    first = workspace_id(made(tmp_path / "w"))
    (tmp_path / "w").rename(tmp_path / "moved")
    made(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", tmp_path / "w")
    assert workspace_id(made(tmp_path / "w")) != first
    assert workspace_id(made(tmp_path / "moved")) == first


def test_a_workspace_of_an_earlier_version_keeps_the_id_of_its_path(tmp_path: Path) -> None:
    root = older(tmp_path / "w")
    assert workspace_id(root) == by_path(root)
    assert workspace_id(made(root)) == by_path(root)


def test_a_moved_workspace_of_an_earlier_version_is_identified_by_its_scripts(tmp_path: Path) -> None:
    root = older(tmp_path / "w")
    submitted(root)
    first = by_path(root)
    root.rename(tmp_path / "moved")
    assert workspace_id(tmp_path / "moved") == first
    assert workspace_id(made(tmp_path / "moved")) == first


def test_a_path_that_no_file_can_have_names_no_original(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(orjson.dumps({"id": "0123456789ab", "path": "a\0b"}))
    establish(tmp_path)
    assert workspace_id(tmp_path) == "0123456789ab"


def test_reading_the_id_writes_nothing(tmp_path: Path) -> None:
    workspace_id(older(tmp_path / "w"))
    assert not (tmp_path / "w" / FILE).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "w"}', '{"id": "../../etc", "path": "/"}', '{"id": 3}'])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    for ask in (workspace_id, establish):
        with pytest.raises(UserError, match=r"workspace.json: .* write it back"):
            ask(tmp_path)
