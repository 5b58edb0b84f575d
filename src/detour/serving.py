"""Serve a page to one person: on a socket that only they can open, or on a port of their own machine.

A login node is shared: whatever listens on a port there can be read by all of its users. A socket file that is closed
to others cannot, and `ssh -L PORT:FILE` leads to it from the person's own machine.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Lock
from time import monotonic
from typing import Any
from zlib import crc32

from detour.errors import DetourError, UserError

Make = Callable[[], str]
"""Makes the page as it is now. May raise DetourError or OSError, which is shown in its place."""
OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""Hosts by which the page may be asked for: a page of another site that names its own host gets nothing."""
REQUEST_S = 20.0
"""Time limit for a browser to send its request."""
LOOPBACK = "127.0.0.1"
ELSEWHERE = "choose another place with --socket"
LONGEST_SOCKET = 107
"""Bytes of a socket's path, on Linux."""


class Server(ThreadingMixIn, HTTPServer):
    """Every request has a thread; all of them share the page, which is made anew once it is `every_s` old."""

    daemon_threads = True
    request_queue_size = 128
    """Browsers open several connections at once, also while a page is made."""

    def __init__(self, address: str | tuple[str, int], make: Make, every_s: float, clock: Callable[[], float]) -> None:
        self.make, self.every_s, self.clock = make, every_s, clock
        self.address_family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.making = Lock()
        self.failure: BaseException | None = None
        """A bug, which ends the server; to be raised afterwards."""
        self.made_s, self.made = float("-inf"), (HTTPStatus.OK, "", "")
        super().__init__(address, _Handler)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        """Unlike in HTTPServer, without a look-up of the host's name."""
        super(HTTPServer, self).server_bind()
        self.server_name, self.server_port = "localhost", 0

    def handle_error(self, _request: object, _client_address: object) -> None:
        """Unlike in BaseServer, without a traceback; that a browser has left is no error."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.failure = error
            self.shutdown()

    def page(self) -> tuple[HTTPStatus, str, str]:
        """Its status, type and text."""
        with self.making:
            if self.clock() - self.made_s >= self.every_s:
                try:
                    self.made = HTTPStatus.OK, "text/html", self.make()
                except (DetourError, OSError) as error:
                    self.made = HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{error}\n"
                self.made_s = self.clock()
            return self.made


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = REQUEST_S
    server_version, sys_version = "detour", ""

    def do_GET(self) -> None:
        self._answer(with_text=True)

    def do_HEAD(self) -> None:
        self._answer(with_text=False)

    def _answer(self, *, with_text: bool) -> None:
        host = self.headers.get("Host", "")
        if host.rpartition(":")[0] not in OWN_NAMES and host not in OWN_NAMES:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", "ask for localhost\n", with_text=with_text)
        elif self.path.partition("?")[0] != "/":
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "there is one page: /\n", with_text=with_text)
        else:
            self._send(*self.server.page(), with_text=with_text)

    def _send(self, status: HTTPStatus, kind: str, text: str, *, with_text: bool) -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(content))),
            ("Refresh", f"{self.server.every_s:.0f}"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if with_text:
            self.wfile.write(content)

    def address_string(self) -> str:
        return "a browser"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: requests are of no interest, and the terminal is another room's."""


def default_socket(root: str) -> Path:
    """The socket of one workspace's page, on this machine's own disk: many network file systems have no sockets."""
    folder = Path(os.environ.get("TMPDIR") or "/tmp", f"detour-serve-{os.getuid()}")
    return folder / f"{crc32(root.encode(errors='surrogateescape')):08x}.sock"


@contextmanager
def on_socket(path: Path, make: Make, every_s: float, clock: Callable[[], float] = monotonic) -> Iterator[Server]:
    """A server on a socket that only its user can open; the socket is removed at the end.

    Raises UserError if its folder is open to others, if something else is there, or if its path is too long.
    """
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise UserError(f"{path}: longer than {LONGEST_SOCKET} bytes, the limit of a socket; {ELSEWHERE}")
    try:
        _make_room(path)
        previous = os.umask(0o177)
        try:
            server = Server(str(path), make, every_s, clock)
        finally:
            os.umask(previous)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {ELSEWHERE}") from error
    try:
        with server:
            yield server
    finally:
        with suppress(OSError):
            path.unlink()


@contextmanager
def on_port(port: int, make: Make, every_s: float) -> Iterator[Server]:
    """A server on a port of this machine, for all of its users. Raises UserError if the port is taken."""
    try:
        server = Server((LOOPBACK, port), make, every_s, monotonic)
    except OSError as error:
        raise UserError(f"{LOOPBACK}:{port}: cannot be served ({error.strerror})") from error
    with server:
        yield server


def _make_room(path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    folder = path.parent.lstat()
    if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != os.getuid() or folder.st_mode & 0o077:
        raise UserError(f"{path.parent}: others can open it; choose a folder of your own (mode 700) with --socket")
    if path.is_socket() and not _is_served(path):
        path.unlink()  # left by a killed process
    if path.exists():
        raise UserError(f"{path}: in use already; end that process, or {ELSEWHERE}")


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(REQUEST_S)
        try:
            client.connect(str(path))
        except OSError as error:
            return error.errno != errno.ECONNREFUSED
    return True
