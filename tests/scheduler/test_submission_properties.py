"""Submission to a Slurm that fails in every known way, killed at any instant: the invariants always hold.

Two chains that share their first stage are submitted again and again, by two users, while a rule-based machine breaks
things. After every step: at most one live job per slot, no stage runs twice, no orphan can run, nothing unknown is
called failed, no user touches another's job.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from detour.errors import SchedulerUnavailable
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm
from detour.scheduler.dependency import Dependency
from detour.scheduler.records import BY_SLURM
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.sent_jobs import fold
from detour.scheduler.snapshot import add_accounting, take_snapshot
from detour.scheduler.states import Standing
from detour.scheduler.submission import Submission, Submitter
from detour.scheduler.submission_script import ScriptStyle, gate_of, submission_script
from detour.scheduler.tags import Slot, Tag
from tests.scheduler.fake_slurm import FAULTS, ORDER_FAULTS, FakeJob, FakeSlurm, Fuse, Killed, MemoryLedger

WORKSPACE = "w"
CHAINS = ("a", "b", "lone")
USERS = ("me", "you")
SEGMENTS = 3


def chain(name: str) -> list[tuple[list[tuple[str, ...]], list[str], int]]:
    """Tasks, what they wait for, segments; all chains share the corpus, except one that is a single array."""
    if name == "lone":
        return [([(f"evaluate-{number}{name}",) for number in range(2)], [], 1)]
    evaluations: list[tuple[str, ...]] = [(f"evaluate-{number}{name}",) for number in range(3)]
    return [
        ([("prepare-0",)], [], 1),
        ([(f"pretrain-1{name}",)], ["prepare-0"], SEGMENTS),
        ([(f"promote-1{name}",)], ["prepare-0", f"pretrain-1{name}"], 1),
        (evaluations, [f"promote-1{name}"], 1),
        ([(f"summarize-1{name}",)], [stage for task in evaluations for stage in task], 1),
    ]


class Submissions(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.slurm = FakeSlurm()
        self.fuse = Fuse()
        self.ledger = MemoryLedger(self.fuse)
        self.done: set[str] = set()
        self.failed: set[str] = set()
        self.strangers: set[int] = set()
        """Ids of forgotten jobs that are not ours: no ledger knows that a node may refuse them."""
        self.numbers = 0
        self.wasted: list[str] = []
        self.folder = tempfile.TemporaryDirectory(prefix="detour-scripts-")

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.everything_completes_once_nothing_fails()
            self.folder.cleanup()

    def _client(self, user: str) -> Slurm:
        def run(command: Sequence[str], timeout_s: float) -> CommandResult:
            return self.fuse.guard(self.slurm.acting(user), command, timeout_s)

        return Slurm(run)

    def _write(self, request: JobRequest, tag: Tag, dependency: Dependency | None, *, gated: bool = False) -> Path:
        path = Path(self.folder.name) / f"{tag.submission}.sh"
        gate = gate_of(path) if gated else None
        text = submission_script(request, tag, dependency, ScriptStyle(Path("/w"), "python"), Path("/logs"), gate)
        listed = " ".join(request.stages)  # for an array too, whose stages are elsewhere in the real script
        path.write_text(f"{text}\n{listed}\n")
        return path

    def _new_id(self) -> str:
        self.numbers += 1
        return f"s{self.numbers}"

    def _wait(self, _seconds: float) -> None:
        """Time passes, and delayed replies sometimes arrive."""
        if self.numbers % 2:
            self.late_jobs_arrive()

    def _requests(self, name: str) -> list[JobRequest]:
        """What a planner requests: everything that is not done, not failed, and not after a failure."""
        found: list[JobRequest] = []
        lost = set(self.failed)
        for tasks, after, segments in chain(name):
            left = tuple(task for task in tasks if not self.done.issuperset(task) and not lost.intersection(task))
            if lost.intersection(after):
                lost.update(stage for task in tasks for stage in task)
            elif left:
                waits = tuple(stage for stage in after if stage not in self.done)
                found.append(JobRequest(left, Resources(), wall_s=60, segments=segments, after=waits))
        return found

    def _submit(self, name: str, user: str, limit: int | None = None) -> Submission:
        submitter = Submitter(
            self._client(user),
            self.ledger,
            WORKSPACE,
            sorted(USERS, key=lambda other: other != user),
            self._write,
            {} if limit is None else {None: limit},
            is_done=self.done.__contains__,
            new_id=self._new_id,
            wait=self._wait,
            open_gate=lambda gate: self.fuse.guard(Path(gate).touch),
        )
        return submitter.submit(self._requests(name))

    def _ours(self) -> list[FakeJob]:
        return [job for job in self.slurm.live() if job.tag]

    @rule(
        name=st.sampled_from(CHAINS),
        user=st.sampled_from(USERS),
        faults=st.lists(st.sampled_from(("", "", "", *FAULTS)), max_size=8),
        order_faults=st.lists(st.sampled_from(("", "", *ORDER_FAULTS)), max_size=4),
        limit=st.one_of(st.none(), st.integers(0, 20)),
    )
    def submit(self, name: str, user: str, faults: list[str], order_faults: list[str], limit: int | None) -> None:
        # for a single job, no look at the queue corrects the id before it is released; the next submission does
        self.slurm.faults = [fault for fault in faults if fault != "wrong number" or name != "lone"]
        self.slurm.order_faults = order_faults
        is_calm = (limit, self.slurm.limit, faults) == (None, None, [])
        may_have_run, before = self._forgotten(user) if is_calm else [], list(self.slurm.jobs.values())
        try:
            submission = self._submit(name, user, limit)
        except SchedulerUnavailable:
            return
        finally:
            self.slurm.faults, self.slurm.order_faults = [], []
        self._check(submission, user)
        if not submission.left:
            new = [job for job in self._ours() if not any(job is one for one in before)] if is_calm else []
            wrong = [job for job in (*may_have_run, *new) if job.is_live and job.is_free]
            refused = {job.id for job in wrong} & self.slurm.launched - self.strangers
            assert not refused, "a node would refuse to run it again"

    def _forgotten(self, user: str) -> list[FakeJob]:
        """This user's jobs that a node knows, and that the controller holds as if they had never been released."""
        held = [job for job in self._ours() if job.held and not job.reason and job.user == user]
        return [job for job in held if job.id in self.slurm.launched]

    @rule(name=st.sampled_from(CHAINS), user=st.sampled_from(USERS), instant=st.integers(0, 60), after=st.booleans())
    def submit_and_be_killed(self, name: str, user: str, instant: int, after: bool) -> None:
        self.fuse.left, self.fuse.after = instant, after
        try:
            self._submit(name, user)
        except (Killed, SchedulerUnavailable):
            return
        finally:
            self.fuse.left = None

    def _check(self, submission: Submission, user: str) -> None:
        """Check a submission that reports success: every job is in the queue under the reported id, and free.

        Exceptions are reported: another user's submission was killed before the release, or Slurm did not release the
        job.
        """
        if submission.left:
            return
        for slot, job_id in submission.jobs.items():
            job = self.slurm.jobs[int(job_id)]
            assert job.is_live
            assert job.visible
            assert job.tag is not None
            assert job.tag.slot == slot
            assert not job.held or (job.user != user and any(f"job {job_id}, which" in it for it in submission.remarks))
        known = fold(self.ledger.events(), WORKSPACE)
        for job in self._ours():
            is_committed = job.tag in known and known[job.tag].committed
            assert not (is_committed and self.slurm.is_cut_off(job)), "dead after a successful submission"
        for job in self._ours():
            assert job.tag is not None
            if job.visible and job.is_free:
                assert known[job.tag].job_id == str(job.id)

    @rule()
    def late_jobs_arrive(self) -> None:
        for job in self.slurm.jobs.values():
            job.visible = True

    @rule()
    def outage(self) -> None:
        self.slurm.down = not self.slurm.down

    @rule(count=st.integers(1, 4), strangers=st.integers(0, 3))
    def the_controller_is_killed_and_gives_ids_out_again(self, count: int, strangers: int) -> None:
        self.strangers.update(job.id for job in self.slurm.lose_last(count) if job.tag is None)
        for _ in range(strangers):
            self.slurm.add("somebody-else", False, "", ())

    @rule(count=st.integers(1, 6))
    def the_controller_is_killed_and_forgets_what_it_released(self, count: int) -> None:
        self.slurm.forget_releases(count)

    @rule()
    def records_are_purged(self) -> None:
        self.slurm.purge()

    @rule()
    def the_site_starts_or_stops_rewriting_names(self) -> None:
        self.slurm.rewrites = not self.slurm.rewrites

    @rule(choice=st.integers(0, 50), reason=st.sampled_from(sorted(BY_SLURM)))
    def slurm_requeues_a_job_and_holds_it(self, choice: int, reason: str) -> None:
        running = [job for job in self.slurm.live() if job.state == "RUNNING"]
        if running:
            job = running[choice % len(running)]
            job.state, job.held, job.reason = "PENDING", True, reason
            self.slurm.launched.discard(job.id)

    @rule(limit=st.one_of(st.none(), st.integers(2, 12)))
    def the_site_sets_a_limit(self, limit: int | None) -> None:
        self.slurm.limit = limit

    @rule(choice=st.integers(0, 50), outcome=st.sampled_from(["COMPLETED", "COMPLETED", "TIMEOUT", "FAILED"]))
    def time_passes(self, choice: int, outcome: str) -> None:
        self._schedule()
        running = [job for job in self.slurm.live() if job.state == "RUNNING"]
        if running:
            self._end(running[choice % len(running)], outcome)

    def _schedule(self) -> None:
        """Start jobs as Slurm would; the start gate of each then reads markers, not Slurm."""
        for job in self.slurm.schedule():
            needed = [stage for name in CHAINS for tasks, after, _ in chain(name) if (job.stages,) for stage in after
                      if {s for task in tasks for s in task}.intersection(job.stages)]  # fmt: skip
            if not job.is_free:
                job.state = "FAILED"
            elif self.done.issuperset(job.stages) and job.stages:
                self.wasted.append(job.name)
                job.state = "COMPLETED"
            elif not self.done.issuperset(needed):
                job.state = "FAILED"

    def _end(self, job: FakeJob, outcome: str) -> None:
        job.state = outcome
        if outcome == "COMPLETED":
            self.done.update(job.stages)
        elif outcome == "FAILED":
            self.failed.update(job.stages)

    @precondition(lambda self: self.failed)
    @rule()
    def retry(self) -> None:
        self.failed.clear()

    @invariant()
    def at_most_one_live_job_a_slot_can_run(self) -> None:
        if not hasattr(self, "slurm"):
            return
        free: dict[Slot, int] = {}
        for job in self._ours():
            assert job.tag is not None
            if job.is_free:
                assert free.setdefault(job.tag.slot, job.id) == job.id

    @invariant()
    def no_stage_runs_in_two_jobs_at_once(self) -> None:
        if not hasattr(self, "slurm"):
            return
        stages = [stage for job in self._ours() if job.state == "RUNNING" for stage in job.stages]
        assert len(stages) == len(set(stages))

    @invariant()
    def no_finished_stage_is_started_again(self) -> None:
        assert not getattr(self, "wasted", [])

    @invariant()
    def no_user_changes_a_job_of_another(self) -> None:
        assert not hasattr(self, "slurm") or not self.slurm.denials

    @invariant()
    def nothing_unknown_is_called_failed(self) -> None:
        if not hasattr(self, "slurm"):
            return
        slurm = Slurm(self.slurm)
        snapshot = add_accounting(take_snapshot(slurm, USERS), slurm, USERS, ["1"], since_s=0.0)
        truth = {job.tag: job.state for job in self.slurm.jobs.values()}
        for tag in fold(self.ledger.events(), WORKSPACE):
            if snapshot.state(tag).standing is Standing.FAILED:
                assert truth[tag] == "FAILED"
            if snapshot.queue is None:
                assert snapshot.state(tag).standing is Standing.UNKNOWN

    def everything_completes_once_nothing_fails(self) -> None:
        self.slurm.down, self.slurm.limit, self.slurm.faults, self.slurm.rewrites = False, None, [], False
        self.failed.clear()
        for _ in range(60):
            self.late_jobs_arrive()
            for name in CHAINS:
                self.failed.clear()
                for user in USERS:
                    self._check(self._submit(name, user), user)
            self._schedule()
            for job in self.slurm.live():
                if job.state == "RUNNING":
                    self._end(job, "COMPLETED")
            if len(self.done) == 1 + 2 * 6 + 2:
                break
        for name in CHAINS:
            for user in USERS:
                self._submit(name, user)
        self.slurm.schedule()
        assert len(self.done) == 1 + 2 * 6 + 2
        assert not self._ours(), "orphans"


