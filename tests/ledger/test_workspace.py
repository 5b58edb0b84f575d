"""Markers decide what is done; a file that only looks like one, or cannot be read, decides nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from detour.errors import UserError
from detour.ledger.workspace import Workspace

STAGE = "pretrain-1"


def test_markers_are_files(workspace: Workspace) -> None:
    assert not workspace.is_done(STAGE)
    assert not workspace.has_failed(STAGE)
    workspace.output(STAGE).mkdir(parents=True)
    workspace.manifest(STAGE).mkdir()
    assert not workspace.is_done(STAGE)
    workspace.manifest(STAGE).rmdir()
    workspace.manifest(STAGE).write_text("{}")
    workspace.failure(STAGE).write_text("{}")
    assert workspace.is_done(STAGE)
    assert workspace.has_failed(STAGE)


def test_a_file_in_place_of_a_stage_and_an_impossible_name_have_no_markers(workspace: Workspace) -> None:
    workspace.stage(STAGE).write_text("no folder")
    assert not workspace.is_done(STAGE)
    assert not workspace.has_failed("pretrain-\0")


def test_an_unreadable_marker_does_not_count_as_absent(workspace: Workspace) -> None:
    with pytest.raises(OSError, match="name too long"):
        workspace.is_done("x" * 5000)


def test_a_command_names_the_workspace_only_if_it_is_not_the_default(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETOUR_WORKSPACE", str(workspace.root))
    assert workspace.command("why", "base") == "detour why base"
    assert Workspace(Path("/my data")).command("why", "base") == "detour why -w '/my data' base"


def test_a_name_that_looks_like_an_option_is_separated_in_a_command(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETOUR_WORKSPACE", str(workspace.root))
    assert workspace.command("hold", "-x", "it's", options=("--stage", "mlm")) == (
        "detour hold --stage mlm -- -x 'it'\"'\"'s'"
    )


@pytest.mark.parametrize("letter", ["\n", "\0", "\r", "\x1b", "\udcff"])
def test_a_path_that_no_batch_script_can_contain_is_refused_with_the_reason(letter: str) -> None:
    with pytest.raises(UserError, match="control character or bytes that are not UTF-8"):
        Workspace.find(Path(f"/scratch/a{letter}b"))


def test_blanks_quotes_percent_signs_and_backslashes_are_allowed() -> None:
    assert Workspace.find(Path("/a b'\"%\\é")).root == Path("/a b'\"%\\é")


def test_an_empty_variable_counts_as_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise `DETOUR_WORKSPACE=$UNSET` would fill the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETOUR_WORKSPACE", "")
    assert Workspace.find().root == tmp_path / "workspace"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a notebook nor a shell, in `--workspace=~/runs`, expands it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DETOUR_WORKSPACE", "~/runs")
    assert Workspace.find("~/runs").root == Workspace.find().root == tmp_path / "runs"


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match=r"file: is not a folder; choose another with --workspace or \$DETOUR_WORKSPACE"
    ):
        Workspace.find(tmp_path / "file")
