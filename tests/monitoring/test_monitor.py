import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from detour.errors import UserError
from detour.ledger.events import EnergyCounted, JobAccounted, StageDone, StageFailed, StageSubmitted
from detour.ledger.journal import Journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.costs import EnergyTotal
from detour.monitoring.groups import groups
from detour.monitoring.monitor import Monitor
from detour.monitoring.queries import Question, Reading, SeenJob
from detour.monitoring.status import StageRow
from tests.monitoring.made_rows import make_chain, make_row
from tests.monitoring.workspaces import (
    CHAIN,
    PREPARE,
    PROMOTE,
    TRAIN,
    end,
    make_workspace,
    mark_done,
    mark_failed,
    start,
)
from tests.support.past import Past
from tests.support.week import SITE


def rows(workspace: Workspace) -> dict[str, StageRow]:
    (chain,) = Monitor(workspace).look().chains
    return {row.id: row for row in chain.stages}


def test_a_plan_that_never_ran_is_planned_with_unknown_figures(tmp_path: Path) -> None:
    (chain,) = Monitor(make_workspace(tmp_path)).look().chains
    assert [row.label for row in chain.stages] == ["prepare", "pretrain clm", "promote clm"]
    assert chain.stages[1].inputs == (PREPARE.id,)
    assert chain.counts == {"planned": 3}
    assert chain.elapsed_s is None
    assert chain.energy == ()
    assert chain.quoted is None
    assert not chain.is_done
    unknown = chain.stages[0]
    for figure in (
        "done",
        "total",
        "rate_per_s",
        "eta_s",
        "elapsed_s",
        "facility_energy_kwh",
        "co2_g",
        "fraction",
        "loss",
    ):
        assert getattr(unknown, figure) is None


