"""A retry: everything is checked before anything is changed, and damaged outputs are made again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import detour
from detour.checkpoints.manifest import write_manifest
from detour.config.loading import load_cluster, profile_path
from detour.errors import BudgetRefused, UserError
from detour.files import write_atomic
from detour.launch.retry import command
from detour.ledger.workspace import Workspace
from detour.orchestration import submit as submit_module
from detour.orchestration.chain_files import write_chains
from detour.orchestration.local_run import local_order
from detour.orchestration.order import order_for
from detour.orchestration.requests import JobOptions
from detour.orchestration.retry import Retry, retry_order
from detour.orchestration.submit import Submitted, send
from detour.planning.files import plan_file
from detour.planning.stage import Stage
from tests.scheduler.fake_slurm import FakeSlurm
from tests.support.chains import small

CHAIN = "quickstart"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("Le patient va bien.\n" * 100)
    return path


class Case:
    """The small quickstart on its own text, in a workspace."""

    def __init__(self, folder: Path, text: Path, fake: FakeSlurm) -> None:
        self.fake = fake
        self.workspace = Workspace(folder / "workspace")
        source = {"path": text, "package": "null", "format": "text", "column": "text", "exclude": "{}"}
        recipe, *overrides = small(more=[f"data.sources.0.{key}={value}" for key, value in source.items()])
        self.planned = detour.plan(Path(recipe), *overrides)
        self.stages = {stage.label: stage for plan in self.planned.plans for stage in plan.stages}

    def submit(self, options: JobOptions | None = None, cluster: str = "jean-zay") -> Submitted:
        order = order_for(self.workspace, self.planned, load_cluster(cluster), options or JobOptions())
        return send(self.workspace, order, on_wait=lambda _: None, finish_interrupted=lambda: False)

    def end_jobs(self) -> None:
        for job in self.fake.jobs.values():
            job.state = "FAILED"

    def finish(self, label: str) -> Path:
        """Finish the stage as if a job had run it."""
        stage, output = self.stages[label], self.workspace.output(self.stages[label].id)
        output.mkdir(parents=True)
        (output / "result").write_text(label)
        write_manifest(output, {"stage": stage.to_json()})
        return output

    def fail(self, label: str) -> Stage:
        write_atomic(self.workspace.failure(self.stages[label].id), '{"reason": "no memory"}')
        return self.stages[label]

    def retry(self, **options: Any) -> Retry:
        return retry_order(self.workspace, [CHAIN], JobOptions(**options))

    def send(self, retry: Retry) -> Submitted:
        assert retry.order is not None
        return send(self.workspace, retry.order, on_wait=lambda _: None, finish_interrupted=lambda: False)


@pytest.fixture
def case(tmp_path: Path, text: Path, fake: FakeSlurm) -> Case:
    return Case(tmp_path, text, fake)


def resources(retry: Retry) -> Mapping[str, Any]:
    assert retry.order is not None
    return {request.title: request.resources for request in retry.order.requests}


def test_the_options_of_the_submission_apply_unless_given_again(case: Case) -> None:
    case.submit(JobOptions(gpus=1, wall_s=3600, segments=2))
    case.end_jobs()
    case.fail("pretrain clm")
    again = case.retry()
    assert again.order is not None
    assert again.order.continuation.options == JobOptions(gpus=1, wall_s=3600, segments=2)
    assert resources(again)["pretrain clm"].gpu_option == "gres=gpu:1"
    assert resources(case.retry(gpus=2))["pretrain clm"].gpu_option == "gres=gpu:2"


def test_a_chain_without_options_is_submitted_with_those_of_the_profile(case: Case) -> None:
    case.workspace.create()
    write_chains(case.workspace, case.planned.plans, load_cluster("jean-zay"))
    again = case.retry()
    assert again.order is not None
    assert again.order.continuation.options == JobOptions()


def test_a_profile_given_as_a_file_is_still_known(case: Case, tmp_path: Path) -> None:
    profile = tmp_path / "ours.yaml"
    profile.write_text(f"extends: {profile_path('jean-zay')}\nname: ours\n")
    case.submit(cluster=str(profile))
    profile.unlink()
    again = case.retry()
    assert again.order is not None
    assert again.order.cluster.name == "ours"


@pytest.mark.parametrize(
    "damage", [{"profile": {}, "cluster": None}, {"profile": {"name": 3}, "from_file": True}, {"options": {"gpus_": 1}}]
)
def test_a_chain_file_without_what_a_retry_needs_is_named(case: Case, damage: dict[str, Any]) -> None:
    case.submit()
    path = plan_file(case.workspace, CHAIN)
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(UserError, match=r"plan.json: .* submit the recipe again"):
        case.retry()


def test_a_failure_is_cleared_only_when_the_order_is_sent(case: Case) -> None:
    case.submit()
    case.end_jobs()
    failed = case.fail("prepare")
    again = case.retry()
    assert again.failed == {"prepare": "no memory"}
    assert case.workspace.has_failed(failed.id)
    case.send(again)
    assert not case.workspace.has_failed(failed.id)


def test_a_retry_over_budget_changes_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.submit()
    case.end_jobs()
    failed = case.fail("pretrain clm")
    damaged = case.finish("prepare")
    (damaged / "result").write_text("other")
    jobs = dict(case.fake.jobs)

    def refuse(*_: Any, **__: Any) -> Any:
        raise BudgetRefused("no")

    monkeypatch.setattr(submit_module, "reserving", refuse)
    with pytest.raises(BudgetRefused):
        case.send(case.retry())
    again = CliRunner().invoke(command, [CHAIN, "-w", str(case.workspace.root)])
    assert isinstance(again.exception, BudgetRefused)
    assert again.output == "", "nothing runs again"
    assert case.workspace.has_failed(failed.id)
    assert damaged.is_dir()
    assert case.fake.jobs == jobs


def test_what_runs_again_is_said_once_the_order_is_sent(case: Case) -> None:
    case.submit()
    case.end_jobs()
    case.fail("prepare")
    again = CliRunner().invoke(command, [CHAIN, "-w", str(case.workspace.root)], catch_exceptions=False)
    assert again.stdout.startswith("prepare: runs again; it had failed: no memory\n")


@pytest.mark.parametrize("damage", ["changed", "missing", "no manifest list"])
def test_a_damaged_output_is_made_again(case: Case, damage: str) -> None:
    case.submit()
    case.end_jobs()
    output = case.finish("prepare")
    if damage == "changed":
        (output / "result").write_text("PREPARE")
    elif damage == "missing":
        (output / "result").unlink()
    else:
        (output / "result").unlink()
        write_manifest(output, {"stage": case.stages["prepare"].to_json()})
    again = case.retry()
    assert list(again.damaged) == ["prepare"]
    assert case.workspace.is_done(case.stages["prepare"].id)
    case.send(again)
    assert not case.workspace.is_done(case.stages["prepare"].id)
    assert any("prepare" in job.name for job in case.fake.live())


def test_submit_with_retry_makes_damaged_outputs_again(case: Case) -> None:
    case.submit()
    case.end_jobs()
    (case.finish("prepare") / "result").write_text("PREPARE")
    cluster = load_cluster("jean-zay")
    assert order_for(case.workspace, case.planned, cluster, JobOptions()).damaged == ()
    assert order_for(case.workspace, case.planned, cluster, JobOptions(), retry=True).damaged == (
        case.stages["prepare"],
    )


def test_run_with_retry_makes_damaged_outputs_again(case: Case) -> None:
    case.workspace.create()
    (case.finish("prepare") / "result").write_text("PREPARE")
    order = local_order(case.workspace, case.planned, load_cluster("local"), retry=True)
    assert order.damaged == (case.stages["prepare"].id,)
    assert case.stages["prepare"].id in order.prices


@pytest.mark.parametrize("label", ["export", "summarize"])
def test_a_damaged_result_of_a_done_chain_is_made_again(case: Case, label: str) -> None:
    case.submit()
    case.end_jobs()
    outputs = {each: case.finish(each) for each in case.stages}
    local = load_cluster("local")
    assert local_order(case.workspace, case.planned, local, retry=True).is_done
    (outputs[label] / "result").write_text("changed")
    assert list(case.retry().damaged) == [label]
    order = local_order(case.workspace, case.planned, local, retry=True)
    assert order.damaged == (case.stages[label].id,)
    assert not order.is_done


def test_the_output_of_another_stage_is_made_again(case: Case) -> None:
    case.submit()
    case.end_jobs()
    output = case.finish("prepare")
    write_manifest(output, {"stage": case.stages["export"].to_json()})
    assert "it is the output of export-" in case.retry().damaged["prepare"]


def test_a_sound_output_is_left_alone(case: Case) -> None:
    case.submit()
    case.end_jobs()
    output = case.finish("prepare")
    again = case.retry()
    case.send(again)
    assert (again.damaged, output.is_dir()) == ({}, True)


def test_outputs_that_nothing_reads_any_more_are_not_checked(case: Case) -> None:
    case.submit()
    case.end_jobs()
    for label in case.stages:
        case.finish(label)
    (case.workspace.output(case.stages["prepare"].id) / "result").unlink()
    assert case.retry().damaged == {}


@pytest.mark.parametrize("change", ["edited", "gone"])
def test_a_changed_text_is_detected_before_anything_is_sent(case: Case, text: Path, change: str) -> None:
    case.submit()
    case.end_jobs()
    failed = case.fail("prepare")
    if change == "edited":
        text.write_text("Le patient va mal.\n" * 100)
    else:
        text.unlink()
    with pytest.raises(UserError, match=r"text.txt"):
        case.retry()
    assert case.workspace.has_failed(failed.id)
