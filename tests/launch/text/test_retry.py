from __future__ import annotations

import json

import pytest

from detour.launch.text.retry import show_cleared
from detour.orchestration.retry import Retry

CLEARED = Retry("base", ("base",), {"pretrain clm": "a gate"}, {}, None)


def test_a_retry_without_slurm_says_what_runs_again(capsys: pytest.CaptureFixture[str]) -> None:
    show_cleared(CLEARED, as_json=False)
    assert capsys.readouterr().out == "base: `detour run` with the same recipe resumes it\n"


def test_a_retry_without_slurm_has_json_of_the_same_shape_as_a_submission(capsys: pytest.CaptureFixture[str]) -> None:
    show_cleared(CLEARED, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["chains"], shown["jobs"]) == ("base", ["base"], {})
    assert shown["remarks"][0] == "pretrain clm: runs again; it had failed: a gate"
