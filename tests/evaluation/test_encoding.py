from __future__ import annotations

import json
import shutil
from pathlib import Path

from detour.evaluation.encoding import encode_task
from detour.evaluation.tasks import load_task
from tests.evaluation.conftest import make_task


def test_documents_stand_between_the_special_tokens_also_where_the_folder_has_no_template(
    model_folder: Path, task_file: Path, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(model_folder, tmp_path / "bare"))
    written = json.loads((bare / "tokenizer.json").read_text())
    (bare / "tokenizer.json").write_text(json.dumps(written | {"post_processor": None}))
    documents = load_task(make_task(), [task_file])
    assert encode_task(documents, bare, 32).test.token_ids == encode_task(documents, model_folder, 32).test.token_ids
