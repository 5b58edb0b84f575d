"""Compare chains of a workspace and files of scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.planning.files import chain_names
from detour.planning.selection import select_chains
from detour.statistics.chain_scores import chain_scores
from detour.statistics.comparing import compare
from detour.statistics.comparison import Comparison
from detour.statistics.score_files import SUFFIXES, read_scores
from detour.statistics.scores import ScoreTable, merged


def compare_sources(
    workspace: Workspace,
    words: Sequence[str],
    *,
    metric: str | None = None,
    against: str | None = None,
    common: bool = False,
) -> Comparison:
    """Compare the sources; each word is a file of scores or selects chains (`detour.planning.selection`).

    With `common`, only tasks and seeds that all models have are compared. Raises UserError for fewer than two models.
    """
    table = merged(score_tables(workspace, words, metric))
    if len(table.models) < 2:
        raise UserError(f"nothing to compare {', '.join(table.models)} with: name a second chain or a file of scores")
    return compare(table.common() if common else table, against)


def score_tables(workspace: Workspace, words: Sequence[str], metric: str | None) -> list[ScoreTable]:
    """Return one table for all chains, and one per file."""
    files = [word for word in words if word.endswith(SUFFIXES) and Path(word).is_file()]
    chains: dict[str, None] = {}
    for word in words:
        if word.endswith(SUFFIXES) and word not in files and word not in chain_names(workspace):
            raise UserError(f"{word}: no such file")
        if word not in files:
            chains |= dict.fromkeys(select_chains(workspace, [word]))
    of_chains = [chain_scores(workspace, list(chains), metric)] if chains else []
    return [*of_chains, *(read_scores(Path(word), metric) for word in files)]
