from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chains import detour, small


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the small quickstart has run to its end. Tests of it are of the xdist group `chain`."""
    workspace = tmp_path_factory.mktemp("chain") / "workspace"
    assert "all 9 stages are done" in detour("run", *small(), "-w", workspace, "--quiet").stdout
    return workspace
