from __future__ import annotations

from pathlib import Path

import pytest

from tests.pretraining.jobs import write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "output")


@pytest.fixture(autouse=True)
def _every_test_on_one_thread(one_thread: None) -> None:
    pass
