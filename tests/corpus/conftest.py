from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.corpora import make_corpus


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), documents=100) / "tokenizer"
