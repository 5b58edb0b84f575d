"""`detour why` on a workspace: which stages are diagnosed, from which evidence."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import detour
from detour.config.loading import load_cluster
from detour.errors import UserError
from detour.launch.text.why import left_out_line, why_lines
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import write_chains
from detour.orchestration.why import why, why_of_bundle, write_bundle
from detour.planning.files import read_plan
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import QUEUE_FIELDS, REPORT_FIELDS, SEPARATOR, Slurm
from tests.monitoring.workspaces import end, start
from tests.support.past import Past

LABELS = ("prepare", "pretrain mlm")
LIMITED = {"job": "7", "state": "PENDING", "reason": "QOSMaxGRESPerUser", "submitted": "100"}


class Site:
    """Clients of a Slurm with these jobs in the queue and in the accounts."""

    def __init__(self, queue: Sequence[dict[str, str]] = (), accounts: Sequence[dict[str, str]] | None = ()) -> None:
        self.queue, self.accounts = queue, accounts

    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:
        assert timeout_s > 0
        if command[0] == "squeue":
            return CommandResult(0, _table(tuple(QUEUE_FIELDS), self.queue))
        if self.accounts is None:
            return CommandResult(1, "", "slurm_persist_conn_open: Connection refused")
        return CommandResult(0, _table(REPORT_FIELDS, self.accounts))


def _table(fields: Sequence[str], rows: Sequence[dict[str, str]]) -> str:
    lines = [SEPARATOR.join(fields), *(SEPARATOR.join(row.get(field, "") for field in fields) for row in rows)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "w")
    workspace.create()
    write_chains(workspace, detour.plan("quickstart").plans, load_cluster("slurm-local"))
    return workspace


def stage_named(workspace: Workspace, kind: str) -> str:
    return next(path.name for path in (workspace.root / "stages").iterdir() if path.name.startswith(kind))


def test_a_failed_stage_is_judged_by_its_log_and_the_accounts(workspace: Workspace) -> None:
    stage, past = stage_named(workspace, "prepare"), Past(workspace)
    past.attempt(stage, 1000.0, 60.0, outcome="failed")
    past.write()
    log = workspace.root / "submissions" / stage / "7_0_log.out"
    log.parent.mkdir(parents=True)
    log.write_text("HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz\nModuleNotFoundError: No module named 'edsnlp'\n")
    account = {"JobID": "7", "JobIDRaw": "7", "State": "FAILED", "ExitCode": "1:0", "NodeList": "n1"}
    (found,) = why(workspace, "quickstart", Slurm(Site((), [account])))
    assert (found.verdict.cause, found.found.job, found.chains) == ("environment", "7", ("quickstart",))
    assert found.verdict.first.quote == "ModuleNotFoundError: No module named 'edsnlp'"
    ticket = workspace.root / "ticket.json"
    write_bundle(ticket, found.found.evidence)
    assert "hf_abc" not in ticket.read_text()
    assert json.loads(ticket.read_text())["sacct"][0]["ExitCode"] == "1:0"


def test_a_failure_without_its_event_is_judged_by_its_marker(workspace: Workspace) -> None:
    stage, past = stage_named(workspace, "prepare"), Past(workspace)
    past.attempt(stage, 1000.0, 60.0, outcome="failed")
    past.write()
    workspace.stage(stage).mkdir(parents=True, exist_ok=True)
    workspace.failure(stage).write_text('{"reason": "the gradient was not finite in 20 steps in a row"}')
    (judged,) = why(workspace, stage, Slurm(Site(accounts=None)))
    assert judged.verdict.cause == "nan_loss"
    assert judged.verdict.first.quote == "event stage.failed reason=the gradient was not finite in 20 steps in a row"


def test_accounts_that_do_not_answer_are_reported_as_unreadable(workspace: Workspace) -> None:
    stage, past = stage_named(workspace, "prepare"), Past(workspace)
    past.attempt(stage, 1000.0, 60.0, outcome="failed")
    past.write()
    (found,) = why(workspace, stage, Slurm(Site((), None)))
    assert found.verdict.cause == "unknown"
    assert "Connection refused" in found.verdict.unreadable["sacct"]
    assert "log_tail" in found.verdict.unreadable


def test_a_pending_stage_is_explained_by_the_job_that_blocks_it(workspace: Workspace) -> None:
    past = Past(workspace)
    past.add("submit.stage", 50.0, {}, stage_named(workspace, "prepare"))
    past.write()
    (found,) = why(workspace, "prepare", Slurm(Site([LIMITED])))
    assert found.verdict.cause == "limit"
    assert found.pending is not None
    assert [link.job for link in found.pending.links] == ["7"]
    assert found.pending.waits.until_eligible_s is not None


def test_a_pending_job_that_repeats_a_failed_attempt_says_why_that_failed(workspace: Workspace) -> None:
    stage, past = stage_named(workspace, "prepare"), Past(workspace)
    past.attempt(stage, 1000.0, 60.0, outcome="failed", job="6")
    past.add("submit.stage", 50.0, {}, stage)
    past.write()
    log = workspace.root / "submissions" / stage / "6_0_log.out"
    log.parent.mkdir(parents=True)
    log.write_text("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n")
    failed = {"JobID": "6", "State": "FAILED", "ExitCode": "1:0", "Start": "100"}
    (found,) = why(workspace, "prepare", Slurm(Site([LIMITED], [failed])))
    assert (found.found.job, found.verdict.cause, found.verdict.unreadable) == ("7", "limit", {})
    assert found.earlier is not None
    assert (found.earlier.attempt, found.earlier.job, found.earlier.verdict.cause) == (1, "6", "cuda_oom")
    text = " ".join(line.strip() for line in why_lines([found], 200))
    assert "before that, attempt 1 (job 6): out of GPU memory [cuda_oom]: torch.OutOfMemoryError" in text


def test_stages_that_failed_and_stages_that_were_killed_are_diagnosed_together(workspace: Workspace) -> None:
    failed, killed, past = stage_named(workspace, "prepare"), stage_named(workspace, "export"), Past(workspace)
    past.attempt(failed, 1000.0, 60.0, outcome="failed", job="6")
    past.attempt(killed, 1000.0, None)
    past.write()
    workspace.failure(failed).parent.mkdir(parents=True, exist_ok=True)
    workspace.failure(failed).write_text('{"reason": "KeyError: 1"}')
    rows = [{"JobID": "6", "State": "FAILED", "Start": "100"}, {"JobID": "7", "State": "OUT_OF_MEMORY", "Start": "100"}]
    found = why(workspace, "quickstart", Slurm(Site((), rows)))
    assert [(one.found.stage, one.verdict.cause) for one in found] == [(failed, "code_error"), (killed, "host_oom")]


@pytest.mark.parametrize("outcome", ["interrupted", "done"])
def test_a_job_submitted_after_a_run_on_this_machine_is_explained_even_if_the_run_was_done_and_its_output_removed(
    workspace: Workspace, outcome: str
) -> None:
    stage, past = stage_named(workspace, "prepare"), Past(workspace)
    past.attempt(stage, 1000.0, 60.0, outcome=outcome, job="process-5")
    past.add("submit.stage", 2000.0, {}, stage)
    past.write()
    (found,) = why(workspace, "prepare", Slurm(Site([LIMITED])))
    assert (found.found.job, found.verdict.cause) == ("7", "limit")


def test_a_stage_whose_output_was_removed_has_not_started(workspace: Workspace) -> None:
    stage, past = stage_named(workspace, "prepare"), Past(workspace)
    past.attempt(stage, 1000.0, 60.0)
    past.write()
    (found,) = why(workspace, "prepare", Slurm(Site()))
    assert found.verdict.first.advice.startswith("Nothing failed. It has not started")


def test_of_several_segments_the_last_one_that_ran_is_judged(workspace: Workspace) -> None:
    stage, first, second = stage_named(workspace, "prepare"), Past(workspace), Past(workspace, "other")
    for past, job in ((first, "7"), (second, "8")):
        past.add("submit.stage", 50.0, {}, stage, job=job)
        past.write()
    failed = {"JobID": "7", "State": "FAILED", "ExitCode": "0:53", "Start": "100"}
    killed = {"JobID": "8", "State": "CANCELLED", "Reason": "Dependency", "Start": "Unknown", "Elapsed": "00:00:00"}
    (found,) = why(workspace, stage, Slurm(Site((), [failed, killed])))
    assert (found.found.job, found.verdict.cause) == ("7", "output_path")


def test_a_pending_task_of_an_array_is_found_among_the_others(workspace: Workspace) -> None:
    past = Past(workspace)
    past.add("submit.stage", 50.0, {}, stage_named(workspace, "evaluate"), job="9_1")
    past.write()
    waiting = {"job": "9_[0-2]", "state": "PENDING", "reason": "Licenses"}
    (found,) = why(workspace, stage_named(workspace, "evaluate"), Slurm(Site([waiting])))
    assert (found.found.job, found.verdict.cause) == ("9_1", "waiting")


def test_pending_tasks_of_an_array_are_one_answer_with_the_time_at_which_the_array_became_eligible(
    workspace: Workspace,
) -> None:
    evaluations = sorted(
        path.name for path in (workspace.root / "stages").iterdir() if path.name.startswith("evaluate")
    )
    past = Past(workspace)
    for task, stage in enumerate(evaluations):
        past.add("submit.stage", 50.0, {}, stage, job=f"9_{task}")
    past.write()
    queue = [{"job": f"9_{task}", "state": "PENDING", "reason": "Priority", "submitted": "100"} for task in range(3)]
    account = {"JobID": "9_[0-2]", "State": "PENDING", "Submit": "100", "Eligible": "160"}
    (found,) = why(workspace, "quickstart", Slurm(Site(queue, [account])))
    assert found.verdict.cause == "waiting"
    assert found.pending is not None
    assert found.pending.waits.until_eligible_s == 60.0


def test_a_stage_cancelled_before_it_began_is_judged_by_the_accounts(workspace: Workspace) -> None:
    stage, past = stage_named(workspace, "prepare"), Past(workspace)
    past.add("submit.stage", 50.0, {}, stage)
    past.add("cancel.stage", 60.0, {}, stage)
    past.write()
    account = {"JobID": "7", "JobIDRaw": "7", "State": "CANCELLED by 1000", "ExitCode": "0:0", "Start": "None"}
    (found,) = why(workspace, stage, Slurm(Site((), [account])))
    assert (found.found.job, found.verdict.cause) == ("7", "cancelled")


@pytest.mark.parametrize(("task", "raw"), [(0, "12"), (1, "9")])
def test_a_task_of_an_array_is_judged_by_its_own_log(workspace: Workspace, task: int, raw: str) -> None:
    """The last task of an array has the array's own number, with which the names of all its logs begin."""
    stage, past = stage_named(workspace, "evaluate"), Past(workspace)
    past.attempt(stage, 1000.0, 60.0, outcome="failed", job=f"9_{task}")
    past.write()
    folder = workspace.root / "submissions" / "evaluate-x2-0a1b"
    folder.mkdir(parents=True)
    for number in (0, 1):
        (folder / f"9_{number}_0_log.out").write_text(f"ModuleNotFoundError: No module named 'task{number}'\n")
    account = {"JobID": f"9_{task}", "JobIDRaw": raw, "State": "FAILED", "ExitCode": "1:0"}
    (found,) = why(workspace, stage, Slurm(Site((), [account])))
    assert list(found.found.evidence.log or ()) == [f"ModuleNotFoundError: No module named 'task{task}'"]


