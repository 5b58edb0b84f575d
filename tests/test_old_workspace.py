"""A workspace of detour 0.1 is read, priced, reported on and completed; see `fixtures/README.md`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from detour.budgets.book import Book
from detour.budgets.caps import Budget
from detour.config.loading import load_cluster
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.monitoring.status import ChainStatus
from detour.orchestration.plans import load_plans
from detour.orchestration.progress import progress_of
from detour.orchestration.selection import chosen
from detour.planning.files import plan_file, read_plan, read_stage, stage_file
from detour.planning.plan import Plan
from detour.pricing.plan_price import price_in
from detour.reporting.build import Question, build_report
from detour.site import Site
from tests.support.chains import detour

KEPT = Path(__file__).parent / "fixtures" / "workspace-0.1"
QUICKSTART = Path("quickstart")
OVERRIDES = (
    "data.sequence_length=128",
    "data.validation_tokens=2k",
    "tokenizer.train.vocabulary=1000",
    "model.config.hidden_size=32",
    "model.config.intermediate_size=48",
    "model.config.num_hidden_layers=2",
    "optimizer.lr=3e-3",
    "phases.0.tokens=24k",
    "phases.0.schedule.warmup=4k",
    "phases.0.gate.validation_loss_drop=0.1",
    "phases.mlm.tokens=8k",
    "phases.mlm.gate.validation_loss_drop=-1",
    "training.checkpoint_every=4",
    "benchmark.seeds=[1,2]",
    "benchmark.tasks.0.split.train=200",
    "benchmark.tasks.0.split.validation=100",
    "benchmark.tasks.0.split.test=100",
    "benchmark.tasks.0.epochs=1",
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    shutil.copytree(KEPT, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="module")
def plan() -> Plan:
    (plan,) = load_plans(QUICKSTART, OVERRIDES).plans
    return plan


def chain_status(workspace: Workspace) -> ChainStatus:
    status = Monitor(workspace).look()
    assert not status.warnings
    (chain,) = status.chains
    return chain


def test_stages_are_written_unchanged(workspace: Workspace) -> None:
    for folder in sorted((workspace.root / "stages").iterdir()):
        written = json.loads(stage_file(workspace, folder.name).read_bytes())
        assert read_stage(workspace, folder.name).to_json() == written


def test_the_plan_keeps_all_its_values(workspace: Workspace) -> None:
    before = json.loads(plan_file(workspace, "quickstart").read_bytes())
    plan, target = read_plan(workspace, "quickstart")
    after = plan.to_json() | target.to_json()
    assert {key: after[key] for key in before} == before


def test_its_recipe_plans_the_same_stages_again(workspace: Workspace, plan: Plan) -> None:
    assert [stage.id for stage in plan.stages] == [stage.id for stage in read_plan(workspace, "quickstart")[0].stages]


def test_done_stages_are_found_by_a_plan(workspace: Workspace, plan: Plan) -> None:
    progress = progress_of(LedgerView(workspace), plan.stages)
    assert [progress[stage.id] for stage in plan.stages] == ["done"] * 8 + ["new"]


def test_the_status_shows_every_attempt(workspace: Workspace) -> None:
    chain = chain_status(workspace)
    assert chain.counts == {"done": 8, "planned": 1}
    assert [row.attempts for row in chain.stages] == [1] * 8 + [0]
    assert chain.elapsed_s == pytest.approx(64.027, abs=0.001), "as detour 0.1 wrote it"


def test_the_status_knows_the_site_of_the_plan(workspace: Workspace) -> None:
    quoted = chain_status(workspace).quoted
    assert quoted is not None
    assert quoted.co2_g == pytest.approx(0.016652, abs=1e-6), "as detour 0.1 wrote it"


def test_the_next_plan_is_priced_from_its_history(workspace: Workspace, plan: Plan) -> None:
    price = price_in(workspace, LedgerView(workspace).state, plan.stages, load_cluster("local"))
    sources = {stage.kind: price.prices[stage.id].source for stage in plan.stages}
    assert sources.pop("summarize").startswith("assumed")
    assert all(source.startswith("measured here") for source in sources.values())


def test_a_budget_counts_its_attempts_and_frees_its_reservation(workspace: Workspace) -> None:
    book = Book(LedgerView(workspace))
    assert len(book.spendings) == 8
    balance = book.balance(Budget.model_validate({"name": "all", "energy_kwh": {"hard": 1}}))
    assert balance is not None
    assert balance.reserved_sum("energy_kwh") == 0


def test_a_stage_is_selected_by_its_label_with_its_dependents(workspace: Workspace) -> None:
    stages = chosen(workspace, ["quickstart"], "evaluate icd10-chapters seed 2").stages
    assert [stage.label for stage in stages] == ["evaluate icd10-chapters seed 2", "summarize"]


def test_a_report_has_its_phases_and_scores(workspace: Workspace) -> None:
    report = build_report(workspace, Question(), lambda name: Site(name or "unknown"), now_s=1_795_666_900.0)
    (chain,) = report.chains
    assert [(phase.name, phase.tokens, phase.steps) for phase in chain.phases] == [
        ("clm", 24_576, 24),
        ("mlm", 8_192, 8),
    ]
    assert chain.parameters == 51_624
    assert list(chain.scores[0].by_seed) == ["1", "2"]
    assert report.versions.code == ["a411181c0da9"]


def test_a_run_continues_to_the_end(workspace: Workspace) -> None:
    message = detour("run", QUICKSTART, *OVERRIDES, "-w", workspace.root, "--quiet").stdout
    assert "summarize" in message
    assert "evaluate" not in message, "done stages are not run again"
    chain = chain_status(workspace)
    assert chain.is_done
    summary = json.loads((workspace.output(chain.stages[-1].id) / "summary.json").read_bytes())
    assert summary["average"]["primary"]["mean"] == pytest.approx(0.01124, abs=1e-5)
