"""Single values."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from detour.sacct.columns import FREE_TEXT, LAYOUTS, find_columns
from detour.sacct.values import (
    STATES,
    ShownId,
    parse_count,
    parse_duration_s,
    parse_energy_j,
    parse_gres,
    parse_limit_s,
    parse_shown_id,
    parse_state,
    parse_tres,
)
from detour.scheduler.states import JobState


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_duration_s, "1-02:03:04", 93_784),
        (parse_duration_s, "26:03:04", 93_784),
        (parse_duration_s, "1 days 02:03:04", 93_784),
        (parse_duration_s, "0 days 00:03:04.500000", 184.5),
        (parse_duration_s, "03:04", 184),
        (parse_duration_s, "03:04.500", 184.5),
        (parse_duration_s, "93784", 93_784),
        (parse_duration_s, "", None),
        (parse_limit_s, "20", 1200),
        (parse_limit_s, "20:00", 1200),
        (parse_limit_s, "1-00:00:00", 86_400),
        (parse_limit_s, "INFINITE", None),
        (parse_limit_s, "36500-00:00:00", None),
        (parse_limit_s, "4294967295", None),
        (parse_count, "4", 4),
        (parse_count, "4.0", 4),
        (parse_count, "-1", None),
        (parse_energy_j, "1.50M", 1.5e6),
        (parse_energy_j, "0", None),
        (parse_energy_j, "18446744073709551614", None),
        (parse_energy_j, "1e300", None),
    ],
)
def test_a_quantity_is_read_in_its_unit(parse: Callable[[str], float | None], text: str, value: float | None) -> None:
    assert parse(text) == value


@pytest.mark.parametrize("text", ["-5", "-1-00:00:00", "-inf", "²"])
@pytest.mark.parametrize("parse", [parse_duration_s, parse_limit_s, parse_count, parse_energy_j])
def test_an_impossible_quantity_is_refused(parse: Callable[[str], float | None], text: str) -> None:
    with pytest.raises(ValueError, match=r"a duration|a time limit|a number|joules"):
        parse(text)


@pytest.mark.parametrize("text", ["1e308", "9" * 5000])
def test_an_impossible_limit_or_counter_is_unknown_and_other_figures_are_refused(text: str) -> None:
    assert parse_limit_s(text) is None
    assert parse_energy_j(text) is None
    for parse in (parse_duration_s, parse_count):
        with pytest.raises(ValueError, match=r"a duration from 0 to 31 years|a number"):
            parse(text)


@pytest.mark.parametrize("text", ["0.125", "1.5", "-0.5"])
def test_a_part_of_a_gpu_core_or_node_is_refused_and_not_rounded(text: str) -> None:
    with pytest.raises(ValueError, match="a number from 0 on, without a fraction"):
        parse_count(text)


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="a duration from 0 to 31 years"):
        parse_duration_s("-1-00:00:00")


def test_more_tasks_than_an_array_can_have_are_refused() -> None:
    assert parse_shown_id("17_[1-4000000:2]") == ShownId(None, 17, None, 2_000_000)
    with pytest.raises(ValueError, match="array tasks"):
        parse_shown_id("17_[1-99999999999999999999]")


@pytest.mark.parametrize(
    ("text", "state", "by"),
    [
        ("CANCELLED by 1001", "CANCELLED", "1001"),
        ("CANCELLED by ada", "CANCELLED", "ada"),
        ("completed", "COMPLETED", None),
        ("NODE_FAIL", "NODE_FAIL", None),
        ("CANCELLED+", "CANCELLED", None),
        ("canceled", "CANCELLED", None),
        ("3", "COMPLETED", None),
        ("", None, None),
        ("Pass", "PASS", None),
    ],
)
def test_a_state_is_its_first_word(text: str, state: str | None, by: str | None) -> None:
    assert parse_state(text) == (state, by)


def test_the_known_states_are_those_of_the_scheduler() -> None:
    assert {state.name for state in JobState} - {"UNKNOWN"} == STATES


def test_numeric_tres_of_the_database_are_read() -> None:
    held = parse_tres("1=96,2=380000,4=2,5=8")
    assert (held.cpus, held.nodes, held.billing, held.gpus) == (96, 2, 8.0, None)
    assert not held.has_nameless
    assert parse_tres("1=40,4=1,1002=2").has_nameless


@pytest.mark.parametrize(
    ("text", "gpus", "kind"),
    [
        ("gpu:4", 4, None),
        ("gpu:h100:4(S:0-1)", 4, "h100"),
        ("gres:gpu:2", 2, None),
        ("gpu:a100:2,gpu:v100:1,craynetwork:4", 3, "a100,v100"),
        ("gpu", 1, None),
        ("gpu:3090:2", 2, "3090"),
        ("gpu:1080ti:2,gpu:8000:1", 3, "1080ti,8000"),
        ("gpu:2080ti", 1, "2080ti"),
        ("gpu:1g.5gb:2", 2, "1g.5gb"),
        ("gpu:(null):2", 2, None),
        ("7696487:2", 2, None),
        ("craynetwork:1", None, None),
        ("gpu:tesla:two", None, None),
        (f"gpu:{'9' * 5000}", None, None),
    ],
)
def test_the_older_gres_form_is_read(text: str, gpus: int | None, kind: str | None) -> None:
    assert (parse_gres(text).gpus, parse_gres(text).gpu_type) == (gpus, kind)


def test_every_layout_names_known_columns() -> None:
    assert "jobname" in FREE_TEXT
    for columns in LAYOUTS.values():
        assert find_columns(columns, {}).keys() >= {"job", "start", "end", "requested", "name"}
