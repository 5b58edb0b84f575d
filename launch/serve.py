"""`detour serve`: the report as a live page, for one person."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import click

import detour
from detour.config.project import load_project
from detour.errors import UserError
from detour.handlers import handling
from detour.launch.options import Figure, FilePath, optional_names_argument, workspace_option
from detour.launch.text.screen import show
from detour.launch.text.serve import port_line, socket_lines
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import monitor
from detour.rendering.html import render_html
from detour.serving import Server, default_socket, private_socket


@click.command()
@optional_names_argument
@workspace_option
@click.option("--port", type=click.IntRange(1, 65_535), help="Listen on a port of this machine, for all of its users.")
@click.option("--socket", "path", type=FilePath(path_type=Path), help="The socket's file.  [default: in $TMPDIR]")
@click.option(
    "--every", "every_s", type=Figure(5.0, 86_400.0), default=60.0, show_default=True, help="Seconds between refreshes."
)
def command(names: tuple[str, ...], workspace: Workspace, port: int | None, path: Path | None, every_s: float) -> None:
    """Serve the report as a live page, with what is going on now.

    On a socket that only you can open; `ssh` leads to it from your own machine. With --port, on this machine's port,
    which all of its users can read.
    """
    if port is not None and path is not None:
        raise UserError("--port and --socket exclude each other")
    watched, project = monitor(workspace, with_segments=False), load_project()

    def page() -> str:
        report = detour.report(*names, workspace=workspace.root, project=project)
        return render_html(report, watched.look(names))

    watched.look(names)
    with ExitStack() as stack:
        stack.enter_context(suppress(KeyboardInterrupt))
        stack.enter_context(handling((signal.SIGTERM,), signal.default_int_handler))
        if port is None:
            at = stack.enter_context(private_socket(path or default_socket(str(workspace.root))))
            address: str | tuple[str, int] = str(at)
        else:
            address = ("127.0.0.1", port)
        previous = os.umask(0o177)
        try:
            server = stack.enter_context(Server(address, page, every_s, time.monotonic))
        except OSError as error:
            where = address if port is None else f"127.0.0.1:{port}"
            raise UserError(f"{where}: cannot be served ({error.strerror})") from error
        finally:
            os.umask(previous)
        show(*(socket_lines(str(address), socket.gethostname()) if port is None else [port_line(port)]))
        server.serve_forever()
