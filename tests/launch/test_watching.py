"""`show`, `logs`, `wait`, `list` and the filters of `status`, as a user calls them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from detour.errors import UserError
from detour.launch.verbs import detour as verbs
from detour.ledger.events import ChainPlanned, JobAccounted, StageSubmitted
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from tests.launch.terminal import on_terminal
from tests.monitoring.workspaces import PREPARE, PROMOTE, TRAIN, end, make_workspace, mark_done, mark_failed, start
from tests.support.chains import DETOUR

HOSTILE = "x\x1b]0;owned\x07\x1b[2J\r\x9b31m\x90q\x9c\b\u202e\u200b\u2066\u061c\xad\u2028\U000e0041"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A done, a running and a failed stage, in a sweep, with hostile reasons, hosts, units and log lines."""
    made = make_workspace(tmp_path_factory.mktemp("watching"), sweep="group", project=HOSTILE, cluster=HOSTILE)
    end(start(made, PREPARE, job="7", node=HOSTILE))
    mark_done(made, PREPARE)
    attempt = start(made, TRAIN, job="8", node=HOSTILE)
    attempt.progress(1, 4, HOSTILE, loss=2.0)
    end(attempt, "interrupted", reason=HOSTILE)
    with Journal.open(made, "command-1") as journal:
        journal.append(StageSubmitted(), stage=TRAIN.id, job="8")
        journal.append(ChainPlanned(cluster=HOSTILE, stages=[]), chain="base")
    mark_failed(made, PROMOTE, HOSTILE)
    folder = made.root / "submissions" / TRAIN.id
    folder.mkdir(parents=True)
    (folder / "8_0_log.out").write_text(f"step 1\n{HOSTILE}\n")
    return made


def call(workspace: Workspace, verb: str, *arguments: str) -> Result:
    return CliRunner().invoke(verbs, [verb, *arguments, "-w", str(workspace.root)])


def test_a_stage_interrupted_on_this_machine_is_resumed_by_run(tmp_path: Path) -> None:
    made = make_workspace(tmp_path, cluster="local")
    end(start(made, PREPARE), "interrupted")
    shown = call(made, "show", PREPARE.id, "--offline").output
    assert "next: `detour run` with the same recipe runs it again; it resumes" in shown


def test_show_lists_segments_attempts_and_the_next_step(workspace: Workspace) -> None:
    shown = call(workspace, "show", TRAIN.id, "--offline").output
    assert f"pretrain clm ({TRAIN.id}): interrupted" in shown
    assert f"next: `detour retry -w {workspace.root} base` submits it again" in " ".join(shown.split())
    assert "attempt 1 interrupted, on x" in shown
    (stage,) = json.loads(call(workspace, "show", TRAIN.id, "--offline", "--json").output)["stages"]
    assert stage["segments"][0]["attempts"][0]["reason"] == HOSTILE


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], True),
        (["--state", "failed"], True),
        (["--state", "running"], False),
        (["--state", "stuck"], True),
        (["--sweep", "group"], True),
        (["--user", "nobody"], False),
        (["--age", "1h"], True),
    ],
)
def test_status_can_be_filtered(workspace: Workspace, options: Sequence[str], found: bool) -> None:
    chains = json.loads(call(workspace, "status", "--json", "--offline", *options).output)["chains"]
    assert bool(chains) == found


def test_a_filter_without_matches_does_not_claim_an_empty_workspace(workspace: Workspace) -> None:
    said = call(workspace, "status", "--offline", "--user", "stranger").output
    assert said.splitlines()[-1] == "The chain does not match the options; without them, it is listed."


def test_a_sweep_that_does_not_exist_is_refused_with_the_nearest_name(workspace: Workspace) -> None:
    result = call(workspace, "status", "--offline", "--sweep", "groop")
    assert str(result.exception).endswith("did you mean `group`?")


@pytest.mark.parametrize("timeout", [[], ["--timeout", "0s"]], ids=["without a timeout", "at the timeout"])
def test_waiting_for_a_stopped_chain_ends_with_3(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, timeout: list[str]
) -> None:
    monkeypatch.setattr("detour.launch.wait.SURE_S", 0.0)
    result = call(workspace, "wait", "base", *timeout)
    assert result.exit_code == 3
    assert "stages are left, and none of them is running or pending" in result.output


def test_waiting_ends_with_0_when_all_is_done_and_with_124_at_the_timeout(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, stages=(PREPARE,))
    attempt = start(workspace, PREPARE)
    result = call(workspace, "wait", "--timeout", "0s")
    assert (result.exit_code, "the timeout is over" in result.output) == (124, True)
    end(attempt)
    mark_done(workspace, PREPARE)
    assert call(workspace, "wait").exit_code == 0


