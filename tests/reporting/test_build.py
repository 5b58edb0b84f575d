"""A report of two chains that share a stage, built from a workspace that the real journal wrote."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from detour.errors import UserError
from detour.ledger.events import AttemptHeartbeat, CheckpointSkipped, EnergyCounted, GradientSkipped
from detour.ledger.process import Process
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.reporting.build import Question, build_report
from detour.reporting.costs import cost_of
from detour.reporting.data import Curve
from detour.reporting.report import Report
from detour.site import Site, Sourced
from tests.reporting.fabricate import EPOCH_S, HELD, Made, make_twins, record_chain, stages_of, write_chain

SITE = Site(
    "local",
    pue=Sourced(1.1, "test", 2026),
    grid_g_per_kwh=Sourced(50.0, "test", 2026),
    core_w=Sourced(12.0, "test"),
    ram_w_per_gb=Sourced(0.3725, "test"),
)


def site_of(name: str | None) -> Site:
    return SITE if name == "local" else Site(name or "unknown place")


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_twins(Workspace(tmp_path_factory.mktemp("twins")))


@pytest.fixture(scope="module")
def report(twins: Made) -> Report:
    return build_report(twins.workspace, Question(), site_of, twins.clock.now_s)


def test_chains_come_in_the_order_of_their_plans_and_share_their_corpus(report: Report) -> None:
    assert [chain.name for chain in report.chains] == ["quickstart", "quickstart-mlm"]
    assert [chain.status for chain in report.chains] == ["done", "done"]
    (shared,) = report.shared
    assert (shared.kind, shared.chains) == ("prepare", ["quickstart", "quickstart-mlm"])


def test_shared_stages_are_counted_once_in_the_total(report: Report) -> None:
    (shared,) = report.shared
    by_chain = sum(chain.cost.allocated_s for chain in report.chains)
    assert report.total.allocated_s == pytest.approx(by_chain - shared.cost.allocated_s)
    assert report.total.attempts == sum(chain.cost.attempts for chain in report.chains) - 1
    assert report.total.cpu_hours.value == pytest.approx(
        sum(stage.cost.cpu_hours.value or 0.0 for stage in report.stages.values())
    )


def test_fates_sum_to_the_hours_allocated(report: Report) -> None:
    for cost in (report.total, *(chain.cost for chain in report.chains)):
        assert cost.fates_s.allocated == pytest.approx(cost.allocated_s)
        assert cost.fates_cpu_hours.allocated == pytest.approx(cost.cpu_hours.value or 0.0)


def test_use_over_time_without_gpus_is_of_cpu_hours_in_data_too(report: Report) -> None:
    (use,) = report.burns
    assert (use.budget, use.measure, use.unit) == (None, "cpu_hours", "CPU-h")


def test_a_killed_attempt_is_listed_with_what_it_lost(report: Report) -> None:
    clm = next(stage for stage in report.stages.values() if stage.label == "pretrain causal")
    assert [attempt.outcome for attempt in clm.attempts] == ["lost", "done"]
    # killed at 200,704 tokens, last checkpoint at 163,840: 9 steps of 1.2 s
    assert clm.attempts[0].fates_s.redone == pytest.approx(10.8, abs=0.01)
    assert report.total.fates_s.redone == pytest.approx(10.8, abs=0.01)


def test_a_resumed_curve_continues_from_the_checkpoint(report: Report) -> None:
    loss = report.chains[0].phases[0].curves["loss"]
    assert loss.unit == "tokens"
    assert loss.x == sorted(loss.x)
    assert loss.x[-1] >= 300_000
    assert {"lr", "validation_loss", "tokens_per_s"} <= report.chains[0].phases[0].curves.keys()


def test_phases_have_their_plan_and_their_promotion(report: Report) -> None:
    first, second = report.chains[1].phases
    assert first.objective == "masked"
    assert first.masking_rate == 0.3
    assert first.tokens == 300_000
    assert first.steps == 75
    assert (second.validation_loss, second.parent_validation_loss) == (4.61, 5.2)
    assert report.chains[1].parameters == 2_107_392
    assert report.chains[1].corpus_tokens == 181_000


def test_scores_have_a_mean_once_every_seed_is_done(report: Report) -> None:
    (scores,) = report.chains[0].scores
    assert scores.metric == "macro_f1"
    assert len(scores.by_seed) == 3
    assert scores.mean == pytest.approx(sum(score or 0 for score in scores.by_seed.values()) / 3)
    assert scores.standard_deviation is not None


def test_every_method_is_listed_with_pue_applied_once(report: Report) -> None:
    rows = {row.method.value: row for row in report.total.energy}
    assert list(rows) == ["M1 measured", "codecarbon", "M2 estimated", "card convention"]
    tracked = rows["codecarbon"]
    assert tracked.it_energy_kwh is not None
    assert tracked.facility_energy_kwh is not None
    assert tracked.co2_g is not None
    assert tracked.facility_energy_kwh.expected == pytest.approx(tracked.it_energy_kwh.expected * 1.1)
    assert tracked.co2_g.expected == pytest.approx(tracked.it_energy_kwh.expected * 1.1 * 50)
    assert tracked.extended_s > 10
    assert (rows["card convention"].co2_g, rows["card convention"].missing) == (
        None,
        "no GPU was reserved, and the convention counts GPUs only",
    )


def test_the_json_holds_the_whole_report(report: Report) -> None:
    content = json.loads(report.to_json_bytes())
    assert content["schema"] == 2
    assert len(content["stages"]) == 19
    stage = content["stages"][report.chains[0].stages[0]]
    assert stage["cost"]["energy"][0]["pue"] == asdict(Sourced(1.1, "test", 2026))
    assert content["versions"]["packages"]["torch"] == ["2.13.0"]
    assert content["versions"]["code"] == ["0123456789ab"]


def test_a_report_can_be_limited_to_one_chain(twins: Made) -> None:
    alone = build_report(twins.workspace, Question(["quickstart-mlm"]), site_of, twins.clock.now_s)
    assert [chain.name for chain in alone.chains] == ["quickstart-mlm"]
    assert not alone.shared


def test_a_report_works_from_a_source_tree(twins: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detour.reporting.build.installed", lambda _: None)
    assert build_report(twins.workspace, Question(), site_of, twins.clock.now_s).version == "of a source tree"


def test_an_unknown_chain_is_answered_with_the_nearest_name(twins: Made, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no chain, sweep or stage 'quick' in .*; did you mean `quickstart`"):
        build_report(twins.workspace, Question(["quick"]), site_of, 0.0)
    with pytest.raises(UserError, match=r"no chain in .* yet"):
        build_report(Workspace(tmp_path), Question(), site_of, 0.0)


@pytest.mark.parametrize("content", ["", "[]", '{"stages": 3}', '{"stages": [{"kind": "prepare"}]}'])
def test_a_damaged_plan_is_named(tmp_path: Path, content: str) -> None:
    workspace = Workspace(tmp_path)
    workspace.chain("broken").mkdir(parents=True)
    (workspace.chain("broken") / "plan.json").write_text(content)
    with pytest.raises(UserError, match=r"not a plan written by detour .* run or submit the recipe again"):
        build_report(workspace, Question(["broken"]), site_of, 0.0)


def test_a_running_chain_shows_what_is_known_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(Workspace(tmp_path))
    made.workspace.create()
    stages = stages_of("causal")
    record_chain(made, "half", stages[:3], 0.7)
    write_chain(made.workspace, "half", stages)
    with made.attempt(stages[3], 1, HELD) as attempt:
        made.clock.now_s += 3.0
        attempt.event(AttemptHeartbeat())
    report = build_report(made.workspace, Question(), site_of, made.clock.now_s + 5.0)
    (chain,) = report.chains
    assert chain.status == "running"
    assert chain.ended_s is None
    assert [report.stages[stage].status for stage in chain.stages[:5]] == ["done", "done", "done", "running", "planned"]
    shown = Monitor(made.workspace).look(now_s=made.clock.now_s + 5.0).chains[0].stages
    assert {row.id: row.status for row in shown} == {stage.id: stage.status for stage in report.stages.values()}
    monkeypatch.setattr(Process, "is_alive", lambda _: False)
    later = build_report(made.workspace, Question(), site_of, made.clock.now_s + 5000.0)
    assert later.chains[0].status == "interrupted"
    made.workspace.failure(stages[3].id).parent.mkdir(parents=True)
    made.workspace.failure(stages[3].id).write_text('{"reason": "loss is NaN"}')
    failed = build_report(made.workspace, Question(), site_of, made.clock.now_s + 5000.0)
    assert failed.stages[stages[3].id].reason == "loss is NaN"
    (scores,) = chain.scores
    assert scores.mean is None
    assert scores.metric is None
    assert set(scores.by_seed.values()) == {None}


def test_sites_are_not_mixed_and_an_unknown_site_has_no_co2(tmp_path: Path) -> None:
    made = Made(Workspace(tmp_path))
    made.workspace.create()
    stages = stages_of("causal")[:1]
    record_chain(made, "moved", stages, 0.7)
    with made.attempt(stages[0], 2, {**HELD, "cluster": "elsewhere"}) as attempt:
        made.clock.now_s += 10.0
        attempt.event(EnergyCounted(energy_kwh=1e-6, duration_s=10.0))
    report = build_report(made.workspace, Question(), site_of, made.clock.now_s + 1e6)
    rows = [row for row in report.total.energy if row.method == "codecarbon"]
    assert [(row.site.name, row.co2_g is None) for row in rows] == [("local", False), ("elsewhere", True)]
    assert rows[1].missing == "no PUE is known for elsewhere"


def test_simulated_gpus_are_labelled(tmp_path: Path) -> None:
    made = Made(Workspace(tmp_path))
    made.workspace.create()
    stages = stages_of("causal")[:1]
    write_chain(made.workspace, "rehearsal", stages)
    made.run(stages[0], 21.0, {}, HELD | {"gpus": 4, "cluster": "slurm-local"})
    warnings = build_report(made.workspace, Question(), site_of, made.clock.now_s).warnings
    assert [warning for warning in warnings if "simulated" in warning] == [
        "the GPUs of slurm-local are simulated: its GPU-hours, and all estimates based on them, were not really used"
    ]


@pytest.mark.parametrize(
    ("sources", "tokens"),
    [({"a": 7, "b": {"train_tokens": 5}}, 5), ({"a": {}, "b": {"train_tokens": 5}}, None), ("a", None)],
)
def test_sources_of_another_form_are_gaps(tmp_path: Path, sources: object, tokens: int | None) -> None:
    made = Made(Workspace(tmp_path))
    made.workspace.create()
    stages = stages_of("causal")[:1]
    write_chain(made.workspace, "odd", stages)
    made.run(stages[0], 21.0, {"index.json": {"sources": sources}})
    (chain,) = build_report(made.workspace, Question(), site_of, made.clock.now_s).chains
    assert chain.corpus_tokens == tokens


def test_two_trackers_on_one_machine_at_once_are_reported(tmp_path: Path) -> None:
    made = Made(Workspace(tmp_path))
    made.workspace.create()
    stages = stages_of("causal")[:1]
    write_chain(made.workspace, "twice", stages)
    for number in (1, 2):
        made.clock.now_s = EPOCH_S + 5.0 * number
        with made.attempt(stages[0], number, HELD) as attempt:
            made.clock.now_s += 10.0
            attempt.event(EnergyCounted(energy_kwh=1e-6, duration_s=10.0, scope="this machine"))
    report = build_report(made.workspace, Question(), site_of, made.clock.now_s + 1e6)
    assert report.warnings == ["laptop: several attempts counted the whole machine at once, for 5 s in all"]


def test_coverage_is_only_stated_for_methods_that_observe_the_work(report: Report) -> None:
    message = {row.aspect: row.consequence for row in report.quality}
    assert "unseen time is filled in" in message["time seen by M1 measured (local), s"]
    assert "the rest has no energy" in message["time covered by M2 estimated (local), s"]
    assert not any("card convention" in aspect for aspect in message)


def test_the_cost_of_no_attempts_is_zero() -> None:
    cost = cost_of([])
    assert cost.attempts == 0
    assert cost.allocated_s == 0.0
    assert cost.energy == []
    assert cost.cpu_hours.value == 0.0


def test_curves_are_plain_data(report: Report) -> None:
    curve = report.chains[0].phases[0].curves["loss"]
    assert replace(curve, x=[], y=[]) == Curve("loss", "tokens", [], [])
    content: dict[str, Any] = json.loads(report.to_json_bytes())
    assert content["chains"][0]["phases"][0]["curves"]["loss"]["x"] == curve.x


def test_skipped_checkpoints_and_gradients_are_reported(tmp_path: Path) -> None:
    made = Made(Workspace(tmp_path))
    made.workspace.create()
    stages = stages_of("causal")[:2]
    write_chain(made.workspace, "bumpy", stages)
    with made.attempt(stages[1], 1, HELD) as attempt:
        attempt.event(CheckpointSkipped(path="x", step=20, reason="state.pt is missing"))
        attempt.event(GradientSkipped(step=11, in_a_row=1))
        attempt.event(GradientSkipped(step=12, in_a_row=2))
    warnings = build_report(made.workspace, Question(), site_of, made.clock.now_s).warnings
    assert [warning for warning in warnings if warning.startswith(stages[1].label)] == [
        "pretrain causal: the checkpoint of step 20 was skipped (state.pt is missing); an older one was used",
        "pretrain causal: 2 steps had no finite gradient and changed nothing",
    ]
