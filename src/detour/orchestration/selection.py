"""Which stages an order covers: those of chains, sweeps or patterns, or single stages with their dependents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from detour.errors import UserError
from detour.ledger.state import State
from detour.ledger.workspace import Workspace
from detour.planning.files import StageOutline, nearest
from detour.planning.order import downstream
from detour.planning.selection import Known, Selection, known_chains, select, selected_stages


class Chosen(NamedTuple):
    """What an order covers."""

    known: Known
    """Every chain of the workspace."""
    chains: tuple[str, ...]
    """Chains covered as a whole."""
    named: tuple[str, ...]
    """`chains`, and the chains of stages named as CHAIN/STAGE or that only one chain has."""
    roots: tuple[str, ...]
    """Ids of the stages named individually."""
    reached: frozenset[str]
    """Ids of the roots and their dependents."""
    stages: tuple[StageOutline, ...]
    """The stages of the chains and those reached, each once."""
    kept: tuple[StageOutline, ...] = ()
    """Stages of the chains that are left alone because other chains need them."""

    @property
    def labels(self) -> dict[str, str]:
        """Stage id -> label, for all stages that were named."""
        return {stage.id: stage.label for stage in (*self.stages, *self.kept)}

    @property
    def affected_chains(self) -> tuple[str, ...]:
        """The chains covered as a whole, or else those with a stage named individually."""
        needed_by = self.known.needed_by()
        return self.chains or tuple(dict.fromkeys(chain for root in self.roots for chain in needed_by[root]))


def chosen(workspace: Workspace, words: Sequence[str], stage: str | None = None) -> Chosen:
    """All stages of the chains that the words name, and each stage they name with its dependents in any chain.

    With `stage`, an id or label, that stage of each chain with its dependents. Raises UserError for a word that names
    nothing, or a `stage` that none of the chains has.
    """
    known = known_chains(workspace)
    meant = select(workspace, words, known)
    of_chains = selected_stages(workspace, known, Selection(meant.chains))
    if stage is None:
        return _with_dependents(known, meant.chains, _named(known, meant), set(of_chains), meant.stages)
    roots = [one.id for one in of_chains.values() if stage in (one.id, one.label)]
    if not roots:
        labels = [one.label for one in of_chains.values()]
        raise UserError(f"{', '.join(words)}: no stage {stage!r}{nearest(stage, labels)}")
    return _with_dependents(known, (), _named(known, meant), set(), (*roots, *meant.stages))


def _named(known: Known, meant: Selection) -> tuple[str, ...]:
    """The chains that are meant, and those whose stage is: as CHAIN/STAGE, or as a stage of one chain only."""
    needed_by = known.needed_by()
    alone = [chains[0] for chains in (needed_by[stage] for stage in meant.stages) if len(chains) == 1]
    return tuple(dict.fromkeys((*meant.chains, *meant.within, *alone)))


def _with_dependents(
    known: Known, chains: tuple[str, ...], named: tuple[str, ...], whole: set[str], roots: Sequence[str]
) -> Chosen:
    everything = known.stages
    reached = frozenset(stage.id for stage in downstream(list(everything.values()), roots)) if roots else frozenset()
    stages = tuple(stage for stage_id, stage in everything.items() if stage_id in whole or stage_id in reached)
    return Chosen(known, chains, named, tuple(dict.fromkeys(roots)), reached, stages)


def without_needed(choice: Chosen, state: State) -> Chosen:
    """The choice without the stages that another chain still needs, unless that chain was cancelled itself.

    Raises UserError for a stage named individually that several chains need: it is not taken from them.
    """
    needing = {
        stage_id: [name for name in names if not state.is_chain_cancelled(name)]
        for stage_id, names in choice.known.needed_by().items()
    }
    others = {stage_id: set(names) - set(choice.named) for stage_id, names in needing.items()}
    for root in choice.roots:
        if others[root] and len(needing[root]) > 1:
            raise UserError(
                f"{choice.labels[root]} ({root}) is needed by {len(needing[root])} chains, such as {min(others[root])}:"
                " nothing was changed; --shared includes them all, or name the chains"
            )
    kept = tuple(stage for stage in choice.stages if others[stage.id] and stage.id not in choice.reached)
    return choice._replace(stages=tuple(stage for stage in choice.stages if stage not in kept), kept=kept)


def stages_named(workspace: Workspace, names: Sequence[str]) -> dict[str, StageOutline]:
    """The stages that the names mean, by id, without dependents.

    Raises UserError for an unknown name or a plan that cannot be read.
    """
    known = known_chains(workspace)
    return selected_stages(workspace, known, select(workspace, names, known))
