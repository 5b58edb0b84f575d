"""The most frequent commands, answered without click: `detour --help`, and `detour status` of all or some chains.

Importing click takes three times as long as Python's own start. Anything with other options is left to the verbs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from detour.imports import uncollected
from detour.launch.text.help import help_page
from detour.launch.text.screen import columns, rows_that_fit, show, uses_colour
from detour.monitoring.status_cache import CachedStatus


def answered(arguments: Sequence[str]) -> bool:
    """Answer the arguments if they are one of these commands; returns whether they were."""
    match arguments:
        case ["-h" | "--help"]:
            show(help_page())
        case ["status", "-w" | "--workspace", folder, *chains] if _is_readable(folder) and _are_names(chains):
            _show_status(folder, chains)
        case ["status", *chains] if _are_names(chains):
            _show_status(None, chains)
        case _:
            return False
    return True


def _is_readable(folder: str) -> bool:
    """Whether the folder can be read; otherwise click gives the message."""
    return os.path.isdir(folder) and os.access(folder, os.R_OK)  # noqa: PTH112


def _are_names(words: Sequence[str]) -> bool:
    return not any(word.startswith("-") for word in words)


def _show_status(folder: str | None, chains: Sequence[str]) -> None:
    default = _absolute(os.environ.get("DETOUR_WORKSPACE") or "workspace")
    place = _absolute(folder) if folder else default
    kept = CachedStatus(place, (columns(1, 1_000), rows_that_fit(0), uses_colour(), place == default, *chains))
    if (text := kept.text()) is not None:
        show(text, styled=True)
        return
    with uncollected():
        from detour.launch.text.status import are_chains, status_text
        from detour.ledger.workspace import Workspace
        from detour.monitoring.monitor import monitor

        monitored = monitor(Workspace.find(folder), with_segments=False)
        status = monitored.look(chains)
        text = status_text(status, one=are_chains(chains, status))
    show(text, styled=True)
    if status.is_still:
        kept.keep((row.id for chain in status.chains for row in chain.stages), monitored.factor_files, text)


def _absolute(path: str) -> str:
    """As `Workspace.find` does. `..` is kept: what stands before it may be a link."""
    return os.path.join(os.getcwd(), os.path.expanduser(path))  # noqa: PTH109, PTH111, PTH118
