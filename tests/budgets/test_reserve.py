"""Reservations in a real ledger: races between processes, kills, refusals, overrides."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.synchronize import Barrier

import pytest

from detour.budgets import book as book_module
from detour.budgets import reserve as reserve_module
from detour.budgets.book import Book, Demand
from detour.budgets.caps import Budget
from detour.budgets.reservations import EXPIRES_S, Amounts
from detour.budgets.reserve import CLAIM, demand_for, facts_of, release_stages, reserve, reserving
from detour.config.fields import File
from detour.config.loading import load_cluster
from detour.errors import BudgetRefused, UserError
from detour.ledger.attempt import Attempt
from detour.ledger.claims import claim
from detour.ledger.events import (
    AttemptEnded,
    AttemptStarted,
    BudgetReserved,
    Event,
    JobIntended,
    JobsCommitted,
    StageDone,
    StageFailed,
)
from detour.ledger.identity import workspace_id
from detour.ledger.journal import Journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.build import Planner
from detour.planning.origins import Content
from detour.planning.stage import Stage
from detour.pricing.price import prices_of
from detour.scheduler.tags import Tag
from tests.support.no_history import NoHistory
from tests.support.past import Past
from tests.support.recipes import make_recipe
from tests.support.stages import pretrain_stage

FORK = multiprocessing.get_context("fork")
FACTS = {"account": "abc@h100", "user": "ada", "cluster": "local"}


def make_stage(name: str, inputs: Mapping[str, str] | None = None) -> Stage:
    """Return a stage whose key depends on the name."""
    return pretrain_stage(name, inputs, seed=zlib.crc32(name.encode()))


def make_budget(hard: float | None, soft: float | None = None, measure: str = "gpu_hours") -> Budget:
    cap = {name: value for name, value in (("hard", hard), ("soft", soft)) if value is not None}
    return Budget.model_validate({"name": "abc-2026", measure: cap})


def demand_of(hours: float, *names: str) -> Demand:
    stages = [make_stage(name) for name in names]
    return Demand(FACTS, stages, {stage.id: {"gpu_hours": hours} for stage in stages})


def reserved_hours(workspace: Workspace, now_s: float | None = None) -> float:
    present = Book(LedgerView(workspace), now_s).balance(make_budget(1e9))
    assert present is not None
    return present.reserved_sum("gpu_hours")


@pytest.fixture
def journal(workspace: Workspace) -> Iterator[Journal]:
    with Journal.open(workspace, "command") as opened:
        yield opened


def in_a_child(action: Callable[[], None]) -> int | None:
    """Return the exit code of a forked process; a negative one is the signal that killed it."""
    child = FORK.Process(target=action)
    child.start()
    child.join()
    return child.exitcode


def test_of_twenty_concurrent_submissions_exactly_those_that_fit_are_accepted(workspace: Workspace) -> None:
    budget, started = make_budget(70.0), FORK.Barrier(20)
    verdicts = FORK.SimpleQueue()

    def submit(number: int, started: Barrier) -> None:
        with Journal.open(workspace, f"command-{number}") as journal:
            started.wait()
            try:
                reserve(workspace, journal, [budget], demand_of(10.0, f"stage-{number}")).commit()
            except BudgetRefused:
                verdicts.put(False)
            else:
                verdicts.put(True)

    children = [FORK.Process(target=submit, args=(number, started)) for number in range(20)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 20
    assert sorted(verdicts.get() for _ in children) == [False] * 13 + [True] * 7
    assert reserved_hours(workspace) == 70.0


def test_a_submission_that_commits_and_ends_while_another_one_adds_up_counts(workspace: Workspace) -> None:
    reserved, read = FORK.Event(), FORK.Event()

    def submit() -> None:
        with Journal.open(workspace, "command") as journal:
            share = reserve(workspace, journal, [], demand_of(10.0, "a"))
            reserved.set()
            read.wait()
            share.commit()

    child = FORK.Process(target=submit)
    child.start()
    reserved.wait()
    view = LedgerView(workspace)
    read.set()
    child.join()
    present = Book(view).balance(make_budget(1e9))
    assert present is not None
    assert present.reserved_sum("gpu_hours") == 10.0


def test_a_submission_killed_after_its_reservation_holds_nothing(workspace: Workspace, journal: Journal) -> None:
    def die() -> None:
        with Journal.open(workspace, "dying") as dying:
            reserve(workspace, dying, [make_budget(10.0)], demand_of(10.0, "a"))
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(die) == -signal.SIGKILL
    assert LedgerView(workspace).commands(BudgetReserved), "its reservation stays in the ledger"
    assert reserved_hours(workspace) == 0.0
    reserve(workspace, journal, [make_budget(10.0)], demand_of(10.0, "b"))
    assert reserved_hours(workspace) == 10.0


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_submission_killed_while_it_reserves_blocks_no_other(
    workspace: Workspace, journal: Journal, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def die() -> None:
        with Journal.open(workspace, "dying") as dying:
            append = dying.append

            def killed(event: Event) -> None:
                if where == "after":
                    append(event)
                os.kill(os.getpid(), signal.SIGKILL)

            monkeypatch.setattr(dying, "append", killed)
            reserve(workspace, dying, [make_budget(10.0)], demand_of(10.0, "a"))

    assert in_a_child(die) == -signal.SIGKILL
    assert (workspace.claims / f"{CLAIM}.json").exists(), "the dead one still holds the claim"
    reserve(workspace, journal, [make_budget(10.0)], demand_of(10.0, "b"))


def test_a_reservation_with_sent_jobs_outlives_its_submission(workspace: Workspace, journal: Journal) -> None:
    def submit_and_die() -> None:
        with Journal.open(workspace, "dying") as dying:
            reserve(workspace, dying, [make_budget(10.0)], demand_of(6.0, "a")).commit()
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(submit_and_die) == -signal.SIGKILL
    with pytest.raises(BudgetRefused):
        reserve(workspace, journal, [make_budget(10.0)], demand_of(6.0, "b"))


def test_jobs_in_slurm_hold_their_reservation_although_the_submission_died_before_recording_them(
    workspace: Workspace,
) -> None:
    ours = make_stage("a")

    def submit_and_die() -> None:
        with Journal.open(workspace, "dying") as dying:
            reserve(workspace, dying, [], demand_of(6.0, "a", "b"))
            tag = str(Tag(workspace_id(workspace.root), ours.id, 1, "s1"))
            dying.append(JobIntended(tags=[tag], tasks=[[ours.id]], dependency=""))
            dying.append(JobsCommitted(tags=[tag]))
            os.kill(os.getpid(), signal.SIGKILL)

    in_a_child(submit_and_die)
    assert reserved_hours(workspace) == 6.0


def test_a_stage_that_continues_after_its_command_was_killed_holds_its_reservation(workspace: Workspace) -> None:
    in_a_child(lambda: _reserve_and_die(workspace))
    with claim(workspace, make_stage("a").id, "its job"):
        assert reserved_hours(workspace) == 6.0
    assert reserved_hours(workspace) == 0.0


def test_a_run_on_another_machine_holds_its_reservation_while_its_stages_show_signs_of_life(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`detour run` reserves for all its stages at its start and records nothing else about budgets until its end."""
    in_a_child(lambda: _reserve_and_die(workspace))
    monkeypatch.setattr("detour.ledger.process.Process.is_alive", lambda _self: None)
    now_s = time.time()
    assert reserved_hours(workspace, now_s + EXPIRES_S + 100) == 0.0
    past = Past(workspace)
    past.add("attempt.started", now_s + 10, {}, make_stage("a").id, 1)
    past.add("attempt.heartbeat", now_s + 3600, {}, make_stage("a").id, 1)
    past.write()
    assert reserved_hours(workspace, now_s + 3600 + EXPIRES_S - 100) == 12.0
    assert reserved_hours(workspace, now_s + 3600 + EXPIRES_S + 100) == 0.0