@pytest.mark.parametrize(("cluster", "resumes"), [("local", "`detour run`"), ("slurm-local", "the next segment")])
def test_a_stage_that_saved_says_what_resumes_it(workspace: Workspace, cluster: str, resumes: str) -> None:
    stage, past = stage_named(workspace, "pretrain"), Past(workspace)
    past.attempt(stage, 1000.0, None, cluster=cluster)
    past.add("checkpoint.saved", 1050.0, {"step": 4, "tokens": 512, "path": "c"}, stage, 1)
    past.add("attempt.ended", 1060.0, {"outcome": "interrupted", "exit_code": 85}, stage, 1)
    past.write()
    accounts = [{"JobID": "7", "State": "FAILED", "ExitCode": "85:0", "Start": "100"}]
    (found,) = why(workspace, stage, Slurm(Site((), accounts)))
    assert found.verdict.cause == "normal"
    assert f"after saving step 4; {resumes}" in found.verdict.first.advice


def test_slurm_is_not_asked_about_a_process_of_the_same_number_as_a_job(workspace: Workspace) -> None:
    stage, past = stage_named(workspace, "pretrain"), Past(workspace)
    past.attempt(stage, 1000.0, 60.0, outcome="failed", job="process-7", cluster="laptop")
    past.write()
    anothers = {"JobID": "7", "State": "OUT_OF_MEMORY", "ExitCode": "0:125", "Start": "100"}
    (found,) = why(workspace, stage, Slurm(Site((), [anothers])))
    assert (found.found.job, found.found.evidence.sacct) == (None, None)


