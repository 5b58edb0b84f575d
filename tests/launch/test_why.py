"""`detour why` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from detour.diagnosis.pending import Link, Waits
from detour.errors import UserError
from detour.launch.text.why import why_lines
from detour.launch.why import command
from detour.orchestration.why import Pending, why_of_bundle
from tests.diagnosis.cases import cases

CASES = {case["name"]: case for case in cases()}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "ticket.json"
    path.write_text(json.dumps(CASES["gpu: ECC, then the others abort"]["bundle"]))
    return path


def answer(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(one) for one in arguments], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


def test_a_bundle_is_judged_in_80_columns(bundle: Path) -> None:
    shown = answer("--from", bundle).splitlines()
    assert shown[0] == "broken GPU [gpu_fault], confidence high"
    assert shown[1] == "  log line 1: [rank3]: RuntimeError: CUDA error: uncorrectable ECC error"
    assert max(map(len, shown)) <= 80


def test_the_json_is_the_verdict(bundle: Path) -> None:
    text = json.loads(answer("--from", bundle, "--json"))
    assert (text["cause"], text["retry_helps"], text["nodes"]) == ("gpu_fault", True, ["n041"])
    assert [other["cause"] for other in text["others"]] == ["nccl_timeout", "crash"]
    assert text["others"][0]["explained_by"] == "gpu_fault"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("Priority", "  waited 2m00s since it was submitted"), ("Dependency", "  waited 2m00s, and is not eligible yet")],
)
def test_only_a_job_that_slurm_says_is_not_eligible_is_called_so(bundle: Path, reason: str, shown: str) -> None:
    """Without accounts it is not known since when it is eligible."""
    waiting = Pending(Waits(120.0, None), None, (Link("7", "PENDING", reason),))
    assert shown in why_lines([replace(why_of_bundle(bundle), pending=waiting)], 80)


def test_terminal_escapes_in_a_log_are_removed(tmp_path: Path) -> None:
    hostile: dict[str, Any] = {"log_tail": ["ValueError: \x1b]0;owned\x07\x1b[2J"], "sacct": [], "events": []}
    path = tmp_path / "ticket.json"
    path.write_text(json.dumps(hostile))
    assert "\x1b" not in answer("--from", path)
    assert "owned" not in answer("--from", path)
    assert "\\u001b" not in answer("--from", path, "--json")


def test_a_bundle_is_read_from_standard_input_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "ticket.json"
    path.write_text('\ufeff{"log_tail": ["KeyError: 1"], "sacct": [], "events": []}', encoding="utf-8")
    with path.open("rb") as file:
        words = [sys.executable, "-c", "from detour.launch.cli import main; main()", "why", "--from", "-", "--json"]
        found = subprocess.run(words, stdin=file, capture_output=True, check=True, text=True)
    assert json.loads(found.stdout)["cause"] == "code_error"


@pytest.mark.parametrize("content", ["{", "[]", '{"sacct": 3}'])
def test_a_file_that_is_no_bundle_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "ticket.json"
    path.write_text(content)
    result = CliRunner().invoke(command, ["--from", str(path)])
    assert "ticket.json" in str(result.exception)


def test_a_truncated_bundle_is_refused() -> None:
    with pytest.raises(UserError, match="/dev/zero: larger than 64 MiB"):
        why_of_bundle(Path("/dev/zero"))
