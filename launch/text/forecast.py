"""How good forecasts were, over a history or as they were made."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detour.errors import UserError
from detour.files import write_atomic
from detour.forecasting.replay import SIMILAR, Outcome, Replay
from detour.forecasting.scoring import Score
from detour.text import counted, format_duration

COLUMNS = (
    "job", "account", "gpus", "begun_s", "wait_s", "p50_s", "p90_s", "similar_p50_s", "similar_p90_s"
)  # fmt: skip


def replay_lines(replayed: Replay) -> Iterator[str]:
    yield f"{counted(replayed.jobs, 'job')}, {replayed.forecasts:,} of them with history enough for a forecast."
    if replayed.score is None:
        yield "None of these has started: there is nothing to score."
        return
    yield f"  {'':<28}{'started':>9}{'by the p50':>12}{'by the p90':>12}{'pinball loss':>14}"
    yield _row("forecasts", replayed.score)
    if replayed.compared and replayed.similar:
        yield _row("of these, with a comparison", replayed.compared)
        yield _row(f"the last {SIMILAR} similar jobs", replayed.similar)


def _row(name: str, score: Score) -> str:
    shares = f"{score.coverage_p50:>12.1%}{score.coverage_p90:>12.1%}"
    return f"  {name:<28}{score.n:>9,}{shares}{format_duration(score.pinball_s):>14}"


def replay_json(replayed: Replay) -> dict[str, Any]:
    return asdict(replayed)


def write_outcomes(path: Path, made: Sequence[Outcome]) -> None:
    """Seconds; empty where it is unknown. Raises UserError where the file cannot be written."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for one in made:
        wait, similar = one.wait, one.similar or (None, None)
        rows.writerow((wait.job, wait.account, wait.shape.gpus, wait.begun_s, one.actual_s, *one[1:3], *similar))
    try:
        write_atomic(path, text.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another file with --outcomes") from error
