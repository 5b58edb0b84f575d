"""The server of the live page: who gets it, and what becomes of errors."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from detour.errors import UserError
from detour.serving import Make, default_socket, on_socket


class OverSocket(http.client.HTTPConnection):
    """A browser behind `ssh -L`."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self.path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine" / "page.sock"


@contextmanager
def served(path: Path, make: Make, every_s: float = 60.0, times: Iterator[float] | None = None) -> Iterator[None]:
    with on_socket(path, make, every_s, lambda: next(times) if times else 0.0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def ask(path: Path, where: str = "/", method: str = "GET", host: str = "localhost:8000") -> tuple[int, str]:
    browser = OverSocket(path)
    browser.request(method, where, headers={"Host": host})
    answer = browser.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_is_served_and_asks_to_be_refreshed(path: Path) -> None:
    with served(path, lambda: "<p>état</p>", every_s=30.0):
        browser = OverSocket(path)
        browser.request("GET", "/?again")
        answer = browser.getresponse()
        assert (answer.status, answer.read().decode()) == (200, "<p>état</p>")
        assert answer.headers["Refresh"] == "30"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_others_cannot_open_the_socket_which_is_gone_afterwards(path: Path) -> None:
    with served(path, lambda: "page"):
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.exists()


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:8000", "localhost.attacker.example", ""])
def test_a_page_of_another_site_gets_nothing(path: Path, host: str) -> None:
    with served(path, lambda: "secret"):
        assert ask(path, host=host) == (403, "ask for localhost\n")


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_the_own_machine_gets_it_by_any_of_its_names(path: Path, host: str) -> None:
    with served(path, lambda: "mine"):
        assert ask(path, host=host) == (200, "mine")


def test_there_is_one_page_and_only_to_read(path: Path) -> None:
    with served(path, lambda: "page"):
        assert ask(path, "/etc/passwd")[0] == 404
        assert ask(path, "/../secret")[0] == 404
        assert ask(path, method="POST")[0] == 501
        assert ask(path, method="HEAD") == (200, "")


def test_an_error_is_shown_until_the_next_refresh(path: Path) -> None:
    unreadable = PermissionError(13, "Permission denied", "/w/ledger")
    answers: Iterator[str | Exception] = iter(["first", UserError("plan.json: damaged"), "third", unreadable])

    def make() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    times = iter([0.0, 0.0, 59.0, 60.0, 60.0, 120.0, 120.0, 180.0, 180.0])
    with served(path, make, times=times):
        assert [ask(path) for _ in range(5)] == [
            (200, "first"),
            (200, "first"),
            (503, "plan.json: damaged\n"),
            (200, "third"),
            (503, "[Errno 13] Permission denied: '/w/ledger'\n"),
        ]


def test_a_browser_that_leaves_is_no_error_and_many_can_connect_at_once(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(path, lambda: "page" * 100_000):
        for _ in range(20):
            browser = OverSocket(path)
            browser.request("GET", "/", headers={"Host": "localhost"})
            browser.sock.close()
        assert ask(path)[0] == 200
    assert capfd.readouterr().err == ""


def test_a_bug_ends_the_server_without_a_traceback(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def make() -> str:
        raise KeyError("a bug")

    with on_socket(path, make, 60.0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        with pytest.raises(OSError, match=r"closed|reset"):
            ask(path)
        thread.join(20)
        assert not thread.is_alive()
    assert isinstance(server.failure, KeyError)
    assert capfd.readouterr().err == ""


def test_a_socket_left_by_a_killed_process_is_replaced_and_a_used_one_is_not(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with served(path, lambda: "new"):
        assert ask(path) == (200, "new")
        with pytest.raises(UserError, match="in use already"), on_socket(path, str, 60.0):
            pass
        assert ask(path) == (200, "new")


def test_a_file_of_that_name_is_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("mine")
    with pytest.raises(UserError, match="in use already"), on_socket(path, str, 60.0):
        pass
    assert path.read_text() == "mine"


def test_a_folder_that_others_can_open_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o755)
    with pytest.raises(UserError, match="others can open it"), on_socket(path, str, 60.0):
        pass


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the limit of a socket"), on_socket(tmp_path / ("x" * 200), str, 60.0):
        pass


def test_each_workspace_has_a_socket_of_its_own_in_a_folder_per_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/scratch")
    assert default_socket("/a").parent == Path(f"/scratch/detour-serve-{os.getuid()}")
    assert default_socket("/a") != default_socket("/b")
