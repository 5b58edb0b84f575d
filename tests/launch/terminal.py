"""Runs a command on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Sequence


def on_terminal(command: Sequence[str], **environment: str) -> str:
    """What appears, with `\\r\\n` as `\\n`: standard output and error together."""
    ours, theirs = pty.openpty()
    variables = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    variables |= {"TERM": "xterm", "COLUMNS": "100", **environment}
    shown = b""
    with (
        os.fdopen(ours, "rb", buffering=0) as screen,
        subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables),
    ):
        os.close(theirs)
        try:
            while block := screen.read(65536):
                shown += block
        except OSError:  # the other side is closed, and everything was read
            assert shown
    return shown.decode().replace("\r\n", "\n")
