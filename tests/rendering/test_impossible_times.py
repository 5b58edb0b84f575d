"""A record with an impossible time: the page is drawn without it, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.ledger.workspace import Workspace
from detour.rendering.html import render_html
from detour.reporting.build import Question, build_report
from tests.reporting.fabricate import EPOCH_S, make_twins
from tests.reporting.test_build import site_of

Place = tuple[Path, int, tuple[str, ...]]
"""A journal, a line of it, and the keys that lead to a number in that line."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("times"))
    make_twins(workspace)
    return workspace


@pytest.fixture(scope="module")
def places(workspace: Workspace) -> list[Place]:
    """Return every number of seconds, from one record of each kind."""
    found: dict[tuple[str, ...], Place] = {}
    for path in sorted(workspace.ledger.rglob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines()):
            record = orjson.loads(line[9:])
            for keys in _seconds(record):
                found.setdefault((record["kind"], *keys), (path, number, keys))
    return list(found.values())


def _seconds(value: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, part in value.items():
        if isinstance(part, dict):
            yield from ((key, *keys) for keys in _seconds(part))
        elif key.endswith("_s") and isinstance(part, int | float):
            yield (key,)


def _page_with(workspace: Workspace, place: Place, seconds: float) -> str:
    path, number, keys = place
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    record = part = orjson.loads(lines[number][9:])
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = seconds
    payload = orjson.dumps(record)
    lines[number] = b"%08x %b\n" % (crc32(payload), payload)
    path.write_bytes(b"".join(lines))
    try:
        return render_html(build_report(workspace, Question(), site_of, EPOCH_S + 86_400.0))
    finally:
        path.write_bytes(content)


@given(st.data(), st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=20, deadline=None)
def test_no_impossible_time_stops_the_report(
    workspace: Workspace, places: list[Place], data: st.DataObject, seconds: float
) -> None:
    assert "</html>" in _page_with(workspace, data.draw(st.sampled_from(places)), seconds)


@pytest.mark.parametrize("seconds", [1e308, -1e18, -1.0, 9.4e12, 4_102_444_800.0])
def test_an_end_at_an_impossible_time_is_left_out_and_named(
    workspace: Workspace, places: list[Place], seconds: float
) -> None:
    ended = next(
        place for place in places if place[2] == ("mono_s",) and b'"attempt.ended"' in _line(place[0], place[1])
    )
    page = _page_with(workspace, ended, seconds)
    assert "1 event in the ledger was left out (1 with a time that no clock shows)" in page


def _line(path: Path, number: int) -> bytes:
    return path.read_bytes().splitlines()[number]
