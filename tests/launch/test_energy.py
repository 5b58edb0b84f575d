"""`detour energy` as a user calls it."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from detour.errors import UserError
from detour.launch.energy import command
from detour.launch.text.screen import NARROWEST
from detour.ledger.events import EnergyRead, GpuCounted, JobAccounted
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from tests.monitoring.workspaces import CHAIN, end, make_workspace, start
from tests.support.week import SITE

GPU: GpuCounted = {
    "counter_j": 9e9,
    "power_w": 600.0,
    "energy_j": 3.6e6,
    "sampled_j": 0.0,
    "seen_s": 3600.0,
    "resets": 0,
    "share": 1.0,
}
CSV = "timestamp,run_id,duration,emissions,energy_consumed\n2026-01-01T01:00:00,a\x1b[31m,60,0.1,2.0\n"


def call(*arguments: str | Path) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A training of a few milliseconds under Jean Zay's profile, with one reading."""
    workspace = make_workspace(tmp_path / "w")
    attempt = start(workspace, CHAIN[1], cluster="jean-zay", gpus=1, cpus=24)
    attempt.event(EnergyRead(why="end", node="n1", began_s=1.8e9, elapsed_s=3600.0, gpus={"GPU-1": GPU}))
    end(attempt)
    return workspace


def test_every_method_is_shown_with_range_and_coverage_in_80_columns(workspace: Workspace) -> None:
    lines = call("-w", workspace.root).splitlines()
    assert lines[0].startswith("base on jean-zay: ")
    methods = [line[2:18].strip() for line in lines[2:] if line[2:18].strip() in METHODS]
    assert methods == METHODS
    assert any(line.startswith(" *M1 measured     1.") and "1.1" in line for line in lines)
    assert "1 GPU by NVML counter" in "\n".join(lines)
    headings = [line.split() for line in lines if line.startswith(("  method ", "  stage "))]
    assert [heading.count("covered") for heading in headings] == [1, 1]
    assert max(map(len, lines)) <= NARROWEST


METHODS = ["M1 measured", "codecarbon", "M2 estimated", "M3 Slurm", "card convention"]


def test_json_has_what_the_screen_has_and_the_inputs(workspace: Workspace) -> None:
    content = json.loads(call("base", "-w", workspace.root, "--json"))
    (chain,) = content["chains"]
    (site,) = chain["sites"]
    assert site["energy_method"] == "M1 measured"
    measured = site["energy"][0]
    assert measured["facility_energy_kwh"]["expected"] == pytest.approx(1.2, rel=1e-3)
    assert measured["co2_g"]["expected"] == pytest.approx(1.2 * 34, rel=1e-3)
    assert measured["pue"]["value"] == 1.2
    assert [stage["label"] for stage in chain["stages"]] == [CHAIN[1].label]


def test_a_file_is_shown_alone_and_cleaned(tmp_path: Path) -> None:
    file = tmp_path / "emissions.csv"
    file.write_text(CSV)
    output = call(file, "-w", tmp_path)
    assert output.startswith(f"{file}: codecarbon, 1 run or job")
    assert "100 g" in output
    assert "\x1b" not in output
    assert json.loads(call(file, "-w", tmp_path, "--json"))["files"][0]["co2_g"] == {"codecarbon": 100.0}


def test_an_unknown_chain_is_answered_with_the_nearest_name(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="no chain, sweep or stage 'bas'"):
        call("bas", "-w", workspace.root)


def test_an_empty_workspace_says_so(tmp_path: Path) -> None:
    assert call("-w", tmp_path / "none") == f"No chain in {tmp_path / 'none'}, so no energy.\n"


def test_a_sweep_means_its_chains(tmp_path: Path) -> None:
    assert call("group", "-w", make_workspace(tmp_path, sweep="group").root) == "base: no attempt yet, so no energy\n"


def test_a_chain_without_attempts_says_so(tmp_path: Path) -> None:
    assert call("-w", make_workspace(tmp_path).root) == "base: no attempt yet, so no energy\n"


def test_a_profile_that_is_no_longer_known_has_the_constants_of_the_plan_made_with_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    end(start(workspace, CHAIN[0], cluster="here"))
    end(start(workspace, CHAIN[1], cluster="elsewhere"))
    lines = call("-w", workspace.root).splitlines()
    assert "base on here: " in "".join(lines)
    assert [line for line in lines if line.startswith("  PUE ")][1] == "  PUE unknown; gCO2eq/kWh unknown"


@pytest.fixture
def hourly(tmp_path: Path) -> Workspace:
    """A job of two GPUs on a site with the factor 50, and an hourly file that begins an hour ago and has 60."""
    factors = tmp_path / "factors.csv"
    begin = datetime.now(UTC) - timedelta(hours=1)
    hours = (begin + timedelta(minutes=30 * half) for half in range(6))
    factors.write_text("hour,g_per_kwh\n" + "".join(f"{hour.isoformat()},60\n" for hour in hours))
    workspace = make_workspace(tmp_path, site={**SITE, "hourly": {"path": str(factors), "source": "operator"}})
    end(start(workspace, CHAIN[1], cluster="here"))
    return workspace