def test_a_stage_that_runs_on_this_machine_is_running(workspace: Workspace) -> None:
    stage = read_plan(workspace, "quickstart")[0].stages[0]
    attempt = start(workspace, stage, job="process-7", cluster="local")
    (found,) = why(workspace, "quickstart", Slurm(Site()))
    assert (found.verdict.cause, found.verdict.first.advice) == ("normal", "Nothing failed. It is running.")
    end(attempt, "failed")
    (found,) = why(workspace, "quickstart", Slurm(Site()))
    assert found.verdict.cause == "unknown"


def test_a_suspended_job_is_not_called_running(workspace: Workspace) -> None:
    stage, past = stage_named(workspace, "pretrain"), Past(workspace)
    past.attempt(stage, 50.0, None, job="7")
    past.write()
    (found,) = why(workspace, stage, Slurm(Site([{"job": "7", "state": "SUSPENDED"}])))
    assert found.verdict.first.advice == "Nothing failed. It is suspended, and goes on once it is resumed."


@pytest.mark.parametrize(
    ("reason", "by", "how"),
    [
        ("JobHeldUser", " by ada", "`detour release -w {root} quickstart` releases them"),
        ("Dependency", " by ada", "`detour release -w {root} quickstart` releases them"),
        ("JobHeldAdmin", " by an administrator", "only the site can release them"),
        ("JobHoldMaxRequeue", " by Slurm", "`detour release -w {root} quickstart` releases them"),
    ],
)
def test_while_a_stage_runs_it_is_said_that_the_others_are_held(
    workspace: Workspace, reason: str, by: str, how: str
) -> None:
    past = Past(workspace)
    past.add("journal.opened", 40.0, {"host": "n1", "pid": 1, "user": "ada", "boot": None, "start_ticks": None})
    past.attempt(stage_named(workspace, "prepare"), 50.0, None, job="7")
    for number, kind in ((8, "pretrain"), (9, "export")):
        past.add("submit.stage", 50.0, {}, stage_named(workspace, kind), job=str(number))
    past.add("hold.chain", 60.0, {"jobs": ["8", "9"]}, chain="quickstart")
    past.write()
    held = {"state": "PENDING", "reason": reason, "priority": "0"}
    queue = [{"job": "7", "state": "RUNNING", "priority": "5"}, {"job": "8", **held}, {"job": "9", **held}]
    found = why(workspace, "quickstart", Slurm(Site(queue)))
    text = " ".join("\n".join(why_lines(found, 400)).split())
    assert f"held{by}: 2 other stages will not start; {how.format(root=workspace.root)}" in text


