"""Which files an entry of a task means, which split they are, and what makes its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detour.config.models import TaskData
from detour.errors import UserError
from detour.orchestration.plans import inspect_entry
from detour.tasks.document import Document
from detour.tasks.files import task_files
from detour.tasks.splits import split_by_files
from tests.support.layouts import brat
from tests.support.recipes import load_benchmark


def data(path: Path | str, **more: Any) -> TaskData:
    return TaskData.model_validate({"path": str(path), "reader": "brat", **more})


def test_a_folder_means_its_files_of_the_layout_and_a_file_itself_with_its_companion(tmp_path: Path) -> None:
    brat(tmp_path / "train", "a", "coeur", [("coeur", 0)])
    (tmp_path / "train" / "a.ann~").touch()
    (tmp_path / "train" / "visual.conf").touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "b.txt").touch()
    both = [tmp_path / "train" / "a.ann", tmp_path / "train" / "a.txt"]
    assert task_files(data(tmp_path)) == both
    assert task_files(data(tmp_path / "*" / "a.txt")) == both


def test_a_file_of_a_layout_with_one_file_per_document_is_read_by_itself_whatever_its_suffix(tmp_path: Path) -> None:
    for name in ("notes.jsonl", "notes.ndjson", "notes.jsonl.gz"):
        (tmp_path / name).touch()
    assert task_files(data(tmp_path / "notes.jsonl", reader="spans")) == [tmp_path / "notes.jsonl"]
    assert task_files(data(tmp_path / "notes.jsonl.gz", reader="spans")) == [tmp_path / "notes.jsonl.gz"]


def test_a_missing_file_is_named_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file or folder: expected a folder of ID.txt and ID.ann"):
        task_files(data(tmp_path / "none"))
    with pytest.raises(UserError, match=r"has no .txt or .ann file"):
        task_files(data(tmp_path))
    (tmp_path / "table.csv").write_text("text,label\n")
    with pytest.raises(UserError, match=r"table\.csv: has no \.txt or \.ann file: expected a folder of ID.txt"):
        task_files(data(tmp_path / "table.csv"))


def test_a_folder_of_files_with_other_suffixes_is_read_by_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "train.txt").touch()
    with pytest.raises(UserError, match=r"other suffixes give a pattern, such as .*/\*\.txt"):
        task_files(data(tmp_path, reader="bio"))
    assert task_files(data(tmp_path / "*.txt", reader="bio")) == [tmp_path / "train.txt"]
    with pytest.raises(UserError, match=r"/\*\.bio: no match$"):
        task_files(data(tmp_path / "*.bio", reader="bio"))


def test_an_uncached_hub_data_set_is_named_with_the_command_that_fetches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"where the hub can be reached: hf download some/set --repo-type dataset"):
        task_files(data("data", hub="some/set"))


def test_a_cached_hub_data_set_is_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "datasets--some--set"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    brat(repository / "snapshots" / ("a" * 40) / "data" / "test", "a", "coeur", [("coeur", 0)])
    assert [path.name for path in task_files(data("data", hub="some/set"))] == ["a.ann", "a.txt"]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train/a.txt", "dev/a.txt", "test/a.txt"), ("train", "validation", "test")),
        (("corpus/train/X/test_1.txt", "corpus/test/X/a.txt"), ("train", "test")),
        (("train-00000-of-00001.parquet", "validation-0.parquet"), ("train", "validation")),
        (("BC5_devel.tsv", "BC5_Train.tsv"), ("validation", "train")),
    ],
)
def test_the_split_is_named_by_the_nearest_folder_or_a_word_of_the_file_name(
    names: Any, splits: Any, tmp_path: Path
) -> None:
    paths = [tmp_path / "test" / name for name in names]
    documents = split_by_files([Document("x", path=path) for path in paths], paths)
    assert tuple(document.split for document in documents) == splits


@pytest.mark.parametrize("name", ["notes.jsonl", "train_and_test.jsonl"])
def test_a_file_that_names_no_split_or_two_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`split_files` expects one of train, dev, validation and test"):
        split_by_files([], [tmp_path / name])


def test_moving_a_document_to_another_split_changes_the_content(tmp_path: Path) -> None:
    brat(tmp_path / "train", "a", "coeur", [("coeur", 0)])
    brat(tmp_path / "test", "b", "fièvre", [("fièvre", 0)])
    before = inspect_entry(data(tmp_path, split_files=True))
    assert before is not None
    assert [file.name for file in before.files] == ["test/b.ann", "test/b.txt", "train/a.ann", "train/a.txt"]
    for suffix in ("txt", "ann"):
        (tmp_path / "train" / f"a.{suffix}").rename(tmp_path / "test" / f"a.{suffix}")
    after = inspect_entry(data(tmp_path, split_files=True))
    assert after is not None
    assert after.files != before.files


def test_an_unreadable_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brat(tmp_path / "train", "a", "coeur", [("coeur", 0)])
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr("os.access", lambda path, _mode: Path(path).name != "closed")
    with pytest.raises(UserError, match="closed: cannot be searched: permission denied"):
        task_files(data(tmp_path))


def test_an_unreadable_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brat(tmp_path, "a", "coeur", [("coeur", 0)])

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"a\.ann: cannot be read: Permission denied$"):
        task_files(data(tmp_path))


def test_a_document_without_a_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="document 'n': its reader gives it no `path`"):
        split_by_files([Document("x", name="n")], [tmp_path / "train.txt"])


def test_a_path_in_a_hub_data_set_stays_relative_to_it(tmp_path: Path) -> None:
    task = "{name: t, type: ner, data: {hub: some/set, path: data/*.jsonl, reader: spans, split_files: true}, "
    (tmp_path / "b.yaml").write_text(f"name: b\nseeds: [1]\ntasks:\n  - {task}max_length: 8, steps: 1}}\n")
    read = load_benchmark(tmp_path / "b.yaml").tasks[0].data
    assert read is not None
    assert read.path == "data/*.jsonl"
