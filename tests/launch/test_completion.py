"""Completion, requested by real shells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from detour.launch.completing import SHELLS, script
from detour.ledger.workspace import Workspace
from tests.housekeeping.workspaces import make_workspace

BIN = Path(sys.executable).parent
INPUTS = {"prepare-1": (), "pretrain-0a1b": ("prepare-1",)}
ODD = ("odd;name $(date)", "col:on", "-dash", "~home", "st*r", "o'quote")
ASK_BASH = """
source "$1"
compopt() { :; }  # which only a completion at a prompt may call
IFS=' ' read -ra COMP_WORDS <<< "$2"
[[ "$2" == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_detour_completion detour
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    others = {"base-60k": ("prepare-1",), **dict.fromkeys(ODD, ("prepare-1",))}
    chains = {"base-30k": ("prepare-1", "pretrain-0a1b"), **others}
    return make_workspace(tmp_path, INPUTS, chains)


def in_bash(workspace: Workspace, line: str) -> list[str]:
    file = workspace.root.parent / "completion.bash"
    file.write_text(script("bash"))
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "DETOUR_WORKSPACE": str(workspace.root)}
    command = ["bash", "--norc", "-c", ASK_BASH, "bash", str(file), line]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return [line for line in result.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("detour sub", ["submit"]),
        ("detour hold ", ["base-30k", "base-60k"]),
        ("detour hold base-3", ["base-30k"]),
        ("detour show pretrain-", ["pretrain-0a1b"]),
        ("detour why base-6", ["base-60k"]),
        ("detour gc --dr", ["--dry-run"]),
        ("detour status --state lo", [r"lost\ contact"]),
        ("detour plan quickstart --cluster slurm", ["slurm-local"]),
        ("detour doctor --cluster slurm", ["slurm-local"]),
        ("detour clusters slurm", ["slurm-local"]),
        ("detour show base-60k/", ["base-60k/prepare-1"]),
    ],
)
def test_bash_completes_verbs_options_chains_and_stages(workspace: Workspace, line: str, offered: list[str]) -> None:
    assert in_bash(workspace, line) == offered


def test_the_filter_by_sweep_completes_sweeps(workspace: Workspace) -> None:
    plan = workspace.chain("base-30k") / "plan.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "sweep": "lengths"}))
    assert in_bash(workspace, "detour status --sweep ") == ["lengths"]


def test_recipes_are_completed_by_name(workspace: Workspace) -> None:
    assert {"quickstart", "quickstart-sweep"} <= set(in_bash(workspace, "detour plan quicks"))


def test_a_missing_workspace_has_no_completions(workspace: Workspace) -> None:
    assert in_bash(Workspace(workspace.root / "nowhere"), "detour hold ") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_each_script_is_valid_and_begins_with_how_to_install_it(shell: str, tmp_path: Path) -> None:
    text = script(shell)
    assert f"detour completion {shell} > " in "\n".join(text.splitlines()[:3])
    file = tmp_path / "script"
    file.write_text(text)
    subprocess.run([shell, "-n", str(file)], check=True)


def test_fish_shows_a_description_of_each_word(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "detour.fish"
    file.write_text(script("fish"))
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "DETOUR_WORKSPACE": str(workspace.root)}
    command = ["fish", "--no-config", "-c", f"source {file}; complete -C 'detour hold base-3'"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == "base-30k\tchain\n"
