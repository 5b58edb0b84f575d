from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.checkpoints.tiny import tiny_model


@pytest.fixture(autouse=True)
def _every_test_on_one_thread(one_thread: None) -> None:
    pass


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as its authors would publish it; `folder` is a copy to modify."""
    folder = tmp_path_factory.mktemp("published")
    tiny_model().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "model"))