def test_the_constants_shown_are_those_of_the_quoted_figure(hourly: Workspace) -> None:
    (constants,) = [line for line in call("-w", hourly.root).splitlines() if line.startswith("  PUE ")]
    assert constants.endswith("gCO2eq/kWh 60 (operator)")


def test_a_file_of_hourly_factors_that_cannot_be_read_is_reported(hourly: Workspace, tmp_path: Path) -> None:
    (tmp_path / "factors.csv").write_text("hour,g_per_kwh\nsoon,50\n")
    assert re.search(r"warning: .*factors\.csv:2: .* until then here has the grid factors of", call("-w", hourly.root))


def test_jobs_also_in_a_file_of_the_site_are_compared_with_ours(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    attempt = start(workspace, CHAIN[1], job="101", cluster="jean-zay", gpus=1, cpus=24)
    attempt.event(EnergyRead(why="end", node="n1", began_s=1.8e9, elapsed_s=3600.0, gpus={"GPU-1": GPU}))
    end(attempt)
    file = tmp_path / "cacct.csv"
    file.write_text("Job ID,Elapsed,Host Energy(kWh),GPU Energy(kWh)\n101,01:00:00,0.2,1.1\n102,01:00:00,5,5\n")
    assert "1 job of base: 1.3 kWh in the file; here 1 kWh of IT by M1 measured" in call(
        "base", file, "-w", workspace.root
    )
    (read,) = json.loads(call("base", file, "-w", workspace.root, "--json"))["files"]
    assert read["chains"]["base"]["energy_kwh"] == pytest.approx(1.3)


def test_jobs_of_which_the_file_does_not_know_all_energy_are_not_compared_by_a_part_of_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    for stage, job in ((CHAIN[1], "101"), (CHAIN[2], "102")):
        end(start(workspace, stage, job=job, cluster="jean-zay"))
    file = tmp_path / "cacct.csv"
    file.write_text("Job ID,Elapsed,Host Energy(kWh),GPU Energy(kWh)\n101,01:00:00,0.2,1.1\n102,01:00:00,,\n")
    output = " ".join(call("base", file, "-w", workspace.root).split())
    assert "2 jobs of base: unknown in the file" in output
    assert "sum: 1.3 kWh, without 1 run or job of unknown energy" in output


def test_jobs_of_several_clusters_with_the_id_of_a_file_are_named_by_cluster(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    for stage, cluster in ((CHAIN[1], "jean-zay"), (CHAIN[2], "adastra")):
        end(start(workspace, stage, job="101", cluster=cluster, gpus=None))
    file = tmp_path / "cacct.csv"
    file.write_text("Job ID,Elapsed,Host Energy(kWh),GPU Energy(kWh)\n101,01:00:00,0.2,1.1\n")
    output = " ".join(call("base", file, "-w", workspace.root).split())
    ours = "unknown of IT by no method on jean-zay, unknown of IT by no method on adastra"
    assert f"1 job of base: 1.3 kWh in the file; here {ours}" in output


@pytest.mark.parametrize(
    ("gpu_hours", "kg"), [(16, 0.45696), (383, 10.93848), (564, 16.10784), (5_537, 158.13672), (2, 0.05712)]
)
def test_the_card_convention_gives_the_published_figures_next_to_the_other_methods(
    tmp_path: Path, gpu_hours: int, kg: float
) -> None:
    """sacct shows four H100 for a quarter of the hours each."""
    workspace = make_workspace(tmp_path)
    attempt = start(workspace, CHAIN[1], job="7", cluster="jean-zay", gpus=4, cpus=96)
    end(attempt)
    elapsed_s = gpu_hours * 900.0
    with Journal.open(workspace, "accounts") as journal:
        run = JobAccounted(source="sacct", start_s=time.time() - 1, elapsed_s=elapsed_s, gpus=4, cpus=96, nodes=1)
        journal.append(run, job="7")
    ((site,),) = (chain["sites"] for chain in json.loads(call("-w", workspace.root, "--json"))["chains"])
    assert site["gpu_hours"] == {"value": pytest.approx(gpu_hours), "unknown": 0}
    methods = {method["method"]: method for method in site["energy"]}
    assert methods["card convention"]["co2_g"]["expected"] == pytest.approx(kg * 1000)
    assert methods["card convention"]["it_energy_kwh"]["expected"] == pytest.approx(gpu_hours * 0.7)
    estimate = methods["M2 estimated"]["co2_g"]
    assert estimate["low"] < 0.97 * 1.2 * 34 * gpu_hours < 1.05 * 1.2 * 34 * gpu_hours < estimate["high"]
    assert (methods["M1 measured"]["co2_g"], methods["M3 Slurm"]["co2_g"]) == (None, None)
    assert site["energy_method"] == "M2 estimated"


def test_a_file_can_be_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(CSV,))
    writer.start()
    assert "codecarbon" in call(pipe, "-w", tmp_path)
    writer.join()
