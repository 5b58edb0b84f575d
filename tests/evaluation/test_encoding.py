from __future__ import annotations

import json
import shutil
from pathlib import Path

from detour.evaluation.encoding import encode_task
from detour.evaluation.evaluators import length_notes
from detour.tasks.document import Document
from detour.tasks.loading import TaskDocuments, load_task
from tests.evaluation.conftest import make_task


def test_documents_are_enclosed_in_special_tokens_even_without_a_template(
    model_folder: Path, task_file: Path, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(model_folder, tmp_path / "bare"))
    written = json.loads((bare / "tokenizer.json").read_text())
    (bare / "tokenizer.json").write_text(json.dumps(written | {"post_processor": None}))
    documents = load_task(make_task(), [task_file])
    assert encode_task(documents, bare, 32).test.token_ids == encode_task(documents, model_folder, 32).test.token_ids


def test_documents_longer_than_the_context_are_cut_and_the_score_says_so(model_folder: Path, task_file: Path) -> None:
    encoded = encode_task(load_task(make_task(), [task_file]), model_folder, 128)
    assert encoded.max_length == 64
    assert length_notes(make_task(max_length=128), encoded.max_length) == [
        "documents are cut at 64 tokens, the encoder's context, and the task asks for 128"
    ]
    assert length_notes(make_task(max_length=64), 64) == []


def test_documents_of_an_entity_task_are_not_said_to_be_cut() -> None:
    task = make_task(type="ner", entities="nested", max_length=128, data={"path": "t.jsonl"}, pooling="first")
    assert length_notes(task, 64) == [
        "windows of documents have 64 tokens, the encoder's context, and the task asks for 128"
    ]


def test_documents_read_only_in_part_are_counted(model_folder: Path) -> None:
    texts = ("coeur", "coeur cerveau", "coeur cerveau poumon")
    documents = tuple(Document(text, frozenset("a")) for text in texts)
    splits = TaskDocuments(documents, documents[:1], documents[2:], {}, {})
    whole = encode_task(splits, model_folder, 64)
    _, second, _ = whole.train.lengths
    cut = encode_task(splits, model_folder, second)
    assert cut.train.token_ids[:2] == whole.train.token_ids[:2]
    assert cut.train.token_ids[2] == [*whole.train.token_ids[2][: second - 1], whole.train.token_ids[2][-1]]
    assert whole.notes == []
    assert cut.notes == [f"documents longer than {second} tokens, of which the beginning is read: train 1, test 1"]
