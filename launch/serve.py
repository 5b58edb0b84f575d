"""`detour serve`: the report as a live page, for one person."""

from __future__ import annotations

import signal
import socket
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
from detour.serving import default_socket, on_port, on_socket


@click.command()
@optional_names_argument
@workspace_option
@click.option("--port", type=click.IntRange(1, 65_535), help="Listen on a port of this machine, for all of its users.")
@click.option("--socket", "path", type=FilePath(path_type=Path), help="The socket's file.  [default: in $TMPDIR]")
@click.option(
    "--every",
    "every_s",
    type=Figure(30.0, 86_400.0),
    default=60.0,
    show_default=True,
    help="Seconds between refreshes.",
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
    at = (path or default_socket(str(workspace.root))).absolute()  # ssh begins at the home folder
    with ExitStack() as stack:
        stack.enter_context(suppress(KeyboardInterrupt))
        stack.enter_context(handling((signal.SIGTERM,), signal.default_int_handler))
        if port is None:
            server = stack.enter_context(on_socket(at, page, every_s))
            show(*socket_lines(str(at), socket.gethostname()))
        else:
            server = stack.enter_context(on_port(port, page, every_s))
            show(port_line(port))
        server.serve_forever()
        if server.failure is not None:
            raise server.failure
