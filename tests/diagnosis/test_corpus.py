"""Every case of the corpus gets its first cause, its line of evidence and its retry verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from detour.diagnosis.evidence import read_bundle, to_bundle
from detour.diagnosis.judge import judge
from detour.diagnosis.lines import read_lines
from detour.diagnosis.patterns import Pattern
from detour.diagnosis.rules import Rule, Source, causes, rules
from tests.diagnosis.cases import CORPUS, cases

CASES = cases()
HARMLESS = (CORPUS.parent / "harmless.txt").read_text(encoding="utf-8").splitlines()
"""Lines in logs of jobs that end well."""
SINGLE_LINES = (CORPUS.parent / "single_lines.txt").read_text(encoding="utf-8").splitlines()
"""`cause|line`, as pages and reports of clusters quote a whole failure."""
FAILED = {"JobID": "7", "State": "FAILED", "ExitCode": "1:0"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_case_gets_its_cause_its_line_and_its_retry(case: dict[str, Any]) -> None:
    verdict = judge(read_bundle(case["bundle"], "bundle")).to_json()
    assert {name: verdict[name] for name in case["answer"]} == case["answer"]


@pytest.mark.parametrize("case", [case for case in CASES if case["bundle"]["log_tail"]], ids=lambda case: case["name"])
def test_harmless_lines_around_the_log_change_no_verdict(case: dict[str, Any]) -> None:
    noisy = [*HARMLESS, *case["bundle"]["log_tail"], *HARMLESS]
    verdict = judge(read_bundle({**case["bundle"], "log_tail": noisy}, "bundle")).to_json()
    assert {name: verdict[name] for name in case["answer"]} == case["answer"]


@pytest.mark.parametrize("line", HARMLESS)
def test_a_harmless_line_is_no_cause(line: str) -> None:
    assert judge(read_bundle({"sacct": [FAILED], "log_tail": [line], "events": []}, "bundle")).cause == "unknown"


@pytest.mark.parametrize("cause_and_line", SINGLE_LINES)
def test_a_line_alone_gets_its_cause(cause_and_line: str) -> None:
    cause, line = cause_and_line.split("|", 1)
    assert judge(read_bundle({"sacct": [FAILED], "log_tail": [line], "events": []}, "bundle")).cause == cause


@pytest.mark.parametrize(
    "form",
    [
        "0: {}",
        "[default0]:{}",
        "[1,0]<stderr>:{}",
        "\x1b[31m{}\x1b[0m",
        "\x1b]0;a title\x07\x1b[38;5;9m{}\x1b(B\x1b[m",
        "2026-05-19 10:00:00 {}",
        "{}\r",
    ],
)
def test_who_writes_a_line_and_when_changes_no_cause(form: str) -> None:
    own = re.compile(r"worker-|srun|slurmstepd|sbatch|\[rank|\d+:|/var/spool")
    wrong = []
    for case in CASES:
        log = [line if own.match(line) else form.format(line) for line in case["bundle"]["log_tail"] or []]
        verdict = judge(read_bundle({**case["bundle"], "log_tail": log}, "bundle"))
        wrong += [case["name"]] if verdict.cause != case["answer"]["cause"] else []
    assert wrong == []


def test_every_cause_has_a_case() -> None:
    assert {case["answer"]["cause"] for case in CASES} == set(causes())


def test_every_pattern_describes_something_in_the_corpus() -> None:
    texts = set(_texts())
    described = [(one, rule.id) for source in get_args(Source) for rule in rules(source) for one in _patterns(rule)]
    assert [(name, one.text) for one, name in described if not any(map(one.is_in, texts))] == []


def _patterns(rule: Rule) -> tuple[Pattern, ...]:
    return (*rule.patterns, *rule.unless, *rule.within)


def _texts() -> Iterator[str]:
    """What rules are tried on: lines, source code in tracebacks, reasons of events, fields of Slurm's rows."""
    evidence = [read_bundle(case["bundle"], "bundle") for case in CASES]
    for log in (HARMLESS, [line.split("|", 1)[1] for line in SINGLE_LINES], *(one.log or () for one in evidence)):
        for line in read_lines(log):
            yield from (line.text, line.within)
    for one in evidence:
        yield from (str(event.data.get("reason") or "") for event in one.events or ())
        for row in (*(one.sacct or ()), *([one.squeue] if one.squeue else [])):
            yield from (f"{name}={value}" for name, value in row.fields.items())
            yield f"State={row.get('State')} Reason={row.get('Reason')} Elapsed={row.get('Elapsed')}"


def test_a_bundle_survives_being_written_and_read() -> None:
    evidence = [read_bundle(case["bundle"], "bundle") for case in CASES]
    assert [read_bundle(to_bundle(one), "bundle") for one in evidence] == evidence
