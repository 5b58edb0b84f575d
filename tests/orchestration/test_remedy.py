"""Which remedies of a pending job are tried, and how Slurm's answers are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from detour.config.loading import load_cluster
from detour.orchestration.remedy import candidates, try_remedies
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm

SCRIPT = """\
#!/bin/bash
#SBATCH --dependency=afterok:3
#SBATCH --gres=gpu:4
#SBATCH --hold
#SBATCH --qos=qos_gpu_h100-t3
#SBATCH --time=1200
srun true
"""


class Site:
    """Starts jobs of up to ten hours at once, and refuses a QOS."""

    def __init__(self) -> None:
        self.scripts: list[str] = []

    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:
        assert timeout_s > 0
        self.scripts.append(Path(command[-1]).read_text())
        if any(word.startswith("--qos") for word in command):
            return CommandResult(1, "", "allocation failure: Invalid qos specification")
        at_s = 5_000 if "--time=600" in command else 90_000
        return CommandResult(0, "", f"sbatch: Job 9 to start at {at_s} using 4 processors on nodes n1 in partition p")


def test_half_the_time_is_tried_first_and_then_another_qos_of_the_profile() -> None:
    cluster = load_cluster("jean-zay")
    asked = {"time": "1200", "qos": "qos_gpu_h100-t3", "gres": "gpu:4"}
    first, *others = candidates(asked, cluster)
    assert first == ("--time=600",)
    assert ("--qos=qos_gpu_h100-dev", "--time=120") in others
    assert all("qos_cpu" not in options[0] for options in others)


def test_a_limit_of_an_hour_is_not_halved() -> None:
    assert ("--time=29",) not in list(candidates({"time": "59"}, load_cluster("jean-zay")))


def test_the_earlier_start_is_named_and_neither_hold_nor_dependency_passed(tmp_path: Path) -> None:
    script, site = tmp_path / "job.sh", Site()
    script.write_text(SCRIPT)
    found = try_remedies(Slurm(site), script, load_cluster("jean-zay"))
    assert found is not None
    assert found.as_submitted.starts_s == 90_000
    assert found.best is not None
    assert (found.best.options, found.best.starts_s) == (("--time=600",), 5_000)
    assert next(one.refusal for one in found.tried if one.options[0].startswith("--qos"))
    assert not any("--hold" in text or "--dependency" in text for text in site.scripts)


def test_a_missing_script_has_no_remedy(tmp_path: Path) -> None:
    assert try_remedies(Slurm(Site()), tmp_path / "gone.sh", load_cluster("jean-zay")) is None


def test_without_a_temporary_folder_no_remedy_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, site = tmp_path / "job.sh", Site()
    script.write_text(SCRIPT)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert try_remedies(Slurm(site), script, load_cluster("jean-zay")) is None
    assert site.scripts == []