def test_after_a_release_a_hold_by_other_means_has_no_known_user(workspace: Workspace) -> None:
    past = Past(workspace)
    past.add("journal.opened", 40.0, {"host": "n1", "pid": 1, "user": "ada"})
    past.attempt(stage_named(workspace, "prepare"), 50.0, None, job="7")
    past.add("submit.stage", 50.0, {}, stage_named(workspace, "pretrain"), job="8")
    past.add("hold.chain", 60.0, {"jobs": ["8"]}, chain="quickstart")
    past.add("release.chain", 70.0, {"jobs": ["8"]}, chain="quickstart")
    past.write()
    queue = [{"job": "7", "state": "RUNNING"}, {"job": "8", "state": "PENDING", "reason": "JobHeldUser"}]
    (found,) = why(workspace, "quickstart", Slurm(Site(queue)))
    assert found.held is not None
    assert found.held.by == ""


def test_nothing_is_said_to_be_held_if_the_others_only_wait(workspace: Workspace) -> None:
    past = Past(workspace)
    past.attempt(stage_named(workspace, "prepare"), 50.0, None, job="7")
    past.add("submit.stage", 50.0, {}, stage_named(workspace, "pretrain"), job="8")
    past.write()
    waiting = {"job": "8", "state": "PENDING", "reason": "Dependency", "priority": "5"}
    (found,) = why(workspace, "quickstart", Slurm(Site([{"job": "7", "state": "RUNNING"}, waiting])))
    assert found.held is None


