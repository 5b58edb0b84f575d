"""What a stage's job receives: its verified inputs, a folder kept between attempts, and a folder for its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from detour.ledger.attempt import Attempt
from detour.planning.stage import Stage

StageOfKind = TypeVar("StageOfKind", bound=Stage)


@dataclass(frozen=True, slots=True)
class StageContext(Generic[StageOfKind]):
    stage: StageOfKind
    inputs: Mapping[str, Path]
    """Role -> output folder of the input stage, whose manifest has been verified."""
    work_dir: Path
    """Kept between attempts: checkpoints and partial results."""
    output_dir: Path
    """Initially empty; becomes the stage's output, with a manifest, once the job returns."""
    attempt: Attempt
