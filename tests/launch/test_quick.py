"""Answers without click equal those of click."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import detour
from detour.config.loading import load_cluster
from detour.launch.quick import answered
from detour.launch.status import command
from detour.launch.verbs import detour as verbs
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import write_chains

CHAIN = "quickstart-clm-decay-30k"
OPTIONS = [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four chains, in the default workspace of the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DETOUR_WORKSPACE", raising=False)
    place = Workspace(tmp_path / "workspace")
    place.create()
    write_chains(place, detour.plan("quickstart-sweep").plans, load_cluster("local"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["-h"],
        ["status"],
        ["status", CHAIN],
        ["status", "-w", "workspace"],
        ["status", "--workspace", "workspace", CHAIN],
    ],
)
@pytest.mark.usefixtures("workspace")
def test_the_answer_equals_that_of_click(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(arguments)
    assert capsys.readouterr().out == CliRunner().invoke(verbs, arguments).output


@pytest.mark.usefixtures("workspace")
def test_a_tilde_in_the_variable_is_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    monkeypatch.setenv("DETOUR_WORKSPACE", "~/workspace")
    assert answered(["status"])
    assert CHAIN in capsys.readouterr().out


def test_a_link_before_two_dots_is_followed(
    node_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("near", "far"):
        place = Workspace(tmp_path / name / "workspace")
        place.create()
        write_chains(place, detour.plan("quickstart").plans if name == "far" else (), load_cluster("local"))
    (tmp_path / "far" / "inside").mkdir()
    (tmp_path / "near" / "link").symlink_to(tmp_path / "far" / "inside")
    monkeypatch.chdir(tmp_path / "near")
    for folder, shown in (
        ("link/../workspace", "quickstart"),
        ("workspace", "No chain"),
        ("link/../workspace", "quick"),
    ):
        assert answered(["status", "-w", folder])
        assert shown in capsys.readouterr().out
    assert list(node_folder.glob("*/*.status-*"))


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.startswith("-")])
def test_every_other_option_is_left_to_click(option: str) -> None:
    if option not in ("-w", "--workspace"):
        assert not answered(["status", option])
    assert not answered(["status", CHAIN, option])


@pytest.mark.parametrize("arguments", [[], ["plan"], ["status", "-w"], ["status", "-w", "nowhere"], ["help"]])
def test_incomplete_and_wrong_arguments_are_left_to_click(arguments: list[str]) -> None:
    assert not answered(arguments)


@pytest.mark.parametrize("arguments", [["--help"], ["status", "-w", "."]])
def test_click_is_not_imported(arguments: list[str], tmp_path: Path) -> None:
    code = f"import sys; sys.argv[1:] = {arguments!r}; from detour.launch.cli import main\n"
    code += "try: main()\nfinally: print('click' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "False\n"
