"""Measures a recipe's training on this machine, in a child process because this room does not import torch."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detour.errors import UserError
from detour.ledger.events import SpeedMeasured
from detour.ledger.journal import command_journal
from detour.ledger.workspace import Workspace
from detour.planning.stage import PretrainStage
from detour.pricing.price import work_signature
from detour.speed.result import BenchSettings, Device, Speed

LAST_LINES = 3
"""Lines of a failed child's output that are shown."""


def measured(stages: Sequence[PretrainStage], asked: BenchSettings) -> Iterator[Device | Speed]:
    """Yield the device, then each figure as it is measured. Raises UserError with a failed child's last lines."""
    request = {"stages": [stage.to_json() for stage in stages], "asked": asdict(asked)}
    with tempfile.TemporaryDirectory(prefix="detour-bench-") as folder:
        file, errors = Path(folder) / "request.json", Path(folder) / "stderr"
        file.write_text(json.dumps(request))
        command = [sys.executable, "-P", "-m", "detour.jobs.bench", str(file)]
        with (
            errors.open("w") as stderr,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as child,
        ):
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    yield _parsed(json.loads(line))
            except BaseException:
                child.kill()
                raise
        if child.returncode:
            words = errors.read_text(errors="replace").strip().splitlines()[-LAST_LINES:]
            raise UserError(f"nothing more was measured: the process ended with {child.returncode}: {' '.join(words)}")


def _parsed(line: dict[str, Any]) -> Device | Speed:
    return Device.from_json(line["device"]) if "device" in line else Speed.from_json(line["speed"])


def keep(workspace: Workspace, cluster: str, device: Device, pairs: Sequence[tuple[PretrainStage, Speed]]) -> None:
    """Record speeds in the ledger, to price trainings of the same shape on `cluster` that have no measurement yet."""
    with command_journal(workspace) as journal:
        for stage, speed in pairs:
            if speed.loop == "detour" and speed.tokens_per_s is not None:
                journal.append(
                    SpeedMeasured(
                        cluster=cluster,
                        signature=work_signature(stage),
                        tokens_per_s=speed.tokens_per_s,
                        device=device.name,
                        versions={"torch": device.torch, "transformers": device.transformers},
                        mfu=speed.mfu,
                    )
                )