def _reserve_and_die(workspace: Workspace) -> None:
    with Journal.open(workspace, "dying") as dying:
        reserve(workspace, dying, [], demand_of(6.0, "a", "b"))
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("reserved", "asked", "hard", "rows"),
    [
        (17 / 6, 17 / 6, 3.0, "spent 0.00 reserved 2.83 asked 2.83 sum 5.66 cap 3.00 2.66 too much"),
        (0.0, 0.0046, 0.001, "spent 0.0000 reserved 0.0000 asked 0.0046 sum 0.0046 cap 0.0010 0.0036 too much"),
        (9999.0, 1.004, 10_000.0, "reserved 9,999.0000 asked 1.0040 sum 10,000.0040 cap 10,000.0000 0.0040 too much"),
    ],
)
def test_a_reader_can_redo_the_arithmetic_of_a_refusal(
    workspace: Workspace, journal: Journal, reserved: float, asked: float, hard: float, rows: str
) -> None:
    reserve(workspace, journal, [], demand_of(reserved, "before")).commit()
    with pytest.raises(BudgetRefused) as refused:
        reserve(workspace, journal, [make_budget(hard)], demand_of(asked, "more"))
    assert rows in " ".join(str(refused.value).split())


def test_a_refusal_shows_the_arithmetic_and_what_would_fit(workspace: Workspace, journal: Journal) -> None:
    first = make_stage("first")
    second = make_stage("second", {"parent": first.id})
    reserve(workspace, journal, [], demand_of(70.0, "before")).commit()
    wanted = Demand(FACTS, [first, second], {first.id: {"gpu_hours": 20.0}, second.id: {"gpu_hours": 15.0}})
    with pytest.raises(BudgetRefused) as refused:
        reserve(workspace, journal, [make_budget(100.0)], wanted)
    text = str(refused.value)
    assert refused.value.exit_code == 4
    for line in ("spent 0.00", "reserved 70.00", "asked 35.00", "sum 105.00", "cap 100.00 5.00 too much"):
        assert line in " ".join(text.split())
    assert "1 of 2 stages would fit: pretrain first" in text
    assert "--over-budget" in text
    assert max(map(len, text.splitlines())) <= 100
    assert reserved_hours(workspace) == 70.0, "a refusal reserves nothing"


