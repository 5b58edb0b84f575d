"""Requested + reserved + spent compared with the cap: by hand, and over random histories."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pydantic import ValidationError

from detour.budgets.arithmetic import Line, Spending, balance, check, fitting, window_s
from detour.budgets.burn import share_between
from detour.budgets.caps import Budget
from detour.budgets.reservations import EXPIRES_S, Amounts, Evidence, reservations, reserved_stages
from detour.ledger.events import BudgetCommitted, BudgetEvent, BudgetReleased, BudgetReserved, Foreign, ReservedStages
from detour.ledger.record import Entry, event_of

FACTS = {"account": "abc@h100", "user": "ada"}
HOUR_S = 3600.0

Made = Entry[BudgetEvent]


def make_budget(hard: float | None = 100.0, soft: float | None = None, **more: Any) -> Budget:
    cap = {name: value for name, value in (("hard", hard), ("soft", soft)) if value is not None}
    return Budget.model_validate({"name": "b", "gpu_hours": cap, **more})


SEQUENCES = count()


def made_at(at_s: float, event: BudgetEvent, writer: str) -> Made:
    return Entry(next(SEQUENCES), writer, at_s, at_s, event)


def reserved(submission: str, amounts: Mapping[str, float], at_s: float = 0.0, **more: Any) -> Made:
    of_stage: dict[str, Amounts] = {stage: {"gpu_hours": value} for stage, value in amounts.items()}
    event = BudgetReserved(
        submission=submission, facts=more.pop("facts", FACTS), stages=reserved_stages(of_stage), over=[]
    )
    return made_at(at_s, event, more.pop("writer", f"w-{submission}"))


def spending(stage: str, hours: float | None, start_s: float = 0.0, end_s: float = HOUR_S, **more: Any) -> Spending:
    return Spending(stage, more.get("facts", FACTS), start_s, end_s, {"gpu_hours": hours})


def alive(_writer: str) -> bool:
    return True


def dead(_writer: str) -> bool:
    return False


def held(entries: list[Made], evidence: Evidence, spendings: list[Spending] | None = None) -> float:
    return balance(make_budget(), reservations(entries), spendings or [], evidence).reserved_sum("gpu_hours")


def test_requested_reserved_and_spent_amounts_are_compared_with_the_cap() -> None:
    made = reservations([reserved("one", {"a": 30.0, "b": 10.0})])
    present = balance(make_budget(100, 70), made, [spending("c", 25.0)], Evidence(10.0, is_alive=alive))
    line = check(present, {"d": {"gpu_hours": 20.0}})[0]
    assert line.spent == 25.0
    assert line.reserved == 40.0
    assert line.asked == 20.0
    assert line.after == 85.0
    assert line.left == 35.0
    assert line.is_warned
    assert not line.is_refused
    assert check(present, {"d": {"gpu_hours": 35.0}})[0].is_refused is False, "exactly what is left"
    assert check(present, {"d": {"gpu_hours": 35.1}})[0].is_refused


def test_a_stage_in_two_submissions_counts_once_and_by_the_larger_amount() -> None:
    entries = [reserved("one", {"a": 30.0}), reserved("two", {"a": 40.0, "b": 5.0})]
    assert held(entries, Evidence(10.0, is_alive=alive)) == 45.0
    present = balance(make_budget(), reservations(entries), [], Evidence(10.0, is_alive=alive))
    assert check(present, {"a": {"gpu_hours": 50.0}})[0].asked == 10.0


def test_amounts_spent_since_are_no_longer_reserved() -> None:
    entries = [reserved("one", {"a": 30.0}, at_s=100.0)]
    before, since = spending("a", 7.0, start_s=50.0), spending("a", 12.0, start_s=150.0)
    assert held(entries, Evidence(200.0, is_alive=alive), [before, since]) == 18.0
    assert held(entries, Evidence(200.0, is_alive=alive), [spending("a", 31.0, start_s=150.0)]) == 0.0


def test_done_and_released_stages_hold_nothing() -> None:
    entries = [reserved("one", {"a": 30.0, "b": 10.0, "c": 5.0})]
    some = made_at(5.0, BudgetReleased(submission="one", stages=["b"], why="cancelled"), "w")
    evidence = Evidence(10.0, lambda stage, _since_s: stage == "c", is_alive=alive)
    assert held([*entries, some], evidence) == 30.0
    everything = made_at(6.0, BudgetReleased(submission="one", stages=None, why="withdrawn"), "w")
    assert held([everything, some, *entries], evidence) == 0.0, "in any order of reading"


def test_a_submission_that_died_before_it_sent_jobs_holds_nothing() -> None:
    entries = [reserved("one", {"a": 30.0, "b": 10.0})]
    assert held(entries, Evidence(10.0, is_alive=dead)) == 0.0
    assert held(entries, Evidence(10.0, is_alive=dead, in_flight={"b"})) == 10.0, "this one was recorded"
    committed = made_at(6.0, BudgetCommitted(submission="one"), "w-one")
    assert held([*entries, committed], Evidence(1e9, is_alive=dead)) == 40.0


def test_a_submission_on_another_machine_counts_as_dead_after_a_silent_while() -> None:
    entries = [reserved("one", {"a": 30.0}, at_s=1000.0)]
    assert held(entries, Evidence(1000.0 + EXPIRES_S - 1)) == 30.0
    assert held(entries, Evidence(1000.0 + EXPIRES_S + 1)) == 0.0
    writes_still = Evidence(1000.0 + EXPIRES_S + 1, last_seen_s=lambda _writer: 1500.0)
    assert held(entries, writes_still) == 30.0


def test_other_accounts_do_not_count() -> None:
    budget = make_budget(scope={"account": "abc@*"})
    entries = [reserved("one", {"a": 30.0}), reserved("two", {"b": 5.0}, facts={"account": "xyz@h100"})]
    spent = [spending("c", 2.0), spending("d", 3.0, facts={"account": None})]
    present = balance(budget, reservations(entries), spent, Evidence(1.0, is_alive=alive))
    assert present.reserved_sum("gpu_hours") == 30.0
    assert present.spent == {"gpu_hours": 2.0}


def test_only_the_current_period_counts_with_attempts_across_its_ends_in_part() -> None:
    bounds = window_s(make_budget(period={"every": "month"}), datetime(2026, 3, 15, tzinfo=UTC).timestamp())
    assert bounds is not None
    assert [datetime.fromtimestamp(edge or 0, UTC).isoformat() for edge in bounds] == [
        "2026-03-01T00:00:00+00:00",
        "2026-04-01T00:00:00+00:00",
    ]
    start_s, end_s = bounds
    assert start_s is not None
    assert end_s is not None
    across = spending("a", 8.0, start_s - 3 * HOUR_S, start_s + HOUR_S)
    assert share_between(across.start_s, across.end_s, start_s, end_s) == 0.25
    assert balance(make_budget(), [], [across], Evidence(start_s), bounds).spent == {"gpu_hours": 2.0}
    assert share_between(start_s, start_s, start_s, end_s) == 1.0
    assert share_between(start_s - 9, start_s - 5, start_s, end_s) == 0.0


def test_an_attempt_across_the_end_of_a_period_is_cut_by_its_own_amounts() -> None:
    """Half of its hours are in the period, but most of its CO2, because of the month's grid factor."""
    whole = Spending("a", FACTS, 100.0, 200.0, {"gpu_hours": 10.0, "co2_kg": 5.0})
    uneven = whole._replace(
        amounts_in=lambda from_s, to_s: {"gpu_hours": (to_s - from_s) / 10, "co2_kg": 4.0 if to_s <= 150 else 1.0}
    )
    budget = Budget.model_validate({"name": "b", "gpu_hours": {"hard": 1}, "co2_kg": {"hard": 1}})
    for window, spent in (((None, 150.0), (5.0, 4.0)), ((150.0, None), (5.0, 1.0)), ((None, None), (10.0, 5.0))):
        present = balance(budget, [], [uneven], Evidence(300.0), window)
        assert (present.spent["gpu_hours"], present.spent["co2_kg"]) == spent
    assert balance(budget, [], [whole], Evidence(300.0), (None, 150.0)).spent["co2_kg"] == 2.5


