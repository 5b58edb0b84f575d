"""`detour card` as a user calls it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from detour.errors import DetourError
from detour.launch.card import command
from detour.ledger.workspace import Workspace
from tests.cards.made_up import CARD, run_chain
from tests.support.invoking import invoke

call = partial(invoke, command)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_chain(Workspace(tmp_path_factory.mktemp("workspace")), "made-up").root


def test_a_card_is_written_with_its_model_and_can_be_verified(workspace: Path) -> None:
    assert call("made-up", "-w", workspace).output == f"Card and model written to {workspace}/hub/made-up\n"
    assert call("verify", workspace / "hub" / "made-up", "-w", workspace).exit_code == 0


def test_a_card_can_be_printed_before_it_is_written(workspace: Path, tmp_path: Path) -> None:
    about = tmp_path / "about.yaml"
    about.write_text("title: A Title\n")
    shown = call("made-up", "-w", workspace, "--about", about, "--method", "card", "--print").output
    assert "# A Title\n" in shown
    assert "emissions: 456.96\n" in shown


def test_why_a_model_is_not_compared_is_a_warning_and_no_local_path_is_in_the_card(
    workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "published.csv").write_text("model;task\n")
    about = tmp_path / "about.yaml"
    about.write_text(f"compare_with: [not-run-yet, {tmp_path}/published.csv]\n")
    result = call("made-up", "-w", workspace, "--about", about, "--print")
    assert "- not compared with not-run-yet: its scores are missing\n" in result.stdout
    assert "- not compared with published.csv: its scores are missing\n" in result.stdout
    assert str(tmp_path) not in result.stdout
    assert str(workspace) not in result.stdout
    assert f"warning: not compared with published.csv: {tmp_path}/published.csv" in result.stderr


@pytest.mark.parametrize("more", [("--print",), ()])
def test_a_mistake_in_a_template_is_named_with_its_file(workspace: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    template = tmp_path / "ours.md"
    template.write_text("\n{% if %}")
    result = call("made-up", "-w", workspace, "--template", template, *more)
    assert str(result.exception).startswith(f"{template}:2: ")


def test_wrong_figures_of_a_card_are_listed_with_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text(CARD)
    result = call("verify", tmp_path / "card.md", "-w", tmp_path)
    assert "✗ average of Older: stated 61, its 6 scores give 60.00" in result.output
    assert isinstance(result.exception, DetourError)
    assert result.exception.exit_code == 2
    found = json.loads(call("verify", tmp_path / "card.md", "-w", tmp_path, "--json").stdout)
    assert {one["verdict"] for one in found} == {"holds", "differs", "computed", "unknown"}


@pytest.mark.parametrize(
    ("option", "value"), [("--power", "nan"), ("--power", "0"), ("--pue", "0.9"), ("--pue", "inf"), ("--factor", "-1")]
)
def test_an_impossible_constant_is_refused(option: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text(CARD)
    result = call("verify", tmp_path / "card.md", "-w", tmp_path, option, value)
    assert (result.exit_code, f"Invalid value for '{option}'" in result.output) == (2, True)


def test_the_shipped_about_file_is_read() -> None:
    from detour.cards.about_file import about_chain

    assert about_chain("quickstart").languages == ("fr",)
