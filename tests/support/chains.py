"""The quickstart made so small that a whole chain takes about a minute of one core: same data, stages and jobs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "configs" / "recipes"
DETOUR = str(Path(sys.executable).parent / "detour")
SMALL = (
    "data.sequence_length=128",
    "data.validation_tokens=2k",
    "tokenizer.train.vocabulary=1000",
    "model.config.hidden_size=32",
    "model.config.intermediate_size=48",
    "model.config.num_hidden_layers=2",
    "optimizer.lr=3e-3",
    "phases.0.tokens=24k",
    "phases.0.schedule.warmup=4k",
    "phases.0.gate.validation_loss_drop=0.1",
    "phases.mlm.tokens=8k",
    "phases.mlm.gate.validation_loss_drop=-1",
    "training.checkpoint_every=4",
    "benchmark.seeds=[1,2]",
    "benchmark.tasks.0.split.train=200",
    "benchmark.tasks.0.split.validation=100",
    "benchmark.tasks.0.split.test=100",
    "benchmark.tasks.0.epochs=1",
)


def detour(
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
    cwd: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """Run the real command. An unexpected failure shows what it printed."""
    done = subprocess.run(
        [DETOUR, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"detour {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done


def small(recipe: str = "quickstart", more: Sequence[str] = ()) -> list[str]:
    """Arguments that name a shipped recipe and make it small."""
    return [str(RECIPES / f"{recipe}.yaml"), *SMALL, *more]