def test_a_refusal_states_how_much_may_not_be_needed(workspace: Workspace, journal: Journal) -> None:
    wanted = demand_of(20.0, "priced", "unpriced")
    wanted = Demand(wanted.facts, wanted.stages, wanted.amounts, frozenset({make_stage("unpriced").id}))
    with pytest.raises(BudgetRefused, match="1 stage of unknown duration counts by default time"):
        reserve(workspace, journal, [make_budget(10.0)], wanted)


def test_an_override_is_recorded_with_its_reason(workspace: Workspace, journal: Journal) -> None:
    share = reserve(workspace, journal, [make_budget(10.0)], demand_of(12.0, "a"), "the deadline is Friday")
    assert [(line.budget, line.after, line.hard) for line in share.exceeded] == [("abc-2026", 12.0, 10.0)]
    made = Book(LedgerView(workspace)).reservations[0]
    assert (made.over, made.why) == (("abc-2026",), "the deadline is Friday")


def test_an_unnecessary_override_exceeds_nothing(workspace: Workspace, journal: Journal) -> None:
    reserve(workspace, journal, [make_budget(10.0)], demand_of(2.0, "a"), "just in case")
    assert Book(LedgerView(workspace)).reservations[0].over == ()


def test_beyond_the_soft_cap_there_is_a_warning(workspace: Workspace, journal: Journal) -> None:
    share = reserve(workspace, journal, [make_budget(20.0, 10.0)], demand_of(12.0, "a"))
    assert [(line.budget, line.after, line.soft) for line in share.exceeded] == [("abc-2026", 12.0, 10.0)]


def test_budgets_of_others_and_of_other_periods_do_not_apply(workspace: Workspace, journal: Journal) -> None:
    others = Budget.model_validate({"name": "x", "scope": {"account": "xyz@*"}, "gpu_hours": {"hard": 0}})
    past = Budget.model_validate({"name": "p", "period": {"end": "2020-12-31"}, "gpu_hours": {"hard": 0}})
    assert reserve(workspace, journal, [others, past], demand_of(1.0, "a")).lines == ()


def test_a_reservation_is_returned_unless_its_jobs_were_sent(workspace: Workspace, journal: Journal) -> None:
    with reserving(workspace, journal, [], demand_of(5.0, "a")):
        assert reserved_hours(workspace) == 5.0
    assert reserved_hours(workspace) == 0.0
    with reserving(workspace, journal, [], demand_of(5.0, "b")) as held:
        held.commit()
    assert reserved_hours(workspace) == 5.0
    with pytest.raises(RuntimeError), reserving(workspace, journal, [], demand_of(7.0, "c")):
        raise RuntimeError
    assert reserved_hours(workspace) == 5.0


