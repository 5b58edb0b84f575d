"""`detour init` as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import detour
from detour.config.loading import load_cluster, load_recipe
from detour.launch.init import command


def test_init_writes_a_recipe_that_can_be_planned_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_existing_files_are_not_overwritten(tmp_path: Path, which: str) -> None:
    mine = tmp_path / "configs" / which
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    result = CliRunner().invoke(command, [str(tmp_path)])
    assert "choose another name" in str(result.exception)
    assert mine.read_text() == "mine"
    assert list(tmp_path.rglob("*.yaml")) == [mine]


@pytest.mark.parametrize("option", ["--recipe", "--cluster"])
@pytest.mark.parametrize("name", ["../../evil", "MyRecipe", ".hidden", "a b", "x" * 65, "", "bio.yaml", "bio.yml"])
def test_an_invalid_name_is_refused(tmp_path: Path, option: str, name: str) -> None:
    result = CliRunner().invoke(command, [str(tmp_path), option, name])
    assert "expected a name" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--recipe", "--cluster"])
def test_a_name_that_yaml_reads_as_another_type_is_refused_and_nothing_written(tmp_path: Path, option: str) -> None:
    for name in ("true", "2024", "1e5"):
        result = CliRunner().invoke(command, [str(tmp_path), option, name])
        assert str(result.exception).startswith(f"'{name}': YAML reads it as another type than text")
        assert list(tmp_path.iterdir()) == []


def test_the_next_command_quotes_another_folder_for_the_shell(tmp_path: Path) -> None:
    assert f"cd {tmp_path}\n" in CliRunner().invoke(command, [str(tmp_path)]).output
    assert f"cd '{tmp_path}/my project'\n" in CliRunner().invoke(command, [str(tmp_path / "my project")]).output
