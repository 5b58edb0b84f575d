from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.ledger.identity import workspace_id
from detour.scheduler.tags import LONGEST_BYTES, Slot, Tag, find_tag, unit_of

WORDS = st.from_regex(r"[a-z0-9][a-zA-Z0-9._-]{0,30}", fullmatch=True)
TAGS = st.builds(Tag, WORDS, WORDS, st.integers(1, 999), WORDS)


@given(TAGS, st.text(alphabet="| ,;abc\n=", max_size=10), st.text(alphabet="| ,;[]\n=", max_size=10))
def test_a_tag_is_found_in_any_surrounding_text(tag: Tag, before: str, behind: str) -> None:
    assert find_tag(before + str(tag) + behind) == tag
    assert "|" not in str(tag)
    assert len(str(tag).encode()) < LONGEST_BYTES


@pytest.mark.parametrize("text", ["", "wrap", "detour:1:a:b", "detour:2:a:b:1:c", "(null)"])
def test_other_jobs_have_no_tag(text: str) -> None:
    assert find_tag(text, text) is None


@pytest.mark.parametrize("bad", ["", "a b", "a:b", "a|b", "-a", "x" * LONGEST_BYTES])
def test_a_tag_that_could_not_be_read_back_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="cannot be the tag"):
        Tag("w", bad, 1, "s")


def test_units_are_stages_or_ordered_groups() -> None:
    assert unit_of(["pretrain-1"]) == "pretrain-1"
    assert unit_of(["evaluate-1", "evaluate-2"]) != unit_of(["evaluate-2", "evaluate-1"])
    assert unit_of(["evaluate-1", "evaluate-2"]).startswith("evaluate-x2-")
    assert Tag("w", unit_of(["a-1", "b-1"]), 2, "s").slot == Slot(unit_of(["a-1", "b-1"]), 2)


def test_a_workspace_is_identified_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    assert workspace_id(tmp_path / "link") == workspace_id(tmp_path / "real")
    assert workspace_id(tmp_path / "real") != workspace_id(tmp_path)
