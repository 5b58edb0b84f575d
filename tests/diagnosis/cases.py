"""The corpus of judged cases (`corpus/README.md`), as bundles that `detour why` reads."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

CORPUS = Path(__file__).parent / "corpus"


@cache
def cases() -> list[dict[str, Any]]:
    """Each with `name`, `bundle` and `answer`, which must not be changed.

    Every worker reads them to collect the tests: once, with libyaml's parser if there is one, which takes a tenth of
    the time of Python's.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [
        {"name": f"{path.stem}: {case['name']}", "bundle": bundle(case), "answer": case["answer"]}
        for path in sorted(CORPUS.glob("*.yaml"))
        for case in yaml.load_all(path.read_text(encoding="utf-8"), loader)
    ]


def bundle(case: dict[str, Any]) -> dict[str, Any]:
    """`state: FAILED 1:0`, `steps: {0: FAILED 1:0 60000000K}`, a text as `log`; `queue` and `events` as they are."""
    return {
        "sacct": case["sacct"] if "sacct" in case else _rows(case),
        "squeue": case.get("queue"),
        "log_tail": case["log"].splitlines() if isinstance(case.get("log"), str) else case.get("log", []),
        "events": case.get("events", []),
    }


def _rows(case: dict[str, Any]) -> list[dict[str, str]]:
    if "state" not in case:
        return []
    steps = {"batch": case["state"], **case.get("steps", {})}
    whole = _row("880123", case["state"], case) | {"Reason": case.get("reason", "None"), "ReqMem": "200G"}
    return [whole, *(_row(f"880123.{step}", str(state), case) for step, state in steps.items())]


def _row(job: str, state: str, case: dict[str, Any]) -> dict[str, str]:
    words = state.split()
    memory = words.pop() if words[-1].endswith("K") else ""
    code = words.pop() if ":" in words[-1] else "0:0"
    return {
        "JobID": job,
        "State": " ".join(words),
        "ExitCode": code,
        "DerivedExitCode": case.get("derived", "0:0"),
        "NodeList": case.get("nodes", "n041"),
        "Elapsed": case.get("elapsed", "01:12:40"),
        "Timelimit": "20:00:00",
        "MaxRSS": memory,
    }
