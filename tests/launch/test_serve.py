"""`detour serve`: the live page of a workspace, in a real browser and over its socket."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from detour.ledger.workspace import Workspace
from tests.rendering.browser import Browser
from tests.support.chains import DETOUR
from tests.test_serving import ask


@contextmanager
def serving(workspace: Workspace, *options: str | Path) -> Iterator[list[str]]:
    """The lines that say how to open the page. SIGTERM ends it, with exit code 0."""
    command = [DETOUR, "serve", "-w", str(workspace.root), *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said: list[str] = []
        try:
            while "Ctrl-C ends it" not in (said[-1] if said else ""):
                said.append(process.stdout.readline())
                assert said[-1]
            yield said
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_the_page_is_for_its_owner_and_ssh_leads_to_it(week: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "mine" / "page.sock"
    with serving(week, "--socket", path) as said:
        assert said[1] == f"  ssh -N -L 8000:{path} {socket.gethostname()}\n"
        assert path.stat().st_mode & 0o777 == 0o600
        status, page = ask(path)
        assert status == 200
        assert "<h2>Now</h2>" in page
    assert not path.exists()


def test_ssh_gets_an_absolute_path(week: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    with serving(week, "--socket", "page.sock") as said:
        assert f" 8000:{tmp_path}/page.sock " in said[1]


def test_a_real_browser_shows_the_page_without_errors_or_other_requests(week: Workspace, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with serving(week, "--port", str(port)) as said:
        assert "where all users can read it" in said[0]
        options = ["--dump-dom", "--virtual-time-budget=3000", "--proxy-server=direct://"]
        options.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        content, console = Browser(tmp_path).open(f"http://127.0.0.1:{port}/", *options)
    assert console == []
    assert len(re.findall("tokenizer-[0-9]{2}-30k</th>", content)) >= 12
    assert content.count("<svg") >= 4


def test_a_port_in_use_is_an_error_that_names_it(week: Workspace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [DETOUR, "serve", "-w", str(week.root), "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr == f"detour: 127.0.0.1:{port}: cannot be served (Address already in use)\n"
