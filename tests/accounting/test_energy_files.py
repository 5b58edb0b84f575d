"""Files of codecarbon and CEEMS, row by row against values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.accounting.codecarbon_file import codecarbon_rows
from detour.accounting.energy_files import read_energy_file
from detour.accounting.imported import EnergyFile
from detour.errors import UserError

HEAD = (
    "timestamp,project_name,run_id,duration,emissions,cpu_energy,gpu_energy,ram_energy,energy_consumed,"
    "country_iso_code,codecarbon_version,gpu_count,tracking_mode,pue\n"
)


def read(tmp_path: Path, text: str, pue: float | None = None, name: str = "emissions.csv") -> EnergyFile:
    path = tmp_path / name
    path.write_text(text)
    return read_energy_file(path, pue)


def test_cumulative_flushes_count_once_and_kilograms_and_pue_are_converted(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        HEAD
        + "2026-01-01T01:00:00,p,r1,3600,0.034,0.2,0.8,0.2,1.2,FRA,3.3.2,4,machine,1.2\n"
        + "2026-01-01T02:00:00,p,r1,7200,0.0672468,0.2,0.8,0.2,1.2,FRA,3.3.2,4,machine,1.2\n"
        + "2026-01-01T02:00:00,p,r2,1800,0.1,0.05,0.4,0.05,0.5,FRA,3.0.0,1,process,1\n",
    )
    assert file.tool == "codecarbon"
    first, second = file.rows
    assert (first.energy_kwh, first.pue) == (1.2, 1.2)
    assert first.it_energy_kwh == pytest.approx(1.0)
    assert first.co2_g == {"codecarbon": pytest.approx(67.2468)}
    assert first.g_per_kwh == {"codecarbon": pytest.approx(56.039)}
    assert first.notes == ("PUE 1.2 was in its energy and is divided out",)
    assert (first.gpu_hours, second.gpu_hours) == (8.0, 0.5)
    assert file.energy_kwh == pytest.approx(1.7)
    assert file.it_energy_kwh == pytest.approx(1.5)
    assert file.notes == ("1 row of earlier flushes, whose energy is in a later row of the same run",)


def test_old_files_without_pue_or_version_are_read(tmp_path: Path) -> None:
    """The layout of 2021, flushed every four hours."""
    file = read(
        tmp_path,
        "timestamp,project_name,run_id,duration,emissions,energy_consumed,country_iso_code\n"
        "2021-09-14T19:00:44,codecarbon,3e,21593.5,19.878,46.818,FRA\n"
        "2021-09-14T22:59:44,codecarbon,3e,35933.4,33.281,78.384,FRA\n",
    )
    (row,) = file.rows
    assert (row.energy_kwh, row.it_energy_kwh, row.version) == (78.384, 78.384, None)
    assert row.co2_g == {"codecarbon": pytest.approx(33_281)}


def test_a_tracker_restarted_under_its_id_is_a_run_of_its_own(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        "timestamp,run_id,duration,emissions,energy_consumed\n"
        "2026-01-01T01:00:00,a,100,0.1,1.0\n2026-01-01T02:00:00,a,200,0.2,2.0\n2026-01-01T03:00:00,a,50,0.05,0.5\n",
    )
    assert file.energy_kwh == pytest.approx(2.5)


def test_a_run_during_which_clocks_are_put_back_counts_once(tmp_path: Path) -> None:
    """From 01:30 CEST to 02:40 CET, an hour later than the clock shows."""
    file = read(
        tmp_path,
        "timestamp,run_id,duration,emissions,energy_consumed\n"
        "2026-10-25T02:50:00,a,4800,0.1,1.0\n2026-10-25T02:10:00,a,6000,0.2,2.0\n2026-10-25T02:40:00,a,7800,0.3,3.0\n",
    )
    assert [(row.duration_s, row.energy_kwh) for row in file.rows] == [(7800.0, 3.0)]


def test_tasks_of_one_run_are_each_counted(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        "task_name,timestamp,run_id,duration,emissions,energy_consumed\n"
        "load,2026-01-01T01:00:00,a,10,0.1,1.0\nfit,2026-01-01T01:00:10,a,20,0.2,2.0\n",
    )
    assert [(row.name, row.energy_kwh) for row in file.rows] == [("load", 1.0), ("fit", 2.0)]


def test_joined_files_and_unusable_lines_are_distinguished(tmp_path: Path) -> None:
    head = "timestamp,run_id,duration,emissions,energy_consumed\n"
    other = "run_id,energy_consumed,duration,emissions\n"
    file = read(tmp_path, f"{head}2026-01-01T01:00:00,a,10,0.1,1.0\n\n{other}b,2.0,20,\nc,nan,20,0.1\nd,1\n")
    assert [(row.name, row.line, row.energy_kwh) for row in file.rows] == [("a", 2, 1.0), ("b", 5, 2.0)]
    assert file.rows[1].co2_g == {}
    assert file.notes == ("left out, without duration or energy: line 6, 7",)


@pytest.mark.parametrize("duration", ["1e308", "-5", "nan", "inf"])
def test_a_row_with_an_impossible_duration_is_left_out_with_its_line(tmp_path: Path, duration: str) -> None:
    row = "2026-01-01T01:00:00,p,r{},{},0.034,0.2,0.8,0.2,1.2,FRA,3.3.2,4,machine,1.2\n"
    file = read(tmp_path, HEAD + row.format(1, "3600") + row.format(2, duration))
    assert [one.name for one in file.rows] == ["r1"]
    assert "left out, without duration or energy: line 3" in file.notes


def test_blanks_around_cells_do_not_matter(tmp_path: Path) -> None:
    row = "2026-01-01T01:00:00,p,r1,3600,0.034,0.2,0.8,0.2,1.2,FRA,3.3.2,4,machine,1.2\n"
    (run,) = read(tmp_path, (HEAD + row).replace(",", " , ")).rows
    assert (run.name, run.energy_kwh, run.pue) == ("r1", 1.2, 1.2)


@pytest.mark.parametrize("timestamp", ["9999-12-31T23:59:59", "0001-01-01T00:00:00+14:00", "soon"])
def test_an_impossible_time_is_unknown(tmp_path: Path, timestamp: str) -> None:
    file = read(tmp_path, HEAD + f"{timestamp},p,r1,3600,0.034,0.2,0.8,0.2,1.2,FRA,3.3.2,4,machine,1.2\n")
    assert file.rows[0].ended_s is None
    assert file.rows[0].duration_s == 3600


def test_ranks_that_counted_one_machine_at_once_are_reported(tmp_path: Path) -> None:
    ranks = "".join(f"2026-01-01T01:00:00,p,r{rank},3600,0.1,,,,1.0,FRA,3.3.2,,machine,1\n" for rank in range(4))
    (note,) = read(tmp_path, HEAD + ranks).notes
    assert note.startswith("several runs counted a whole machine at the same time, for 3h00m")


def test_impossible_values_are_noted_at_their_row(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        HEAD
        + "2026-01-01T01:00:00,p,r1,3600,0.1,0,8,0,8,FRA,3.3.2,1,machine,1\n"
        + "2026-01-01T01:00:00,p,r2,3600,0.1,0.2,0.2,0.1,0.9,FRA,3.3.2,,process,1\n",
    )
    assert file.rows[0].notes == ("8 kWh per GPU-hour is outside 0.05 to 1.5",)
    assert file.rows[1].notes == ("its parts add up to 0.5 kWh, not to 0.9",)


ROWS = [
    (2, {"timestamp": f"2026-01-01T0{hour}:00:00", "run_id": run, "duration": str(hour), "energy_consumed": str(hour)})
    for run in ("a", "b", "c")
    for hour in (1, 2, 3)
]


@given(st.permutations(ROWS), st.sets(st.sampled_from(range(9))))
def test_neither_the_order_nor_repeated_rows_change_the_sum(rows: list[object], repeated: set[int]) -> None:
    found, _ = codecarbon_rows([*rows, *(ROWS[index] for index in repeated)])  # type: ignore[list-item]
    assert sum(row.energy_kwh or 0 for row in found) == 9.0


CACCT = """JOB ID,ACCOUNT,USER,ELAPSED,TOTAL TIME(S),HOST ENERGY(KWH),HOST EMISSIONS(GMS),HOST EMISSIONS(GMS),GPU ENERGY(KWH),GPU EMISSIONS(GMS),GPU EMISSIONS(GMS)
,,,,,total,emaps_total,rte_total,total,emaps_total,rte_total
101,acc,usr1,01:00:00,"{""walltime"":3600,""alloc_gputime"":14400}",0.500000,20.0,15.0,2.100000,84.0,63.0
102,acc,usr2,1-00:00:00,,0.100000,4.0,3.0,,,
Summary,,,,,,,,,,
2,acc,,,,0.6,24,18,2.1,84,63
"""  # noqa: E501


def test_cacct_is_read_by_job_with_grams_by_provider_and_without_its_sums(tmp_path: Path) -> None:
    file = read(tmp_path, CACCT)
    first, second = file.rows
    assert file.tool == "CEEMS"
    assert (first.name, first.account, first.user, first.gpus, first.duration_s) == ("101", "acc", "usr1", 4.0, 3600.0)
    assert [first.cpu_kwh, first.gpu_kwh, first.energy_kwh] == pytest.approx([0.5, 2.1, 2.6])
    assert first.co2_g == {"emaps": 104.0, "rte": 78.0}
    assert (second.duration_s, second.energy_kwh, second.gpus) == (86400.0, 0.1, None)
    assert file.co2_g == {"emaps": 108.0, "rte": 81.0}
    assert file.it_energy_kwh is None, "the file does not say whether a PUE is in it"
    assert any("--pue" in note for note in file.notes)
    assert read(tmp_path, CACCT, pue=1.3).it_energy_kwh == pytest.approx(2.7 / 1.3)


def test_a_heading_over_several_columns_names_all_of_them(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        "Job ID,Host Energy(kWh),Host Emissions(gms),,\n,total,emaps_total,rte_total,owid_total\n101,0.5,20,15,30\n",
    )
    assert file.rows[0].co2_g == {"emaps": 20.0, "rte": 15.0, "owid": 30.0}


def test_a_trailing_comma_hides_no_column(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        "Job ID,Host Energy(kWh),GPU Energy(kWh),\n,total,total,\n101,0.5,4.2,\n",
    )
    assert file.energy_kwh == pytest.approx(4.7)


def test_the_answer_of_the_api_is_read_with_each_job_once(tmp_path: Path) -> None:
    unit = {
        "uuid": "7",
        "started_at": "2026-01-01T00:00:00+0100",
        "ended_at": "2026-01-01T02:00:00+0100",
        "elapsed": "02:00:00",
        "allocation": {"gpus": 2},
        "total_cpu_energy_usage_kwh": {"ipmi": 1.0, "rapl": 0.4},
        "total_gpu_energy_usage_kwh": {"total": 2.0},
        "total_gpu_emissions_gms": {"owid_total": 90.0},
    }
    requeued = unit | {"started_at": "2026-01-01T03:00:00+0100"}
    file = read(tmp_path, json.dumps({"status": "success", "data": [unit, unit, requeued]}), name="units.json")
    assert [row.energy_kwh for row in file.rows] == [3.0, 3.0]
    assert file.rows[0].gpu_hours == 4.0
    assert file.rows[0].notes == ("ipmi is taken, not rapl",)
    assert "1 row of duplicate jobs, of which the last one counts" in file.notes


def test_a_job_without_the_energy_of_its_host_says_so(tmp_path: Path) -> None:
    file = read(tmp_path, "uuid;total_cpu_energy_usage_kwh;total_gpu_energy_usage_kwh\n9;;1.5\n")
    assert file.rows[0].energy_kwh == 1.5
    assert file.rows[0].notes == ("the host's energy is missing",)


def test_a_sum_over_a_file_claims_no_more_than_its_rows_know(tmp_path: Path) -> None:
    units = [
        {"uuid": "1", "total_gpu_energy_usage_kwh": {"total": 1.0}, "total_gpu_emissions_gms": {"rte": 10, "owid": 20}},
        {"uuid": "2", "total_gpu_energy_usage_kwh": {"total": 2.0}, "total_gpu_emissions_gms": {"owid": 40}},
        {"uuid": "3", "total_gpu_energy_usage_kwh": {}},
    ]
    file = read(tmp_path, json.dumps({"data": units}), name="units.json")
    assert (file.energy_kwh, file.without_energy) == (3.0, 1)
    assert file.co2_g == {"rte": None, "owid": 60.0}


def test_figures_are_read_as_spreadsheets_write_them(tmp_path: Path) -> None:
    file = read(tmp_path, "uuid;total_cpu_energy_usage_kwh;total_gpu_energy_usage_kwh\n9;0,25;1,5\n8;1.001,5;1,010.5\n")
    assert [(row.cpu_kwh, row.gpu_kwh) for row in file.rows] == [(0.25, 1.5), (1001.5, 1010.5)]
    (run,) = read(tmp_path, "duration;emissions;energy_consumed\n3600;0,034;1,25\n").rows
    assert (run.energy_kwh, run.co2_g) == (1.25, {"codecarbon": 34.0})


def test_energy_that_is_no_figure_is_noted(tmp_path: Path) -> None:
    file = read(tmp_path, "uuid;total_cpu_energy_usage_kwh;total_gpu_energy_usage_kwh\n9;1.5;ten\n8;1.5;N/A\n")
    assert [(row.energy_kwh, row.notes) for row in file.rows] == [(1.5, ("'ten' is no energy",)), (1.5, ())]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected a CSV of codecarbon"),
        ("JobID|State|Elapsed\n1|COMPLETED|00:01:00\n", ":1: no columns of energy in 'JobID, State, Elapsed'"),
        ("{", "is not JSON"),
        ('[{"uuid": "7", "uuid": "8"}]', "the key 'uuid' appears twice in one object: keep one of them"),
        ("duration,emissions,energy_consumed,duration\n1,1,1,2\n", ":1: the column 'duration' appears twice"),
        ('{"data": [{"name": "x"}]}', "has no list of jobs with a uuid"),
        ("[]", "has no row of CEEMS"),
        ("timestamp,run_id,duration,emissions,energy_consumed\n2026-01-01,a,,,\n", "has no row of codecarbon"),
        ("\x00\x01\x02", "no columns of energy"),
    ],
)
def test_another_kind_of_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as refusal:
        read(tmp_path, text)
    assert message in str(refusal.value)
    assert "emissions.csv" in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.csv: cannot be read"):
        read_energy_file(tmp_path / "gone.csv")
