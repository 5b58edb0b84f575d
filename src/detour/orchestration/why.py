"""What `detour why` does: the stages that a name means, the worst first, each with its evidence and its verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detour.diagnosis.evidence import Evidence, read_bundle, to_bundle
from detour.diagnosis.judge import judge
from detour.diagnosis.verdict import Verdict
from detour.errors import UserError
from detour.files import write_atomic
from detour.ledger.process import has_account, user_name
from detour.ledger.stages import StageState
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.evidence import StageEvidence, stage_evidence
from detour.orchestration.selection import readable_stages
from detour.planning.files import StageOutline, chain_names
from detour.scheduler.commands import Slurm

WORST_SHOWN = 3
_WORST = ("failed", "interrupted", "cancelled", "submitted", "running", "planned", "done")
"""Which stages of a chain are asked about first."""


@dataclass(frozen=True, slots=True)
class Why:
    """One stage's verdict."""

    stage: StageOutline | None
    """None for a bundle."""
    chains: tuple[str, ...]
    found: StageEvidence
    verdict: Verdict


def why_of_bundle(path: Path) -> Why:
    """Raises UserError for a file that is no bundle."""
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a file that `detour why STAGE --bundle FILE` wrote") from error
    except ValueError as error:
        raise UserError(
            f"{path}: not JSON ({error}); give a file that `detour why STAGE --bundle FILE` wrote"
        ) from error
    evidence = read_bundle(content, str(path))
    return Why(None, (), StageEvidence("", evidence.job, evidence), judge(evidence))


def why(workspace: Workspace, name: str | None, slurm: Slurm | None = None) -> list[Why]:
    """The verdicts on a stage, or on the worst stages of a chain, of a sweep's chains or, without a name, of all.

    Raises UserError where nothing has that name.
    """
    slurm = slurm or Slurm()
    view = LedgerView(workspace)
    chosen = _chosen(workspace, name)
    states = view.state.stages
    order = sorted(chosen.values(), key=lambda one: _WORST.index(_word(workspace, one[0], states.get(one[0].id))))
    worst = _word(workspace, order[0][0], states.get(order[0][0].id)) if order else ""
    asked = [one for one in order if _word(workspace, one[0], states.get(one[0].id)) == worst][:WORST_SHOWN]
    writers = {writer.process.user for writer in view.state.writers.values() if writer.process}
    users = sorted({user_name(), *filter(has_account, writers)})
    return [_why(workspace, stage, chains, states.get(stage.id), slurm, users) for stage, chains in asked]


def write_bundle(path: Path, evidence: Evidence) -> None:
    """Raises UserError where it cannot be written."""
    try:
        write_atomic(path, json.dumps(to_bundle(evidence), indent=1, ensure_ascii=False))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; choose another file for --bundle") from error


def _why(
    workspace: Workspace,
    stage: StageOutline,
    chains: Sequence[str],
    known: StageState | None,
    slurm: Slurm,
    users: Sequence[str],
) -> Why:
    found = stage_evidence(workspace, stage.id, known, slurm, users)
    return Why(stage, tuple(chains), found, judge(found.evidence))


def _word(workspace: Workspace, stage: StageOutline, known: StageState | None) -> str:
    if workspace.is_done(stage.id):
        return "done"
    if workspace.has_failed(stage.id):
        return "failed"
    if known is None:
        return "planned"
    status = known.status
    return status if status in _WORST and status != "done" else "planned"


def _chosen(workspace: Workspace, name: str | None) -> dict[str, tuple[StageOutline, list[str]]]:
    """Stage id -> the stage and the chains that need it."""
    found: dict[str, tuple[StageOutline, list[str]]] = {}
    names = chain_names(workspace)
    for chain in names:
        for stage in readable_stages(workspace, chain):
            if name is None or chain == name or chain.startswith(f"{name}-") or name in (stage.id, stage.label):
                found.setdefault(stage.id, (stage, []))[1].append(chain)
    if not found:
        known = ", ".join(names[:6])
        raise UserError(
            f"no stage or chain named {name!r} in {workspace.root}"
            if name
            else f"no chain in {workspace.root}"
            + (f"; there are: {known}" if known else "; `detour run RECIPE` makes one")
        )
    return found
