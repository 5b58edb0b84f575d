"""What manifests of outputs state about where results came from."""

from __future__ import annotations

from typing import Any

import pytest

from detour.reporting.outputs import task_scores, versions_of

COMMIT = {"git_commit": "0123456789abcdef0123", "diff_sha256": None, "version": "1.2"}


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        (COMMIT, "0123456789ab"),
        ({**COMMIT, "diff_sha256": "ab"}, "0123456789ab with local changes"),
        ({"git_commit": None, "version": "1.2", "snapshot": COMMIT}, "0123456789ab"),
        ({"git_commit": None, "version": "1.2", "snapshot": None}, "detour 1.2"),
    ],
)
def test_the_code_is_named_by_its_commit_or_its_release(code: dict[str, Any], shown: str) -> None:
    assert versions_of([{"code": code}]).code == [shown]


@pytest.mark.parametrize("part", ["code", "machine", "python", "packages"])
@pytest.mark.parametrize("value", [[], "x", 1e308, None, {"nvidia_gpus": 5, "snapshot": "x", "memory_bytes": -1}])
def test_malformed_provenance_is_a_gap(part: str, value: object) -> None:
    versions = versions_of([{part: value}, {"code": COMMIT}])
    assert "0123456789ab" in versions.code


@pytest.mark.parametrize("value", [1e308, "0.5", None, [], True])
def test_an_invalid_score_is_unknown(value: object) -> None:
    scores = task_scores("cases", {"1": {"primary_metric": "f1", "test": {"f1": value}}})
    assert (scores.mean, scores.by_seed) == (None, {"1": None})
