from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.scheduler.requests import JobRequest, Resources, first_wave, in_order, split_arrays


def job(name: str, *after: str, segments: int = 1, tasks: int = 1) -> JobRequest:
    return JobRequest(
        tuple((f"{name}-{task}",) if tasks > 1 else (name,) for task in range(tasks)),
        Resources(),
        wall_s=60,
        segments=segments,
        after=after,
        unit=name,
    )


@st.composite
def chains(draw: st.DrawFn) -> list[JobRequest]:
    """Requests in a random order, each waiting for some of those before it in a hidden order."""
    names = [f"u{number}" for number in range(draw(st.integers(1, 8)))]
    requests = [
        job(
            name,
            *draw(st.lists(st.sampled_from(names[:place] or ["elsewhere"]), max_size=3, unique=True)),
            segments=draw(st.integers(1, 4)),
        )
        for place, name in enumerate(names)
    ]
    return draw(st.permutations(requests))


@given(chains())
def test_requests_are_sorted_after_those_they_wait_for(requests: list[JobRequest]) -> None:
    ordered = in_order(requests)
    assert set(ordered) == set(requests)
    place = {request.unit: number for number, request in enumerate(ordered)}
    for request in ordered:
        assert all(place[unit] < place[request.unit] for unit in request.after if unit in place)


@given(chains(), st.integers(0, 40))
def test_a_wave_fits_the_limit_and_has_no_broken_dependency(requests: list[JobRequest], room: int) -> None:
    ordered = in_order(requests)
    wave, later = first_wave(ordered, {None: room})
    assert sum(request.jobs for request in wave) <= room
    assert {request.unit for request in wave} | {request.unit for request in later} == {r.unit for r in requests}
    sent, known = {request.unit for request in wave}, {request.unit for request in requests}
    assert all(set(request.after) & known <= sent for request in wave)
    assert wave or room == 0 or any(request.jobs > room for request in later)


@given(chains())
def test_successive_waves_send_every_slot_once(requests: list[JobRequest]) -> None:
    rest, sent = in_order(requests), list[object]()
    while rest:
        wave, rest = first_wave(rest, {None: 5})
        sent += [slot for request in wave for slot in request.slots]
    assert sorted(map(str, sent)) == sorted(str(slot) for request in requests for slot in request.slots)


def test_without_a_limit_of_its_qos_everything_is_one_wave() -> None:
    assert first_wave([job("a"), job("b", "a")], {"dev": 0}) == ([job("a"), job("b", "a")], [])


def test_cycles_and_duplicates_are_refused() -> None:
    with pytest.raises(ValueError, match="wait for each other"):
        in_order([job("a", "b"), job("b", "a")])
    with pytest.raises(ValueError, match="a is requested twice"):
        in_order([job("a"), job("a")])


def test_arrays_are_split_at_the_limit_of_the_site_and_dependents_wait_for_every_part() -> None:
    parts = split_arrays([job("e", tasks=7), job("s", *job("e", tasks=7).stages, "x")], 3)
    assert [len(part.tasks) for part in parts] == [3, 3, 1, 1]
    assert in_order(reversed(parts))[-1].unit == "s"
    assert len({part.unit for part in parts}) == 4
    assert [stage for part in parts[:3] for stage in part.stages] == list(job("e", tasks=7).stages)


def test_some_tasks_of_an_array_keep_their_dependencies() -> None:
    tasks = (("a",), ("b",), ("c",))
    request = JobRequest(tasks, Resources(), 60, after=("x", "y", "z"), after_each=(("x",), ("y",), ("x", "z")))
    some = request.only([0, 2])
    assert some.tasks == (("a",), ("c",))
    assert some.after_each == (("x",), ("x", "z"))
    assert some.after == ("x", "z")
    assert some.unit not in ("", request.unit)
    parts = split_arrays([request], 2)
    assert [part.after for part in parts] == [("x", "y"), ("x", "z")]
    with pytest.raises(ValueError, match="1 tasks wait, of 3"):
        JobRequest(tasks, Resources(), 60, after=("x",), after_each=(("x",),))
