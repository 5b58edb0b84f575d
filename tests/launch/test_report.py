"""`detour report` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import detour
from detour.accounting.site import profile_sites, site_of
from detour.budgets.book import Book
from detour.config.fields import WITH_UNITS
from detour.config.loading import load_cluster
from detour.errors import DetourError
from detour.launch.report import command
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.files import Target, write_plan
from detour.planning.plan import Plan
from tests.reporting.fabricate import HELD, Made, make_twins, stages_of
from tests.support.invoking import invoke

call = partial(invoke, command)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_twins(Workspace(tmp_path_factory.mktemp("twins"))).workspace.root


def test_the_page_is_written_and_its_first_lines_printed(workspace: Path, tmp_path: Path) -> None:
    page = tmp_path / "deep" / "page.html"
    result = call("-w", workspace, "--out", page)
    assert result.exit_code == 0
    assert result.output.startswith("quickstart: an encoder of 2.11M parameters on 300k tokens causal")
    assert result.output.splitlines()[-1] == f"Report written to {page}"
    assert page.read_text().startswith("<!doctype html>")


def test_json_goes_to_standard_output_and_no_page_is_written(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = json.loads(call("quickstart", "-w", workspace, "--json").stdout)
    assert [chain["name"] for chain in content["chains"]] == ["quickstart"]
    assert list(tmp_path.iterdir()) == []
    tracked = next(row for row in content["total"]["energy"] if row["method"] == "codecarbon")
    assert tracked["site"] == "local"
    assert tracked["pue"]["value"] == 1.0


def test_by_default_a_report_replaces_only_a_report_in_the_current_folder(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "report.html"
    for _ in range(2):
        assert call("-w", workspace).output.splitlines()[-1] == "Report written to report.html"
    page.write_text("<title>pytest</title>")
    assert "report.html: exists already" in str(call("-w", workspace).exception)
    assert page.read_text() == "<title>pytest</title>"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no chain, sweep or stage 'nothing'"),
        (["--cluster", "nowhere"], "no such cluster profile"),
        (["--period", "Q3"], "--period 'Q3' is not a period"),
        (["--period", "2026", "--since", "2026"], "leave out --since and --until"),
        (["--site-figure", "many"], "--site-figure: no figure with a unit of hours in 'many'"),
        (["--out", "report.pdf"], "no format has this ending"),
        (["--project", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_mistakes_are_one_message(workspace: Path, arguments: list[str], message: str) -> None:
    error = call("-w", workspace, *arguments).exception
    assert isinstance(error, DetourError)
    assert error.exit_code == 2
    assert message in str(error)


def test_a_place_that_cannot_be_written_is_named(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = call("-w", workspace, "--out", tmp_path / "file" / "page.html").exception
    assert isinstance(error, DetourError)
    assert "choose another place with --out" in str(error)


def test_a_device_or_a_pipe_gets_the_page_and_is_not_replaced(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    assert call("-w", workspace, "--out", tmp_path / "link").exit_code == 0
    assert (tmp_path / "link").is_char_device()
    assert "No space left" in str(call("-w", workspace, "--out", "/dev/full").exception)
    assert Path("/dev/full").is_char_device()


def test_a_folder_gets_every_format_of_a_pattern_of_chains(workspace: Path, tmp_path: Path) -> None:
    figure = tmp_path / "site.txt"
    figure.write_text("Consumption of the account: 0.21 core-hours")
    result = call("quick*", "-w", workspace, "--out", tmp_path / "out", "--site-figure", figure)
    assert result.output.splitlines()[-1] == f"Report written to {tmp_path / 'out' / 'report.html'}"
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert content["reconciliation"]["site_hours"] == 0.21
    assert len(content["tables"]["hours"]) == 3
    assert (tmp_path / "out" / "tables" / "hours.csv").read_text().count("\n") == 4


def test_a_period_in_which_nothing_ran_gives_an_empty_report(workspace: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    call("-w", workspace, "--period", "2020", "--out", page)
    content = json.loads(call("-w", workspace, "--period", "2020", "--json").stdout)
    assert (content["total"]["attempts"], content["statements"]) == (0, {})
    assert "Nothing ran." in page.read_text()


def test_another_profile_can_be_applied_to_the_same_hours(workspace: Path) -> None:
    content = json.loads(call("quickstart", "-w", workspace, "--json", "--cluster", "jean-zay").stdout)
    assert content["total"]["energy"][0]["grid_g_per_kwh"]["value"] == 34


@pytest.mark.parametrize("name", ["of-my-own", "slurm-local"])
def test_a_profile_that_a_plan_holds_applies_to_its_jobs_in_reports_and_budgets(tmp_path: Path, name: str) -> None:
    workspace = Workspace(tmp_path)
    workspace.create()
    cluster = load_cluster("jean-zay").model_copy(update={"name": name})
    (stage, *_) = stages_of("causal")
    profile = cluster.model_dump(mode="json", context=WITH_UNITS)
    write_plan(workspace, Plan("own", (stage,)), Target(cluster.name, site_of(cluster), profile=profile))
    Made(workspace).run(stage, 900.0, {}, HELD | {"gpus": 4, "cpus": 96, "cluster": cluster.name})
    report = detour.report(workspace=workspace.root)
    (card,) = (row for row in report.total.energy if row.method == "card convention")
    assert card.co2_g is not None
    assert card.co2_g.expected == pytest.approx(0.7 * 1.2 * 34)
    assert (report.total.billed_hours.value, report.hardware[0].gpu) == (1.0, "h100")
    (spent,) = Book(LedgerView(workspace)).spendings
    assert spent.amounts["billed_hours"] == 1.0
    assert spent.amounts["energy_kwh"] == pytest.approx((0.7 + 24 * 0.0073 + 6 * 0.0003725) * 1.2)


def test_a_recorded_name_is_never_opened_as_a_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine")
    for name in (str(tmp_path / "mine.yaml"), "../local", "", None):
        site = profile_sites([])(name)
        assert (site.pue, site.grid_g_per_kwh) == (None, None)


def test_the_report_imports_no_torch(workspace: Path) -> None:
    code = (
        "import sys; from detour.launch.report import command; "
        "command(['-w', sys.argv[1], '--json'], standalone_mode=False); "
        "assert not {'torch', 'numpy', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(workspace)], check=True, stdout=subprocess.DEVNULL)
