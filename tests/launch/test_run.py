"""A whole chain on this machine, by `detour run`: once, again, and with a twin."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.chains import DETOUR, ROOT, detour, small

pytestmark = pytest.mark.xdist_group("chain")


def status(workspace: Path, chain: str = "quickstart") -> dict[str, Any]:
    (found,) = json.loads(detour("status", chain, "-w", workspace, "--json").stdout)["chains"]
    return dict(found)


def test_every_stage_is_done_once_and_has_its_figures(quickstart: Path) -> None:
    stages = status(quickstart)["stages"]
    assert [stage["kind"] for stage in stages] == [
        *["prepare", "pretrain", "promote", "pretrain", "promote", "export"],
        *["evaluate", "evaluate", "summarize"],
    ]
    assert {stage["status"] for stage in stages} == {"done"}
    assert {stage["attempts"] for stage in stages} == {1}
    trained = [stage for stage in stages if stage["kind"] == "pretrain"]
    assert all(stage["done"] == stage["total"] and stage["figures"]["loss"] for stage in trained)


def test_a_run_inside_a_slurm_job_records_nothing_under_that_job(quickstart: Path) -> None:
    attempts = [json.loads(path.read_text()) for path in quickstart.glob("stages/*/attempts/*.json")]
    assert not {"6_1", "7"}.intersection(attempt["job"] for attempt in attempts)


def test_every_stage_wrote_its_planned_outputs(quickstart: Path) -> None:
    plan = json.loads(detour("plan", *small(), "-w", quickstart, "--json").stdout)
    assert {f"{stage['kind']}-{stage['key']}" for stage in plan["stages"]} == set(plan["outputs"])
    for output in plan["outputs"].values():
        listed = json.loads((Path(output["folder"]) / "manifest.json").read_text())["files"]
        assert {*output["files"]} <= {*listed, "manifest.json"}
    (exported,) = (output for stage, output in plan["outputs"].items() if stage.startswith("export"))
    assert {*exported["files"]} == {path.name for path in (quickstart / "models" / "quickstart").iterdir()}


def test_a_second_run_does_nothing_and_says_so(quickstart: Path) -> None:
    before = sorted(quickstart.rglob("*"))
    assert "nothing to do" in detour("run", *small(), "-w", quickstart).stdout
    assert sorted(quickstart.rglob("*")) == before


def test_the_exported_encoder_was_evaluated_for_each_seed(quickstart: Path) -> None:
    results = [json.loads(path.read_text()) for path in quickstart.glob("stages/evaluate-*/output/result.json")]
    assert sorted(result["seed"] for result in results) == [1, 2]
    (summary,) = quickstart.glob("stages/summarize-*/output/summary.json")
    assert json.loads(summary.read_text())["missing"] == []


def test_only_a_lost_result_is_computed_again(quickstart: Path) -> None:
    (summary,) = quickstart.glob("stages/summarize-*/output")
    (summary / "manifest.json").unlink()
    for path in summary.iterdir():
        path.unlink()
    summary.rmdir()
    shown = detour("run", *small(), "-w", quickstart, "--quiet").stdout
    assert [line.split()[0] for line in shown.splitlines() if line.endswith("started")] == ["summarize"]


def test_the_twin_shares_the_corpus_and_the_report_compares_both(quickstart: Path, tmp_path: Path) -> None:
    twin = [*small("quickstart-mlm-baseline"), "--until", "pretrain"]
    process = subprocess.Popen(
        [DETOUR, "run", *twin, "-w", str(quickstart), "--quiet"], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    while b"pretrain mlm-30" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert process.wait() == 130, "Ctrl-C stops cleanly"
    shown = detour("run", *twin, "-w", quickstart, "--quiet").stdout
    assert "prepare" not in shown, "the corpus exists already"
    report = tmp_path / "report.html"
    detour("report", "-w", quickstart, "-o", report)
    page = report.read_text()
    assert "quickstart-mlm-baseline" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    first, second = (
        {stage["id"] for stage in status(quickstart, chain)["stages"]}
        for chain in ("quickstart", "quickstart-mlm-baseline")
    )
    assert [stage_id.partition("-")[0] for stage_id in first & second] == ["prepare"]


def test_a_permanently_failing_stage_ends_the_run_with_its_reason(quickstart: Path) -> None:
    impossible = ["name=impossible", "phases.mlm.gate.validation_loss_drop=99"]
    result = detour("run", *small(more=impossible), "-w", quickstart, "--quiet", check=False)
    assert result.returncode == 3
    assert "promote mlm failed" in result.stderr
    assert "Traceback" not in result.stderr
    again = detour("run", *small(more=impossible), "-w", quickstart, "--quiet", check=False)
    assert again.returncode == 3, "it is not retried automatically"
    assert status(quickstart, "impossible")["stages"][4]["status"] == "failed"


def test_only_the_corpus_can_be_made_and_its_counts_are_reported(tmp_path: Path) -> None:
    done = detour("run", *small(), "-w", tmp_path, "--until", "prepare", "--quiet").stdout
    assert "quickstart: everything up to prepare is done." in done
    assert "icd10-labels: rows read 42,886, excluded " in done
    assert {stage["kind"] for stage in status(tmp_path)["stages"] if stage["status"] == "done"} == {"prepare"}
