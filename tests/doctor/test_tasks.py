"""`detour doctor --tasks`: which data sets are there, and where to put the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from detour.launch.doctor import command
from tests.support.layouts import write_frasimed, write_quaero


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The French benchmark with two of its data sets and one invalid line."""
    root = tmp_path_factory.mktemp("tasks")
    write_quaero(root)
    write_frasimed(root, "DISTEMIST-FRASIMED", "SNOMED")
    (root / "FRASIMED" / "DISTEMIST-FRASIMED" / "es-3.ann").write_text("T1\tx 0 999\ty\n")
    arguments = ["--tasks", "moderncamembert-bio-base"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETOUR_TASKS", str(root))
        as_json = CliRunner().invoke(command, [*arguments, "--json"])
        result = CliRunner().invoke(command, arguments)
    result.json = json.loads(as_json.output)  # type: ignore[attr-defined]
    return result


def test_each_task_is_ready_missing_or_a_problem(answer: Result) -> None:
    tasks = answer.json["tasks"]  # type: ignore[attr-defined]
    states = {task["task"]: task["state"] for task in tasks}
    assert states == {
        "diamed": "missing",
        "meddialog-fr": "missing",
        "fracco-30": "missing",
        "fracco-100": "missing",
        "cantemist-fr": "missing",
        "distemist-fr": "problem",
        "emea": "ready",
        "medline": "ready",
    }
    assert answer.exit_code == 2


def test_missing_files_are_named_with_place_layout_and_origin(answer: Result) -> None:
    text = " ".join(answer.output.split())
    assert "FRASIMED/CANTEMIST-FRASIMED: no such file or folder: expected a folder of ID.txt and ID.ann" in text
    assert "from: FRASIMED (Zenodo): the folder CANTEMIST-FRASIMED" in text
    assert "es-3.ann: line 1: the span ends at 999" in text
    assert "ready emea (ner): 12 + 12 + 12 documents, 3 labels" in text
    assert answer.output.splitlines()[-1] == "8 tasks: 2 ready, 5 missing, 1 problem."
    assert max(map(len, answer.output.splitlines())) <= 100


def test_lines_fit_the_width_of_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETOUR_TASKS", str(tmp_path / "nothing"))
    monkeypatch.setenv("COLUMNS", "80")
    message = CliRunner().invoke(command, ["--tasks", "moderncamembert-bio-base"]).output.splitlines()
    assert 70 < max(map(len, message)) <= 80