def test_a_running_stage_shows_its_progress(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    end(start(workspace, TRAIN, 1), "interrupted", reason="time limit")
    attempt = start(workspace, TRAIN, 2, job="77")
    attempt.progress(0, 1000, "tokens", loss=9.0)
    attempt.progress(250, 1000, "tokens", loss=2.5, tokens_per_s=50.0, validation_loss=None)
    row = rows(workspace)[TRAIN.id]
    assert row.status == "running"
    assert row.done == 250
    assert row.total == 1000
    assert row.unit == "tokens"
    assert row.fraction == 0.25
    assert row.tokens_per_s == 50.0
    assert row.eta_s == 15.0
    assert row.loss == 2.5
    assert row.attempts == 2
    assert row.jobs == ("77",)
    assert row.figures["validation_loss"] is None
    assert row.reason is None
    end(attempt)


def done_and_removed(tmp_path: Path) -> Workspace:
    """A workspace in which attempt 2 of a training was done, in job 900, and its folder has been removed since."""
    workspace = make_workspace(tmp_path)
    attempt = start(workspace, TRAIN, 2, job="900")
    attempt.progress(1000, 1000, "tokens", tokens_per_s=50.0)
    attempt.event(StageDone())
    end(attempt)
    return workspace


def test_a_stage_whose_output_was_removed_is_planned_and_has_made_no_progress(tmp_path: Path) -> None:
    row = rows(done_and_removed(tmp_path))[TRAIN.id]
    assert (row.status, row.done, row.fraction, row.left_s, row.attempts) == ("planned", None, None, None, 1)


def test_a_stage_that_runs_again_after_its_output_was_removed_shows_the_present_run(tmp_path: Path) -> None:
    workspace = done_and_removed(tmp_path)
    attempt = start(workspace, TRAIN, 1, job="1000")
    attempt.progress(250, 1000, "tokens", tokens_per_s=50.0)
    row = rows(workspace)[TRAIN.id]
    assert (row.status, row.done, row.eta_s, row.attempts) == ("running", 250, 15.0, 2)
    assert [one.state for segment in row.segments for one in segment.attempts] == ["done", "running"]
    end(attempt, "failed", reason="loss is NaN")
    row = rows(workspace)[TRAIN.id]
    assert (row.status, row.reason) == ("failed", "loss is NaN")


def test_slurm_is_asked_about_a_job_that_was_sent_after_the_output_was_removed(tmp_path: Path) -> None:
    workspace = done_and_removed(tmp_path)
    with Journal.open(workspace, "command") as journal:
        journal.append(StageSubmitted(), stage=TRAIN.id, job="1000")

    def ask(question: Question) -> Reading:
        assert question.jobs == ["1000"]
        return Reading(time.time(), {"1000": SeenJob("1000", "PENDING", "waiting", "Priority", seen_s=time.time())})

    (chain,) = Monitor(workspace, ask).look().chains
    row = chain.stages[1]
    assert (row.status, row.reason_job, row.left_s) == ("submitted", "1000", None)


def test_times_of_a_job_on_a_node_whose_clock_is_behind_are_those_of_this_machine(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    attempt = start(workspace, TRAIN, job="7")
    attempt.event(StageSubmitted())
    attempt.progress(250, 1000, "tokens")
    state = LedgerView(workspace).state
    [writer], [known] = state.writers.values(), state.stage(TRAIN.id).attempts
    assert writer.process is not None
    assert writer.process.start_ticks is not None
    [(last_mono_s, last_wall_s)] = known.seen.values()
    lived_s = last_mono_s - writer.process.start_ticks / os.sysconf("SC_CLK_TCK")
    now_s = last_wall_s + 240
    job = SeenJob("7", "RUNNING", "running", started_s=now_s - lived_s - 5, seen_s=now_s)
    (chain,) = Monitor(workspace, lambda _: Reading(now_s, {"7": job})).look(now_s=now_s).chains
    row = chain.stages[1]
    assert (row.state, row.reason) == ("running", None)
    assert row.seen_s == row.segments[0].attempts[0].seen_s == pytest.approx(now_s - 5)
    assert row.progress_s == pytest.approx(now_s - 5)
    assert row.elapsed_s == pytest.approx((known.elapsed_s or 0.0) + 5)


def test_a_retry_is_pending_even_if_the_clock_of_the_node_that_failed_is_ahead(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    with Journal.open(workspace, "command") as journal:
        for job in ("7", "8"):
            journal.append(StageSubmitted(), stage=TRAIN.id, job=job)
    attempt = start(workspace, TRAIN, job="7")
    attempt.event(StageFailed(reason="NaN"))
    end(attempt, "failed")
    mark_failed(workspace, TRAIN, "NaN")
    pending = {"8": SeenJob("8", "PENDING", "waiting", "Priority", seen_s=time.time())}

    def state() -> str:
        return Monitor(workspace, lambda _: Reading(time.time(), pending)).look().chains[0].stages[1].state

    assert state() == "failed"
    workspace.failure(TRAIN.id).unlink()  # by `detour retry`, which sent job 8
    assert state() == "pending"


def test_without_a_reported_rate_it_is_the_mean_of_the_attempt(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    attempt = start(workspace, PREPARE)
    attempt.progress(100, 500, "documents")
    time.sleep(0.05)
    attempt.progress(300, 500, "documents", bytes_per_s=1.0)
    row = rows(workspace)[PREPARE.id]
    assert row.rate_per_s is not None
    assert 0 < row.rate_per_s <= 200 / 0.05
    assert row.eta_s == pytest.approx(200 / row.rate_per_s)
    assert row.tokens_per_s is None
    end(attempt)


def test_markers_have_the_last_word(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    end(start(workspace, PREPARE), "interrupted", reason="stopped")
    mark_done(workspace, PREPARE)
    end(start(workspace, TRAIN), "failed", reason="in the ledger")
    mark_failed(workspace, TRAIN, "in the marker")
    mark_failed(workspace, PROMOTE, "a gate")
    shown = rows(workspace)
    assert [shown[stage.id].status for stage in CHAIN] == ["done", "failed", "failed"]
    assert [shown[stage.id].reason for stage in CHAIN] == [None, "in the marker", "a gate"]
    assert shown[PREPARE.id].fraction == 1.0


def test_energy_is_by_method_with_the_recorded_site(tmp_path: Path) -> None:
    """The tracker saw an hour of its node, of which the attempt held a moment: it gets that share."""
    workspace = make_workspace(tmp_path)
    attempt = start(workspace, TRAIN, node="n1")
    time.sleep(0.02)
    attempt.event(EnergyCounted(energy_kwh=0.5, gpu_kwh=0.4, duration_s=3600.0, scope="this machine"))
    end(attempt)
    (chain,) = Monitor(workspace).look().chains
    measured, codecarbon, estimated, slurm, card = chain.energy
    assert (measured.missing, slurm.missing) == ("no energy counter was read", "sacct was not read")
    row = chain.stages[1]
    assert row.elapsed_s is not None
    share = row.elapsed_s / 3600
    assert codecarbon.method == "codecarbon"
    assert codecarbon.it_energy_kwh == pytest.approx(0.5 * share, rel=1e-3)
    assert codecarbon.facility_energy_kwh == pytest.approx(0.6 * share, rel=1e-3)
    assert codecarbon.co2_g == pytest.approx(30.0 * share, rel=1e-3)
    assert (estimated.method, card.method) == ("M2 estimated", "card convention")
    assert chain.quoted == estimated
    assert card.facility_energy_kwh == pytest.approx(2 * row.elapsed_s / 3600 * 0.7 * 1.2, rel=1e-3)
    assert (row.facility_energy_kwh, row.energy_method) == (estimated.facility_energy_kwh, "M2 estimated")


def test_all_stages_are_quoted_by_the_method_of_the_chain_and_add_up(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    for stage, seen_s in ((PREPARE, 3600.0), (TRAIN, 0.001)):
        attempt = start(workspace, stage)
        time.sleep(0.05)
        attempt.event(EnergyCounted(energy_kwh=1.0, gpu_kwh=1.0, duration_s=seen_s))
        end(attempt)
    (chain,) = Monitor(workspace).look().chains
    assert chain.quoted is not None
    assert chain.quoted.method == "M2 estimated", "codecarbon saw half of the chain, though all of its first stage"
    prepare, train, _ = chain.stages
    assert prepare.energy_method == train.energy_method == "M2 estimated"
    assert (prepare.facility_energy_kwh or 0) + (train.facility_energy_kwh or 0) == pytest.approx(
        chain.quoted.facility_energy_kwh
    )


def test_an_attempt_on_another_cluster_than_the_planned_one_has_the_constants_of_its_profile(tmp_path: Path) -> None:
    """Ten cores for an hour at 7.3 W, PUE 1.2 and 34 g/kWh on jean-zay; then with a board of 700 W at 10 W and 50 g."""
    workspace = make_workspace(tmp_path)
    past = Past(workspace)
    past.attempt(PREPARE.id, 1.8e9, 3600.0, job="6", gpus=0, cpus=10, cluster="jean-zay")
    past.attempt(TRAIN.id, 1.8e9 + 3600, 3600.0, job="7", gpus=1, cpus=10, cluster="here")
    past.write()
    found = rows(workspace)
    assert [found[stage.id].co2_g for stage in (PREPARE, TRAIN)] == pytest.approx([2.9784, 48.0])


def test_without_a_site_in_the_plan_energy_and_co2_are_unknown_and_the_profile_is_named(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, site=None)
    attempt = start(workspace, TRAIN, cluster="far")
    attempt.event(EnergyCounted(energy_kwh=1.0, gpu_kwh=1.0, duration_s=60.0))
    end(attempt)
    (chain,) = Monitor(workspace).look().chains
    assert chain.quoted is not None
    assert chain.quoted.it_energy_kwh is not None
    assert (chain.quoted.facility_energy_kwh, chain.quoted.co2_g) == (None, None)
    assert chain.quoted.missing == "no PUE is known for far"


def test_a_shared_stage_is_the_same_in_both_chains_and_a_second_look_is_cheap(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    twin = workspace.chain("twin") / "plan.json"
    twin.parent.mkdir()
    twin.write_text(json.dumps({"chain": "twin", "stages": [PREPARE.to_json()]}))
    monitor = Monitor(workspace)
    assert [chain.name for chain in monitor.look().chains] == ["base", "twin"]
    attempt = start(workspace, PREPARE)
    first, second = monitor.look().chains
    assert first.stages[0] == second.stages[0]
    assert first.stages[0].status == "running"
    end(attempt)
    mark_done(workspace, PREPARE)
    (twin_only,) = monitor.look({"twin"}).chains
    assert twin_only.is_done


def test_unreadable_parts_are_reported(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    end(start(workspace, PREPARE))
    (journal,) = workspace.ledger.glob("*/*.jsonl")
    journal.write_bytes(journal.read_bytes().replace(b'"gpus":2', b'"gpus":3'))
    (workspace.chain("broken")).mkdir()
    (workspace.chain("broken") / "plan.json").write_text('{"stages": [{"kind": "prepare"}]}')
    status = Monitor(workspace).look()
    assert [chain.name for chain in status.chains] == ["base"]
    assert "left out of the ledger: 1 damaged line" in status.warnings
    assert "missing from the ledger: 1 event" in status.warnings
    assert any("broken" in warning and "run or submit the recipe again" in warning for warning in status.warnings)
    with pytest.raises(UserError, match=r"no chain, sweep or stage 'absent'"):
        Monitor(workspace).look({"absent"})


def test_the_json_holds_everything_as_plain_values(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    attempt = start(workspace, TRAIN)
    attempt.progress(1, 4, "tokens", loss=2.0)
    attempt.event(EnergyCounted(energy_kwh=1.0, gpu_kwh=1.0, duration_s=60.0))
    end(attempt)
    read_back = orjson.loads(orjson.dumps(Monitor(workspace).look().to_json()))
    (chain,) = read_back["chains"]
    stage = chain["stages"][1]
    assert stage["fraction"] == 0.25
    assert stage["loss"] == 2.0
    assert stage["energy_method"] == "M2 estimated"
    assert set(chain["quoted"]) == set(EnergyTotal._fields)
    assert chain["counts"] == {"planned": 3}
    assert read_back["schema"] == 3


def test_the_monitor_imports_nothing_heavy() -> None:
    code = "import sys, detour.monitoring.monitor, detour.launch.text.status; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pydantic", "numpy", "yaml", "click", "hashlib", "tempfile", "socket"} & set(loaded)


def test_dependents_of_a_failed_stage_name_it_and_leave_the_advice_to_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    mark_failed(workspace, PREPARE, "no space")
    shown = rows(workspace)
    assert [shown[stage.id].blocked_by for stage in CHAIN] == [None, PREPARE.id, PREPARE.id]
    assert [shown[stage.id].reason for stage in CHAIN] == ["no space", *["not run: prepare failed"] * 2]
    assert [shown[stage.id].next_step is None for stage in CHAIN] == [False, True, True]


def test_ended_attempts_without_accounts_count_by_the_journal(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    now_s = time.time()
    end(start(workspace, TRAIN, 1, job="7"), "interrupted", reason="time limit")
    start(workspace, TRAIN, 2, job="8")
    assert rows(workspace)[TRAIN.id].by_journal == 1, "a running attempt has no accounts yet"
    with Journal.open(workspace, "command-1") as journal:
        accounted = JobAccounted(source="sacct", start_s=now_s - 1.0, elapsed_s=60.0, gpus=1, stages=[TRAIN.id])
        journal.append(accounted, job="7")
    assert rows(workspace)[TRAIN.id].by_journal == 0


def two_clusters(folder: Path, jobs: tuple[str, str], *, recorded: bool = True) -> Workspace:
    """A chain on each of a site's clusters, with one submitted job. Earlier versions recorded no cluster of a job."""
    workspace = make_workspace(folder, "base", (PREPARE,), slurm_cluster="old")
    plan = {"chain": "large", "stages": [TRAIN.to_json()], "slurm_cluster": "new"}
    workspace.chain("large").mkdir()
    (workspace.chain("large") / "plan.json").write_text(json.dumps(plan))
    journal = Journal.open(workspace, "submit")
    for stage, job, cluster in zip((PREPARE, TRAIN), jobs, ("old", "new"), strict=True):
        submitted = StageSubmitted(slurm_cluster=cluster) if recorded else StageSubmitted()
        journal.append(submitted, stage=stage.id, job=job)
    journal.close()
    return workspace


@dataclass
class Clusters:
    """Two clusters: the old one runs its jobs, those of the new one are pending."""

    asked: dict[str | None, Question] = field(default_factory=dict)

    def __call__(self, question: Question) -> Reading:
        self.asked[question.slurm_cluster] = question
        state, standing = ("RUNNING", "running") if question.slurm_cluster == "old" else ("PENDING", "waiting")
        return Reading(1.0, {job: SeenJob(job, state, standing, seen_s=1.0) for job in question.jobs}, (), 1.0)


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("jobs", [("7", "8"), ("7", "7")])
def test_each_cluster_is_asked_about_its_own_jobs_even_if_they_share_an_id(
    tmp_path: Path, jobs: tuple[str, str], recorded: bool
) -> None:
    site = Clusters()
    status = Monitor(two_clusters(tmp_path, jobs, recorded=recorded), ask=site).look()
    assert {cluster: question.jobs for cluster, question in site.asked.items()} == {"old": [jobs[0]], "new": [jobs[1]]}
    states = {row.id: (row.state, row.jobs) for chain in status.chains for row in chain.stages}
    assert states == {PREPARE.id: ("running", (jobs[0],)), TRAIN.id: ("pending", (jobs[1],))}
    assert status.warnings == ()


def test_a_job_is_looked_for_where_it_was_sent_even_if_its_chain_is_now_planned_elsewhere(tmp_path: Path) -> None:
    workspace, site = two_clusters(tmp_path, ("7", "7")), Clusters()
    for chain, cluster in (("base", "new"), ("large", "old")):
        path = workspace.chain(chain) / "plan.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"slurm_cluster": cluster}))
    status = Monitor(workspace, ask=site).look()
    assert {row.id: row.state for chain in status.chains for row in chain.stages} == {
        PREPARE.id: "running",
        TRAIN.id: "pending",
    }


def test_a_cluster_that_does_not_answer_leaves_only_its_own_jobs_unknown(tmp_path: Path) -> None:
    site = Clusters()

    def ask(question: Question) -> Reading:
        return Reading(2.0, {}, ("squeue of new failed",)) if question.slurm_cluster == "new" else site(question)

    status = Monitor(two_clusters(tmp_path, ("7", "7")), ask=ask).look()
    assert status.warnings == ("squeue of new failed",)
    assert {row.id: row.state for chain in status.chains for row in chain.stages} == {
        PREPARE.id: "running",
        TRAIN.id: "pending",
    }
    assert (list(site.asked), status.queue_s) == (["old"], 1.0)


def test_a_job_that_ran_on_one_cluster_has_not_been_tried_on_another(tmp_path: Path) -> None:
    workspace, site = two_clusters(tmp_path, ("7", "7")), Clusters()
    end(start(workspace, PREPARE, job="7"), "interrupted")
    Monitor(workspace, ask=site).look()
    assert {cluster: question.tried for cluster, question in site.asked.items()} == {"old": {"7"}, "new": frozenset()}


def test_energy_and_co2_of_0_are_0(tmp_path: Path) -> None:
    """An attempt of no length, and a grid factor of 0."""
    workspace = make_workspace(tmp_path, site=SITE | {"grid_g_per_kwh": {"value": 0, "source": "own solar"}})
    past = Past(workspace)
    past.attempt(PREPARE.id, 1.8e9, 0.0, job="6", gpus=0, cpus=10, cluster="here")
    past.attempt(TRAIN.id, 1.8e9, 3600.0, job="7", gpus=1, cpus=10, cluster="here")
    past.write()
    found = rows(workspace)
    assert (found[PREPARE.id].facility_energy_kwh, found[PREPARE.id].co2_g) == (0.0, 0.0)
    assert (found[TRAIN.id].facility_energy_kwh or 0) > 0
    assert found[TRAIN.id].co2_g == 0.0


def test_over_several_sites_a_chain_has_no_sum_of_energy(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    past = Past(workspace)
    past.attempt(PREPARE.id, 1.8e9, 3600.0, job="6", gpus=0, cpus=10, cluster="jean-zay")
    past.attempt(TRAIN.id, 1.8e9, 3600.0, job="7", gpus=1, cpus=10, cluster="here")
    past.write()
    (chain,) = Monitor(workspace).look().chains
    assert chain.quoted is None
    assert {(one.facility_energy_kwh, one.co2_g) for one in chain.energy} == {(None, None)}
    assert all("several sites" in (one.missing or "") for one in chain.energy)
    assert all((stage.co2_g or 0) > 0 for stage in chain.stages[:2])


def test_attempts_of_unknown_gpus_are_counted(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    end(start(workspace, PREPARE, gpus=None))
    end(start(workspace, TRAIN))
    (chain,) = Monitor(workspace).look().chains
    assert [stage.unknown_gpus for stage in chain.stages] == [1, 0, 0]
    assert chain.unknown_gpus == 1


def test_a_group_does_not_add_figures_of_different_methods_or_sites() -> None:
    def added(*kinds: tuple[str, str]) -> tuple[float | None, float | None]:
        rows = [
            make_row(
                id=f"pretrain-{number}",
                facility_energy_kwh=1.0,
                co2_g=2.0,
                energy_method=method,
                energy_site=site,
            )
            for number, (method, site) in enumerate(kinds)
        ]
        chains = [make_chain(row.id, [row], sweep="s") for row in rows]
        (group,) = groups(chains, lambda one: one.sweep)
        return group.facility_energy_kwh, group.co2_g

    assert added(("M2 estimated", "lumi-g"), ("M2 estimated", "lumi-g")) == (2.0, 4.0)
    assert added(("M2 estimated", "lumi-g"), ("M1 measured", "lumi-g")) == (None, None)
    assert added(("M2 estimated", "lumi-g"), ("M2 estimated", "jean-zay")) == (None, None)
