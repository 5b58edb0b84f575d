"""`detour watch`: the view driven by keys, and the command on a terminal."""

from __future__ import annotations

import errno
import os
import pty
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from rich.color import ColorType
from textual.pilot import Pilot
from textual.widgets import Log, OptionList

from detour.errors import UserError
from detour.launch.tui.app import Watch
from detour.launch.tui.chains import ORDERS
from detour.launch.tui.log_screen import LogScreen
from detour.launch.tui.pages import Confirmation, Page
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import monitor
from detour.monitoring.status import Status
from detour.orchestration.control import Controlled
from detour.scheduler.slow_clients import on_slow
from tests.launch.terminal import on_terminal
from tests.launch.tui.driving import driven, is_first, text, until
from tests.monitoring.workspaces import PREPARE, PROMOTE, TRAIN, end, make_workspace, mark_done, start
from tests.support.chains import DETOUR

HOSTILE = "[red]x\x1b]0;owned\x07\x1b[2J\u202e"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A chain with a done and an interrupted stage, two attempts, and hostile reasons, hosts and log lines."""
    made = make_workspace(tmp_path, sweep="group", cluster=HOSTILE)
    end(start(made, PREPARE, job="7", node=HOSTILE))
    mark_done(made, PREPARE)
    folder = made.root / "submissions" / TRAIN.id
    folder.mkdir(parents=True)
    for number, job in ((1, "8"), (2, "9")):
        end(start(made, TRAIN, number, job=job, node=HOSTILE), "interrupted", reason=HOSTILE)
        (folder / f"{job}_0_log.out").write_text(f"first of {job}\n{HOSTILE}\nlast of {job}\n")
    return made


def view(workspace: Workspace, look: Callable[[], Status] | None = None) -> Watch:
    watched = monitor(workspace, offline=True)
    return Watch(workspace, look or watched.look, watched.look(), every_s=0.05)


def test_a_single_chain_is_open_and_the_selected_stage_described(workspace: Workspace) -> None:
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        assert "base: 1 of" in text(app.screen, "#selected")
        await pilot.press("down", "down")
        assert f"pretrain clm ({TRAIN.id}): interrupted" in text(app.screen, "#selected")
        assert "attempt 2 interrupted" in text(app.screen, "#selected")

    driven(app, act)


def test_a_newer_status_appears_and_the_selection_stays(workspace: Workspace) -> None:
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("down", "down")
        start(workspace, TRAIN, 3, job="10")
        await until(pilot, lambda: ": running" in text(app.screen, "#selected"))
        assert app.chains.selected is not None
        assert app.chains.selected.names == (TRAIN.id,)

    driven(app, act)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("plan.json: damaged"), "plan.json: damaged"),
        (PermissionError(errno.EACCES, "Permission denied", "/w/ledger"), "/w/ledger: no permission;"),
    ],
)
def test_a_status_that_cannot_be_read_is_said_above_the_last_one(
    workspace: Workspace, error: Exception, said: str
) -> None:
    def look() -> Status:
        raise error

    app = view(workspace, look)

    async def act(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: f"warning: {said}" in text(app.screen, "#warnings"))
        assert app.screen.query_one(OptionList).option_count > 1

    driven(app, act)


def test_a_bug_in_a_thread_ends_the_view_and_is_raised(workspace: Workspace) -> None:
    def look() -> Status:
        raise KeyError("a bug")

    app = view(workspace, look)

    async def act(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.failure is not None)

    with pytest.raises(KeyError, match="a bug"):
        driven(app, act)


def test_the_log_of_the_last_attempt_opens_and_brackets_lead_to_the_others(workspace: Workspace) -> None:
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "l")
        assert isinstance(app.screen, LogScreen)
        log = app.screen.query_one(Log)
        await until(pilot, lambda: "last of 9" in log.lines)
        assert "attempt 2, job 9" in text(app.screen, "#heading")
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "last of 8" in log.lines)
        assert "last of 9" not in log.lines
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "last of 9" in log.lines)
        assert not any("\x1b" in line or "\u202e" in line for line in log.lines)
        await pilot.press("escape")
        assert is_first(app)

    driven(app, act)


def test_what_is_added_to_a_log_appears(workspace: Workspace) -> None:
    start(workspace, TRAIN, 3, job="10")
    path = workspace.root / "submissions" / TRAIN.id / "10_0_log.out"
    path.write_text("step 1\n")
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("l")
        log = app.screen.query_one(Log)
        await until(pilot, lambda: "step 1" in log.lines)
        with path.open("a") as file:
            file.write("step 2\n")
        await until(pilot, lambda: "step 2" in log.lines)

    driven(app, act)


def test_the_log_of_a_chain_goes_on_with_that_of_its_next_stage(workspace: Workspace) -> None:
    path = workspace.root / "submissions" / PROMOTE.id / "11_0_log.out"
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("l")
        log = app.screen.query_one(Log)
        await until(pilot, lambda: "last of 9" in log.lines)
        start(workspace, PROMOTE, job="11")
        path.parent.mkdir()
        path.write_text("begun\n")
        mark_done(workspace, TRAIN)
        await until(pilot, lambda: "begun" in log.lines)
        assert "promote clm" in text(app.screen, "#heading")
        assert "last of 9" in log.lines

    driven(app, act)


def test_long_lines_of_a_log_are_folded(workspace: Workspace) -> None:
    path = workspace.root / "submissions" / TRAIN.id / "9_0_log.out"
    path.write_text("漢" * 60 + "\n")
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("l")
        log = app.screen.query_one(Log)
        await until(pilot, lambda: list(log.lines[:2]) == ["漢" * 39, "漢" * 21])

    driven(app, act)


def test_why_is_shown_on_a_page(workspace: Workspace) -> None:
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("down", "w")
        assert isinstance(app.screen, Page)
        await until(pilot, lambda: "nothing failed" in text(app.screen, "#text"))

    driven(app, act)


@pytest.mark.parametrize(("answer", "is_given"), [("y", True), ("n", False), ("escape", False), ("enter", False)])
def test_an_order_needs_a_yes(
    workspace: Workspace, answer: str, is_given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = view(workspace)
    given: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(app.chains, "give", lambda verb, names: given.append((verb, names)))

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "d")
        assert isinstance(app.screen, Confirmation)
        await pilot.press(answer)
        await pilot.pause()
        assert given == ([("cancel", (TRAIN.id,))] if is_given else [])

    driven(app, act)


def test_a_search_narrows_the_list_and_escape_ends_it(workspace: Workspace) -> None:
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("slash", "z", "z")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count == 0)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen.query_one(OptionList).option_count > 0)

    driven(app, act)


def test_a_search_without_a_hit_and_a_workspace_without_chains_are_said(workspace: Workspace) -> None:
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("slash", "z", "z")
        await until(pilot, lambda: "No chain is left" in text(app.screen, "#selected"))
        await pilot.press("escape")
        workspace.root.rename(workspace.root.with_name("elsewhere"))
        await until(pilot, lambda: "No chain in " in text(app.screen, "#selected"))
        assert text(app.screen, "#headline") == "no chain"

    driven(app, act)


def test_an_error_of_an_order_stays_until_escape_and_what_it_waits_for_is_said(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = view(workspace)

    def refuse(*_names: object, **_more: object) -> Controlled:
        with on_slow.get()("scancel", 50.0):
            raise UserError("scancel: permission denied")

    monkeypatch.setitem(ORDERS, "cancel", ("Cancel {}", refuse))

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "d", "y")
        await until(pilot, lambda: len(app._notifications) == 2)
        waits, error = app._notifications
        assert waits.message.startswith("waiting for scancel (until ")
        assert error.message == "scancel: permission denied"
        assert error.timeout > 3600 > waits.timeout
        await pilot.press("escape")
        assert not app._notifications

    driven(app, act)


def test_the_selected_line_is_reversed_and_the_colours_are_the_terminals_own(workspace: Workspace) -> None:
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("down")
        lines = app.screen.query_one(OptionList)
        selected, other = lines.render_line(2), lines.render_line(3)
        assert all(segment.style and segment.style.reverse for segment in selected)
        assert not any(segment.style and segment.style.reverse for segment in other)
        colours = [segment.style.color for segment in selected if segment.style and segment.style.color]
        assert colours
        assert {colour.type for colour in colours} <= {ColorType.DEFAULT, ColorType.STANDARD}

    driven(app, act)


def test_keys_scroll_what_is_known_about_the_line(workspace: Workspace) -> None:
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "tab", "down")
        await until(pilot, lambda: app.screen.query_one("#details").scroll_offset.y > 0)
        assert app.chains.selected is not None
        assert app.chains.selected.names == (TRAIN.id,)

    driven(app, act, (80, 12))


def test_untrusted_text_is_neither_markup_nor_control(workspace: Workspace) -> None:
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("down", "down")
        shown = text(app.screen, "#selected")
        assert "[red]x" in shown
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)

    driven(app, act)


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (200, 60), (80, 3), (2, 24), (1, 1)])
def test_any_size_of_the_terminal_is_drawn(workspace: Workspace, size: tuple[int, int]) -> None:
    app = view(workspace)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("down", "pagedown", "pageup", "question_mark", "escape")
        assert is_first(app)

    driven(app, act, size)


def test_without_a_terminal_it_names_the_verb_that_needs_none(workspace: Workspace) -> None:
    ended = subprocess.run(
        [DETOUR, "watch", "-w", str(workspace.root)], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert ended.returncode == 2
    assert ended.stderr == "detour: `detour watch` needs a terminal with UTF-8: use `detour status --watch` here\n"


@contextmanager
def on_screen(workspace: Workspace) -> Iterator[tuple[subprocess.Popen[bytes], int, Callable[[bytes], bytes]]]:
    """The command on a terminal of its own: its process, the terminal, and what appears until a text does."""
    ours, theirs = pty.openpty()
    command = [DETOUR, "watch", "-w", str(workspace.root), "--offline"]
    environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}

    def until_shown(awaited: bytes) -> bytes:
        seen = b""
        with suppress(OSError):  # raised when the other side is closed
            while awaited not in seen and select.select([ours], [], [], 20)[0] and (block := os.read(ours, 65536)):
                seen += block
        return seen

    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        until_shown(b"pretrain clm")
        try:
            yield process, ours, until_shown
        finally:
            process.kill()


@pytest.mark.parametrize("end", [b"q", b"\x03", signal.SIGTERM])
def test_it_draws_the_chains_until_it_is_ended_and_gives_the_terminal_back(
    workspace: Workspace, end: bytes | signal.Signals
) -> None:
    with on_screen(workspace) as (process, terminal, until_shown):
        if isinstance(end, bytes):
            os.write(terminal, end)
        else:
            process.send_signal(end)
        assert b"\x1b[?1049l" in until_shown(b"its end")
        assert process.wait(20) == 0


def test_it_ends_with_its_terminal(workspace: Workspace) -> None:
    with on_screen(workspace) as (process, _, _):
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == -signal.SIGHUP


def test_the_view_returns_if_no_shell_can_be_opened(workspace: Workspace) -> None:
    with on_screen(workspace) as (_, terminal, until_shown):
        os.write(terminal, b"\x1b[Bc")
        seen = until_shown(b"no job")
        assert seen.index(b"\x1b[?1049l") < seen.index(b"\x1b[?1049h")


def test_ctrl_z_stops_it_with_the_terminal_given_back_until_it_is_continued(workspace: Workspace) -> None:
    with on_screen(workspace) as (process, terminal, until_shown):
        os.write(terminal, b"\x1a")
        assert b"\x1b[?1049l" in until_shown(b"\x1b[?1049l")
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        process.send_signal(signal.SIGCONT)
        assert b"\x1b[?1049h" in until_shown(b"pretrain clm")


def test_without_chains_it_says_what_starts_one(tmp_path: Path) -> None:
    shown = on_terminal([DETOUR, "watch", "-w", str(tmp_path / "empty")], LC_ALL="C.UTF-8")
    assert "`detour run RECIPE` or `detour submit RECIPE` starts one." in " ".join(shown.split())
