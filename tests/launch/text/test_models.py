from __future__ import annotations

import pytest

from detour.launch.text.models import show_lineage
from detour.models.lineage import DataFile, Step
from detour.models.versions import Version


def test_a_lineage_names_the_first_files_of_each_source_and_counts_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    data = (*(DataFile("notes", f"{number}.txt", "0" * 64) for number in range(5)), DataFile("more", "a.csv", "1" * 64))
    step = Step("prepare-1", "prepare", None, {}, {}, data, None, None, None, (), 1, {})
    show_lineage(Version("base", "export-1", (), None, 0.0), "output", [step], as_json=False)
    shown = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("data ")]
    assert shown == [
        *(f"data notes: {number}.txt, digest 000000000000" for number in range(3)),
        "data notes: 2 more files; --json names all",
        "data more: a.csv, digest 111111111111",
    ]
