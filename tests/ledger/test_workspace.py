"""Markers decide what is done, so what merely looks like one, or cannot be looked at, decides nothing."""

from __future__ import annotations

import pytest

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


def test_a_file_in_the_stages_place_and_an_impossible_name_have_no_markers(workspace: Workspace) -> None:
    workspace.stage(STAGE).write_text("no folder")
    assert not workspace.is_done(STAGE)
    assert not workspace.has_failed("pretrain-\0")


def test_what_cannot_be_looked_at_is_not_taken_for_absent(workspace: Workspace) -> None:
    with pytest.raises(OSError, match="name too long"):
        workspace.is_done("x" * 5000)
