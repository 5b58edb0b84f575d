from __future__ import annotations

import json
import subprocess
from pathlib import Path

import orjson
import pytest

from detour.checkpoints.provenance import code_version, machine, packages, provenance, uncommitted_changes

PACKAGE = Path("src/detour")


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(
        ["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / PACKAGE).mkdir(parents=True)
    git(root, "init", "-q")
    (root / PACKAGE / "code.py").write_text("x = 1\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "Start")
    return root


def test_a_clean_tree_is_its_commit(repository: Path) -> None:
    assert code_version(repository) == {
        "git_commit": git(repository, "rev-parse", "HEAD"),
        "diff_sha256": None,
        "snapshot": None,
    }


def test_changed_and_new_modules_are_in_the_diff(repository: Path) -> None:
    (repository / PACKAGE / "code.py").write_text("x = 2\n")
    changed = code_version(repository)["diff_sha256"]
    (repository / PACKAGE / "new.py").write_text("y = 3\n")
    assert changed is not None
    assert code_version(repository)["diff_sha256"] not in (None, changed)
    patch = uncommitted_changes(repository)
    assert b"+x = 2" in patch
    assert b"+y = 3" in patch


def test_the_diff_recreates_the_tree(repository: Path, tmp_path: Path) -> None:
    (repository / PACKAGE / "code.py").write_text("x = 2\n")
    (repository / PACKAGE / "new.py").write_text("y = 3\n")
    (tmp_path / "changes.patch").write_bytes(uncommitted_changes(repository))
    git(tmp_path, "clone", "-q", str(repository), "copy")
    git(tmp_path / "copy", "apply", str(tmp_path / "changes.patch"))
    assert (tmp_path / "copy" / PACKAGE / "code.py").read_text() == "x = 2\n"
    assert (tmp_path / "copy" / PACKAGE / "new.py").read_text() == "y = 3\n"


def test_the_diff_contains_only_code(repository: Path) -> None:
    """It is stored with every checkpoint."""
    (repository / "notes.py").write_text("PASSWORD = 'beside the package'\n")
    (repository / PACKAGE / ".env").write_text("TOKEN=untracked\n")
    (repository / ".gitignore").write_text("local.py\n")
    (repository / PACKAGE / "local.py").write_text("TOKEN = 'ignored'\n")
    assert uncommitted_changes(repository) == b""
    assert code_version(repository)["diff_sha256"] is None


def test_without_git_the_version_is_unknown(tmp_path: Path) -> None:
    assert code_version(tmp_path) == {"git_commit": None, "diff_sha256": None, "snapshot": None}


def test_a_folder_inside_a_repository_is_not_that_repository(repository: Path) -> None:
    inside = repository / "site-packages"
    inside.mkdir()
    assert code_version(inside)["git_commit"] is None


def test_a_snapshot_names_its_source(tmp_path: Path) -> None:
    (tmp_path / "snapshot.json").write_text(json.dumps({"digest": "abc"}))
    (tmp_path / "changes.patch").write_bytes(b"+x = 2\n")
    assert code_version(tmp_path)["snapshot"] == {"digest": "abc"}
    assert uncommitted_changes(tmp_path) == b"+x = 2\n"


def test_packages_are_those_installed() -> None:
    assert packages()["orjson"] == orjson.__version__


def test_the_machine_is_described() -> None:
    described = machine()
    assert described["cpus_usable"] >= 1
    assert described["memory_bytes"] > 1 << 20


def test_provenance_can_be_written_as_json() -> None:
    assert set(orjson.loads(orjson.dumps(provenance()))) == {"code", "python", "packages", "machine"}