def test_outside_its_period_a_budget_does_not_apply() -> None:
    budget = make_budget(period={"start": "2026-01-01", "end": "2026-12-31"})
    assert window_s(budget, datetime(2027, 1, 1, tzinfo=UTC).timestamp()) is None
    assert window_s(make_budget(), 0.0) == (None, None)


def test_a_period_begins_and_ends_at_midnight_in_the_time_zone_of_the_budget() -> None:
    budget = make_budget(period={"every": "month", "time_zone": "Europe/Paris"})
    for instant in (datetime(2026, 9, 30, 22, tzinfo=UTC), datetime(2026, 10, 31, 22, 59, tzinfo=UTC)):
        assert window_s(budget, instant.timestamp()) == (
            datetime(2026, 9, 30, 22, tzinfo=UTC).timestamp(),
            datetime(2026, 10, 31, 23, tzinfo=UTC).timestamp(),
        )


def test_an_unknown_time_zone_is_refused_at_its_key() -> None:
    with pytest.raises(ValidationError, match="no time zone 'Paris'"):
        make_budget(period={"time_zone": "Paris"})


def test_an_unknown_amount_counts_as_unknown_and_is_refused() -> None:
    present = balance(make_budget(), [], [spending("a", None)], Evidence(0.0))
    assert present.unknown == {"gpu_hours": 1}
    line = check(present, {"b": {"gpu_hours": None}, "c": {"gpu_hours": 1.0}})[0]
    assert line.unknown == 1
    assert line.is_refused
    soft_only = balance(make_budget(hard=None, soft=5), [], [], Evidence(0.0))
    assert not check(soft_only, {"b": {"gpu_hours": None}})[0].is_refused


