"""A week of a group, fifty chains: on one screen, worst first, at any width."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner
from rich.console import Console

from detour.launch.text.live import draw
from detour.launch.verbs import detour as verbs
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.monitoring.states import WORDS
from tests.support.week import SWEEPS

SIGNS = {"failed": "✗", "interrupted": "‖", "running": "▶", "planned": "·", "done": "✓"}


def status(week: Workspace, *arguments: str, width: int = 100) -> list[str]:
    command = ["status", *arguments, "-w", str(week.root), "--offline"]
    result = CliRunner().invoke(verbs, command, env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


@pytest.mark.parametrize("width", [80, 100])
def test_fifty_chains_have_a_line_each_in_the_order_of_their_states(week: Workspace, width: int) -> None:
    lines = status(week, width=width)
    chains = [line for line in lines if line[0] in SIGNS.values()]
    assert len(chains) == 50
    assert len(lines) <= 50 + 3
    assert max(map(len, lines)) <= width
    words: list[str] = [*WORDS]
    order = [words.index(line.split()[2]) for line in chains]
    assert order == sorted(order)


def test_shared_stages_are_counted_once_in_sums(week: Workspace) -> None:
    read = Monitor(week).look()
    rows = {row.id: row for chain in read.chains for row in chain.stages}
    distinct = sum(row.gpu_hours or 0.0 for row in rows.values())
    assert sum(sweep.gpu_hours or 0.0 for sweep in read.sweeps) == pytest.approx(distinct)
    assert read.projects[0].gpu_hours == pytest.approx(distinct)
    assert sum(chain.gpu_hours or 0.0 for chain in read.chains) > distinct
    assert f"{distinct:,.0f} GPU-h" in status(week)[0]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_means_its_chains(week: Workspace, sweep: str) -> None:
    chains = [line for line in status(week, sweep) if line[0] in SIGNS.values()]
    assert len(chains) == SWEEPS[sweep]


def test_a_chain_is_shown_by_stage_with_the_seeds_of_a_task_on_one_line(
    week: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETOUR_WORKSPACE", str(week.root))
    lines = status(week, "clm-decay-15-30k", width=80)
    (evaluation,) = [line for line in lines if "evaluate" in line]
    assert "0/3 seeds" in evaluation
    assert max(map(len, lines)) <= 80
    assert any(line.strip().startswith("seed 1: the gradient was not finite") for line in lines)


def test_a_small_screen_shows_the_worst_chains_on_a_line_each(week: Workspace) -> None:
    output = io.StringIO()
    Console(file=output, width=200).print(draw(Monitor(week).look(), width=80, height=24))
    lines = output.getvalue().splitlines()
    assert len(lines) <= 24
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert [line.split()[2] for line in lines if line.startswith("✗")] == ["failed"] * 6
    assert lines[-1].startswith("and 30 more (--all lists them): ")
