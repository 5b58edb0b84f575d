"""The project file, which names the authors of a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from detour.config.problems import RecipeError
from detour.config.project import load_project


def test_the_project_file_is_found_next_to_the_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_project() is None
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "project.yaml").write_text("name: Detours\npeople: [A, B]\nreleased: [base]\n")
    project = load_project()
    assert project is not None
    assert (project.name, project.people, project.released, project.grant) == ("Detours", ("A", "B"), ("base",), None)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("grant: A1\n", "name"),
        ("name: D\ngrand: A1\n", "grand"),
        ("name: D\nequivalents: [{name: km, grams: 0, source: s}]\n", "equivalents"),
        ("name: D\nequivalents: [{name: km, grams: 100}]\n", "source"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path: Path, written: str, problem: str) -> None:
    file = tmp_path / "project.yaml"
    file.write_text(written)
    with pytest.raises(RecipeError, match=rf"project\.yaml.*{problem}"):
        load_project(file)
