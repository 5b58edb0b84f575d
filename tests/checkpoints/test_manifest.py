from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from detour.checkpoints.manifest import read_manifest, verify_manifest, write_manifest


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights.bin").write_bytes(bytes(range(256)) * 100)
    (folder / "result.json").write_text("{}")
    return folder


def test_a_finished_output_is_valid(output: Path) -> None:
    manifest = write_manifest(output, {"stage": "export"})
    assert verify_manifest(output) == []
    assert list(manifest["files"]) == ["model/weights.bin", "result.json"]
    assert manifest["files"]["model/weights.bin"]["size_bytes"] == 25600
    assert read_manifest(output) == manifest
    assert manifest["provenance"] == {"stage": "export"}


def test_equal_outputs_have_equal_digests_for_any_user(output: Path) -> None:
    first = write_manifest(output, {"attempt": 1})
    assert write_manifest(output, {"attempt": 2})["sha256"] == first["sha256"]
    (output / "result.json").write_text("[]")
    assert write_manifest(output, {"attempt": 1})["sha256"] != first["sha256"]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / "result.json").unlink(), "result.json: missing"),
        (lambda folder: (folder / "result.json").write_text("{} "), "result.json: 3 bytes instead of 2"),
        (lambda folder: (folder / "result.json").write_text("[]"), "result.json: its SHA-256 is not"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda folder: (folder / "manifest.json").write_text('{"sch'), "manifest.json: not readable"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "not a manifest of schema 1"),
    ],
)
def test_damage_is_named(output: Path, damage: Callable[[Path], None], problem: str) -> None:
    write_manifest(output, {})
    damage(output)
    (found,) = verify_manifest(output)
    assert problem in found


def test_a_manifest_edited_to_match_a_changed_file_is_detected(output: Path) -> None:
    manifest = write_manifest(output, {})
    manifest["files"]["result.json"]["size_bytes"] = 3
    (output / "manifest.json").write_text(json.dumps(manifest))
    assert "changed after it was written" in verify_manifest(output)[0]


def test_a_link_is_refused(output: Path) -> None:
    (output / "link").symlink_to(output / "result.json")
    with pytest.raises(ValueError, match="link: neither a file nor a directory"):
        write_manifest(output, {})
