"""Text for terminals and for programs."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from detour.launch.text.screen import ERRORS, ask_to_finish, json_text
from detour.launch.text.states import SIGNS


class Pair(NamedTuple):
    left: int
    right: str


@dataclass(frozen=True, slots=True)
class Held:
    pairs: tuple[Pair, ...]


def test_json_has_the_fields_of_any_dataclass() -> None:
    assert json.loads(json_text([Held((Pair(1, "a"),))])) == [{"pairs": [{"left": 1, "right": "a"}]}]


def test_a_name_that_is_not_utf8_does_not_break_the_json() -> None:
    text = "a\udcff"
    value = {text: [Held((Pair(1, text),)), (text, 2), None]}
    assert json.loads(json_text(value)) == {"a?": [{"pairs": [{"left": 1, "right": "a?"}]}, ["a?", 2], None]}


def test_an_integer_too_large_for_readers_of_json_is_text() -> None:
    assert json.loads(json_text({"seed": -(2**70), "n": 2})) == {"seed": "-1180591620717411303424", "n": 2}


def test_control_characters_are_escaped() -> None:
    assert json_text({"name": "a\u202eb\x9b"}) == '{\n  "name": "a\\u202eb\\u009b"\n}'
    marks = "\x7f\xad\u061c\u180e\u206a\ufffb\U000e0041"
    assert json_text(marks).isascii()
    assert json.loads(json_text(marks)) == marks


def test_in_a_limited_locale_the_signs_of_states_stay_distinct() -> None:
    signs = {state: sign.encode("ascii", errors=ERRORS) for state, sign in SIGNS.items()}
    assert [state for state, sign in signs.items() if sign == b"?"] == ["unknown"]
    assert "a…é".encode("ascii", errors=ERRORS) == b"a.?"


def test_an_interrupted_submission_says_that_it_is_completed_if_it_cannot_ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert ask_to_finish()
    assert "no terminal to ask on: the submission is completed" in capsys.readouterr().err
