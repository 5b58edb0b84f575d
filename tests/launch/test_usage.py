"""`detour usage` as a user calls it."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from detour.errors import SchedulerUnavailable, UserError
from detour.launch.usage import command
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm
from detour.usage.options import bounds_s
from tests.sacct.dumps import JOB, job, lines_of


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.txt"
    path.write_text("".join(lines_of(JOB, job(JobID="18", JobIDRaw="18", User="bob\x1b[2J", ElapsedRaw="3601"))))
    return path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_screen_json_and_csv_show_the_same_figures(dump: Path) -> None:
    shown = run(dump, "--by", "user").stdout
    found = json.loads(run(dump, "--by", "user", "--json").stdout)
    rows = list(csv.DictReader(io.StringIO(run(dump, "--by", "user", "--csv").stdout)))
    assert found["total"]["gpu_hours"] == 12.001111
    assert [(row["user"], row["gpu_hours"]) for row in found["tables"][0]["rows"]] == [
        ("ada", 8.0),
        ("bob\x1b[2J", 4.001111),
    ]
    assert [(row["table"], row["user"], float(row["gpu_hours"])) for row in rows] == [
        ("user", "ada", 8.0),
        ("user", "bob [2J", 4.001111),
    ]
    assert "12.00" in shown
    assert "\x1b" not in shown


def test_every_line_fits_80_columns(dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, run(dump).stdout.splitlines())) <= 80


def test_broken_rows_can_be_skipped_and_are_counted(dump: Path) -> None:
    with dump.open("a") as file:
        file.writelines(lines_of(job(JobID="19", JobIDRaw="19", ElapsedRaw="soon"))[1:])
    with pytest.raises(UserError, match=r"jobs\.txt:4"):
        run(dump)
    ended = run(dump, "--skip-broken", "--json")
    assert json.loads(ended.stdout)["total"]["jobs"] == 2
    assert "jobs.txt:4" in ended.stderr


def test_the_zone_and_the_format_of_times_can_be_given(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("JobID,Submit,Start,End,AllocCPUS\n1,28.02.2026 23:30,28.02.2026 23:30,01.03.2026 00:30,2\n")
    arguments = (table, "--by", "month", "--time-format", "%d.%m.%Y %H:%M", "--json")
    for zone, hours in (("UTC", {"2026-02": 1.0, "2026-03": 1.0}), ("Europe/Paris", {"2026-02": 2.0})):
        rows = json.loads(run(*arguments, "--times-in", zone).stdout)["tables"][0]["rows"]
        assert {row["month"]: row["cpu_hours"] for row in rows} == hours


def test_all_lines_of_a_table_can_be_shown(tmp_path: Path) -> None:
    dump = tmp_path / "users.txt"
    dump.write_text("".join(lines_of(*(job(JobID=str(n), JobIDRaw=str(n), User=f"user{n}") for n in range(1, 61)))))
    assert "user60" not in run(dump, "--by", "user").stdout
    assert all(f"user{n}" in run(dump, "--by", "user", "--all").stdout for n in (1, 60))


def test_standard_input_and_several_files_are_read(dump: Path) -> None:
    packed = dump.with_suffix(".gz")
    packed.write_bytes(gzip.compress("".join(lines_of(job(JobID="19", JobIDRaw="19"))).encode()))
    assert json.loads(run(dump, packed, "--json").stdout)["total"]["jobs"] == 3
    piped = CliRunner().invoke(command, ["-", "--json"], input=dump.read_bytes())
    assert json.loads(piped.stdout)["total"]["jobs"] == 2


def test_notes_on_what_changes_the_figures_are_shown_with_them(dump: Path) -> None:
    dump.write_text("".join(lines_of(JOB, JOB, job(JobID="18", JobIDRaw="18", State="ODD", AllocTRES="cpu=1"))))
    text = run(dump).stderr
    assert "1 row of attempts that were counted already" in text
    assert "1 row in state ODD, which is not one of Slurm's" in text
    assert "1 job without a number of GPUs or a duration: not in GPU-h" in text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--by", "mounth"], "no table by 'mounth'; did you mean `month`"),
        (["--time-zone", "Paris"], "no time zone 'Paris'"),
        (["--since", "soon"], "no date 'soon'"),
        (["--since", "2026-03", "--until", "2026-02"], "--until 2026-02 is not after --since 2026-03"),
        (["--only", "who=ada"], "'who=ada': expected a dimension"),
        (["--column", "user"], "'user': expected a field"),
    ],
)
def test_a_mistake_is_one_sentence(dump: Path, options: list[str], text: str) -> None:
    with pytest.raises(UserError, match=text):
        run(dump, *options)


def test_a_period_and_a_convention_can_be_chosen(dump: Path) -> None:
    options = ("--since", "2026-03-01T02:00", "--until", "2026-03-01", "--by", "day", "--only", "user=ada", "--json")
    assert json.loads(run(dump, *options).stdout)["tables"][0]["rows"][0]["gpu_hours"] == 4.0
    assert json.loads(run(dump, *options, "--count", "start").stdout)["total"]["jobs"] == 0


@pytest.mark.parametrize(
    ("since", "until", "first", "after"),
    [
        ("2026", "2026", "2026-01-01", "2027-01-01"),
        ("2026-03", "2026-12", "2026-03-01", "2027-01-01"),
        ("2024-02-29", "2024-02-29", "2024-02-29", "2024-03-01"),
        ("2026-03-28T12:00", "2026-03-29T12:00", "2026-03-28T12:00", "2026-03-29T12:00"),
    ],
)
def test_the_last_day_month_or_year_is_included(since: str, until: str, first: str, after: str) -> None:
    zone = ZoneInfo("Europe/Paris")
    expected = (datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() for text in (first, after))
    assert bounds_s(since, until, zone) == tuple(expected)


def test_terms_of_other_centres_name_the_same_tables(dump: Path) -> None:
    ours = ("--by", "month+partition,account,gpus", "--only", "partition=gpu_p6", "--csv")
    theirs = ("--by", "month+queue,project,size", "--only", "queue=gpu_p6", "--csv")
    assert run(dump, *theirs).stdout == run(dump, *ours).stdout


def test_without_a_file_sacct_needs_a_period() -> None:
    with pytest.raises(UserError, match="add --since"):
        run()


def test_sacct_is_asked_about_the_clusters_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def sacct(command: Sequence[str], timeout_s: float) -> CommandResult:
        assert timeout_s > 0
        return CommandResult(1, "", f"asked {command[1]}")

    monkeypatch.setattr("detour.launch.usage.Slurm", partial(Slurm, sacct))
    with pytest.raises(SchedulerUnavailable, match="sacct of old,far gave no usable answer: asked --clusters=old,far"):
        run("--since", "2026-01-01", "--clusters", "old,far")


def test_the_figures_of_the_page_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "usage.md").read_text()
    (tmp_path / "dump").write_text(page.partition("```text\n")[2].partition("```")[0])
    table = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| 2026-")]
    found = json.loads(run(tmp_path / "dump", "--by", "month", "--json").stdout)["tables"][0]["rows"]
    figures = ("month", "jobs", "cpu_hours", "gpu_hours", "wait_hours", "never_ran")
    assert [[row[name] for name in figures] for row in found] == [[row[0], *map(float, row[1:])] for row in table]


def test_slices_of_a_gpu_count_as_slurm_counts_them_and_are_named(tmp_path: Path) -> None:
    path = tmp_path / "jobs.txt"
    held = "cpu=8,gres/gpu=2,gres/gpu:1g.10gb=2"
    path.write_text("".join(lines_of(job(AllocTRES=held, ElapsedRaw="3600"), JOB)))
    assert "1g.10gb: slices of a GPU (MIG), each counted as one, as Slurm does" in run(path).stderr
    assert json.loads(run(path, "--json").stdout)["slices"] == ["1g.10gb"]


def test_without_a_column_of_ends_each_attempt_ends_after_its_elapsed_time(tmp_path: Path) -> None:
    """A job that was requeued, and one that is running."""
    (tmp_path / "dump").write_text(
        "JobID|Start|Elapsed|State|AllocTRES\n"
        "7|2026-02-28T23:00:00|01:30:00|PREEMPTED|cpu=24,gres/gpu=1\n"
        "7|2026-03-01T02:00:00|00:30:00|COMPLETED|cpu=24,gres/gpu=1\n"
        "8|2026-03-01T02:00:00|00:15:00|RUNNING|cpu=24,gres/gpu=1\n"
    )
    (table,) = json.loads(run(tmp_path / "dump", "--by", "month", "--json").stdout)["tables"]
    assert [(row["month"], row["gpu_hours"], row["jobs"], row["running"]) for row in table["rows"]] == [
        ("2026-02", 1.0, 0, 0),
        ("2026-03", 1.25, 3, 1),
    ]
