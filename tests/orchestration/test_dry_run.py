"""What a dry run shows is what a submission sends right after it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import detour
from detour.config.loading import load_cluster
from detour.launch.text.submission import dry_run_lines
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.dry_run import DryRun, dry_run
from detour.orchestration.order import Order, order_for
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import send
from tests.scheduler.fake_slurm import FakeSlurm
from tests.support.chains import small

RECIPE, *OVERRIDES = small()
SLURM_LOCAL = load_cluster("slurm-local")
DEVELOPMENT = JobOptions(gpus=1, qos="qos_gpu_h100-dev")


def order_of(workspace: Workspace, *more: str, options: JobOptions | None = None) -> Order:
    return order_for(
        workspace, detour.plan(Path(RECIPE), *OVERRIDES, *more), SLURM_LOCAL, options or JobOptions(gpus=1)
    )


def submit(workspace: Workspace, order: Order) -> list[str]:
    """The scripts of first segments that are new."""
    before = set(workspace.root.glob("submissions/*/1-*.sh"))
    send(workspace, order, on_wait=lambda _: None, finish_interrupted=lambda: False)
    return [path.read_text() for path in set(workspace.root.glob("submissions/*/1-*.sh")) - before]


def comparable(script: str) -> str:
    """Without the submission, and with no more of a dependency than that there is one."""
    return re.sub(r":1:(dry-run|[0-9a-f]{10})$|/1-(dry-run|[0-9a-f]{10})|(?<=dependency=).*", "", script, flags=re.M)


def compare(workspace: Workspace, order: Order) -> DryRun:
    seen = dry_run(LedgerView(workspace), order)
    sent = [script for script in submit(workspace, order) if "next_wave" not in script]
    assert sorted(map(comparable, sent)) == sorted(comparable(script) for _, script in seen.scripts)
    return seen


def test_the_scripts_of_a_new_chain_are_those_that_are_sent(workspace: Workspace, fake: FakeSlurm) -> None:
    seen = compare(workspace, order_of(workspace))
    assert [request.title for request, _ in seen.scripts] == [
        *("prepare", "pretrain clm", "promote clm", "pretrain mlm", "promote mlm", "export"),
        *("evaluate icd10-chapters x2", "summarize"),
    ]
    assert len(fake.live()) == 10


def test_what_is_in_flight_is_not_shown_as_sent_again(workspace: Workspace, fake: FakeSlurm) -> None:
    submit(workspace, order_of(workspace, "benchmark=null"))
    seen = compare(workspace, order_of(workspace))
    assert [request.title for request, _ in seen.scripts] == ["evaluate icd10-chapters x2", "summarize"]
    assert len(seen.in_flight) == 6
    assert dry_run(LedgerView(workspace), order_of(workspace)).scripts == ()
    assert list(dry_run_lines(dry_run(LedgerView(workspace), order_of(workspace)), SLURM_LOCAL)) == [
        "9 stages already in flight, shared with this submission."
    ]
    assert len(fake.live()) == 10


def test_what_does_not_fit_a_submit_limit_is_shown_as_deferred(workspace: Workspace, fake: FakeSlurm) -> None:
    more = "benchmark.seeds=[1,2,3,4,5,6,7,8]"
    seen = compare(workspace, order_of(workspace, more, options=DEVELOPMENT))
    assert [request.title for request in seen.deferred] == ["evaluate icd10-chapters x4", "summarize"]
    assert list(dry_run_lines(seen, SLURM_LOCAL))[-1] == (
        "5 jobs deferred by the submit limit: a small job submits them later."
    )
    assert sum(len(job.shown_ids) for job in fake.live() if job.qos == DEVELOPMENT.qos) == 10


def test_a_lone_job_is_shown_with_its_gate(workspace: Workspace, fake: FakeSlurm) -> None:
    order = order_of(workspace)
    (lone,) = [request for request in order.requests if request.title == "prepare"]
    (script,) = [script for _, script in compare(workspace, replace(order, requests=(lone,))).scripts]
    assert "--hold" not in script
    assert "/1-dry-run.go" in script
    assert len(fake.live()) == 1


def test_without_a_queue_all_is_shown_and_that_is_said_if_jobs_may_be_in_flight(
    workspace: Workspace, fake: FakeSlurm
) -> None:
    fake.silent.add("squeue")
    assert dry_run(LedgerView(workspace), order_of(workspace, options=DEVELOPMENT)).remarks == ()
    fake.silent.clear()
    submit(workspace, order_of(workspace))
    fake.silent.add("squeue")
    seen = dry_run(LedgerView(workspace), order_of(workspace))
    assert len(seen.scripts) == 8
    assert seen.remarks == (
        "squeue failed (error: Unable to contact slurm controller (connect failure)): queued and running jobs are "
        "unknown. Jobs that are in flight already are shown too",
    )
