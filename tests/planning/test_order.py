"""Which stages can start, and which wait for a stage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from detour.planning.order import downstream, nearest_inputs, startable, upstream
from detour.planning.stage import Stage
from tests.planning.test_keys import plan

STAGES = plan().stages


def test_only_stages_without_inputs_can_start_at_first() -> None:
    assert [stage.label for stage in startable(STAGES, (), ())] == ["prepare"]


def test_evaluations_start_together() -> None:
    done = [stage.id for stage in STAGES if stage.kind not in ("evaluate", "summarize")]
    assert [stage.kind for stage in startable(STAGES, done, ())] == ["evaluate", "evaluate"]


@given(st.data())
def test_every_order_of_finishing_reaches_the_end(data: st.DataObject) -> None:
    done: set[str] = set()
    while len(done) < len(STAGES):
        ready = startable(STAGES, done, ())
        chosen = data.draw(st.sampled_from(ready))
        assert set(chosen.inputs.values()) <= done
        done.add(chosen.id)


def test_all_stages_but_the_preparation_depend_on_the_first_phase() -> None:
    first: Stage = STAGES[1]
    assert [stage.label for stage in downstream(STAGES, [first.id])] == [stage.label for stage in STAGES[1:]]


def test_a_stage_waits_only_for_its_direct_inputs() -> None:
    labels = {stage.id: stage.label for stage in STAGES}
    nearest = {labels[stage_id]: [labels[i] for i in inputs] for stage_id, inputs in nearest_inputs(STAGES).items()}
    assert nearest["promote clm"] == ["pretrain clm"]
    assert nearest["pretrain mlm"] == ["promote clm"]
    assert nearest["export"] == ["promote mlm"]
    assert len(nearest["summarize"]) == 2


def test_a_stage_is_upstream_of_exactly_the_stages_that_are_downstream_of_it() -> None:
    inputs = {stage.id: tuple(stage.inputs.values()) for stage in STAGES}
    for root in STAGES:
        below = {stage.id for stage in downstream(STAGES, [root.id])}
        assert below == {stage.id for stage in STAGES if root.id in upstream([stage.id], inputs.__getitem__)}
