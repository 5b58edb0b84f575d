"""Every shipped task reads files in its published layout, with all its peculiarities."""

from __future__ import annotations

from pathlib import Path

import pytest

from detour.config.models import Task
from detour.tasks.files import task_files
from detour.tasks.loading import TaskDocuments, load_task
from tests.support.layouts import ENGLISH, write_all
from tests.support.recipes import load_benchmark

BENCHMARKS = Path(__file__).parents[2] / "configs" / "benchmarks"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TaskDocuments]:
    """Every task of the French benchmark and three of the English one, from made-up files."""
    root = tmp_path_factory.mktemp("tasks")
    write_all(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETOUR_TASKS", str(root))
        tasks = [*load_benchmark(BENCHMARKS / "french-biomedical.yaml").tasks]
        tasks += [task for task in load_benchmark(BENCHMARKS / "english-biomedical.yaml").tasks if task.name in ENGLISH]
    return {task.name: load_task(task, _files(task)) for task in tasks}


def _files(task: Task) -> list[Path]:
    assert task.data is not None
    return task_files(task.data)


def test_splits_are_the_published_ones_or_80_10_10(loaded: dict[str, TaskDocuments]) -> None:
    sizes = {name: (len(task.train), len(task.validation), len(task.test)) for name, task in loaded.items()}
    own, drawn, quaero = (16, 8, 8), (32, 4, 4), (12, 12, 12)
    assert sizes == {
        "diamed": own,
        "meddialog-fr": own,
        "fracco-30": drawn,
        "fracco-100": drawn,
        "cantemist-fr": drawn,
        "distemist-fr": drawn,
        "emea": quaero,
        "medline": quaero,
        "chemprot": own,
        "bc5cdr": (16, 16, 16),
        "hoc": own,
    }


def test_diamed_cases_without_a_code_are_left_out_and_counted(loaded: dict[str, TaskDocuments]) -> None:
    assert loaded["diamed"].dropped == {"no code": 3, "several cases in one": 3}
    assert "3 rows are left out: no code" in loaded["diamed"].notes
    assert "I00-I99 Maladies de l'appareil circulatoire" in loaded["diamed"].labels


def test_a_meddialog_question_comes_with_its_answer(loaded: dict[str, TaskDocuments]) -> None:
    document = loaded["meddialog-fr"].train[0]
    assert document.text.startswith("Question: ")
    assert document.text.endswith(" ?\n\nRéponse: répose .")
    assert loaded["meddialog-fr"].labels == ("C01", "C02", "C03", "C04")


def test_fracco_reads_only_the_requested_annotations_and_splits_their_codes(
    loaded: dict[str, TaskDocuments],
) -> None:
    assert loaded["fracco-30"].labels == ("8000/3", "C01", "C02", "C03", "C04")


def test_the_labels_of_frasimed_are_the_codes_of_its_notes(loaded: dict[str, TaskDocuments]) -> None:
    assert loaded["cantemist-fr"].labels == ("C01", "C02", "C03", "C04")
    assert all(document.labels for document in loaded["distemist-fr"].test)


def test_other_files_in_a_quaero_folder_are_skipped(loaded: dict[str, TaskDocuments]) -> None:
    assert loaded["emea"].labels == ("ANAT", "CHEM", "DISO")
    assert loaded["medline"].entity_counts["test"].entities >= 12


def test_a_quotation_mark_in_a_tsv_is_text(loaded: dict[str, TaskDocuments]) -> None:
    assert all(document.text.startswith('"') for document in loaded["chemprot"].train)


def test_tagged_tokens_become_texts_with_spans(loaded: dict[str, TaskDocuments]) -> None:
    for document in loaded["bc5cdr"].test:
        found = {document.text[entity.start : entity.end] for entity in document.entities}
        assert found == {word for word in ("coeur", "cerveau", "fièvre", "aspirine") if word in document.text}
