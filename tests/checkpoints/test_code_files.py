"""Which files of a checkout are code: those that git tracks, and new modules."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from detour.checkpoints.code_files import CODE_ROOT, code_files

SECRET = "TOKEN=hf_123\n"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def places(root: Path) -> list[str]:
    return [str(place) for place in code_files(root).files]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A checkout without git."""
    root = tmp_path / "checkout"
    write(root, {"src/detour/__init__.py": "", "src/detour/page.html": "<p>", "launch/cli.py": "", "jobs/py.typed": ""})
    write(root, {".gitignore": "local.py\n__pycache__/\n", "configs/recipes/own.yaml": "name: own\n"})
    for name in ("jobs", "launch", "configs"):
        (root / "src/detour" / name).symlink_to(f"../../{name}")
    return root


@pytest.fixture
def checkout(package: Path) -> Path:
    git = ["git", "-C", str(package), "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    return package


COMMITTED = ["__init__.py", "jobs/py.typed", "launch/cli.py", "page.html"]


def test_tracked_files_of_the_package_with_launch_and_jobs_are_code(checkout: Path) -> None:
    assert places(checkout) == COMMITTED
    assert code_files(checkout).files[Path("launch/cli.py")] == checkout / "launch/cli.py"


def test_a_new_module_is_code(checkout: Path) -> None:
    write(checkout, {"launch/new.py": "", "src/detour/ledger/new.py": ""})
    assert places(checkout) == sorted([*COMMITTED, "launch/new.py", "ledger/new.py"])
    assert code_files(checkout).left_out == ()


@pytest.mark.parametrize("name", ["launch/.env", "src/detour/.env", "src/detour/notes.txt", "jobs/local.py"])
def test_untracked_files_are_left_out_and_named(name: str, checkout: Path) -> None:
    write(checkout, {name: SECRET})
    assert places(checkout) == COMMITTED
    assert code_files(checkout).left_out == (name,)


def test_bytecode_is_left_out_silently(checkout: Path) -> None:
    write(checkout, {"launch/__pycache__/cli.cpython-311.pyc": ""})
    assert places(checkout) == COMMITTED
    assert code_files(checkout).left_out == ()


def test_a_deleted_module_is_no_code(checkout: Path) -> None:
    (checkout / "launch/cli.py").unlink()
    assert "launch/cli.py" not in places(checkout)


def test_a_hook_of_another_repository_changes_nothing(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "other")], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    assert places(checkout) == COMMITTED


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_checkout_of_another_user_is_read_too(checkout: Path) -> None:
    write(checkout, {"jobs/local.py": SECRET})
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    assert places(checkout) == COMMITTED


def test_without_git_files_are_code_by_their_suffix(package: Path) -> None:
    write(package, {"src/detour/.env": SECRET, "launch/token": SECRET})
    assert places(package) == COMMITTED
    assert code_files(package).left_out == ("src/detour/.env", "src/detour/launch/token")


def test_an_installed_package_is_code_without_other_files_in_its_folder(tmp_path: Path) -> None:
    write(tmp_path, {"detour/__init__.py": "", "detour/launch/cli.py": "", "detour/.env": SECRET, "other/a.py": ""})
    write(tmp_path, {"detour/configs/recipes/own.yaml": "", "detour/__pycache__/a.pyc": ""})
    assert places(tmp_path) == ["__init__.py", "launch/cli.py"]
    assert code_files(tmp_path).left_out == ("detour/.env",)


def test_this_package_is_the_same_with_and_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, a suffix is missing in `KINDS`."""
    tracked = code_files(CODE_ROOT).files
    monkeypatch.setitem(os.environ, "PATH", "")
    assert list(code_files(CODE_ROOT).files) == list(tracked)
