"""Submission by example, on the fake Slurm: what a person would tell about it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from detour.errors import SchedulerUnavailable
from detour.ledger.events import JobAccepted, JobIntended, JobsCommitted
from detour.scheduler.commands import CommandResult, Slurm, SubmissionRefused
from detour.scheduler.control import Control
from detour.scheduler.dependency import Dependency
from detour.scheduler.records import BY_SLURM
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.sent import fold
from detour.scheduler.submission import Submitter
from detour.scheduler.submission_script import ScriptStyle, gate_of, submission_script
from detour.scheduler.tags import Slot, Tag
from tests.scheduler.fake_slurm import FakeJob, FakeSlurm, Fuse, Killed, MemoryLedger

REQUESTS = [
    JobRequest((("prepare-0",),), Resources(), 60),
    JobRequest((("pretrain-1",),), Resources(), 60, segments=2, after=("prepare-0",)),
    JobRequest((("promote-2",),), Resources(), 60, after=("pretrain-1",)),
]


class Desk:
    """A submitter on a fake Slurm, made anew for every call, as every command does."""

    def __init__(self, folder: Path, user: str = "me", beside: Desk | None = None) -> None:
        """`beside` another one: a second user of the same workspace."""
        self.folder = folder
        self.users = [user, *({"me", "you"} - {user})]
        self.fake: FakeSlurm = beside.fake if beside else FakeSlurm()
        self.fuse: Fuse = beside.fuse if beside else Fuse()
        self.ledger: MemoryLedger = beside.ledger if beside else MemoryLedger(self.fuse)
        self.slurm = Slurm(self._run)
        self.done: set[str] = set()

    def _run(self, command: Sequence[str], timeout_s: float) -> CommandResult:
        return self.fuse.guard(self.fake.acting(self.users[0]), command, timeout_s)

    def _write(self, request: JobRequest, tag: Tag, dependency: Dependency | None, *, gated: bool = False) -> Path:
        path = self.folder / f"{tag.submission}.sh"
        gate = gate_of(path) if gated else None
        style = ScriptStyle(Path("/w"), "python")
        path.write_text(submission_script(request, tag, dependency, style, Path("/logs"), gate))
        return path

    def submitter(self, limit: int | None = None, kept_free: int = 0) -> Submitter:
        return Submitter(
            self.slurm,
            self.ledger,
            "w",
            self.users,
            self._write,
            limit,
            kept_free,
            self.done.__contains__,
            wait=lambda seconds: None,  # noqa: ARG005
            open_gate=lambda gate: self.fuse.guard(Path(gate).touch),
        )

    def kill_at(self, instant: int, requests: Sequence[JobRequest] = REQUESTS) -> None:
        self.fuse.left = instant
        with pytest.raises(Killed):
            self.submitter().submit(requests)
        self.fuse.left = None

    def job(self, unit: str, segment: int = 1) -> FakeJob:
        (found,) = [job for job in self.fake.live() if job.tag and job.tag.slot == Slot(unit, segment)]
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_everything_is_linked_held_and_then_free(desk: Desk) -> None:
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


def test_what_waited_for_a_lost_job_waits_for_its_successor(desk: Desk) -> None:
    desk.kill_at(10)
    assert [job.id for job in desk.fake.live()] == [1, 2, 3]
    del desk.fake.jobs[1]
    submission = desk.submitter().submit(REQUESTS)
    assert desk.job("pretrain-1", 1).dependency == f"afterok:{submission.jobs[Slot('prepare-0')]}"
    assert any("lost by the controller" in remark for remark in submission.remarks)


def test_an_id_given_to_somebody_else_is_not_taken_for_ours(desk: Desk) -> None:
    desk.kill_at(4)
    (lost,) = desk.fake.lose_last(1)
    stranger = desk.fake.add("somebody-else", False, "", ())
    assert stranger.id == lost.id
    submission = desk.submitter().submit(REQUESTS)
    assert submission.jobs[Slot("prepare-0")] != str(stranger.id)
    assert stranger.is_live


def test_a_job_that_gets_lost_twice_needs_a_person(desk: Desk) -> None:
    def forget(command: Sequence[str], timeout_s: float) -> CommandResult:
        result = desk.fake(command, timeout_s)
        if command[0] == "sbatch":
            desk.fake.jobs.clear()
        return result

    desk.slurm = Slurm(forget)
    with pytest.raises(SchedulerUnavailable, match="lost prepare-0 again"):
        desk.submitter().submit(REQUESTS[:2])


@pytest.mark.parametrize("fault", ["empty, accepted", "lost reply"])
def test_a_job_whose_id_was_not_told_is_found_by_its_tag_and_said(desk: Desk, fault: str) -> None:
    desk.fake.faults = [fault]
    submission = desk.submitter().submit(REQUESTS)
    assert submission.jobs[Slot("prepare-0")] == "1"
    assert "it is in the queue as job 1" in submission.remarks[0]


def test_an_sbatch_that_goes_on_saying_nothing_ends_the_wave_there(desk: Desk) -> None:
    desk.fake.faults = ["", "empty", "empty"]
    submission = desk.submitter().submit(REQUESTS)
    assert set(submission.jobs) == {Slot("prepare-0")}
    assert [request.unit for request in submission.deferred] == ["pretrain-1", "promote-2"]
    assert not desk.job("prepare-0").held


def test_past_the_limit_the_rest_is_put_off_and_nobody_follows_half_a_unit(desk: Desk) -> None:
    desk.fake.limit = 2
    submission = desk.submitter().submit(REQUESTS)
    assert set(submission.jobs) == {Slot("prepare-0"), Slot("pretrain-1", 1)}
    assert [request.unit for request in submission.deferred] == ["promote-2"]


@pytest.mark.parametrize(("limit", "kept_free", "sent"), [(5, 1, 4), (4, 1, 4), (3, 1, 1), (3, 0, 3), (1, 1, 1)])
def test_where_not_all_fits_some_of_the_limit_is_kept_for_others(
    desk: Desk, limit: int, kept_free: int, sent: int
) -> None:
    assert len(desk.submitter(limit, kept_free).submit(REQUESTS).jobs) == sent


def test_nothing_at_all_through_is_an_error(desk: Desk) -> None:
    desk.fake.limit = 0
    with pytest.raises(SchedulerUnavailable, match="nothing was submitted"):
        desk.submitter().submit(REQUESTS)


def test_a_refusal_withdraws_what_was_sent(desk: Desk) -> None:
    def refuse_the_third(command: Sequence[str], timeout_s: float) -> CommandResult:
        if command[0] == "sbatch" and desk.slurm.calls["sbatch"] == 3:
            return CommandResult(1, "", "sbatch: error: Invalid account\n")
        return desk.fake(command, timeout_s)

    desk.slurm = Slurm(refuse_the_third)
    with pytest.raises(SubmissionRefused, match="Invalid account"):
        desk.submitter().submit(REQUESTS)
    assert desk.fake.live() == []
    desk.slurm = Slurm(desk.fake)
    assert len(desk.submitter().submit(REQUESTS).jobs) == 4


def test_an_unfinished_submission_can_be_withdrawn(desk: Desk) -> None:
    desk.kill_at(9)
    assert desk.submitter().withdraw(["prepare-0", "pretrain-1"]) == ["3", "2", "1"]
    assert desk.fake.live() == []


def test_what_is_set_free_is_not_withdrawn(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    assert desk.submitter().withdraw(["prepare-0", "pretrain-1", "promote-2"]) == []
    assert len(desk.fake.live()) == 4


def test_jobs_that_a_lost_ledger_left_behind_are_adopted(desk: Desk) -> None:
    first = desk.submitter().submit(REQUESTS)
    desk.ledger.written.clear()
    again = desk.submitter().submit(REQUESTS)
    assert again.jobs == first.jobs
    assert len(again.remarks) == 4
    assert desk.slurm.calls["sbatch"] == 4


def test_a_release_that_got_lost_is_made_up_for(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    for job in desk.fake.live():
        job.held = True
    desk.submitter().submit(REQUESTS)
    assert not any(job.held for job in desk.fake.live())


def test_what_may_have_run_before_it_came_back_held_is_sent_anew_and_what_cannot_have_is_released(desk: Desk) -> None:
    """A node that knows an id does not run it again, and is drained for it."""
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


@pytest.mark.parametrize("instant", range(20))
def test_killed_while_it_sends_anew_what_may_have_run_it_ends_alike(desk: Desk, instant: int) -> None:
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


def test_all_segments_of_a_stage_that_may_have_run_are_sent_anew(desk: Desk) -> None:
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


def test_where_the_site_takes_no_more_jobs_what_may_have_run_is_released(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    desk.fake.forget_releases(4)
    desk.fake.limit = 4
    again = desk.submitter(limit=4).submit(REQUESTS)
    assert list(again.jobs.values()) == ["1", "2", "3", "4"]
    assert not any(job.held for job in desk.fake.live())


def test_what_may_have_run_of_another_chain_is_left_to_its_own_submission(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    other = JobRequest((("prepare-9",),), Resources(), 60, after_jobs=("4",))
    desk.submitter().submit([other])
    desk.fake.forget_releases(5)
    again = desk.submitter().submit([other])
    assert again.remarks[-1].endswith("to be submitted again: 1 (prepare-0)")
    assert [job.id for job in desk.fake.live() if job.held] == [1]


def test_what_an_administrator_holds_is_not_sent_anew(desk: Desk) -> None:
    first = desk.submitter().submit(REQUESTS)
    desk.job("prepare-0").held, desk.job("prepare-0").reason = True, "JobHeldAdmin"
    desk.fake.order_faults = ["deaf"] * 2
    again = desk.submitter().submit(REQUESTS)
    assert again.jobs == first.jobs
    assert again.left.startswith("still held: 1 (JobHeldAdmin)")


def test_an_id_that_a_lost_job_may_run_under_is_not_taken_again(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    desk.fake.schedule()
    list(desk.fake.lose_last(4))
    again = desk.submitter().submit(REQUESTS)
    assert sorted(again.jobs.values()) == ["2", "3", "4", "5"]
    assert again.remarks == (
        "prepare-0: sent again, for its job had the id of one that Slurm has lost and that may still run: 1",
        "cancelled, no longer wanted: 1",
    )
    assert not desk.fake.jobs[1].is_live
    assert [job.id for job in desk.fake.schedule()] == [2]


def test_ids_of_tasks_that_a_lost_array_may_run_under_are_not_taken_again(desk: Desk) -> None:
    """Job 2 is the array; its tasks have started as 2, 3 and 4, which no record of ours tells."""
    tasks = tuple((f"evaluate-{number}",) for number in range(3))
    chain = [JobRequest((("promote-1",),), Resources(), 60), JobRequest(tasks, Resources(), 60, after=("promote-1",))]
    desk.submitter().submit(chain)
    desk.done = {"promote-1"}
    desk.fake.jobs.clear()
    desk.fake.next_id = 2
    again = desk.submitter().submit([replace(chain[1], after=()), replace(REQUESTS[0], after=("evaluate-0",))])
    assert sorted(again.jobs.values()) == ["6", "7"]


def test_a_lone_job_gets_no_id_that_a_lost_one_may_run_under(desk: Desk) -> None:
    desk.submitter().submit(ALONE)
    desk.fake.schedule()
    list(desk.fake.lose_last(1))
    other = [JobRequest((("export-3",),), Resources(), 60)]
    assert list(desk.submitter().submit(other).jobs.values()) == ["2"]
    assert [job.id for job in desk.fake.live()] == [2]


def test_a_job_that_is_done_and_came_back_held_goes_and_nobody_waits_for_it(desk: Desk) -> None:
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


def test_what_does_not_fit_behind_what_is_in_flight_is_put_off(desk: Desk) -> None:
    desk.submitter(limit=3).submit(REQUESTS[:2])
    more = [*REQUESTS[:2], JobRequest((("export-3",),), Resources(), 60)]
    submission = desk.submitter(limit=3).submit(more)
    assert [request.unit for request in submission.deferred] == ["export-3"]
    assert submission.in_flight == ("prepare-0", "pretrain-1")


def test_what_a_person_holds_stays_held_until_a_person_lets_it_go(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS)
    clock = itertools.count(1.0)
    control = Control(desk.slurm, desk.ledger, "w", desk.users, now_s=lambda: next(clock))
    control.hold(["pretrain-1"])
    again = desk.submitter().submit(REQUESTS)
    assert [job.id for job in desk.fake.live() if job.held] == [2, 3]
    assert again.remarks == ("held by `detour hold` until `detour release`: 2, 3",)
    control.release(["pretrain-1"])
    desk.job("promote-2").held = True  # a release that got lost is made up for all the same
    assert desk.submitter().submit(REQUESTS).remarks == ()
    assert not any(job.held for job in desk.fake.live())


def test_what_may_have_run_before_it_came_back_held_is_not_released_but_left_to_a_submission(desk: Desk) -> None:
    """A node that knows the id would be drained; run elsewhere, it would be a second copy."""
    desk.submitter().submit(REQUESTS)
    desk.fake.schedule()
    desk.fake.forget_releases(4)
    stages = [stage for request in REQUESTS for stage in request.stages]
    reached = Control(desk.slurm, desk.ledger, "w", desk.users).release(stages)
    assert reached.undecided == {"1": "held as after a crash of slurmctld, it may have run already"}
    assert reached.ids == ("2", "3", "4")
    assert [job.id for job in desk.fake.live() if job.held] == [1]


def test_what_a_submission_that_was_cut_short_has_sent_is_not_released(desk: Desk) -> None:
    desk.fuse.left = 6
    with contextlib.suppress(Killed):
        desk.submitter().submit(REQUESTS)
    desk.fuse.left = None
    held = [str(job.id) for job in desk.fake.live() if job.held]
    assert held
    stages = [stage for request in REQUESTS for stage in request.stages]
    reached = Control(desk.slurm, desk.ledger, "w", desk.users).release(stages)
    assert reached.undecided == dict.fromkeys(held, "its submission was cut short")
    assert [str(job.id) for job in desk.fake.live() if job.held] == held


def test_the_evaluations_of_a_failed_task_wait_for_that_task_alone(desk: Desk) -> None:
    tasks = tuple((f"evaluate-{number}",) for number in range(3))
    array = JobRequest(tasks, Resources(), 60)
    one = JobRequest((("summarize-1",),), Resources(), 60, after=("evaluate-1",))
    every = JobRequest((("summarize-2",),), Resources(), 60, after=tuple(stage for (stage,) in tasks))
    desk.submitter().submit([array, one, every])
    assert desk.job("summarize-1").dependency == "afterok:1_1"
    assert desk.job("summarize-2").dependency == "afterok:1"


ALONE = [JobRequest(tuple((f"evaluate-{number}",) for number in range(20)), Resources(), 60)]


def test_a_job_that_nothing_hangs_on_is_one_call(desk: Desk) -> None:
    submission = desk.submitter(limit=30).submit(ALONE)
    assert list(submission.jobs.values()) == ["1"]
    assert desk.slurm.calls == {"sbatch": 1}
    assert desk.job(ALONE[0].unit).is_free
    assert desk.submitter().submit(ALONE).in_flight == ALONE[0].stages
    assert desk.slurm.calls == {"sbatch": 1, "squeue": 1}


@pytest.mark.parametrize("instant", range(10))
def test_a_lone_job_killed_at_any_instant_is_there_once_and_does_nothing_before_it_is_recorded(
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
def test_a_lone_job_of_which_sbatch_says_nothing_goes_the_long_way(desk: Desk, fault: str) -> None:
    desk.fake.faults = [fault]
    submission = desk.submitter().submit(ALONE)
    for job in desk.fake.jobs.values():
        job.visible = True
    free = [str(job.id) for job in desk.fake.live() if job.is_free]
    assert free == list(submission.jobs.values())
    assert desk.submitter().submit(ALONE).jobs == submission.jobs
    assert [str(job.id) for job in desk.fake.live()] == free, "what turned up late is cancelled by the next submission"


def test_once_a_wrapper_has_printed_a_wrong_number_that_of_a_lone_job_is_looked_up(desk: Desk) -> None:
    desk.fake.faults = ["wrong number"]
    desk.submitter().submit(REQUESTS)
    desk.fake.faults = ["wrong number"]
    assert list(desk.submitter().submit(ALONE).jobs.values()) == ["5"]


def test_a_wrong_number_from_a_wrapper_is_corrected_and_dependents_relinked_before_anything_is_released(
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
def test_killed_after_an_id_was_corrected_it_relinks_all_the_same(desk: Desk, instant: int) -> None:
    desk.fake.faults = ["wrong number", "wrong number"]
    desk.fuse.left = instant
    with contextlib.suppress(Killed):
        desk.submitter().submit(REQUESTS)
    desk.fuse.left = None
    desk.submitter().submit(REQUESTS)
    assert [job.dependency for job in desk.fake.live()][1:3] == ["afterok:1", "afterok:1,afternotok:2"]


def test_what_waits_for_a_double_waits_for_the_other_before_that_one_is_cancelled(desk: Desk) -> None:
    desk.submitter().submit(REQUESTS[:2])
    other = str(Tag("w", "prepare-0", 1, "older"))
    desk.ledger.append(JobIntended(tags=[other], tasks=[["prepare-0"]], dependency=""))
    desk.ledger.append(JobAccepted(tags=[other], job_id="0"))
    desk.ledger.append(JobsCommitted(tags=[other]))
    desk.fake.jobs[0] = FakeJob(0, other, held=False, dependency="", stages=("prepare-0",))
    desk.submitter().submit(REQUESTS[:2])
    assert not desk.fake.jobs[1].is_live
    assert [job.dependency for job in desk.fake.live() if job.id > 1] == ["afterok:0", "afterok:0,afternotok:2"]


def test_a_release_that_did_nothing_is_given_again(desk: Desk) -> None:
    desk.fake.order_faults = ["deaf"]
    desk.submitter().submit(REQUESTS)
    assert not any(job.held for job in desk.fake.live())


def test_what_is_still_held_after_its_release_is_named_with_slurms_reason(desk: Desk) -> None:
    desk.fake.order_faults = ["deaf"] * 2
    submission = desk.submitter().submit(REQUESTS)
    assert submission.left.startswith("still held: 1 (JobHeldUser), 2 (JobHeldUser)")
    assert submission.left.endswith("`scontrol show job 1`")
    assert desk.submitter().submit(REQUESTS).left == ""


def test_a_queue_that_cannot_be_read_after_the_release_is_said_and_the_jobs_are_slurms(desk: Desk) -> None:
    def go_down(command: Sequence[str], timeout_s: float) -> CommandResult:
        result = desk.fake(command, timeout_s)
        desk.fake.down |= command[:2] == ("scontrol", "release")
        return result

    desk.slurm = Slurm(go_down)
    submission = desk.submitter().submit(REQUESTS)
    assert "whether all jobs are released is not known" in submission.left
    assert len(submission.jobs) == 4


def test_what_scancel_leaves_in_the_queue_is_named(desk: Desk) -> None:
    desk.kill_at(9)
    desk.fake.order_faults = ["deaf"]
    with pytest.raises(SchedulerUnavailable, match="did not cancel 1, 2, 3: run it again, or `scancel 1 2 3`"):
        desk.submitter().withdraw(["prepare-0", "pretrain-1"])


@pytest.mark.parametrize("reason", sorted(BY_SLURM))
def test_what_slurm_itself_holds_is_released_and_said(desk: Desk, reason: str) -> None:
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
    assert again.remarks == ("the site rewrites names and comments: known by their scripts alone: 1, 2, 3, 4",)
    assert desk.slurm.calls["sbatch"] == 4
    assert not any(job.held for job in desk.fake.live())


def test_a_plugin_that_fails_once_the_job_is_in_is_no_refusal(desk: Desk) -> None:
    desk.fake.faults = ["refused, accepted"]
    submission = desk.submitter().submit(REQUESTS)
    assert len(submission.jobs) == len(desk.fake.live()) == 4
    assert "spank" in submission.remarks[0]
