"""What people type most, answered without click: `detour --help`, and `detour status` of all or of some chains.

Click's import takes three times as long as Python's own start. Whatever has another option is left to the verbs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from detour.imports import uncollected
from detour.launch.text.help import help_page
from detour.launch.text.screen import show


def answered(arguments: Sequence[str]) -> bool:
    """Whether these were arguments that are answered here, and so are done with."""
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
    """Where it is not, click has the words."""
    return os.path.isdir(folder) and os.access(folder, os.R_OK)  # noqa: PTH112


def _are_names(words: Sequence[str]) -> bool:
    return not any(word.startswith("-") for word in words)


def _show_status(folder: str | None, chains: Sequence[str]) -> None:
    with uncollected():
        from detour.launch.text.status import are_chains, show_status
        from detour.ledger.workspace import Workspace
        from detour.monitoring.monitor import monitor
    status = monitor(Workspace.find(folder)).look(chains)
    show_status(status, one=are_chains(chains, status))
