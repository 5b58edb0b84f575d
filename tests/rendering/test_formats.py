"""Markdown, CSV and folders: every table in each, and names that stay text."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import NamedTuple

import pytest

from detour.accounting.energy import Band
from detour.accounting.fates import Known
from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.rendering import words
from detour.rendering.contents import sections, tables
from detour.rendering.formats import csv_table, json_report, markdown, markdown_table
from detour.rendering.tables import Column, Table, energy, hours
from detour.rendering.writing import format_for, write_report
from detour.reporting.build import Question, build_report
from detour.reporting.report import Report
from tests.reporting.worked import NOW_S, make_worked, site_of


class Row(NamedTuple):
    name: str | None
    energy_kwh: Band | None
    gpu_hours: Known


COLUMNS = (Column("name", "name"), energy("energy_kwh", "energy"), hours("gpu_hours", "GPU-hours"))
ROWS = [Row("a", Band(1.0, 2.0, 3.0), Known(4.0, 1)), Row(None, None, Known(None, 2))]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    workspace = Workspace(tmp_path_factory.mktemp("worked"))
    make_worked(workspace)
    return build_report(workspace, Question(site_figure="18.9 h"), site_of, NOW_S)


def test_in_data_a_range_is_three_columns_and_a_sum_states_what_it_lacks() -> None:
    assert csv_table(Table("t", "", COLUMNS, ROWS)).splitlines() == [
        "name,energy_kwh_low,energy_kwh,energy_kwh_high,gpu_hours,gpu_hours_unknown",
        "a,1.0,2.0,3.0,4.0,1",
        ",,,,,2",
    ]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_name_that_a_spreadsheet_would_execute_is_text(name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(csv_table(Table("t", "", COLUMNS[:1], [Row(name, None, Known(0.0))]))))
    assert row["name"] == f"'{name}"


def test_names_are_no_markup_in_markdown() -> None:
    table = Table("t", "", COLUMNS, [Row("a|b`c*\n# d", None, Known(0.0))])
    assert list(markdown_table(table))[-1] == r"| a\|b\`c\* \# d | 0 |"


def test_a_column_without_known_values_is_not_shown() -> None:
    unknown = Column("unknown", "unknown", words.exact, get=lambda row: None)  # noqa: ARG005
    table = Table("t", "", (*COLUMNS, unknown), ROWS)
    assert [column.name for column in table.main] == ["name", "energy_kwh", "gpu_hours"]


def test_rows_beyond_the_limit_of_a_page_are_counted_and_in_the_data() -> None:
    table = Table("t", "", COLUMNS, ROWS * 5, shown=3)
    assert (len(table.main_rows), table.left_out) == (3, 7)
    assert len(csv_table(table).splitlines()) == 11


def test_every_table_is_in_json_and_in_markdown(report: Report) -> None:
    content = json.loads(json_report(report))["tables"]
    assert list(content) == [table.name for table in tables(report)]
    assert all(content.values())
    written = markdown(report)
    assert [line[3:] for line in written.splitlines() if line.startswith("## ")] == [
        *(section.title for section in sections(report)),
        "Statements",
    ]


def test_a_folder_gets_every_format(report: Report, tmp_path: Path) -> None:
    first = write_report(report, "all", tmp_path / "out")
    assert first == tmp_path / "out" / "report.html"
    files = {path.relative_to(tmp_path / "out").as_posix() for path in first.parent.rglob("*") if path.is_file()}
    assert {"report.html", "report.md", "report.json", "statements/boamps.json", "statements/annex-xi.txt"} <= files
    assert {f"tables/{table.name}.csv" for table in tables(report)} <= files


@pytest.mark.parametrize(
    ("path", "wanted"), [(None, "html"), ("a.html", "html"), ("a.MD", "md"), ("a.json", "json"), ("folder", "all")]
)
def test_the_suffix_of_a_file_chooses_its_format(path: str | None, wanted: str) -> None:
    assert format_for(None if path is None else Path(path)) == wanted


def test_an_unknown_suffix_is_refused() -> None:
    with pytest.raises(UserError, match=r"report\.pdf: no format has this ending; name a \.html, \.md or \.json"):
        format_for(Path("report.pdf"))