def test_a_cancelled_stage_is_free_in_each_reservation(workspace: Workspace, journal: Journal) -> None:
    reserve(workspace, journal, [], demand_of(5.0, "a", "b")).commit()
    reserve(workspace, journal, [], demand_of(6.0, "b", "c")).commit()
    assert reserved_hours(workspace) == 17.0
    release_stages(workspace, journal, [make_stage("b").id], "cancelled")
    assert reserved_hours(workspace) == 11.0


def test_a_done_stage_counts_by_what_it_spent(workspace: Workspace, journal: Journal) -> None:
    reserve(workspace, journal, [], demand_of(5.0, "a")).commit()
    stage = make_stage("a").id
    with Journal.open(workspace, stage) as shown:
        attempt = Attempt(shown, stage=stage, number=1, job="7")
        attempt.event(AttemptStarted(gpus=4, cpus=8, nodes=1, cluster="jean-zay"))
        time.sleep(0.2)
        attempt.event(StageDone(result={}))
        attempt.event(AttemptEnded(outcome="done", exit_code=0))
    book = Book(LedgerView(workspace))
    budget = Budget.model_validate(
        {"name": "b", "gpu_hours": {"hard": 1}, "billed_hours": {"hard": 1}, "energy_kwh": {"hard": 1}}
    )
    present = book.balance(budget)
    assert present is not None
    assert present.reserved == {}
    seconds = book.spendings[0].end_s - book.spendings[0].start_s
    assert seconds >= 0.2
    assert present.spent["gpu_hours"] == pytest.approx(4 * seconds / 3600)
    assert present.spent["billed_hours"] == pytest.approx(4 * seconds / 3600)
    watts = 4 * 700 + 8 * 7.3
    assert present.spent["energy_kwh"] == pytest.approx(watts * 1.2 * seconds / 3.6e6)
    assert book.spendings[0].facts == FACTS, "its own reservation"


@pytest.mark.parametrize(("early_s", "facts"), [(2.0, FACTS), (900.0, {"cluster": "jean-zay", "user": None})])
def test_an_attempt_that_seems_to_start_just_before_its_reservation_is_its_own(
    workspace: Workspace, journal: Journal, early_s: float, facts: Mapping[str, str | None]
) -> None:
    """Slurm's clock may be behind, and it leaves out parts of seconds."""
    reserve(workspace, journal, [], demand_of(5.0, "a")).commit()
    past = Past(workspace)
    past.attempt(make_stage("a").id, time.time() - early_s, 600.0, gpus=4, cpus=8, cluster="jean-zay")
    past.write()
    assert [one.facts for one in Book(LedgerView(workspace)).spendings] == [facts]


def test_dependents_of_a_failed_stage_are_free_until_it_is_retried(workspace: Workspace, journal: Journal) -> None:
    first = make_stage("first")
    second = make_stage("second", {"parent": first.id})
    wanted = Demand(FACTS, [first, second], {first.id: {"gpu_hours": 2.0}, second.id: {"gpu_hours": 3.0}})
    reserve(workspace, journal, [], wanted).commit()
    for stage in (first, second):
        workspace.stage(stage.id).mkdir(parents=True)
        (workspace.stage(stage.id) / "stage.json").write_text(json.dumps(stage.to_json()))
    with Journal.open(workspace, first.id) as shown:
        Attempt(shown, stage=first.id, number=1, job="7").event(StageFailed(reason="gate"))
    workspace.failure(first.id).write_text('{"reason": "gate"}')
    assert reserved_hours(workspace) == 0.0
    workspace.failure(first.id).unlink()
    assert reserved_hours(workspace) == 5.0, "`retry` removed the marker"


