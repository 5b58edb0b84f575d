"""Words without which a pattern cannot match decide which patterns are tried, and must never hide a match."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.diagnosis.patterns import Pattern, folded
from detour.diagnosis.rules import rules
from tests.diagnosis.cases import cases


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("Disk quota exceeded", {"disk quota exceeded"}),
        ("out of (disk )?space", {"out of "}),
        ("(cuda|hip)ErrorNoDevice", {"errornodevice"}),
        (r"^(?:stale|lost) \d+", {"stale", "lost"}),
        (r"(?:core )+dumped", {"dumped"}),
        (r"(?:aborted)+\s", {"aborted"}),
        (r"GPU.* is lost", {" is lost"}),
        (r"rows?[ -]lost", {"lost"}),
        (r"tensor\(\[+nan", {"tensor(["}),
        (r"(?<![/\w])xid (?!13)error", {"error"}),
        (r"(?P<n>\d+) of (?P=n) inodes{2,}", {" inodes"}),
    ],
)
def test_the_longest_words_that_must_be_there_are_found(pattern: str, words: set[str]) -> None:
    assert set(Pattern(pattern).words or ()) == words


@pytest.mark.parametrize("pattern", [r"\d+", "(a long word)?", "(?!not this)", r"[abc]x*", "(lost|[0-9])"])
def test_of_a_pattern_that_needs_none_there_are_none(pattern: str) -> None:
    assert Pattern(pattern).words is None
    assert Pattern(f"Disk quota exceeded|{pattern}").words is None


@pytest.mark.parametrize("text", ["DISK", "dıſK", "DİSK", "dis\N{KELVIN SIGN}"])
def test_letters_are_folded_as_far_as_a_rule_that_ignores_case_does(text: str) -> None:
    assert re.search("disk", text, re.IGNORECASE)
    assert "disk" in folded(text)


def test_no_pattern_that_matches_is_left_out() -> None:
    lines = {line[:500] for case in cases() for line in case["bundle"]["log_tail"] or []}
    regexes = [(one, re.compile(one.text, re.IGNORECASE)) for rule in rules("log") for one in rule.patterns]
    matching = [(one, line) for one, regex in regexes for line in lines if regex.search(line)]
    assert len(matching) > 300
    assert [(one.text, line) for one, line in matching if not one.may_be_in(line)] == []


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_text_that_a_pattern_of_a_rule_describes_is_left_out(data: st.DataObject) -> None:
    pattern = data.draw(st.sampled_from([one for rule in rules("log") for one in rule.patterns]))
    text = data.draw(st.from_regex(re.compile(pattern.text, re.IGNORECASE)))
    assert pattern.may_be_in(text)


def test_every_pattern_of_a_rule_has_such_words() -> None:
    assert [one.text for rule in rules("log") for one in rule.patterns if one.words is None] == []
