"""The lines of `detour watch`: what is listed for a view of a status."""

from __future__ import annotations

import pytest

from detour.launch.tui.lines import Line, View, lines_of
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.monitoring.status import Status
from tests.support.week import write_week

FAILED = "tokenizer-02-30k"


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> Status:
    workspace = Workspace(tmp_path_factory.mktemp("week") / "workspace")
    write_week(workspace)
    return Monitor(workspace).look()


def shown(status: Status, *opened: str, search: str = "", width: int = 100) -> list[Line]:
    return lines_of(status, View(frozenset(opened), search=search), width)


def evaluation(status: Status) -> Line:
    return next(line for line in shown(status, FAILED) if line.has_parts and line.stages)


def test_closed_chains_are_one_line_each_worst_first(status: Status) -> None:
    lines = shown(status)
    assert len(lines) == 50
    assert lines[0].names == (FAILED,)
    assert [line.chain.is_done for line in lines if line.chain][-5:] == [True] * 5


def test_an_open_chain_lists_its_stages_with_the_seeds_of_a_task_on_one_line(status: Status) -> None:
    lines = [line.text.split()[:4] for line in shown(status, FAILED)[1:10]]
    assert lines[0][0] == "stage"
    assert lines[1][:3] == ["✓", "prepare", "done"]
    assert lines[7][:3] == ["+", "·", "evaluate"]
    assert lines[8][:2] == ["·", "summarize"]


@pytest.mark.parametrize("width", [76, 63, 51, 40])
def test_narrow_screens_have_fewer_figures_and_names_in_full(status: Status, width: int) -> None:
    assert not any("…" in line.text for line in shown(status, FAILED, width=width)[2:10])


def test_an_open_task_lists_its_seeds(status: Status) -> None:
    task = evaluation(status)
    lines = shown(status, FAILED, task.key)
    place = next(index for index, line in enumerate(lines) if line.key == task.key)
    assert [line.label for line in lines[place + 1 : place + 4]] == [
        f"{FAILED}/evaluate chapter seed {seed}" for seed in (1, 2, 3)
    ]


def test_a_verb_gets_a_chain_by_name_and_stages_by_id(status: Status) -> None:
    task = evaluation(status)
    assert len(task.names) == 3
    assert all(name.startswith("evaluate-") for name in task.names)
    assert task.label == f"{FAILED}/evaluate chapter, 3 seeds"
    assert shown(status, FAILED)[1].names == ()


def test_keys_are_distinct_although_chains_share_stages(status: Status) -> None:
    keys = [line.key for line in shown(status, *(chain.name for chain in status.chains))]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("search", "chains"), [("TOKENIZER", 12), ("clm-decay-07", 1), ("evaluate chapter", 50), ("absent", 0)]
)
def test_a_search_finds_chains_sweeps_and_stages(status: Status, search: str, chains: int) -> None:
    assert len(shown(status, search=search)) == chains


def test_chains_that_are_done_can_be_hidden(status: Status) -> None:
    assert len(lines_of(status, View(is_without_done=True), 100)) == 45


@pytest.mark.parametrize("width", [60, 77, 97, 160])
def test_no_line_is_wider_than_the_screen(status: Status, width: int) -> None:
    opened = [chain.name for chain in status.chains[:5]]
    wide = [line.text for line in shown(status, *opened, width=width) if len(line.text) > max(width, 77)]
    assert wide == []


def test_what_leaves_chains_out_is_said() -> None:
    assert View().conditions == []
    assert View(is_without_done=True, search="tok").conditions == ["done ones hidden", "only with 'tok'"]
