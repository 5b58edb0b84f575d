"""Settings with which a local job cannot start."""

from __future__ import annotations

from pathlib import Path

import pytest

from detour.errors import UserError
from detour.scheduler import local
from detour.scheduler.local import start


@pytest.mark.parametrize("name", ["a%jb", "%t", "x%A", "%a"])
def test_a_path_that_submitit_would_expand_is_refused(tmp_path: Path, name: str) -> None:
    workspace = tmp_path / name
    with pytest.raises(UserError, match="cannot hold local runs' logs"):
        start(workspace, ["prepare-0"], workspace / "logs")
    assert not workspace.exists()


@pytest.mark.parametrize("gpus", [(), ("1",), ("GPU-8f0a", "0"), ("MIG-0f0f",)])
def test_a_job_sees_exactly_the_gpus_that_it_was_given(
    tmp_path: Path, gpus: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.setattr(local, "job_command", lambda *_: "printenv CUDA_VISIBLE_DEVICES")
    job = start(tmp_path, ["prepare-0"], tmp_path / "logs", gpus=gpus)
    job.process.wait()
    assert job.log.read_text().strip() == ",".join(gpus)


def test_modules_in_the_current_folder_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("types", "random", "json", "numpy", "detour"):
        (here / f"{name}.py").write_text(f"raise SystemExit('took {name}')\n")
    monkeypatch.chdir(here)
    job = start(tmp_path, ["prepare-0"], tmp_path / "logs")
    job.process.wait()
    written = "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
    assert "took" not in written
    assert "prepare-0" in written, "the job itself has started"
