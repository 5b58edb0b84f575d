"""Examples of submissions on the fake Slurm."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from detour.ledger.events import JobAccepted, JobIntended, JobsCommitted
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm
from detour.scheduler.records import BY_SLURM
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.tags import Slot, Tag
from tests.scheduler.desk import REQUESTS, Desk
from tests.scheduler.fake_slurm import FakeJob, Killed


def test_all_jobs_are_linked_held_and_then_released(desk: Desk) -> None:
    submission = desk.submitter().submit(REQUESTS)
    assert submission.jobs == {
        Slot("prepare-0"): "1",
        Slot("pretrain-1", 1): "2",
        Slot("pretrain-1", 2): "3",
        Slot("promote-2"): "4",
    }
    assert [job.dependency for job in desk.fake.live()] == [
        "",
        "afterok:1",
        "afterok:1,afternotok:2",
        "afterok:2?afterok:3",
    ]
    assert not any(job.held for job in desk.fake.live())
    assert desk.slurm.calls == {"squeue": 3, "sbatch": 4, "scontrol": 1}


def test_submitting_again_sends_nothing(desk: Desk) -> None:
    first = desk.submitter().submit(REQUESTS)
    again = desk.submitter().submit(REQUESTS)
    assert again.jobs == first.jobs
    assert again.in_flight == ("prepare-0", "pretrain-1", "promote-2")
    assert desk.slurm.calls["sbatch"] == 4


def test_dependents_of_a_lost_job_wait_for_its_successor(desk: Desk) -> None:
    desk.kill_at(10)
    assert [job.id for job in desk.fake.live()] == [1, 2, 3]
    del desk.fake.jobs[1]
    submission = desk.submitter().submit(REQUESTS)
    assert desk.job("pretrain-1", 1).dependency == f"afterok:{submission.jobs[Slot('prepare-0')]}"
    assert any("lost by the controller" in remark for remark in submission.remarks)


def test_an_id_now_used_by_another_user_is_not_ours(desk: Desk) -> None:
    desk.kill_at(4)
    (lost,) = desk.fake.lose_last(1)
    stranger = desk.fake.add("somebody-else", False, "", ())
    assert stranger.id == lost.id
    submission = desk.submitter().submit(REQUESTS)
    assert submission.jobs[Slot("prepare-0")] != str(stranger.id)
    assert stranger.is_live


def test_an_unfinished_submission_can_be_withdrawn(desk: Desk) -> None:
    desk.kill_at(9)
    assert desk.submitter().withdraw(["prepare-0", "pretrain-1"]) == ["3", "2", "1"]
    assert desk.fake.live() == []


def test_a_smaller_array_is_withdrawn_too(desk: Desk) -> None:
    desk.submitter().submit([JobRequest((("export-0",),), Resources(), 60)])
    tasks = (("export-0",), ("export-1",), ("export-2",))
    kept = [job.id for job in desk.fake.live()]
    desk.kill_at(5, [JobRequest(tasks, Resources(), 60)])
    assert len(desk.fake.live()) == 2
    assert desk.submitter().withdraw([stage for (stage,) in tasks]) == ["2"]
    assert [job.id for job in desk.fake.live()] == kept


def test_released_jobs_are_not_withdrawn(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    assert desk.submitter().withdraw(["prepare-0", "pretrain-1", "promote-2"]) == []
    assert len(desk.fake.live()) == 4


def test_jobs_left_by_a_lost_ledger_are_adopted(desk: Desk) -> None:
    first = desk.submitter().submit(REQUESTS)
    desk.ledger.written.clear()
    again = desk.submitter().submit(REQUESTS)
    assert again.jobs == first.jobs
    assert len(again.remarks) == 4
    assert desk.slurm.calls["sbatch"] == 4


def test_a_lost_release_is_repeated(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    for job in desk.fake.live():
        job.held = True
    desk.submitter().submit(REQUESTS)
    assert not any(job.held for job in desk.fake.live())


def test_a_job_that_came_back_held_is_sent_again_if_it_may_have_run_and_released_otherwise(desk: Desk) -> None:
    """A node that knows an id does not run it again, and is drained."""
    desk.submitter().submit(REQUESTS)
    desk.fake.schedule()
    desk.fake.forget_releases(4)
    again = desk.submitter().submit(REQUESTS)
    assert set(again.jobs.values()) == {"2", "3", "4", "5"}
    assert again.remarks[0].startswith("prepare-0: sent again as a new job")
    assert {job.id: (job.dependency, job.is_free) for job in desk.fake.live()} == {
        2: ("afterok:5", True),
        3: ("afterok:5,afternotok:2", True),
        4: ("afterok:2?afterok:3", True),
        5: ("", True),
    }
    assert [job.id for job in desk.fake.schedule()] == [5]


ALONE = [
    JobRequest((("promote-1",),), Resources(), 60),
    JobRequest((("export-1",),), Resources(), 60, after=("promote-1",)),
]
IN_ARRAYS = [
    JobRequest((("promote-1",), ("promote-2",)), Resources(), 60),
    JobRequest(
        (("export-1",), ("export-2",)),
        Resources(),
        60,
        after=("promote-1", "promote-2"),
        after_each=(("promote-1",), ("promote-2",)),
    ),
]
"""The same chain and a second one, as a sweep groups them."""


def test_a_job_in_flight_waits_for_what_replaces_its_input_in_another_grouping(desk: Desk) -> None:
    desk.submitter().submit(ALONE)
    desk.fake.jobs[1].state = "FAILED"  # and Slurm has not cancelled yet what waits for it
    again = desk.submitter().submit(IN_ARRAYS)
    assert desk.job("export-1").dependency == "afterok:3_0"
    assert again.in_flight == ("export-1",)


def test_a_job_that_waits_in_vain_is_linked_to_what_another_chain_sent_for_the_shared_input(desk: Desk) -> None:
    chains = [[REQUESTS[0], JobRequest(((name,),), Resources(), 60, after=("prepare-0",))] for name in ("a-1", "b-1")]
    for chain in chains:
        desk.submitter().submit(chain)
    desk.job("prepare-0").state = "FAILED"  # and Slurm has not cancelled yet what waits for it
    for chain in chains:
        desk.submitter().submit(chain)
    new = desk.job("prepare-0").id
    assert [desk.job(unit).dependency for unit in ("a-1", "b-1")] == [f"afterok:{new}"] * 2


def test_chains_stay_apart_although_the_input_of_one_is_in_flight_alone(desk: Desk) -> None:
    """An array would wait for the inputs of all its tasks: if one chain fails, Slurm would cancel the other."""
    desk.submitter().submit(ALONE[:1])
    desk.submitter().submit(IN_ARRAYS)
    assert desk.job("export-1").dependency == f"afterok:{desk.job('promote-1').id}"
    assert desk.job("export-2").dependency == f"afterok:{desk.job('promote-2').id}"


def test_tasks_that_correspond_to_an_array_in_flight_stay_an_array(desk: Desk) -> None:
    desk.submitter().submit(IN_ARRAYS[:1])
    third = JobRequest((("promote-3",),), Resources(), 60)
    exports = replace(
        IN_ARRAYS[1],
        tasks=(*IN_ARRAYS[1].tasks, ("export-3",)),
        after=(*IN_ARRAYS[1].after, "promote-3"),
        after_each=(*IN_ARRAYS[1].after_each, ("promote-3",)),
        unit="",
    )
    sent = desk.submitter().submit([IN_ARRAYS[0], third, exports])
    dependencies = {request.stages: desk.job(request.unit).dependency for request in sent.requests}
    assert dependencies == {
        ("promote-1", "promote-2"): "",
        ("promote-3",): "",
        ("export-1", "export-2"): f"aftercorr:{desk.job(IN_ARRAYS[0].unit).id}",
        ("export-3",): f"afterok:{desk.job('promote-3').id}",
    }


def test_a_job_that_may_have_run_is_sent_again_in_another_grouping(desk: Desk) -> None:
    desk.submitter().submit(ALONE)
    desk.fake.forget_releases(2)
    again = desk.submitter().submit(IN_ARRAYS)
    assert "cancelled, no longer wanted: 1" in again.remarks
    assert desk.job("export-1").dependency == "afterok:3_0"
    assert not any(job.held for job in desk.fake.live())
    assert sorted(job.id for job in desk.fake.live()) == [2, 3, 4]
    assert desk.submitter().submit(IN_ARRAYS).remarks == ()


def test_an_array_of_which_only_a_part_is_submitted_again_is_released(desk: Desk) -> None:
    """What else it holds cannot be sent again here, and nothing is left held without a word."""
    desk.submitter().submit(IN_ARRAYS)
    desk.fake.forget_releases(2)
    later = JobRequest((("summarize-1",),), Resources(), 60, after=("export-1",))
    desk.submitter().submit([*ALONE, later])
    assert not any(job.held for job in desk.fake.live())


@pytest.mark.parametrize("instant", range(20))
def test_a_submission_killed_while_it_sends_such_a_job_again_ends_alike(desk: Desk, instant: int) -> None:
    desk.submitter().submit(REQUESTS)
    desk.fake.schedule()
    desk.fake.forget_releases(4)
    desk.fuse.left = instant
    with contextlib.suppress(Killed):
        desk.submitter().submit(REQUESTS)
    desk.fuse.left = None
    desk.submitter().submit(REQUESTS)
    assert not desk.fake.jobs[1].is_live
    assert [job.tag.slot for job in desk.fake.live() if job.tag and job.is_free] == [
        *(slot for request in REQUESTS[1:] for slot in request.slots),
        Slot("prepare-0"),
    ]
    assert desk.job("pretrain-1", 1).dependency == f"afterok:{desk.job('prepare-0').id}"


def test_all_segments_of_a_stage_that_may_have_run_are_sent_again(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    desk.done = {"prepare-0"}
    desk.fake.jobs[1].state = "COMPLETED"
    desk.fake.schedule()
    desk.fake.forget_releases(3)
    left = [replace(REQUESTS[1], after=()), REQUESTS[2]]
    assert set(desk.submitter().submit(left).jobs.values()) == {"4", "5", "6"}
    assert [(job.id, job.dependency, job.held) for job in desk.fake.live()] == [
        (4, "afterok:5?afterok:6", False),
        (5, "", False),
        (6, "afternotok:5", False),
    ]


def test_if_the_site_accepts_no_more_jobs_those_that_may_have_run_are_released(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    desk.fake.forget_releases(4)
    desk.fake.limit = 4
    again = desk.submitter({None: 4}).submit(REQUESTS)
    assert list(again.jobs.values()) == ["1", "2", "3", "4"]
    assert not any(job.held for job in desk.fake.live())


def test_a_job_sent_for_one_that_may_have_run_stays_if_the_rest_has_to_wait(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    desk.fake.forget_releases(4)
    tasks = tuple((f"evaluate-{number}",) for number in range(3))
    evaluations = JobRequest(tasks, Resources(), 60, after=("promote-2",))
    again = desk.submitter({None: 6}).submit([*REQUESTS, evaluations])
    assert again.jobs[Slot("prepare-0")] == "5"
    assert [request.stages for request in again.deferred] == [evaluations.stages]
    assert {job.id for job in desk.fake.live()} == {2, 3, 4, 5}
    assert desk.job("pretrain-1", 1).dependency == "afterok:5"
    assert not any(job.held for job in desk.fake.live())


def test_held_jobs_of_another_chain_are_left_to_its_own_submission(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    other = JobRequest((("prepare-9",),), Resources(), 60, after_jobs=("4",))
    desk.submitter().submit([other])
    desk.fake.forget_releases(5)
    again = desk.submitter().submit([other])
    assert again.remarks[-1].endswith("to be submitted again: 1 (prepare-0)")
    assert [job.id for job in desk.fake.live() if job.held] == [1]


def test_a_job_held_by_an_administrator_is_not_sent_again(desk: Desk) -> None:
    first = desk.submitter().submit(REQUESTS)
    desk.job("prepare-0").held, desk.job("prepare-0").reason = True, "JobHeldAdmin"
    desk.fake.order_faults = ["deaf"] * 2
    again = desk.submitter().submit(REQUESTS)
    assert again.jobs == first.jobs
    assert again.left.startswith("still held: 1 (JobHeldAdmin)")


def test_a_finished_job_that_came_back_held_is_cancelled_and_nothing_waits_for_it(desk: Desk) -> None:
    first = desk.submitter().submit(REQUESTS)
    desk.done = {"prepare-0", "pretrain-1"}
    for unit in ("prepare-0", "pretrain-1"):
        desk.job(unit).held = True  # a controller killed right after the submission has forgotten that they ran
    left = [replace(REQUESTS[2], after=())]
    again = desk.submitter().submit(left)
    assert again.jobs == {Slot("promote-2"): first.jobs[Slot("promote-2")]}
    assert "prepare-0: it is done, and Slurm has forgotten that it ran" in again.remarks
    assert again.remarks[-1] == "cancelled, no longer wanted: 1, 2, 3"
    assert [(job.id, job.dependency, job.held) for job in desk.fake.live()] == [(4, "", False)]
    assert desk.slurm.calls["sbatch"] == 4
    assert desk.submitter().submit(left).remarks == ()


def test_jobs_that_do_not_fit_next_to_those_in_flight_are_postponed(desk: Desk) -> None:
    desk.submitter({None: 3}).submit(REQUESTS[:2])
    more = [*REQUESTS[:2], JobRequest((("export-3",),), Resources(), 60)]
    submission = desk.submitter({None: 3}).submit(more)
    assert [request.unit for request in submission.deferred] == ["export-3"]
    assert submission.in_flight == ("prepare-0", "pretrain-1")


def test_seeds_in_flight_are_left_out_of_a_job_that_has_others_too(desk: Desk) -> None:
    """It would wait for them with a GPU, and give up before its own."""
    seeds = [f"evaluate-{number}" for number in range(6)]
    desk.submitter().submit([JobRequest((tuple(seeds[:2]), tuple(seeds[2:3])), Resources(), 60)])
    desk.done.add("evaluate-4")
    submission = desk.submitter().submit([JobRequest((tuple(seeds[:2]), tuple(seeds[2:])), Resources(), 60)])
    (added,) = submission.requests
    assert added.tasks == (("evaluate-3", "evaluate-4", "evaluate-5"),), "a job goes past a stage that is done"
    assert submission.jobs == {Slot(added.unit): "2"}
    assert submission.in_flight == ("evaluate-0", "evaluate-1", "evaluate-2")


def test_evaluations_of_a_failed_task_wait_only_for_that_task(desk: Desk) -> None:
    tasks = tuple((f"evaluate-{number}",) for number in range(3))
    array = JobRequest(tasks, Resources(), 60)
    one = JobRequest((("summarize-1",),), Resources(), 60, after=("evaluate-1",))
    every = JobRequest((("summarize-2",),), Resources(), 60, after=tuple(stage for (stage,) in tasks))
    desk.submitter().submit([array, one, every])
    assert desk.job("summarize-1").dependency == "afterok:1_1"
    assert desk.job("summarize-2").dependency == "afterok:1"


def test_a_wrong_id_from_a_wrapper_is_corrected_and_dependents_relinked_before_any_release(
    desk: Desk,
) -> None:
    desk.fake.faults = ["wrong number", "", "wrong number"]
    submission = desk.submitter().submit(REQUESTS)
    assert list(submission.jobs.values()) == ["1", "2", "3", "4"]
    assert [job.dependency for job in desk.fake.live()] == [
        "",
        "afterok:1",
        "afterok:1,afternotok:2",
        "afterok:2?afterok:3",
    ]


@pytest.mark.parametrize("instant", range(8, 24))
def test_a_submission_killed_after_an_id_was_corrected_still_relinks(desk: Desk, instant: int) -> None:
    desk.fake.faults = ["wrong number", "wrong number"]
    desk.fuse.left = instant
    with contextlib.suppress(Killed):
        desk.submitter().submit(REQUESTS)
    desk.fuse.left = None
    desk.submitter().submit(REQUESTS)
    assert [job.dependency for job in desk.fake.live()][1:3] == ["afterok:1", "afterok:1,afternotok:2"]


def test_dependents_of_a_duplicate_are_relinked_before_it_is_cancelled(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS[:2])
    other = str(Tag("w", "prepare-0", 1, "older"))
    desk.ledger.append(JobIntended(tags=[other], tasks=[["prepare-0"]], dependency=""))
    desk.ledger.append(JobAccepted(tags=[other], job_id="0"))
    desk.ledger.append(JobsCommitted(tags=[other]))
    desk.fake.jobs[0] = FakeJob(0, other, held=False, dependency="", stages=("prepare-0",))
    desk.submitter().submit(REQUESTS[:2])
    assert not desk.fake.jobs[1].is_live
    assert [job.dependency for job in desk.fake.live() if job.id > 1] == ["afterok:0", "afterok:0,afternotok:2"]


def test_a_release_without_effect_is_repeated(desk: Desk) -> None:
    desk.fake.order_faults = ["deaf"]
    desk.submitter().submit(REQUESTS)
    assert not any(job.held for job in desk.fake.live())


def test_a_job_still_held_after_its_release_is_named_with_the_reason_of_slurm(desk: Desk) -> None:
    desk.fake.order_faults = ["deaf"] * 2
    submission = desk.submitter().submit(REQUESTS)
    assert submission.left.startswith("still held: 1 (JobHeldUser), 2 (JobHeldUser)")
    assert submission.left.endswith("`scontrol show job 1`")
    assert desk.submitter().submit(REQUESTS).left == ""


def test_if_the_queue_cannot_be_read_after_the_release_the_jobs_are_submitted_and_it_is_reported(desk: Desk) -> None:
    def go_down(command: Sequence[str], timeout_s: float) -> CommandResult:
        result = desk.fake(command, timeout_s)
        desk.fake.down |= command[:2] == ("scontrol", "release")
        return result

    desk.slurm = Slurm(go_down)
    submission = desk.submitter().submit(REQUESTS)
    assert "whether all jobs are released is not known" in submission.left
    assert len(submission.jobs) == 4


@pytest.mark.parametrize("reason", sorted(BY_SLURM))
def test_a_job_held_by_slurm_itself_is_released_and_reported(desk: Desk, reason: str) -> None:
    desk.submitter().submit(REQUESTS)
    desk.job("prepare-0").held, desk.job("prepare-0").reason = True, reason
    again = desk.submitter().submit(REQUESTS)
    assert again.remarks == (f"job 1 was held by Slurm ({reason}), and is released",)
    assert desk.job("prepare-0").is_free


def test_a_site_that_rewrites_names_and_comments_loses_no_job(desk: Desk) -> None:
    desk.fake.rewrites = True
    first = desk.submitter().submit(REQUESTS)
    again = desk.submitter().submit(REQUESTS)
    assert again.jobs == first.jobs
    assert again.remarks == ("the site rewrites names and comments: jobs known only by their scripts: 1, 2, 3, 4",)
    assert desk.slurm.calls["sbatch"] == 4
    assert not any(job.held for job in desk.fake.live())