def test_waiting_with_fail_fast_ends_at_the_first_failed_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detour.launch.wait.SURE_S", 0.0)
    workspace = make_workspace(tmp_path, stages=(PREPARE, TRAIN))
    start(workspace, PREPARE)
    mark_failed(workspace, TRAIN, "the loss is NaN")
    assert call(workspace, "wait", "--timeout", "0s").exit_code == 124
    result = call(workspace, "wait", "--fail-fast")
    assert result.exit_code == 3
    assert "1 chain: a stage has failed, and others are still running or pending" in result.output


def test_show_says_of_a_run_that_it_recorded_no_attempt(tmp_path: Path) -> None:
    made = make_workspace(tmp_path)
    with Journal.open(made, "command-1") as journal:
        journal.append(StageSubmitted(), stage=TRAIN.id, job="9")
        run = JobAccounted(source="sacct", start_s=1.7e9, elapsed_s=60.0, state="NODE_FAIL", stages=[TRAIN.id])
        journal.append(run, job="9")
    shown = call(made, "show", TRAIN.id, "--offline").output
    assert "    a run that recorded no attempt, interrupted, began " in shown


def test_show_breaks_long_lines_between_words_and_leaves_paths_whole(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = call(workspace, "show", "base", "--offline").output.splitlines()
    assert f"  folder {workspace.stage(TRAIN.id)}" in lines
    assert all(len(line) <= 80 for line in lines if not line.startswith("  folder") and "`detour" not in line)


def test_once_shows_the_status_once_even_with_watch(workspace: Workspace) -> None:
    shown = call(workspace, "status", "--watch", "--once", "--offline").output
    assert shown.count("base: 1 of 3 stages done") == 1


def test_waiting_without_any_chain_is_a_mistake(tmp_path: Path) -> None:
    error = call(Workspace(tmp_path), "wait").exception
    assert isinstance(error, UserError)
    assert "there is no chain yet" in str(error)


def test_a_list_of_names_has_one_a_line(workspace: Workspace) -> None:
    assert call(workspace, "list", "--names").output == "base\n"
    ids = call(workspace, "list", "--names", "--stages").output.split()
    assert ids == [stage["id"] for stage in json.loads(call(workspace, "list", "--json").output)[0]["stages"]]
    assert json.loads(call(workspace, "list", "--json").output)[0]["sweep"] == "group"


@pytest.mark.parametrize(("option", "lines"), [("--json", 2), ("--offline", 40)])
def test_watching_into_a_pipe_repeats_until_it_is_closed(workspace: Workspace, option: str, lines: int) -> None:
    watch = f"{DETOUR} status --watch {option} --every 0.2 -w {workspace.root} | head -n {lines}"
    shown = subprocess.run(["bash", "-c", watch], capture_output=True, text=True, check=True, timeout=30).stdout
    if option == "--json":
        assert [json.loads(line)["chains"][0]["name"] for line in shown.splitlines()] == ["base", "base"]
    else:
        assert shown.count("base: 1 of 3 stages done") >= 2


STEERED = [[verb, "base"] for verb in ("status", "show", "logs", "list", "wait", "why", "cancel", "hold", "retry")]
STEERED += [["status"], ["status", "base", "--json"], ["show", "base", "--json"], ["list", "--stages"]]


@pytest.mark.parametrize("words", STEERED, ids=" ".join)
def test_text_of_others_cannot_control_the_terminal(workspace: Workspace, words: list[str]) -> None:
    """On a pseudo-terminal, where colours are on: the only escape sequences left are our own colours."""
    text = on_terminal([str(DETOUR), *words, "-w", str(workspace.root)])
    for colour in ("1;31", "1;34", "1", "2", "31", "32", "33", "35", "36", "0"):
        text = text.replace(f"\x1b[{colour}m", "")
    assert not {letter for letter in text if not letter.isprintable() and letter != "\n"}


@pytest.mark.parametrize("verb", ["status", "show", "logs", "list", "wait", "cancel", "hold", "release", "retry"])
def test_a_path_or_hostile_name_matches_nothing(workspace: Workspace, verb: str) -> None:
    for name in ("../../etc/passwd", "/etc", "..", "base/../../x", "\x1b[2J", "%n", "$(id)"):
        result = call(workspace, verb, name)
        assert result.exit_code != 0, name
        assert re.search("no chain, sweep or stage|has no stage", str(result.exception)), name
