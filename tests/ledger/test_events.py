"""The table of events: complete, emitted, readable, byte-compatible, and closed to unknown records."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.accounting.attempts import figures_of, usage_of
from detour.accounting.energy import preferred
from detour.budgets.reservations import Evidence, is_held, reservations
from detour.ledger.events import (
    KINDS,
    BudgetEvent,
    ChainPriced,
    Durability,
    EnergyCounted,
    Foreign,
    GradientSkipped,
    JobEvent,
    JobIntended,
    ProgressMade,
)
from detour.ledger.reading import LedgerReader
from detour.ledger.record import Entry, encode, entry_of, event_of
from detour.ledger.state import State
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.pricing.comparison import quotes
from detour.reporting.curves import curves_of
from detour.reporting.incidents import INCIDENTS, incidents
from detour.scheduler.sent_jobs import Places, fold
from detour.site import Site
from tests.ledger.payloads import WRITTEN_BEFORE, hostile_records, payloads
from tests.ledger.records import make_record

REPOSITORY = Path(__file__).parents[2]
TABLE = REPOSITORY / "src/detour/ledger/events.py"


@cache
def sources() -> tuple[tuple[Path, ast.Module], ...]:
    """Return all modules except the table."""
    paths = [path for folder in ("src", "launch", "jobs") for path in (REPOSITORY / folder).rglob("*.py")]
    return tuple((path, ast.parse(path.read_text())) for path in paths if path != TABLE)


def calls(tree: ast.Module) -> set[str]:
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def strings(tree: ast.Module) -> set[str]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_kind_is_written_somewhere() -> None:
    made = set[str]().union(*(calls(tree) for _, tree in sources()))
    assert {event.__name__ for event in KINDS.values()} - made == set()


def test_no_kind_is_a_plain_string_outside_the_table() -> None:
    dotted = {kind for kind in KINDS if "." in kind}
    assert {str(path): dotted & strings(tree) for path, tree in sources() if dotted & strings(tree)} == {}


def test_every_kind_has_a_payload_of_an_earlier_version() -> None:
    assert WRITTEN_BEFORE.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_record_of_an_earlier_version_is_read_completely_and_written_the_same(kind: str) -> None:
    event = event_of(kind, WRITTEN_BEFORE[kind])
    assert type(event) is KINDS[kind]
    assert orjson.dumps(event.to_json()) == orjson.dumps(WRITTEN_BEFORE[kind])


def test_an_omitted_field_is_not_written() -> None:
    held = JobIntended(tasks=[["a"]], dependency="", tags=["t"])
    assert held.to_json() == {"tasks": [["a"]], "dependency": "", "tags": ["t"]}
    assert held.gate == ""


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(st.data())
@settings(max_examples=25)
def test_every_payload_survives_the_round_trip(kind: str, data: st.DataObject) -> None:
    event = KINDS[kind](**data.draw(payloads(kind)))
    line = encode(make_record(kind=kind, data=event.to_json()))
    entry = entry_of(orjson.loads(line[9:]))
    assert entry is not None
    assert entry.event == event


def test_events_are_frozen() -> None:
    with pytest.raises(AttributeError):
        GradientSkipped(step=1, in_a_row=1).step = 2  # type: ignore[misc]


def test_only_progress_is_dropped_on_a_full_disk() -> None:
    assert {kind for kind, event in KINDS.items() if event.durability is Durability.DROPPABLE} == {
        "attempt.heartbeat",
        "progress",
    }


def test_ends_use_the_reserve() -> None:
    ends = {kind for kind, event in KINDS.items() if event.durability is Durability.END}
    assert ends == {"attempt.ended", "stage.done", "stage.failed"}


def test_events_of_submissions_and_budgets_are_synced() -> None:
    assert {event.durability for event in KINDS.values() if issubclass(event, JobEvent | BudgetEvent)} == {
        Durability.SYNCED
    }


def test_fields_of_a_later_version_are_ignored() -> None:
    event = event_of("gradient.skipped", {"step": 1, "in_a_row": 2, "norm": 1e9, "to_json": "x", "kind": "y"})
    assert event == GradientSkipped(step=1, in_a_row=2)
    assert event.to_json() == {"step": 1, "in_a_row": 2}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 2}, "of schema 2"),
        ({"kind": "run.paused"}, "of the unknown kind run.paused"),
        ({"kind": "\x1b[2J"}, "of an unknown kind"),
        ({"kind": "gradient.skipped", "data": {"step": 1}}, "of kind gradient.skipped without in_a_row"),
        (
            {"kind": "gradient.skipped", "data": {"step": "1", "in_a_row": 1}},
            "of kind gradient.skipped with an unusable step",
        ),
        (
            {"kind": "gradient.skipped", "data": {"step": True, "in_a_row": 1}},
            "of kind gradient.skipped with an unusable step",
        ),
        ({"kind": "submit.committed", "data": {"tags": [7]}}, "of kind submit.committed with an unusable tags"),
        ({"kind": "stage.failed", "data": {"reason": ["NaN"]}}, "of kind stage.failed with an unusable reason"),
        ({"wall_s": 1e300}, "with a time that no clock shows"),
        ({"wall_s": -1.0}, "with a time that no clock shows"),
        ({"wall_s": 9.4e12}, "with a time that no clock shows"),
        ({"mono_s": 1e308}, "with a time that no clock shows"),
        (
            {"kind": "attempt.ended", "data": {"elapsed_s": 1e308}},
            "of kind attempt.ended with an unusable elapsed_s",
        ),
        (
            {"kind": "job.accounted", "data": {"source": "sacct", "start_s": -1e18}},
            "of kind job.accounted with an unusable start_s",
        ),
    ],
)
def test_a_record_of_another_version_keeps_only_its_place(change: dict[str, Any], reason: str) -> None:
    entry = entry_of(make_record(sequence=3) | change)
    assert entry is not None
    assert entry.event == Foreign(reason=reason)
    assert entry.sequence == 3


@pytest.mark.parametrize(
    "record",
    [
        [],
        "text",
        {},
        make_record(data=[]),
        make_record() | {"sequence": "1"},
        make_record(wall_s=None),
        make_record(attempt="1"),
        make_record(stage=["x"]),
        make_record(job=7),
        make_record() | {"writer": None},
        make_record() | {"kind": 1},
        make_record(chain={}),
        make_record(schema="1"),
    ],
)
def test_a_malformed_record_is_no_record(record: object) -> None:
    assert entry_of(record) is None


def write(workspace: Workspace, *records: Any) -> None:
    folder = workspace.ledger / "2030-01"
    folder.mkdir(exist_ok=True)
    (folder / "w.jsonl").write_bytes(b"".join(encode(record) for record in records))


def test_foreign_records_are_counted_and_named_by_every_reader(workspace: Workspace) -> None:
    write(
        workspace,
        make_record(sequence=0),
        make_record(sequence=1) | {"schema": 2},
        make_record(sequence=2) | {"schema": 2},
        make_record(sequence=3) | {"kind": "run.paused"},
        ["no record"],
    )
    view = LedgerView(workspace)
    assert view.state.records == 4
    assert list(view.warnings) == [
        "4 events in the ledger were left out (2 of schema 2, 1 of the unknown kind run.paused, "
        "1 without the form of a record): a newer version of detour may be able to read them"
    ]
    view.refresh()
    assert sum(view.damage.foreign.values()) == 4


def test_the_number_of_kinds_of_foreign_records_is_bounded(workspace: Workspace) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    write(workspace, *(make_record(sequence=n) | {"kind": f"x.{letters[n % 26]}"} for n in range(100)))
    reader = LedgerReader(workspace)
    list(reader.read_new())
    assert sum(reader.damage.foreign.values()) == 100
    assert len(reader.damage.foreign) <= 9


SITE = Site("here")


def everything_that_reads(entries: list[Entry[Any]]) -> None:
    """Run all folds of the ledger, and what users are shown of them."""
    state = State()
    state.add(entries)
    for stage in state.stages.values():
        str((stage.status, stage.is_open, stage.reason, stage.result, stage.progress, stage.jobs))
        for attempt in stage.attempts:
            if usage := usage_of(stage.id, attempt, 2e9):
                preferred(figures_of(attempt, usage, SITE))
    for writer in state.writers.values():
        str((writer.missing, writer.process and writer.process.is_alive()))
    made = reservations(of(entries, BudgetEvent))
    for reservation in made:
        [is_held(reservation, stage, Evidence(2e9)) for stage in reservation.amounts]
    sent = fold([entry.event for entry in of(entries, JobEvent)], "w")
    for job in Places(sent.values()):
        str((job.stages, job.is_held, job.ids_for(["a"]), int(job.job_id or 0)))
    quotes(of(entries, ChainPriced))
    incidents([entry for entry in entries if isinstance(entry.event, INCIDENTS)], {"pretrain-1": "pretrain clm"})
    curves_of(of(entries, ProgressMade))


def of(entries: list[Entry[Any]], kind: type[Any]) -> list[Entry[Any]]:
    return [entry for entry in entries if isinstance(entry.event, kind)]


@given(st.lists(hostile_records(), max_size=12))
@settings(max_examples=150)
def test_no_record_stops_a_reader(records: list[object]) -> None:
    entries = [entry for record in records if (entry := entry_of(orjson.loads(orjson.dumps(record)))) is not None]
    everything_that_reads(entries)


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(st.data())
@settings(max_examples=10)
def test_a_payload_fits_its_kind_or_is_foreign(kind: str, data: st.DataObject) -> None:
    """For any values: no field of an event ever has a value that its type does not allow."""
    payload: dict[str, Any] = data.draw(payloads(kind))
    for name in payload:
        event = event_of(kind, payload | {name: {"not": {"of": "the type"}}})
        if isinstance(event, Foreign):
            assert name in event.reason
        else:
            assert name in {"result", "figures", "facts", "cleared"}


@pytest.mark.parametrize("tokens_per_s", [-1.0, 0.0, 1e-320, 1e308])
def test_a_speed_that_no_time_can_be_computed_with_is_foreign(tokens_per_s: float) -> None:
    event = event_of("speed.measured", {**WRITTEN_BEFORE["speed.measured"], "tokens_per_s": tokens_per_s})
    assert event == Foreign(reason="of kind speed.measured with an unusable tokens_per_s")


def test_an_impossible_tag_is_ignored() -> None:
    hostile = [f"detour:1:w:a:{'9' * 5000}:s", f"detour:1:w:{'a' * 2000}:1:s", "detour:1:w:a:٣:s"]
    assert fold([JobIntended(tasks=[], dependency="", tags=hostile)], "w") == {}


def test_energy_in_the_form_before_the_first_release_is_read() -> None:
    nothing = dict.fromkeys(("energy_kwh", "cpu_kwh", "gpu_kwh", "ram_kwh", "duration_s"))
    event = event_of("energy", {**nothing, "method": "codecarbon", "tool": "codecarbon", "reason": "no hardware"})
    assert isinstance(event, EnergyCounted)
    assert event.scope is None