def test_a_stage_that_nothing_has_tried_says_how_to_start_it(workspace: Workspace) -> None:
    (found,) = why(workspace, "quickstart", Slurm(Site()))
    assert found.verdict.cause == "normal"
    assert (
        "It has not started: `detour run` or `detour submit` with its recipe starts it." in found.verdict.first.advice
    )


def test_the_bundle_of_a_stage_without_a_job_gets_the_same_verdict(workspace: Workspace, tmp_path: Path) -> None:
    (found,) = why(workspace, "prepare", Slurm(Site()))
    write_bundle(tmp_path / "ticket.json", found.found.evidence)
    again = why_of_bundle(tmp_path / "ticket.json")
    assert again.verdict.to_json() == found.verdict.to_json()
    assert again.verdict.cause == "normal"


def test_the_stages_of_a_chain_cost_one_squeue_and_one_sacct(workspace: Workspace) -> None:
    past = Past(workspace)
    for number, kind in enumerate(("prepare", "export", "summarize"), start=7):
        past.attempt(stage_named(workspace, kind), 1000.0, 60.0, outcome="failed", job=str(number))
    past.write()
    slurm = Slurm(Site())
    assert {one.found.job for one in why(workspace, "quickstart", slurm)} == {"7", "8", "9"}
    assert slurm.calls == {"squeue": 1, "sacct": 1}


def test_if_all_stages_are_done_one_of_them_says_so(workspace: Workspace) -> None:
    for stage in (workspace.root / "stages").iterdir():
        (stage / "output").mkdir()
        (stage / "output" / "manifest.json").write_text("{}")
    (only,) = why(workspace, "quickstart", Slurm(Site()))
    assert only.stage is not None
    assert only.stage.kind == "prepare"


def test_an_unknown_name_is_refused(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="qickstart"):
        why(workspace, "qickstart", Slurm(Site()))