def test_a_request_of_nothing_is_never_refused() -> None:
    present = balance(make_budget(10), [], [spending("a", 11.0)], Evidence(0.0))
    assert not check(present, {"b": {"gpu_hours": 0.0}})[0].is_refused
    assert check(present, {"b": {"gpu_hours": 0.1}})[0].is_refused


def test_the_stages_that_would_fit_can_run() -> None:
    asked: dict[str, Amounts] = {
        "prepare": {"gpu_hours": 0.0},
        "clm": {"gpu_hours": 15.0},
        "mlm": {"gpu_hours": 5.0},
        "export": {"gpu_hours": 0.0},
        "twin": {"gpu_hours": 4.0},
    }
    inputs = {"clm": ["prepare"], "mlm": ["clm", "done-before"], "export": ["mlm"], "twin": ["prepare"]}
    line = Line("b", "gpu_hours", None, 100.0, 60.0, 20.0, 24.0, 0)
    assert fitting([line], asked, inputs) == ["prepare", "clm", "mlm", "export"]
    less = line._replace(spent=64.0)
    assert fitting([less], asked, inputs) == ["prepare", "clm"], "neither the mlm phase nor the twin fits after it"
    none_left = line._replace(spent=90.0)
    assert fitting([none_left], asked, inputs) == ["prepare"]


def test_stages_that_reach_the_cap_exactly_fit_as_a_submission_of_them_would() -> None:
    """10 - 9.9 is less than 0.1 in floating point."""
    present = balance(make_budget(10), [], [spending("a", 9.9)], Evidence(0.0))
    asked: dict[str, Amounts] = {"b": {"gpu_hours": 0.1}, "c": {"gpu_hours": 0.5}}
    assert not check(present, {"b": asked["b"]})[0].is_refused
    (line,) = check(present, asked)
    assert line.is_refused
    assert fitting([line], asked, {}) == ["b"]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"submission": 3},
        {"submission": "x", "facts": [], "stages": []},
        {"submission": "x", "facts": {}, "stages": "all"},
        {"submission": "x", "facts": {}, "stages": [7]},
        {"submission": "x", "facts": {}, "stages": [{"ids": "a"}]},
    ],
)
def test_a_malformed_reservation_is_foreign(data: dict[str, Any]) -> None:
    assert isinstance(event_of(BudgetReserved.kind, data), Foreign)


def test_an_unknown_amount_outside_the_period_leaves_nothing_unknown_in_it() -> None:
    spent = [spending("pretrain-1", None), spending("pretrain-2", 3.0, 2 * HOUR_S, 4 * HOUR_S)]
    present = balance(make_budget(), [], spent, Evidence(0.0), (2 * HOUR_S, 3 * HOUR_S))
    assert (present.spent, present.unknown) == ({"gpu_hours": 1.5}, {"gpu_hours": 0})


def test_impossible_amounts_are_unknown() -> None:
    stages: list[ReservedStages] = [{"ids": ["a"], "amounts": {"gpu_hours": -5.0, "co2_kg": None}}]
    made = made_at(0.0, BudgetReserved(submission="x", facts={}, stages=stages, over=[]), "w")
    assert set(reservations([made])[0].amounts["a"].values()) == {None}


