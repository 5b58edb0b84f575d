from __future__ import annotations

import json
import shutil
from pathlib import Path

from detour.evaluation.encoding import encode_task
from detour.evaluation.evaluators import cut_notes
from detour.tasks.loading import load_task
from tests.evaluation.conftest import make_task


def test_documents_stand_between_the_special_tokens_also_where_the_folder_has_no_template(
    model_folder: Path, task_file: Path, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(model_folder, tmp_path / "bare"))
    written = json.loads((bare / "tokenizer.json").read_text())
    (bare / "tokenizer.json").write_text(json.dumps(written | {"post_processor": None}))
    documents = load_task(make_task(), [task_file])
    assert encode_task(documents, bare, 32).test.token_ids == encode_task(documents, model_folder, 32).test.token_ids


def test_documents_are_cut_at_the_encoders_context_and_the_score_says_so(model_folder: Path, task_file: Path) -> None:
    encoded = encode_task(load_task(make_task(), [task_file]), model_folder, 128)
    assert encoded.max_length == 64
    assert cut_notes(128, encoded.max_length) == [
        "documents are cut at 64 tokens, the encoder's context, and the task asks for 128"
    ]
    assert cut_notes(64, 64) == []
