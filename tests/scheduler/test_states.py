from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.scheduler.states import JobState, Standing, parse_state


@pytest.mark.parametrize(
    ("text", "state", "standing"),
    [
        ("CANCELLED by 1234", JobState.CANCELLED, Standing.CANCELLED),
        ("COMPLETED", JobState.COMPLETED, Standing.SUCCEEDED),
        ("CANCELLED+", JobState.CANCELLED, Standing.CANCELLED),
        ("COMPLETING*", JobState.COMPLETING, Standing.RUNNING),
        ("TIMEOUT", JobState.TIMEOUT, Standing.INTERRUPTED),
        ("PREEMPTED", JobState.PREEMPTED, Standing.INTERRUPTED),
        ("NODE_FAIL", JobState.NODE_FAIL, Standing.INTERRUPTED),
        ("REQUEUED", JobState.REQUEUED, Standing.WAITING),
        ("REQUEUE_HOLD", JobState.REQUEUE_HOLD, Standing.WAITING),
        ("OUT_OF_MEMORY", JobState.OUT_OF_MEMORY, Standing.FAILED),
        ("", JobState.UNKNOWN, Standing.UNKNOWN),
        ("SOMETHING_NEW", JobState.UNKNOWN, Standing.UNKNOWN),
    ],
)
def test_states_map_to_what_a_chain_needs_to_know(text: str, state: JobState, standing: Standing) -> None:
    assert parse_state(text) is state
    assert state.standing is standing


@given(st.text())
def test_an_unknown_state_is_never_a_failure(text: str) -> None:
    state = parse_state(text)
    assert state is JobState.UNKNOWN or text.split()[0].startswith(state.value)
