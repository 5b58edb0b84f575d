"""Sending: sbatch's answer or silence for each job, and the ids that it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from detour.errors import SchedulerUnavailable
from detour.scheduler.answers import CommandResult, SubmissionRefused
from detour.scheduler.commands import Slurm
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.sent_jobs import fold
from detour.scheduler.tags import Slot
from tests.scheduler.desk import REQUESTS, Desk


def test_a_job_lost_twice_needs_a_person(desk: Desk) -> None:
    def forget(command: Sequence[str], timeout_s: float) -> CommandResult:
        result = desk.fake(command, timeout_s)
        if command[0] == "sbatch":
            desk.fake.jobs.clear()
        return result

    desk.slurm = Slurm(forget)
    with pytest.raises(SchedulerUnavailable, match="lost prepare-0 again"):
        desk.submitter().submit(REQUESTS[:2])


@pytest.mark.parametrize("fault", ["empty, accepted", "lost reply"])
def test_a_job_whose_id_was_not_printed_is_found_by_its_tag_and_reported(desk: Desk, fault: str) -> None:
    desk.fake.faults = [fault]
    submission = desk.submitter().submit(REQUESTS)
    assert submission.jobs[Slot("prepare-0")] == "1"
    assert "it is in the queue as job 1" in submission.remarks[0]


def test_an_sbatch_that_never_answers_ends_the_wave(desk: Desk) -> None:
    desk.fake.faults = ["", "empty", "empty"]
    submission = desk.submitter().submit(REQUESTS)
    assert set(submission.jobs) == {Slot("prepare-0")}
    assert [request.unit for request in submission.deferred] == ["pretrain-1", "promote-2"]
    assert not desk.job("prepare-0").held


def test_jobs_beyond_the_limit_are_postponed_and_no_unit_is_split(desk: Desk) -> None:
    desk.fake.limit = 2
    submission = desk.submitter().submit(REQUESTS)
    assert set(submission.jobs) == {Slot("prepare-0"), Slot("pretrain-1", 1)}
    assert [request.unit for request in submission.deferred] == ["promote-2"]


@pytest.mark.parametrize(
    ("limit", "kept_free", "sent"),
    [(5, [None], 4), (4, [None], 4), (3, [None], 1), (3, [], 3), (3, ["cpu"], 3), (1, [None], 1)],
)
def test_if_not_everything_fits_a_place_is_left_to_the_job_that_sends_the_rest(
    desk: Desk, limit: int, kept_free: list[str | None], sent: int
) -> None:
    assert len(desk.submitter({None: limit}, kept_free).submit(REQUESTS).jobs) == sent


def test_jobs_in_another_qos_take_no_room(desk: Desk) -> None:
    """A site limits the jobs of each QOS on its own: two that are there already and three new ones, of at most four."""
    calm, dev = Resources(qos="t3"), Resources(qos="dev")
    there = [JobRequest(((f"export-{number}",),), calm, 60) for number in range(4)]
    desk.submitter().submit([*there, *(JobRequest(((f"export-{number}",),), dev, 60) for number in (4, 5))])
    more = [JobRequest(((f"export-{number}",),), resources, 60) for number, resources in enumerate([dev] * 3, 6)]
    more.append(JobRequest((("export-9",),), calm, 60))
    submission = desk.submitter({"dev": 4}).submit(more)
    assert {slot.unit for slot in submission.jobs} == {"export-6", "export-7", "export-9"}
    assert [request.unit for request in submission.deferred] == ["export-8"]


def test_if_nothing_can_be_sent_it_is_an_error(desk: Desk) -> None:
    desk.fake.limit = 0
    with pytest.raises(SchedulerUnavailable, match="nothing was submitted"):
        desk.submitter().submit(REQUESTS)


def test_a_refusal_withdraws_the_jobs_already_sent(desk: Desk) -> None:
    def refuse_the_third(command: Sequence[str], timeout_s: float) -> CommandResult:
        if command[0] == "sbatch" and desk.slurm.calls["sbatch"] == 3:
            return CommandResult(1, "", "sbatch: error: Invalid account\n")
        return desk.fake(command, timeout_s)

    desk.slurm = Slurm(refuse_the_third)
    with pytest.raises(SubmissionRefused, match=r"Invalid account.* `detour doctor --cluster PROFILE`"):
        desk.submitter().submit(REQUESTS)
    assert desk.fake.live() == []
    desk.slurm = Slurm(desk.fake)
    assert len(desk.submitter().submit(REQUESTS).jobs) == 4


def test_an_id_under_which_a_lost_job_may_run_is_not_used_again(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    desk.fake.schedule()
    list(desk.fake.lose_last(4))
    again = desk.submitter().submit(REQUESTS)
    assert sorted(again.jobs.values()) == ["2", "3", "4", "5"]
    assert again.remarks == (
        "prepare-0: sent again: its job had the id of one that Slurm has lost and that may still run: 1",
        "cancelled, no longer wanted: 1",
    )
    assert not desk.fake.jobs[1].is_live
    assert [job.id for job in desk.fake.schedule()] == [2]


def test_task_ids_under_which_a_lost_array_may_run_are_not_used_again(desk: Desk) -> None:
    """Job 2 is the array; its tasks have started as 2, 3 and 4, which no record of ours shows."""
    tasks = tuple((f"evaluate-{number}",) for number in range(3))
    chain = [JobRequest((("promote-1",),), Resources(), 60), JobRequest(tasks, Resources(), 60, after=("promote-1",))]
    desk.submitter().submit(chain)
    desk.done = {"promote-1"}
    desk.fake.jobs.clear()
    desk.fake.next_id = 2
    again = desk.submitter().submit([replace(chain[1], after=()), replace(REQUESTS[0], after=("evaluate-0",))])
    assert sorted(again.jobs.values()) == ["6", "7"]


def test_a_lone_job_gets_no_id_under_which_a_lost_one_may_run(desk: Desk) -> None:
    desk.submitter().submit(ALONE)
    desk.fake.schedule()
    list(desk.fake.lose_last(1))
    other = [JobRequest((("export-3",),), Resources(), 60)]
    assert list(desk.submitter().submit(other).jobs.values()) == ["2"]
    assert [job.id for job in desk.fake.live()] == [2]


@pytest.mark.parametrize("dependents", [0, 1])
def test_another_cluster_may_use_the_same_ids(desk: Desk, dependents: int) -> None:
    desk.submitter().submit(REQUESTS)
    desk.fake.schedule()
    far = desk.on("far")
    requests = [
        JobRequest((("export-3",),), Resources(), 60),
        *(JobRequest(((f"evaluate-{number}",),), Resources(), 60, after=("export-3",)) for number in range(dependents)),
    ]
    submission = far.submitter().submit(requests)
    assert sorted(submission.jobs.values()) == ["1", "2"][: dependents + 1]
    assert submission.remarks == ()


@pytest.mark.parametrize("instant", [3, 6, 9, 12])
def test_a_submission_cut_short_on_one_cluster_is_completed_after_others_on_another(desk: Desk, instant: int) -> None:
    desk.kill_at(instant)
    sent = list(desk.fake.jobs)
    other = [JobRequest((("export-3",),), Resources(), 60), JobRequest((("evaluate-4",),), Resources(), 60)]
    assert desk.on("far").submitter().submit(other).remarks == ()
    desk.submitter().submit(REQUESTS)
    assert [job.id for job in desk.fake.live()] == list(desk.fake.jobs)
    assert list(desk.fake.jobs)[: len(sent)] == sent
    assert len(desk.fake.jobs) == 4


ALONE = [JobRequest(tuple((f"evaluate-{number}",) for number in range(20)), Resources(), 60)]


def test_a_job_without_dependents_is_sent_in_one_call(desk: Desk) -> None:
    submission = desk.submitter({None: 30}).submit(ALONE)
    assert list(submission.jobs.values()) == ["1"]
    assert desk.slurm.calls == {"sbatch": 1}
    assert desk.job(ALONE[0].unit).is_free
    assert desk.submitter().submit(ALONE).in_flight == ALONE[0].stages
    assert desk.slurm.calls == {"sbatch": 1, "squeue": 1}


@pytest.mark.parametrize("instant", range(10))
def test_a_lone_job_killed_at_any_instant_exists_once_and_does_nothing_before_it_is_recorded(
    desk: Desk, instant: int
) -> None:
    desk.fuse.after = bool(instant % 2)
    desk.kill_at(instant // 2, ALONE)
    known = fold(desk.ledger.events(), "w")
    assert all(known[job.tag].job_id == str(job.id) for job in desk.fake.live() if job.is_free and job.tag)
    submission = desk.submitter().submit(ALONE)
    job = desk.job(ALONE[0].unit)
    assert (list(submission.jobs.values()), job.is_free) == ([str(job.id)], True)
    assert len(desk.fake.jobs) == 1


@pytest.mark.parametrize("fault", ["late", "lost reply", "no reply", "empty", "empty, accepted", "limit"])
def test_a_lone_job_without_an_answer_of_sbatch_is_sent_with_all_checks(desk: Desk, fault: str) -> None:
    desk.fake.faults = [fault]
    submission = desk.submitter().submit(ALONE)
    for job in desk.fake.jobs.values():
        job.visible = True
    free = [str(job.id) for job in desk.fake.live() if job.is_free]
    assert free == list(submission.jobs.values())
    assert desk.submitter().submit(ALONE).jobs == submission.jobs
    assert [str(job.id) for job in desk.fake.live()] == free, (
        "the job that appeared late is cancelled by the next submission"
    )


def test_after_a_wrapper_printed_a_wrong_id_the_id_of_a_lone_job_is_looked_up(desk: Desk) -> None:
    desk.fake.faults = ["wrong number"]
    desk.submitter().submit(REQUESTS)
    desk.fake.faults = ["wrong number"]
    assert list(desk.submitter().submit(ALONE).jobs.values()) == ["5"]


def test_a_plugin_that_fails_after_the_job_was_accepted_is_no_refusal(desk: Desk) -> None:
    desk.fake.faults = ["refused, accepted"]
    submission = desk.submitter().submit(REQUESTS)
    assert len(submission.jobs) == len(desk.fake.live()) == 4
    assert "spank" in submission.remarks[0]
