from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.bad_recipes import BENCHMARK, GOOD


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes next to their benchmarks, as in a user's project."""
    folder = tmp_path / "configs" / "recipes"
    folder.mkdir(parents=True)
    (tmp_path / "configs" / "benchmarks").mkdir()
    (tmp_path / "configs" / "benchmarks" / "bench.yaml").write_text(BENCHMARK)
    (folder / "good.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DETOUR_NOWHERE", raising=False)
    return folder
