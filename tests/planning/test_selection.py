"""What a word on the command line means: a chain, a sweep, a stage or a pattern; suggestions otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detour.errors import UserError
from detour.launch.text.listing import chain_lines
from detour.ledger.workspace import Workspace
from detour.planning.selection import Selection, known_chains, select, select_chains
from detour.planning.stage import Stage
from tests.support.stages import prepare_stage, pretrain_stage

PREPARE = prepare_stage()
FIRST, SECOND, OTHER = (pretrain_stage("clm", {"corpus": PREPARE.id}, seed) for seed in (1, 2, 3))
CHAINS = {"base-a": ("base", FIRST), "base-b": ("base", SECOND), "other": (None, OTHER)}


def write(
    workspace: Workspace, chain: str, stages: tuple[Stage, ...], sweep: str | None = None, cluster: str | None = None
) -> None:
    workspace.chain(chain).mkdir()
    listed = [stage.to_json() for stage in stages]
    plan = {"chain": chain, "stages": listed, "sweep": sweep, "slurm_cluster": cluster}
    (workspace.chain(chain) / "plan.json").write_text(json.dumps(plan))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two chains of a sweep and one of none, which share their corpus."""
    made = Workspace(tmp_path_factory.mktemp("selection") / "workspace")
    made.create()
    for chain, (sweep, train) in CHAINS.items():
        write(made, chain, (PREPARE, train), sweep)
    return made


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("other", Selection(("other",))),
        ("base", Selection(("base-a", "base-b"))),
        ("sweep:base", Selection(("base-a", "base-b"))),
        ("base-*", Selection(("base-a", "base-b"))),
        ("*", Selection(("base-a", "base-b", "other"))),
        ("[o]*", Selection(("other",))),
        (FIRST.id, Selection(stages=(FIRST.id,))),
        ("prepare", Selection(stages=(PREPARE.id,))),
        ("base-b/pretrain clm", Selection(stages=(SECOND.id,), within=("base-b",))),
        ("base-b/pretrain*", Selection(stages=(SECOND.id,), within=("base-b",))),
        ("*/pretrain clm", Selection(stages=(FIRST.id, SECOND.id, OTHER.id), within=("base-a", "base-b", "other"))),
        ("pretrain*", Selection(stages=(FIRST.id, SECOND.id, OTHER.id))),
    ],
)
def test_a_word_means_a_chain_a_sweep_a_stage_or_a_pattern(workspace: Workspace, word: str, meant: Selection) -> None:
    assert select(workspace, [word]) == meant


def test_several_words_are_combined_and_each_match_taken_once(workspace: Workspace) -> None:
    found = select(workspace, ["other", "base-a", "base", "prepare"])
    assert found == Selection(("base-a", "base-b", "other"), (PREPARE.id,))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("bsae-a", "no chain, sweep or stage 'bsae-a' in .*; did you mean `base-a`"),
        ("prepair", "did you mean `prepare`"),
        ("base-a/pretrain cml", "base-a has no stage 'pretrain cml'; did you mean `pretrain clm`"),
        ("zzz", "`detour list` lists what there is"),
        ("zzz*", "no chain, sweep or stage"),
        ("../base-a", "no chain, sweep or stage"),
        ("pretrain clm", r"3 stages are called 'pretrain clm': name one as 'base-a/pretrain clm'"),
    ],
)
def test_an_unknown_or_ambiguous_word_is_answered_with_candidates(
    workspace: Workspace, word: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        select(workspace, [word])


def test_a_stage_means_its_chains_where_chains_are_expected(workspace: Workspace) -> None:
    assert select_chains(workspace, [SECOND.id]) == ("base-b",)
    assert select_chains(workspace, ["prepare"]) == tuple(CHAINS)


def test_a_stage_named_with_its_chain_means_that_chain(workspace: Workspace) -> None:
    assert select_chains(workspace, ["base-b/prepare"]) == ("base-b",)
    assert select_chains(workspace, ["base-*/prepare"]) == ("base-a", "base-b")
    assert select_chains(workspace, ["base-b/prepare", "prepare"]) == ("base-a", "base-b", "other")


def test_a_sweep_can_be_named_even_if_a_chain_has_its_name(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.create()
    write(workspace, "base", (PREPARE,))
    write(workspace, "base-a", (PREPARE, FIRST), "base")
    assert select(workspace, ["base"]).chains == ("base",)
    assert select(workspace, ["sweep:base"]).chains == ("base-a",)
    assert "base (sweep of 1 chain, 2 distinct stages, named sweep:base)" in list(
        chain_lines(list(known_chains(workspace).chains.values()), workspace)
    )


def test_without_any_chain_the_message_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is none yet"):
        select(Workspace(tmp_path), ["base"])


def test_a_shared_stage_is_planned_for_what_its_first_chain_is_planned_for(tmp_path: Path) -> None:
    made = Workspace(tmp_path)
    made.create()
    assert known_chains(made).targets().of("continue-1").slurm_cluster is None
    for chain, train in (("a", FIRST), ("b", SECOND)):
        write(made, chain, (PREPARE, train), cluster=f"cluster-{chain}")
    for first, shared in (((), "cluster-a"), (("b",), "cluster-b")):
        targets = known_chains(made).targets(first)
        planned = [targets.of(stage).slurm_cluster for stage in (FIRST.id, SECOND.id, PREPARE.id, "continue-1")]
        assert planned == ["cluster-a", "cluster-b", shared, shared]
