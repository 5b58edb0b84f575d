"""Prices against what trainings took, after one calibration run: `python -m tests.benchmarks.price_accuracy`.

Runs the quickstart's chain without its evaluations several times, each with another training seed, so that nothing but
the corpus is shared: the first run calibrates, the others are set against the price that was recorded before they ran.
Wall time is what is priced, so the machine must have nothing else to do; its load is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DETOUR = Path(sys.executable).parent / "detour"
RECIPE = Path(__file__).parents[2] / "configs" / "recipes" / "quickstart.yaml"


def detour(*arguments: str | Path) -> str:
    done = subprocess.run([str(DETOUR), *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout


def trainings(workspace: Path) -> list[dict[str, Any]]:
    """In the order in which they ended; the calibration run's, which had no price, left out."""
    rows = json.loads(detour("prices", "-w", workspace, "--json"))["stages"]
    return [row for row in rows if row["kind"] == "pretrain" and row["expected_s"] is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2, help="behind the calibration run")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        for seed in range(options.runs + 1):
            chain = (f"name=run-{seed}", f"seeds.training={seed}", "benchmark=null", *options.overrides)
            detour("run", RECIPE, *chain, "-w", workspace, "--quiet")
            load = os.getloadavg()[0]
            print(f"run {seed}: {'calibration' if seed == 0 else 'priced'}, load average {load:.1f}", flush=True)
        for row in trainings(workspace):
            expected_s, error = row["expected_s"]["expected"], row["error"]
            print(f"{row['label']:16} expected {expected_s:7.1f} s  took {row['elapsed_s']:7.1f} s  {error:+.1%}")


if __name__ == "__main__":
    main()
