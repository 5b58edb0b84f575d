from __future__ import annotations

from itertools import pairwise

import pytest

from detour.corpus.sources import Table
from detour.errors import UserError
from detour.tasks.labels import ICD10_CHAPTERS, icd10_chapter
from tests.support.corpora import icd10_csv


@pytest.mark.parametrize(
    ("code", "chapter"),
    [
        ("A00", "I"),
        ("B99", "I"),
        ("C00", "II"),
        ("D48", "II"),
        ("D50", "III"),
        ("D89.9", "III"),
        ("H59", "VII"),
        ("H60", "VIII"),
        ("S00", "XIX"),
        ("T98", "XIX"),
        ("V01", "XX"),
        ("Y98", "XX"),
        ("Z992+8", "XXI"),
        ("U0710", "XXII"),
        (" a00.0 ", "I"),
    ],
)
def test_codes_at_the_boundaries_of_chapters_belong_to_the_right_one(code: str, chapter: str) -> None:
    assert icd10_chapter(code) == chapter


@pytest.mark.parametrize(
    "code", ["D49", "D90", "E91", "H96", "K94", "P97", "T99", "V00", "Y99", "A0", "A", "", "001", "É00"]
)
def test_a_code_outside_all_chapters_is_an_error_that_names_it(code: str) -> None:
    with pytest.raises(UserError, match="in no ICD-10 chapter"):
        icd10_chapter(code)


def test_the_real_file_covers_every_chapter_and_nothing_else() -> None:
    chapters = {icd10_chapter(code) for (code,) in Table(icd10_csv(), ["code"])}
    assert chapters == {chapter for chapter, _, _ in ICD10_CHAPTERS}
    assert len(chapters) == 22


def test_chapters_are_in_order_and_do_not_overlap() -> None:
    inner = [(first, last) for chapter, first, last in ICD10_CHAPTERS if chapter != "XXII"]
    assert all(first <= last for first, last in inner)
    assert all(last < following for (_, last), (following, _) in pairwise(inner))
