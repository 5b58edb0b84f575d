"""Forecasts over logs of whole synthetic sites, as sacct would dump them, through `detour forecast --replay`.

    python -m tests.benchmarks.forecast_logs [SEEDS] [FIRST] [JOBS]

Unlike in `forecast_replay`, waits result from a queue: bursts of many users, more by day than by night and fewer at
weekends, are scheduled with backfill (EASY: Lifka 1995) on a machine that is at times too small for them. Sites differ
as those of public logs do: sizes, limits, load, arrays, jobs that depend on others, cancelled jobs, immediate starts.
Each log is replayed whole, and then for the users with the most bursts as their own sacct would show it.

Printed as means over the seeds: coverage of p50 and p90, that of the similar jobs' p90, and the pinball loss relative
to theirs. All figures are counted from the table that the command writes, and must equal those it prints.
"""

from __future__ import annotations

import csv
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from click.testing import CliRunner

from detour.launch.forecast import command
from tests.forecasting.sites import SITES, log

LEAST_FORECASTS = 200
"""With fewer in a log, its shares are left to chance."""


class Counted(NamedTuple):
    """Figures counted from the table of outcomes."""

    n: int
    by_p50: float
    by_p90: float
    similar_by_p90: float
    loss: float


def pinball(actual: float, quantile: float, share: float) -> float:
    return (actual - quantile) * (share - (actual < quantile))


def counted(table: Path) -> Counted | None:
    """None if too few jobs have a forecast."""
    rows = [
        [float(row[name]) for name in ("wait_s", "p50_s", "p90_s", "similar_p50_s", "similar_p90_s")]
        for row in csv.DictReader(table.open())
        if row["wait_s"] and row["similar_p50_s"]
    ]
    if len(rows) < LEAST_FORECASTS:
        return None
    ours = fmean(pinball(row[0], row[1], 0.5) + pinball(row[0], row[2], 0.9) for row in rows)
    similar = fmean(pinball(row[0], row[3], 0.5) + pinball(row[0], row[4], 0.9) for row in rows)
    by_p50, by_p90, similar_by_p90 = (fmean(row[0] <= row[at] for row in rows) for at in (1, 2, 4))
    return Counted(len(rows), by_p50, by_p90, similar_by_p90, ours / similar)


def replayed(lines: Sequence[str], folder: Path) -> Counted | None:
    """Runs the command as a person calls it."""
    log, table = folder / "log.txt", folder / "outcomes.csv"
    log.write_text("\n".join(lines) + "\n")
    result = CliRunner().invoke(command, ["--replay", str(log), "--outcomes", str(table), "--json"])
    assert result.exit_code == 0, result.output
    made, printed = counted(table), json.loads(result.stdout)
    if made is not None:
        ours, similar = printed["compared"], printed["similar"]
        known = ours["n"], ours["coverage_p50"], ours["coverage_p90"], similar["coverage_p90"]
        assert all(map(math.isclose, made, (*known, ours["pinball_s"] / similar["pinball_s"])))
    return made


def own(lines: Sequence[str], users: int = 3) -> Iterator[list[str]]:
    """The rows of each of the users with the most rows: the header, and only their own."""
    names = Counter(line.split("|")[2] for line in lines[1:])
    for name, _ in names.most_common(users):
        yield [lines[0], *(line for line in lines[1:] if line.split("|")[2] == name)]


def shown(name: str, made: Sequence[Counted], began_s: float) -> str:
    means = "".join(f"{fmean(one[at] for one in made):>8.2f}" for at in range(1, 5))
    jobs = fmean(one.n for one in made)
    return f"{name:<36}{len(made):>6}{jobs:>8.0f}{means}{(time.process_time() - began_s) / len(made):>8.1f}"


def main(seeds: int = 3, first: int = 97_001, jobs: int = 8_000) -> None:
    print(f"{'site':<36}{'logs':>6}{'jobs':>8}{'p50':>8}{'p90':>8}{'similar':>8}{'loss':>8}{'CPU s':>8}")
    with tempfile.TemporaryDirectory() as text:
        for name, site in SITES.items():
            logs = [log(site, seed, jobs) for seed in range(first, first + seeds)]
            for label, parts in ((name, logs), ("  of single users", [one for lines in logs for one in own(lines)])):
                began_s = time.process_time()
                made = [found for lines in parts if (found := replayed(lines, Path(text))) is not None]
                print(shown(label, made, began_s) if made else f"{label:<36}{0:>6}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
