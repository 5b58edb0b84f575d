"""Named functions that map a column to a label, for `TaskData.label_map`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from detour.errors import UserError

ICD10_CHAPTERS = (
    ("I", "A00", "B99"),
    ("II", "C00", "D48"),
    ("III", "D50", "D89"),
    ("IV", "E00", "E90"),
    ("V", "F00", "F99"),
    ("VI", "G00", "G99"),
    ("VII", "H00", "H59"),
    ("VIII", "H60", "H95"),
    ("IX", "I00", "I99"),
    ("X", "J00", "J99"),
    ("XI", "K00", "K93"),
    ("XII", "L00", "L99"),
    ("XIII", "M00", "M99"),
    ("XIV", "N00", "N99"),
    ("XV", "O00", "O99"),
    ("XVI", "P00", "P96"),
    ("XVII", "Q00", "Q99"),
    ("XVIII", "R00", "R99"),
    ("XIX", "S00", "T98"),
    ("XX", "V01", "Y98"),
    ("XXI", "Z00", "Z99"),
    ("XXII", "U00", "U99"),
)
"""Chapter with its first and last three-character category: WHO, ICD-10 volume 1, tabular list (2016 edition), also
used by the French CIM-10. Clinical modifications differ: ICD-10-CM has D49 and T88 instead of D48 and T98."""

_CATEGORY = re.compile(r"[A-Z][0-9][0-9]")


def icd10_chapter(code: str) -> str:
    """Return the chapter's Roman numeral for `A000`, `A00.0`, `Z992+8`. Raises UserError for a code in no chapter."""
    category = _CATEGORY.match(code.strip().upper())
    for chapter, first, last in ICD10_CHAPTERS:
        if category and first <= category[0] <= last:
            return chapter
    raise UserError(f"{code!r} is in no ICD-10 chapter: expected a letter and two digits, such as A00.0, D48 or Z992+8")


LABEL_MAPS: Mapping[str, Callable[[str], str]] = {"icd10_chapter": icd10_chapter}
