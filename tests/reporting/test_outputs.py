"""What the manifests of outputs say of where results came from."""

from __future__ import annotations

from typing import Any

import pytest

from detour.reporting.outputs import versions_of

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
def test_the_code_is_named_by_its_commit_or_by_its_release(code: dict[str, Any], shown: str) -> None:
    assert versions_of([{"provenance": {"code": code}}]).code == [shown]
