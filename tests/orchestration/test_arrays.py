"""Work laid out in arrays: every stage once, none before what it waits for, chains independent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from detour.orchestration.arrays import Work, lanes


def work(name: str, *waits: str, shape: str | None = None) -> Work:
    return Work((name,), waits, shape or name.partition("-")[0])


def names(laid: list[list[Work]]) -> list[list[str]]:
    return [[" ".join(one.stages) for one in lane] for lane in laid]


def test_a_single_chain_is_one_job_a_step_and_one_array_of_evaluations() -> None:
    chain = [work("prepare"), work("train", "prepare"), work("export", "train")]
    chain += [work(f"evaluate-{task}", "export") for task in range(3)]
    chain += [work("summarize", *(f"evaluate-{task}" for task in range(3)))]
    assert names(lanes(chain)) == [
        ["prepare"],
        ["train"],
        ["export"],
        ["evaluate-0", "evaluate-1", "evaluate-2"],
        ["summarize"],
    ]


def test_equal_chains_run_in_parallel_task_by_task() -> None:
    chains = [
        one
        for chain in "abc"
        for one in (
            work(f"train-{chain}", "prepare"),
            work(f"export-{chain}", f"train-{chain}"),
            work(f"evaluate-{chain}-0", f"export-{chain}"),
            work(f"evaluate-{chain}-1", f"export-{chain}"),
            work(f"summarize-{chain}", f"evaluate-{chain}-0", f"evaluate-{chain}-1"),
        )
    ]
    assert names(lanes([work("prepare"), *chains])) == [
        ["prepare"],
        ["train-a", "train-b", "train-c"],
        ["export-a", "export-b", "export-c"],
        ["evaluate-a-0", "evaluate-b-0", "evaluate-c-0"],
        ["evaluate-a-1", "evaluate-b-1", "evaluate-c-1"],
        ["summarize-a", "summarize-b", "summarize-c"],
    ]


def test_decays_of_shared_trainings_are_one_array_for_each_length() -> None:
    trainings = [work(f"train-{arm}") for arm in "xy"]
    decays = [work(f"decay-{arm}-{length}", f"train-{arm}") for arm in "xy" for length in (1, 2)]
    assert names(lanes([*trainings, *decays])) == [
        ["train-x", "train-y"],
        ["decay-x-1", "decay-y-1"],
        ["decay-x-2", "decay-y-2"],
    ]


def test_stages_without_a_counterpart_in_each_chain_wait_by_id() -> None:
    trainings = [work(f"train-{arm}") for arm in "xyz"]
    decays = [work("decay-x-1", "train-x"), work("decay-x-2", "train-x"), work("decay-y-1", "train-y")]
    assert names(lanes([*trainings, *decays]))[1:] == [["decay-x-1", "decay-x-2"], ["decay-y-1"]]


def test_many_evaluations_of_few_models_are_one_array_for_each_model() -> None:
    exports = [work("export-a"), work("export-b")]
    evaluations = [work(f"evaluate-{model}-{task}", f"export-{model}") for model in "ab" for task in range(5)]
    assert [len(lane) for lane in lanes([*exports, *evaluations])] == [2, 5, 5]


def test_stages_of_different_shape_are_in_different_arrays() -> None:
    assert names(lanes([work("a", shape="short"), work("b", shape="long"), work("c", shape="short")])) == [
        ["a", "c"],
        ["b"],
    ]


@st.composite
def plans(draw: st.DrawFn) -> list[Work]:
    found: list[Work] = []
    for number in range(draw(st.integers(1, 20))):
        ahead = [one.stages[0] for one in found]
        waits = draw(st.lists(st.sampled_from(ahead), max_size=3, unique=True)) if ahead else []
        found.append(Work((f"s{number}",), tuple(waits), draw(st.sampled_from("xyz"))))
    return found


@given(plans())
def test_every_stage_comes_once_and_after_those_it_waits_for(plan: list[Work]) -> None:
    laid = lanes(plan)
    assert sorted(one.stages for lane in laid for one in lane) == sorted(one.stages for one in plan)
    seen: set[str] = set()
    for lane in laid:
        assert len({one.shape for one in lane}) == 1
        assert all(seen.issuperset(one.waits) for one in lane), "an array does not wait for itself"
        seen.update(stage for one in lane for stage in one.stages)


@given(plans())
def test_no_task_waits_for_more_than_it_must(plan: list[Work]) -> None:
    """In every array, either all tasks wait for the same stages, or each waits only for tasks with its own number."""
    laid = lanes(plan)
    place = {
        stage: (number, task)
        for number, lane in enumerate(laid)
        for task, one in enumerate(lane)
        for stage in one.stages
    }
    for lane in laid:
        if len({one.waits for one in lane}) == 1:
            continue
        for task, one in enumerate(lane):
            for stage in one.waits:
                number, its_task = place[stage]
                assert len(laid[number]) == 1 or (its_task == task and len(laid[number]) == len(lane))


@given(st.integers(2, 30), st.integers(1, 6))
def test_the_number_of_arrays_does_not_grow_with_the_chains(chains: int, tasks: int) -> None:
    plan = [work("prepare")]
    for chain in range(chains):
        plan += [work(f"train-{chain}", "prepare"), work(f"export-{chain}", f"train-{chain}")]
        plan += [work(f"evaluate-{chain}-{task}", f"export-{chain}") for task in range(tasks)]
        plan += [work(f"summarize-{chain}", *(f"evaluate-{chain}-{task}" for task in range(tasks)))]
    laid = lanes(plan)
    if chains >= tasks:
        assert len(laid) == 4 + tasks
