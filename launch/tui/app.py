"""The application of `detour watch`: its first screen shows the chains, and keys put others in front of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from detour.launch.tui.chains import Chains
from detour.launch.tui.threads import GuardedApp
from detour.ledger.workspace import Workspace
from detour.monitoring.status import Status


class Watch(GuardedApp):
    TITLE = "detour watch"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]

    def __init__(self, workspace: Workspace, look: Callable[[], Status], first: Status, every_s: float) -> None:
        """`look` reads the status; it is called in a thread, every so many seconds after `first`."""
        super().__init__(ansi_color=True)
        self.chains = Chains(workspace, look, first, every_s)

    def on_mount(self) -> None:
        self.theme = "ansi-dark"  # the terminal's own colours
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)  # which gives the terminal back
        self.push_screen(self.chains)

    @property
    def is_ordering(self) -> bool:
        """Whether an order to Slurm is not carried out yet."""
        return self.chains.order is not None and self.chains.order.is_alive()