def test_stage_files_that_name_each_other_as_inputs_end_nothing(workspace: Workspace, journal: Journal) -> None:
    reserve(workspace, journal, [], demand_of(2.0, "a", "b", "failed")).commit()
    one, other, failed = make_stage("a"), make_stage("b"), make_stage("failed")
    for stage, inputs in ((one, {"parent": other.id}), (other, {"parent": one.id}), (failed, {})):
        workspace.stage(stage.id).mkdir(parents=True)
        (workspace.stage(stage.id) / "stage.json").write_text(json.dumps({**stage.to_json(), "inputs": inputs}))
    Attempt(journal, stage=failed.id, number=1, job="7").event(StageFailed(reason="gate"))
    workspace.failure(failed.id).write_text('{"reason": "gate"}')
    assert reserved_hours(workspace) == 4.0


def test_joining_submitted_stages_does_not_reserve_them_again(workspace: Workspace, journal: Journal) -> None:
    shared = make_stage("shared").id
    reserve(workspace, journal, [], demand_of(8.0, "shared")).commit()
    tag = str(Tag(workspace_id(workspace.root), shared, 1, "s1"))
    journal.append(JobIntended(tags=[tag], tasks=[[shared]], dependency=""))
    journal.append(JobsCommitted(tags=[tag]))
    others = Demand({**FACTS, "account": "xyz@h100"}, *_of(demand_of(8.0, "shared", "mine")))
    theirs = Budget.model_validate({"name": "x", "scope": {"account": "xyz@*"}, "gpu_hours": {"hard": 10}})
    assert reserve(workspace, journal, [theirs], others).lines[0].asked == 8.0


def _of(one: Demand) -> tuple[Sequence[Stage], Mapping[str, Amounts]]:
    return one.stages, one.amounts


def test_waiting_for_another_reservation_ends_with_the_name_of_its_owner(
    workspace: Workspace, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve_module, "PATIENCE_S", 0.1)
    with claim(workspace, CLAIM, "somebody else"), pytest.raises(UserError, match="somebody else"):
        reserve(workspace, journal, [], demand_of(1.0, "a"))


def test_a_plan_reserves_its_time_limits(workspace: Workspace, journal: Journal) -> None:
    def inspect(entry: File | str) -> Content | None:
        return None if isinstance(entry, str) else Content((), ())

    cluster = load_cluster("jean-zay")
    stages = Planner(inspect).plan(make_recipe()).stages
    prices = prices_of(stages, cluster, NoHistory())
    wanted = demand_for(stages, prices, cluster, facts_of(cluster, None, "tiny"))
    amounts = {stage.label: wanted.amounts[stage.id] for stage in stages}
    assert amounts["prepare"]["gpu_hours"] == 0
    assert amounts["pretrain clm"]["gpu_hours"] == pytest.approx(4 * 600 / 3600), "ten minutes is the minimum"
    assert amounts["pretrain clm"]["energy_kwh"] == pytest.approx((4 * 700 + 96 * 7.3) * 600 * 1.2 / 3.6e6)
    assert wanted.facts["project"] == "xyz"
    assert wanted.facts["account"] == "xyz@h100"
    assert reserve(workspace, journal, [make_budget(5.0)], wanted).lines[0].unknown == 0
    longer = demand_for(stages, prices, cluster, facts_of(cluster, None, "tiny"), wall_s=3600)
    hours = {stage.label: longer.amounts[stage.id]["gpu_hours"] for stage in stages}
    assert hours["pretrain clm"] == 4.0, "the requested limit, since the training may run that long"
    assert hours["promote clm"] == amounts["promote clm"]["gpu_hours"]


def test_without_a_budget_that_applies_no_attempt_is_added_up(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, past = make_stage("clm"), Past(workspace)
    past.attempt(stage.id, 1.7e9, 3600.0, gpus=4, cpus=8, cluster="local")
    past.write()
    asked, demand = list[str](), Demand(FACTS, [stage], {stage.id: {"gpu_hours": 1.0}})

    def counted(stage_id: str, *_rest: object) -> None:
        asked.append(stage_id)

    monkeypatch.setattr(book_module, "usage_of", counted)
    elsewhere = Budget.model_validate({"name": "b", "scope": {"cluster": "other"}, "gpu_hours": {"hard": 1.0}})
    assert Book(LedgerView(workspace)).check([elsewhere], demand) == []
    assert asked == []
    assert Book(LedgerView(workspace)).check([make_budget(1.0)], demand)
    assert asked == [stage.id]
