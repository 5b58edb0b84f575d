"""Every case of the corpus gets its first cause, its line of evidence and its retry verdict."""

from __future__ import annotations

from typing import Any

import pytest

from detour.diagnosis.evidence import read_bundle, to_bundle
from detour.diagnosis.judge import judge
from detour.diagnosis.rules import causes
from tests.diagnosis.cases import cases

CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_case_gets_its_cause_its_line_and_its_retry(case: dict[str, Any]) -> None:
    verdict = judge(read_bundle(case["bundle"], "bundle")).to_json()
    assert {name: verdict[name] for name in case["answer"]} == case["answer"]


def test_every_cause_has_a_case() -> None:
    assert {case["answer"]["cause"] for case in CASES} == set(causes())


def test_a_bundle_survives_being_written_and_read() -> None:
    evidence = [read_bundle(case["bundle"], "bundle") for case in CASES]
    assert [read_bundle(to_bundle(one), "bundle") for one in evidence] == evidence
