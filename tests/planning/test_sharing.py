"""Equal work is one stage, in any order and under any names of chains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from detour.planning.build import Planner
from detour.planning.plan import Plan
from detour.planning.sharing import Branch, SharedPlan, tree
from tests.support.recipes import make_recipe
from tests.support.stages import assumed_file
from tests.support.sweeps import load_chains

SWEEPS = Path(__file__).parents[2] / "configs" / "sweeps"
VALUES: Mapping[str, Sequence[object]] = {
    "phases.mlm.tokens": [1024, 2048, 4096],
    "phases.clm.tokens": [4096, 8192],
    "seeds.training": [1, 2, 3],
    "benchmark.seeds": [[1], [1, 2], [2, 3]],
    "training.checkpoint_every": [5, 10],
}
CHANGES = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in VALUES.items()})


def plans(changes: Sequence[Mapping[str, Any]]) -> list[Plan]:
    planner = Planner(assumed_file)
    return [planner.plan(make_recipe({**change, "name": f"c{index}"})) for index, change in enumerate(changes)]


def shipped(name: str) -> SharedPlan:
    planner = Planner(assumed_file)
    return SharedPlan.of(planner.plan(recipe) for recipe in load_chains(SWEEPS / f"{name}.yaml"))


def leaves(branches: Mapping[tuple[str, ...], Branch]) -> list[Branch]:
    return [leaf for branch in branches.values() for leaf in (leaves(branch.branches) if branch.branches else [branch])]


@given(st.lists(CHANGES, min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_every_stage_comes_once_after_its_inputs_with_its_number_of_uses(changes: list[dict[str, Any]]) -> None:
    planned = plans(changes)
    shared = SharedPlan.of(planned)
    assert set(shared.stages) == {stage.id for plan in planned for stage in plan.stages}
    assert shared.needed == sum(len(plan.stages) for plan in planned)
    assert shared.saved == shared.needed - len(shared.stages)
    seen: set[str] = set()
    for stage in shared.stages.values():
        assert seen.issuperset(stage.inputs.values())
        seen.add(stage.id)


@given(st.lists(CHANGES, min_size=1, max_size=6), st.randoms())
@settings(max_examples=30, deadline=None)
def test_neither_order_nor_other_chains_change_a_key(changes: list[dict[str, Any]], random: Any) -> None:
    together = plans(changes)
    order = list(range(len(changes)))
    random.shuffle(order)
    planner = Planner(assumed_file)
    apart = {index: planner.plan(make_recipe({**changes[index], "name": f"other-{index}"})) for index in order}
    for index, plan in enumerate(together):
        assert [stage.id for stage in plan.stages] == [stage.id for stage in apart[index].stages]


@given(CHANGES, CHANGES)
@settings(max_examples=30, deadline=None)
def test_chains_are_equal_exactly_if_their_work_is(first: dict[str, Any], second: dict[str, Any]) -> None:
    determining = [
        {key: value for key, value in change.items() if key != "training.checkpoint_every"}
        for change in (_full(first), _full(second))
    ]
    one, other = ({stage.id for stage in plan.stages} for plan in plans([first, second]))
    assert (one == other) is (determining[0] == determining[1])


def _full(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {"phases.mlm.tokens": 2048, "phases.clm.tokens": 8192, "benchmark.seeds": [1, 2], **changes}


@given(st.lists(CHANGES, min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_a_tree_holds_every_stage_once_and_ends_in_every_chain(changes: list[dict[str, Any]]) -> None:
    planned = plans(changes)
    roots = tree(planned)
    ends = leaves(roots)
    assert sorted(name for leaf in ends for name in leaf.chains) == sorted(plan.chain for plan in planned)
    for leaf in ends:
        assert leaf.stages[0].kind == "export"
    by_name = {plan.chain: plan for plan in planned}
    for root in roots.values():
        for name in root.chains:
            assert root.stages[0] == by_name[name].stages[0]


def test_the_decay_sweep_trains_phase_1_once_for_each_arm() -> None:
    shared = shipped("decay-lengths")
    first = [stage for stage in shared.stages.values() if stage.kind == "pretrain" and "parent" not in stage.inputs]
    assert [shared.uses[stage.id] for stage in first] == [5, 5]


def test_the_order_of_axes_changes_no_stage(tmp_path: Path) -> None:
    axes = {
        "arm": "{cases: {clm: {}, mlm: {phases.clm: {name: mlm-30, objective: masked, masking_rate: 0.3}}}}",
        "decay": "{key: phases.mlm.tokens, values: [30k, 60k]}",
        "lr": "{key: optimizer.lr, values: [1e-3, 2e-3]}",
    }
    found = []
    for number, names in enumerate((list(axes), list(reversed(axes)))):
        path = tmp_path / f"{number}.yaml"
        written = "\n".join(f"  {name}: {axes[name]}" for name in names)
        recipe = SWEEPS.parent / "recipes" / "quickstart.yaml"
        path.write_text(f'name: s\nrecipe: {recipe}\nnames: "{{arm}}-{{decay}}-{{lr}}"\naxes:\n{written}\n')
        planner = Planner(assumed_file)
        found.append({recipe.name: {stage.id for stage in planner.plan(recipe).stages} for recipe in load_chains(path)})
    assert len(found[0]) == 8
    assert found[0] == found[1]


def test_equal_stages_are_shared_between_sweeps() -> None:
    paper, decay = shipped("paper"), shipped("decay-lengths")
    assert set(decay.stages) <= set(paper.stages)
    assert len(paper.plans) == 22
    assert paper.needed == 1670
    assert len(paper.stages) == 1400
    assert paper.saved == 270