TestSubmissions = Submissions.TestCase
TestSubmissions.settings = settings(
    max_examples=100, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("killed", USERS)
@pytest.mark.parametrize("then", USERS)
@pytest.mark.parametrize("after", [False, True])
def test_a_lone_job_whose_submission_was_killed_is_never_duplicated(killed: str, then: str, after: bool) -> None:
    """Its gate and its commit are two steps. Eight instants reach past the end of the first submission."""
    for instant, other in itertools.product(range(8), (None, 6, 8, 10, 12)):
        machine = Submissions()
        machine.begin()
        machine.submit_and_be_killed(name="lone", user=killed, instant=instant, after=after)
        if other is None:
            machine.submit(name="lone", user=then, faults=[], order_faults=[], limit=None)
        else:
            machine.submit_and_be_killed(name="lone", user=then, instant=other, after=after)
        machine.at_most_one_live_job_a_slot_can_run()
        machine.folder.cleanup()


def with_a_job_that_waits_for_one_to_be_cancelled() -> Submissions:
    """sbatch failed and had accepted the job: it and its replacement are in the queue."""
    machine = Submissions()
    machine.begin()
    for faults, order_faults in (["", "", "refused, accepted", "limit"], ["deaf", "deaf"]), ([""] * 4, ["", "down"]):
        machine.submit(name="a", user="me", faults=faults, order_faults=order_faults, limit=None)
        machine.late_jobs_arrive()
    return machine


def test_no_job_waits_for_a_cancelled_one_although_slurm_ignores_two_changes() -> None:
    machine = with_a_job_that_waits_for_one_to_be_cancelled()
    faults = [*[""] * 4, "empty, accepted", "empty, accepted", "limit", "empty"]
    machine.submit(name="b", user="me", faults=faults, order_faults=["deaf", "deaf", "", "deaf"], limit=None)
    machine.late_jobs_arrive()
    machine.teardown()


def test_if_slurm_ignores_all_changes_nothing_is_cancelled() -> None:
    machine = with_a_job_that_waits_for_one_to_be_cancelled()
    before = {job.id for job in machine.slurm.live()}
    machine.slurm.order_faults = ["deaf"] * 99
    with pytest.raises(SchedulerUnavailable, match="still waits for a job that is to be replaced"):
        machine._submit("a", "me")
    assert {job.id for job in machine.slurm.live()} >= before
    machine.slurm.order_faults = []
    machine.teardown()