@given(st.permutations(range(6)))
@settings(max_examples=50)
def test_the_order_of_records_does_not_matter(order: list[int]) -> None:
    entries = [
        reserved("one", {"a": 3.0, "b": 2.0}),
        reserved("two", {"b": 4.0}, at_s=5.0),
        made_at(6.0, BudgetCommitted(submission="one"), "w"),
        made_at(7.0, BudgetReleased(submission="two", stages=None), "w"),
        made_at(8.0, BudgetReleased(submission="one", stages=["a"]), "w"),
        made_at(9.0, BudgetCommitted(submission="nobody"), "w"),
    ]
    assert reservations(entries[index] for index in order) == reservations(entries)


class Histories(RuleBasedStateMachine):
    """Submissions that begin, send jobs, die and withdraw; stages that run within their limits; one hard cap."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = make_budget(20.0)
        self.now_s = 0.0
        self.entries: list[Made] = []
        self.spendings: list[Spending] = []
        self.finished: dict[str, float] = {}
        self.alive: dict[str, bool] = {}
        self.remote: set[str] = set()
        self.seen_s: dict[str, float] = {}
        self.committed: set[str] = set()
        self.overridden = False

    @property
    def evidence(self) -> Evidence:
        return Evidence(
            now_s=self.now_s,
            is_finished=lambda stage, since_s: self.finished.get(stage, -1.0) >= since_s,
            is_alive=lambda writer: None if writer in self.remote else self.alive[writer],
            last_seen_s=lambda writer: self.now_s if self.alive[writer] else self.seen_s[writer],
        )

    def present(self) -> Any:
        return balance(self.budget, reservations(self.entries), self.spendings, self.evidence)

    def tick(self) -> float:
        self.now_s += 1.0
        return self.now_s

    @rule(
        amounts=st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.0, 8.0), min_size=1),
        is_remote=st.booleans(),
        over=st.booleans(),
    )
    def ask(self, amounts: dict[str, float], is_remote: bool, over: bool) -> None:
        new = {stage: value for stage, value in amounts.items() if stage not in self.finished}
        asked: dict[str, Amounts] = {stage: {"gpu_hours": value} for stage, value in new.items()}
        refused = any(line.is_refused for line in check(self.present(), asked))
        if refused and not (over and self.now_s > 30):
            return
        self.overridden = self.overridden or refused
        submission = f"s{len(self.alive)}"
        writer = f"w-{submission}"
        self.alive[writer], self.seen_s[writer] = True, self.now_s
        if is_remote:
            self.remote.add(writer)
        self.entries.append(reserved(submission, new, self.tick(), writer=writer))

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def send_jobs(self, data: st.DataObject) -> None:
        writer = data.draw(st.sampled_from(sorted(self.alive)))
        if self.alive[writer]:
            self.committed.add(writer)
            self.entries.append(made_at(self.tick(), BudgetCommitted(submission=writer[2:]), writer))

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        writer = data.draw(st.sampled_from(sorted(self.alive)))
        if self.alive[writer]:
            self.alive[writer], self.seen_s[writer] = False, self.tick()

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        writer = data.draw(st.sampled_from(sorted(self.alive)))
        if self.alive[writer] and writer not in self.committed:
            self.entries.append(made_at(self.tick(), BudgetReleased(submission=writer[2:], stages=None), writer))

    @rule(share=st.floats(0.0, 1.0), ends=st.booleans(), data=st.data())
    def run(self, share: float, ends: bool, data: st.DataObject) -> None:
        handed_over = {
            stage
            for made in reservations(self.entries)
            if made.committed
            for stage in made.amounts.keys() - made.released
            if stage not in self.finished
        }
        if not handed_over:
            return
        stage = data.draw(st.sampled_from(sorted(handed_over)))
        limit = self.present().reserved[stage]["gpu_hours"]
        start_s = self.tick()
        self.spendings.append(spending(stage, limit * share, start_s, start_s + 0.5))
        if ends:
            self.finished[stage] = self.tick()

    @rule(seconds=st.sampled_from([10.0, EXPIRES_S + 1]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def the_cap_holds(self) -> None:
        present = self.present()
        used = present.spent["gpu_hours"] + present.reserved_sum("gpu_hours")
        assert self.overridden or used <= 20.0 * (1 + 1e-6)

    @invariant()
    def dead_submissions_hold_nothing_forever(self) -> None:
        later = Evidence(
            self.now_s + 10 * EXPIRES_S,
            self.evidence.is_finished,
            is_alive=lambda writer: None if writer in self.remote else False,
            last_seen_s=lambda writer: self.seen_s[writer],
        )
        handed_over = [made for made in reservations(self.entries) if made.committed]
        kept = {stage for made in handed_over for stage in made.amounts}
        assert set(balance(self.budget, reservations(self.entries), [], later).reserved) <= kept


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
