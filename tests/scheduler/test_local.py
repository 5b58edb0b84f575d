"""Jobs on this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from detour.scheduler.local import job_command


def test_a_package_detour_in_the_current_folder_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "detour").mkdir()
    (tmp_path / "detour" / "__init__.py").write_text("print('decoy')\n")
    command = job_command(tmp_path / "workspace", ["--help"])
    shown = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("usage: python -m detour.jobs")
