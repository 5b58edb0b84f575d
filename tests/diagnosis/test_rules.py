"""The rules as written, and the page that explains them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.diagnosis.evidence import Evidence, LedgerEvent, SlurmRow
from detour.diagnosis.judge import judge
from detour.diagnosis.rules import Retry, Rule, Source, causes, rules

PAGE = Path(__file__).parents[2] / "docs" / "why.md"
WORDS = {"yes": "yes", "no": "no", "after-change": "after a change", "unknown": "not known"}
SEEDS = [
    "slurmstepd: error: ",
    "CUDA out of memory",
    "Traceback (most recent call last):",
    "\x1b[2J",
    "[rank3]: ",
    "x" * 500,
]

lines = st.lists(st.one_of(st.sampled_from(SEEDS), st.text(max_size=80)), max_size=12)
rows = st.dictionaries(
    st.sampled_from(["JobID", "State", "ExitCode", "Reason", "MaxRSS", "ReqMem", "Dependency", "NodeList"]),
    st.one_of(st.sampled_from(["7", "7.0", "FAILED", "0:9", "PENDING", "TIMEOUT", "9G", ""]), st.text(max_size=12)),
)
events = st.builds(
    LedgerEvent,
    st.sampled_from(["attempt.started", "attempt.ended", "checkpoint.saved", "progress", "stage.failed", "?"]),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.integers(0, 5),
    st.dictionaries(
        st.sampled_from(["step", "outcome", "reason", "done", "unit"]), st.none() | st.integers() | st.text()
    ),
)


def all_rules() -> list[Rule]:
    return [rule for source in get_args(Source) for rule in rules(source)]


@pytest.mark.parametrize("word", ["error ", "/dev/shm ", "cannot open ", "tensor(", "ValueError.", "\x1b]", "x"])
def test_a_line_of_any_length_is_judged_by_its_ends_in_no_time(word: str) -> None:
    line = f"{word * 100_000}torch.OutOfMemoryError: CUDA out of memory"
    began_s = time.process_time()
    assert judge(Evidence(log=(line,))).cause == "cuda_oom"
    assert time.process_time() - began_s < 5


def test_each_rule_has_its_own_name_and_a_cause_that_exists() -> None:
    names = [rule.id for rule in all_rules()]
    assert len(set(names)) == len(names)
    assert {rule.cause for rule in all_rules()} - {None} <= set(causes())


def test_what_a_cause_explains_exists() -> None:
    assert {other for cause in causes().values() for other in cause.explains} <= set(causes())
    assert {cause.retry for cause in causes().values()} <= set(get_args(Retry))


def test_the_page_lists_every_cause_as_the_rules_have_it() -> None:
    wanted = [f"| `{one.id}` | {one.title} | {WORDS[one.retry]} | {one.advice} |" for one in causes().values()]
    assert [line for line in PAGE.read_text().splitlines() if line.startswith("| `") and line in wanted] == wanted


@settings(max_examples=150, deadline=None)
@given(
    log=st.none() | lines,
    sacct=st.none() | st.lists(rows, max_size=3),
    queue=st.none() | rows,
    happened=st.lists(events, max_size=4),
)
def test_whatever_the_evidence_there_is_a_verdict(
    log: list[str] | None, sacct: list[dict[str, str]] | None, queue: dict[str, str] | None, happened: list[LedgerEvent]
) -> None:
    evidence = Evidence(
        None if sacct is None else tuple(map(SlurmRow, sacct)),
        None if queue is None else SlurmRow(queue),
        None if log is None else tuple(log),
        tuple(happened),
    )
    verdict = judge(evidence)
    assert verdict.cause in causes()
    assert verdict.first.quote.isprintable()
    assert (verdict.cause == "unknown") <= (verdict.first.evidence == ())
