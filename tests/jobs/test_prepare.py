"""The prepare stage, planned from a recipe and run; mostly the quickstart's."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detour.corpus.files import SourceError
from detour.corpus.layout import read_index
from detour.corpus.packing import PackedRows
from detour.corpus.tokenizer import TokenizerError, load_tokenizer
from detour.errors import Interrupted
from detour.files import sha256_file
from detour.jobs.context import StageContext
from detour.jobs.prepare import run
from detour.ledger.attempt import Attempt
from detour.orchestration.plans import inspect_entry, load_plans
from detour.planning.build import Planner
from detour.planning.stage import PrepareStage
from tests.support.corpora import icd10_labels
from tests.support.recipes import make_recipe
from tests.support.stages import of_class

QUICKSTART = Path(__file__).parents[2] / "configs" / "recipes" / "quickstart.yaml"


def context(stage: PrepareStage, folder: Path, attempt: Attempt | None = None) -> StageContext[PrepareStage]:
    for name in ("work", "output"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return StageContext(stage, {}, folder / "work", folder / "output", attempt or Attempt())


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def quickstart() -> PrepareStage:
    (plan,) = load_plans(QUICKSTART).plans
    return of_class(plan.stages, PrepareStage)


@pytest.fixture(scope="module")
def done(quickstart: PrepareStage, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Any]]:
    folder = tmp_path_factory.mktemp("prepare")
    return folder / "output", run(context(quickstart, folder))


def test_the_quickstart_gets_its_corpus(done: tuple[Path, Mapping[str, Any]]) -> None:
    output, result = done
    index = read_index(output)
    assert result["documents"] == len(icd10_labels()) == index.documents
    assert result["tokens"] == index.tokens
    assert 180_000 < result["tokens"] < 240_000
    assert result["vocabulary"] == 4096
    assert result["tokens_per_s"] > 0
    assert result["sources"]["icd10-labels"]["excluded_documents"] == 42_886 - len(icd10_labels())
    assert len(PackedRows(output, "validation", 512, 42)) == 20


def test_its_rows_decode_to_french_labels(done: tuple[Path, Mapping[str, Any]]) -> None:
    output, _ = done
    tokenizer = load_tokenizer(str(output / "tokenizer"))
    row = PackedRows(output, "train", 512, 42).row(3)
    start, stop = row.cu_seqlens[1:3].tolist()
    ids = row.input_ids[start:stop].tolist()
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert tokenizer.decode(ids[1:-1]) in icd10_labels()


def test_a_stopped_preparation_resumed_elsewhere_is_identical_to_the_byte(
    quickstart: PrepareStage, done: tuple[Path, Mapping[str, Any]], tmp_path: Path
) -> None:
    stopped = Attempt()
    stopped.request_stop("wall-time limit")
    with pytest.raises(Interrupted, match="wall-time limit"):
        run(context(quickstart, tmp_path, stopped))
    run(context(quickstart, tmp_path))
    assert digests(tmp_path / "output") == digests(done[0])


def stage_of(tmp_path: Path, text: str, **changes: Any) -> PrepareStage:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    source = {"name": "labels", "path": str(path), "column": "text"}
    data = {"sources": [source], "sequence_length": 64, "validation_tokens": 64}
    return of_class(Planner(inspect_entry).plan(make_recipe({"data": data, **changes})).stages, PrepareStage)


CSV = "text\n" + "".join(f'"{label}"\n' for label in icd10_labels()[:300])


def test_a_published_tokenizer_is_copied_from_its_folder(done: tuple[Path, Mapping[str, Any]], tmp_path: Path) -> None:
    published = done[0] / "tokenizer"
    stage = stage_of(tmp_path, CSV, tokenizer={"pretrained": str(published)})
    result = run(context(stage, tmp_path))
    assert result["vocabulary"] == 4096
    assert digests(tmp_path / "output/tokenizer") == digests(published)


def test_files_changed_after_planning_are_refused(tmp_path: Path) -> None:
    stage = stage_of(tmp_path, CSV)
    (tmp_path / "labels.csv").write_text(CSV + '"autre"\n')
    with pytest.raises(SourceError, match=r"labels\.csv: its content changed after the chain was planned"):
        run(context(stage, tmp_path))


def test_an_edit_of_equal_length_in_a_large_file_is_another_corpus(tmp_path: Path) -> None:
    text = "text\n" + "Le patient Martin est revu ce jour.\n" * 150_000
    place = text.index("Martin", len(text) // 3)
    edited = text[:place] + "XXXXXX" + text[place + 6 :]
    assert stage_of(tmp_path, text).key != stage_of(tmp_path, edited).key


def test_a_tokenizer_folder_changed_after_planning_is_refused(
    done: tuple[Path, Mapping[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "published"
    shutil.copytree(done[0] / "tokenizer", folder)
    stage = stage_of(tmp_path, CSV, tokenizer={"pretrained": str(folder)})
    (folder / "added_tokens.json").write_text("{}")
    with pytest.raises(SourceError, match="published: files were added or removed after the chain was planned"):
        run(context(stage, tmp_path))
    (folder / "added_tokens.json").unlink()
    with (folder / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(SourceError, match=r"tokenizer\.json: its content changed after the chain was planned"):
        run(context(stage, tmp_path))


def test_files_that_were_never_found_are_refused(tmp_path: Path) -> None:
    stage = stage_of(tmp_path, CSV)
    runtime = replace(stage.runtime, source_paths={"labels": ()})
    with pytest.raises(SourceError, match="source labels: no file was found"):
        run(context(PrepareStage(stage.settings, {}, runtime), tmp_path))


def test_a_folder_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    stage = stage_of(tmp_path, CSV, tokenizer={"pretrained": str(tmp_path / "empty")})
    with pytest.raises(TokenizerError, match="cannot be loaded"):
        run(context(stage, tmp_path))
