"""`detour status --json` prints exactly what its schema describes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest
from click.testing import CliRunner

from detour.launch.schema import command as schema_command
from detour.launch.status import command
from detour.ledger.events import ChainSubmitted, EnergyCounted, StageSubmitted
from detour.ledger.journal import Journal
from detour.monitoring.monitor import Monitor
from detour.monitoring.queries import Reading, SeenJob
from detour.monitoring.schema import status_schema
from tests.monitoring.workspaces import PREPARE, PROMOTE, TRAIN, end, make_workspace, mark_done, mark_failed, start


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A status with every part of the model: attempts, jobs known to Slurm, energy, a sweep and a project."""
    workspace = make_workspace(tmp_path_factory.mktemp("schema"), sweep="s", project="p")
    end(start(workspace, PREPARE, job="7"))
    mark_done(workspace, PREPARE)
    attempt = start(workspace, TRAIN, job="8")
    attempt.progress(1, 4, "tokens", loss=2.0, mfu=0.3)
    attempt.event(EnergyCounted(energy_kwh=1.0, gpu_kwh=1.0, duration_s=60.0))
    end(attempt, "interrupted", reason="signal SIGUSR2: saved at step 1")
    with Journal.open(workspace, "command-1") as journal:
        journal.append(StageSubmitted(), stage=TRAIN.id, job="9")
        journal.append(ChainSubmitted(cluster="here"), chain="base")
    mark_failed(workspace, PROMOTE, "a gate")
    seen = SeenJob("9", "PENDING", "waiting", "Priority", starts_s=2e9, seen_s=time.time())
    reading = Reading(time.time(), {"9": seen}, ("sacct failed",), time.time())
    model = Monitor(workspace, ask=lambda _: reading).look().to_json()
    loaded: dict[str, Any] = json.loads(orjson.dumps(model))
    return loaded


def test_the_json_is_valid_under_its_schema(status: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(status_schema())
    jsonschema.validate(status, status_schema())


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from objects(part)
    elif isinstance(value, list):
        for part in value:
            yield from objects(part)


def test_a_missing_or_additional_key_is_invalid_under_the_schema(status: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(status_schema())
    chain = status["chains"][0]
    segment = chain["stages"][1]["segments"][0]
    for place in (status, chain, chain["stages"][1], segment, segment["attempts"][0], chain["quoted"]):
        place["since"] = "a newer version"
        assert not validator.is_valid(status)
        del place["since"]
        key = next(iter(place))
        value = place.pop(key)
        assert not validator.is_valid(status), key
        place[key] = value


def test_the_schema_covers_everything_from_project_to_attempt(status: dict[str, Any]) -> None:
    assert [group["name"] for group in status["projects"] + status["sweeps"]] == ["p", "s"]
    (chain,) = status["chains"]
    train = chain["stages"][1]
    assert (train["state"], train["reason_job"]) == ("saved at limit", "9")
    assert train["reason"] == "others are ahead of it (Priority)"
    assert [segment["job"] for segment in train["segments"]] == ["8", "9"]
    assert train["segments"][0]["attempts"][0]["state"] == "saved at limit"
    assert train["mfu"] == 0.3
    assert train["starts_s"] == 2e9
    assert train["segments"][1]["queue_wait_s"] is not None


def test_the_command_prints_the_schema(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    printed = CliRunner().invoke(command, ["-w", str(workspace.root), "--json"]).output
    jsonschema.validate(json.loads(printed), status_schema())
    assert json.loads(CliRunner().invoke(schema_command, ["--status"]).output) == status_schema()