def test_an_empty_workspace_has_nothing_to_explain(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no chain yet"):
        why(Workspace(tmp_path), None, Slurm(Site()))


def test_without_a_name_a_plan_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    plan = tmp_path / "chains" / "base" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text("")
    with pytest.raises(UserError, match=r"chains/base/plan.json: not a plan written by detour"):
        why(Workspace(tmp_path), None, Slurm(Site()))


def test_each_answer_about_a_sweep_names_one_of_its_chains(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    workspace.create()
    planned = detour.plan("quickstart-sweep")
    write_chains(workspace, planned.plans, load_cluster("slurm-local"), sweep="quickstart-sweep")
    first, second, *_ = planned.chains
    prepare, train = (next(stage for stage in planned.plans[1].stages if stage.label == label) for label in LABELS)
    for stage in (prepare, train):
        workspace.stage(stage.id).mkdir(parents=True, exist_ok=True)
        workspace.failure(stage.id).write_text('{"reason": "the gradient was not finite in 20 steps in a row"}')

    def asked(name: str) -> list[str]:
        lines = why_lines(why(workspace, name, Slurm(Site())), 200)
        return [line.partition(": ")[0] for line in lines if line and line[0] != " "]

    shared = f"prepare (shared with {len(planned.chains) - 1} other chains)"
    assert asked("quickstart-sweep") == [f"{first}/{shared}", f"{second}/pretrain mlm"]
    assert asked(second) == [f"{second}/{shared}", f"{second}/pretrain mlm"]


def test_of_many_failures_the_number_without_a_verdict_is_given(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    workspace.create()
    planned = detour.plan("quickstart-sweep")
    write_chains(workspace, planned.plans, load_cluster("slurm-local"))
    trainings = [stage for stage in planned.shared.stages.values() if stage.label == "pretrain mlm"]
    for stage in trainings:
        workspace.stage(stage.id).mkdir(parents=True, exist_ok=True)
        workspace.failure(stage.id).write_text('{"reason": "the gradient was not finite in 20 steps in a row"}')
    found = why(workspace, None, Slurm(Site()))
    assert (len(trainings), len(found)) == (4, 3)
    assert left_out_line(found, "detour status") == "1 other stage in the same state; `detour status` lists them"


def test_of_many_stages_killed_a_moment_ago_the_number_without_a_verdict_is_given(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    workspace.create()
    planned = detour.plan("quickstart-sweep")
    write_chains(workspace, planned.plans, load_cluster("slurm-local"))
    past, rows = Past(workspace), list[dict[str, str]]()
    for number, stage in enumerate(planned.shared.stages.values()):
        if stage.label == "pretrain mlm":
            past.attempt(stage.id, time.time() - 10, None, job=str(number))
            rows.append({"JobID": str(number), "State": "OUT_OF_MEMORY", "Start": "100"})
    past.write()
    found = why(workspace, None, Slurm(Site((), rows)))
    assert [one.verdict.cause for one in found] == ["host_oom"] * 3
    assert left_out_line(found, "detour status") == "1 other stage in the same state; `detour status` lists them"


@pytest.fixture
def of_clusters(tmp_path: Path) -> tuple[Workspace, list[str]]:
    """A chain planned for each of two clusters, and a training of each."""
    workspace = Workspace(tmp_path / "w")
    workspace.create()
    plans = detour.plan("quickstart-sweep").plans[:2]
    for plan, name in zip(plans, ("old", "new"), strict=True):
        write_chains(workspace, [plan], load_cluster("slurm-local").model_copy(update={"slurm_cluster": name}))
    return workspace, [next(stage.id for stage in plan.stages if stage.label == LABELS[1]) for plan in plans]


def clients(**sites: Site) -> Slurm:
    """The clients of several clusters."""
    return Slurm(
        lambda command, timeout_s: sites[command[1].removeprefix("--clusters=")]([command[0], *command[2:]], timeout_s)
    )


def test_jobs_of_two_clusters_with_one_id_have_each_their_own_verdict(of_clusters: tuple[Workspace, list[str]]) -> None:
    workspace, trainings = of_clusters
    past = Past(workspace)
    for stage, cluster in zip(trainings, ("old", "new"), strict=True):
        past.add("submit.stage", 50.0, {"slurm_cluster": cluster}, stage)
        past.attempt(stage, 1000.0, 60.0, outcome="failed")
    past.write()
    timeout = {"JobID": "7", "State": "NODE_FAIL", "ExitCode": "0:0", "Start": "100"}
    memory = {"JobID": "7", "State": "OUT_OF_MEMORY", "ExitCode": "0:125", "Start": "100"}
    slurm = clients(old=Site((), [timeout]), new=Site((), [memory]))
    assert [(one.stage and one.stage.id, one.verdict.cause) for one in why(workspace, None, slurm)] == [
        (trainings[0], "node_failure"),
        (trainings[1], "host_oom"),
    ]
    assert slurm.calls == {"squeue": 2, "sacct": 2}


def test_a_cluster_that_does_not_answer_is_named_among_what_is_unreadable(
    of_clusters: tuple[Workspace, list[str]],
) -> None:
    workspace, (training, _) = of_clusters
    past = Past(workspace)
    past.attempt(training, 1000.0, 60.0, outcome="failed")
    past.write()
    (found,) = why(workspace, training, clients(old=Site((), None)))
    assert found.verdict.unreadable["sacct"].startswith("old: ")


def test_a_hold_on_one_cluster_holds_no_job_of_another_with_its_id(of_clusters: tuple[Workspace, list[str]]) -> None:
    workspace, (first, second) = of_clusters
    past = Past(workspace)
    past.add("submit.stage", 50.0, {"slurm_cluster": "old"}, first, job="8")
    past.add("submit.stage", 50.0, {"slurm_cluster": "new"}, second, job="8")
    prepare = stage_named(workspace, "prepare")
    past.add("submit.stage", 50.0, {"slurm_cluster": "new"}, prepare, job="7")
    past.attempt(prepare, 60.0, None, job="7")
    past.write()
    held = {"job": "8", "state": "PENDING", "reason": "JobHeldUser", "priority": "0"}
    new = Site([{"job": "7", "state": "RUNNING", "priority": "5"}, held])
    (found,) = why(workspace, None, clients(new=new))
    assert found.held is not None
    assert found.held.stages == (second,)
