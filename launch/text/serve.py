"""How to open the live page."""

from __future__ import annotations

from collections.abc import Iterator

from detour.text import pasted

PORT = 8000
"""On the person's own machine, in the example."""


def socket_lines(path: str, host: str) -> Iterator[str]:
    yield "On your own machine:"
    yield f"  {pasted('ssh', '-N', '-L', f'{PORT}:{path}', host)}"
    yield f"and open http://localhost:{PORT} there. Ctrl-C ends it."


def port_line(port: int) -> str:
    return f"Open http://localhost:{port} on this machine, where all users can read it. Ctrl-C ends it."
