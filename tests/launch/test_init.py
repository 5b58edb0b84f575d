"""`detour init` as a person calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import detour
from detour.config.loading import load_cluster, load_recipe
from detour.launch.init import command


def test_it_writes_what_can_be_planned_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, ["--recipe", "bio"])
    assert result.exit_code == 0
    assert "detour plan bio --cluster my-cluster" in result.output
    assert load_recipe(tmp_path / "configs" / "recipes" / "bio.yaml").name == "bio"
    assert load_cluster("my-cluster").name == "my-cluster"
    planned = detour.plan("bio")
    assert planned.shared.missing == ()
    assert detour.price(planned, "my-cluster", workspace=tmp_path / "workspace").whole is not None


@pytest.mark.parametrize("which", ["recipes/my-recipe.yaml", "clusters/my-cluster.yaml"])
def test_what_is_there_is_left_as_it_is(tmp_path: Path, which: str) -> None:
    mine = tmp_path / "configs" / which
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    result = CliRunner().invoke(command, [str(tmp_path)])
    assert "choose another name" in str(result.exception)
    assert mine.read_text() == "mine"
    assert list(tmp_path.rglob("*.yaml")) == [mine]


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(tmp_path), "--recipe", "../../evil"])
    assert "expected a name" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_another_folder_is_named_in_what_comes_next(tmp_path: Path) -> None:
    assert f"cd {tmp_path}" in CliRunner().invoke(command, [str(tmp_path)]).output
