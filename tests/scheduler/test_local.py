"""What a local job cannot be started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from detour.errors import UserError
from detour.scheduler.local import start


@pytest.mark.parametrize("name", ["a%jb", "%t", "x%A", "%a"])
def test_a_path_that_submitit_takes_for_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    workspace = tmp_path / name
    with pytest.raises(UserError, match="cannot hold local runs' logs"):
        start(workspace, ["prepare-0"], workspace / "logs")
    assert not workspace.exists()
