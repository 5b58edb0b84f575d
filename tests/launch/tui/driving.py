"""Drives the view of `detour watch` by keys, without a terminal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Static

from detour.launch.tui.app import Watch


def driven(app: Watch, act: Callable[[Pilot[None]], Awaitable[None]], size: tuple[int, int] = (80, 24)) -> None:
    """Let `act` press keys and look."""

    async def drive() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await act(pilot)

    try:
        asyncio.run(drive())
    finally:
        if app.failure is not None:
            raise app.failure


async def until(pilot: Pilot[None], holds: Callable[[], bool], most_s: float = 30.0) -> None:
    """Wait until a thread has done what keys asked for."""
    ends_s = time.monotonic() + most_s
    while not holds():
        assert time.monotonic() < ends_s
        await pilot.pause(0.05)


def text(screen: Screen[Any], widget: str) -> str:
    return str(screen.query_one(widget, Static).content)


def is_first(app: Watch) -> bool:
    """Whether no other screen is in front of the chains."""
    return app.screen is app.chains
