"""Resolve a word on the command line to chains and stages: by name, id or label, or by a pattern.

base-30k                 a chain, or all chains of the sweep of that name
sweep:base-30k           all chains of that sweep, even if a chain has its name
pretrain-0a1b2c          a stage by its id, or by a label that only one stage has
base-30k/pretrain clm    a stage of that chain, by id or label
'base-*'                 chains; if none matches, stages by id or label
'*/evaluate *'           stages of chains
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from detour.errors import UserError
from detour.grouping import grouped
from detour.ledger.workspace import Workspace
from detour.planning.files import (
    ChainOutline,
    StageOutline,
    Target,
    chain_names,
    nearest,
    read_plan_outline,
    unknown_chain,
)
from detour.text import pasted

WILD = frozenset("*?[")
SWEEP = "sweep:"


class Selection(NamedTuple):
    """Selected chains and stages, each once, in the order of the workspace."""

    chains: tuple[str, ...] = ()
    """Chains selected as a whole."""
    stages: tuple[str, ...] = ()
    """Ids of stages selected individually."""
    within: tuple[str, ...] = ()
    """Chains in which stages were selected, as by CHAIN/STAGE."""


class Targets(NamedTuple):
    """What stages are planned for."""

    by_stage: Mapping[str, Target]
    usual: Target
    """For what is in no plan: the jobs that send a next wave, or stages that were planned again."""

    def of(self, *stages: str) -> Target:
        """Return that of the first stage that is in a plan."""
        return next((self.by_stage[stage] for stage in stages if stage in self.by_stage), self.usual)


class Known(NamedTuple):
    """Everything that can be selected in a workspace."""

    chains: Mapping[str, ChainOutline]
    unreadable: tuple[str, ...] = ()
    """Messages about plans that could not be read."""

    @property
    def sweeps(self) -> dict[str, list[str]]:
        """Sweep -> its chains."""
        return grouped(
            (outline.target.sweep, name) for name, outline in self.chains.items() if outline.target.sweep is not None
        )

    @property
    def stages(self) -> dict[str, StageOutline]:
        """The stages by id, shared ones once."""
        return {stage.id: stage for outline in self.chains.values() for stage in outline.stages}

    def needed_by(self) -> dict[str, list[str]]:
        """Return stage id -> the chains that contain it."""
        return grouped(
            (stage_id, name)
            for name, outline in self.chains.items()
            for stage_id in dict.fromkeys(stage.id for stage in outline.stages)
        )

    def targets(self, first: Collection[str] = ()) -> Targets:
        """Return what each stage is planned for by the first chain that contains it; the chains in `first` go first."""
        chains = sorted(self.chains.values(), key=lambda chain: chain.chain not in first)
        by_stage = {stage.id: chain.target for chain in reversed(chains) for stage in chain.stages}
        return Targets(by_stage, chains[0].target if chains else Target())


def known_chains(workspace: Workspace) -> Known:
    """Read the outline of every plan that can be read."""
    outlines, unreadable = {}, []
    for name in chain_names(workspace):
        try:
            outlines[name] = read_plan_outline(workspace, name)
        except UserError as error:
            unreadable.append(str(error))
    return Known(outlines, tuple(unreadable))


def select(workspace: Workspace, words: Sequence[str], known: Known | None = None) -> Selection:
    """Return what the words select together. Plans are read only if a word is not a chain's name and `known` is None.

    Raises UserError for a word that matches nothing, with the closest name, and for a label that several stages have.
    """
    names = chain_names(workspace)
    if set(words) <= set(names):
        return Selection(tuple(name for name in names if name in words))
    known = known or known_chains(workspace)
    chains: set[str] = set()
    stages: set[str] = set()
    within: set[str] = set()
    for word in words:
        found = Selection((word,)) if word in names else _meant(workspace, known, word)
        chains.update(found.chains)
        stages.update(found.stages)
        within.update(found.within)
    return Selection(
        tuple(name for name in names if name in chains),
        tuple(stage for stage in known.stages if stage in stages),
        tuple(name for name in names if name in within),
    )


def select_chains(workspace: Workspace, words: Sequence[str], known: Known | None = None) -> tuple[str, ...]:
    """Like `select`, for whole chains: a stage selects the chain it was named with, or all chains that contain it."""
    names = chain_names(workspace)
    if set(words) <= set(names):
        return tuple(name for name in names if name in words)
    known = known or known_chains(workspace)
    needed_by, chains = known.needed_by(), set[str]()
    for word in words:
        found = Selection((word,)) if word in names else _meant(workspace, known, word)
        chains.update(found.chains, found.within or (one for stage in found.stages for one in needed_by[stage]))
    return tuple(name for name in names if name in chains)


def selected_stages(workspace: Workspace, known: Known, selection: Selection) -> dict[str, StageOutline]:
    """Return the stages of the selected chains by id, then those selected individually.

    Raises UserError for a chain whose plan cannot be read.
    """
    plans = [known.chains.get(chain) or read_plan_outline(workspace, chain) for chain in selection.chains]
    everything = known.stages if selection.stages else {}
    of_chains = {stage.id: stage for plan in plans for stage in plan.stages}
    return of_chains | {stage_id: everything[stage_id] for stage_id in selection.stages}


def _meant(workspace: Workspace, known: Known, word: str) -> Selection:
    if chains_of_sweep := known.sweeps.get(word.removeprefix(SWEEP)):
        return Selection(tuple(chains_of_sweep))
    if word in known.stages:
        return Selection(stages=(word,))
    chain, slash, stage = word.partition("/")
    if slash and (found := _of_chains(known, chain, stage)):
        return found
    fits = _matcher(word)
    if not WILD.isdisjoint(word) and (chains := [name for name in known.chains if fits(name)]):
        return Selection(tuple(chains))
    stages = [stage.id for stage in known.stages.values() if fits(stage.id) or fits(stage.label)]
    if not stages:
        raise unknown(workspace, known, word)
    if len(stages) > 1 and WILD.isdisjoint(word):
        example = known.needed_by()[stages[0]][0]
        raise UserError(
            f"{len(stages)} stages are called {word!r}: name one as {pasted(f'{example}/{word}')}, "
            f"or all of them as {pasted(f'*/{word}')}"
        )
    return Selection(stages=tuple(stages))


def _of_chains(known: Known, chain: str, stage: str) -> Selection | None:
    """Return the matching stages of the matching chains, None if there are none."""
    of_chain, fits = _matcher(chain), _matcher(stage)
    found = {
        name: [one.id for one in outline.stages if fits(one.id) or fits(one.label)]
        for name, outline in known.chains.items()
        if of_chain(name)
    }
    within = tuple(name for name, stages in found.items() if stages)
    return Selection(stages=tuple(one for name in within for one in found[name]), within=within) if within else None


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Return a case-sensitive shell-style matcher; a pattern without wildcards matches only itself."""
    if WILD.isdisjoint(pattern):
        return pattern.__eq__
    import re
    from fnmatch import translate  # imported late to keep plain `status` fast

    matches = re.compile(translate(pattern)).match
    return lambda name: matches(name) is not None


def require_sweep(workspace: Workspace, name: str) -> None:
    """Raise UserError, with the closest name if one is similar, unless some chain is of this sweep."""
    sweeps = known_chains(workspace).sweeps
    if name not in sweeps:
        raise UserError(f"no sweep {name!r} in {workspace.root}{nearest(name, sweeps)}")


def unknown(workspace: Workspace, known: Known, word: str) -> UserError:
    """Return the error for an unknown word, with the closest name if one is similar."""
    if not known.chains:
        return unknown_chain(workspace, word)
    chain, slash, stage = word.partition("/")
    if slash and chain in known.chains:
        labels = [one.label for one in known.chains[chain].stages]
        return UserError(f"{chain} has no stage {stage!r}{nearest(stage, labels)}")
    labels = [stage.label for stage in known.stages.values()]
    names = [*known.chains, *known.sweeps, *labels, *known.stages]
    return UserError(f"no chain, sweep or stage {word!r} in {workspace.root}{nearest(word, names)}")
