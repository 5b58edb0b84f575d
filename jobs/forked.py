"""Several seeds of a task on a CPU at once: processes that go on from what this one has imported and read.

So they share a start that takes half as long as a small fine-tuning. Nothing may have been computed here before, for
the threads of OpenMP do not live on in a fork; and no GPU may be used, for CUDA does not either.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkProcess

from detour.errors import Interrupted
from detour.imports import uncollected
from detour.jobs.at_once import forwarding, joint_exit_code
from detour.jobs.log import LOGGER
from detour.jobs.signals import STOP_SIGNALS

Run = Callable[[Sequence[str]], int]
"""Runs stages one after the other; returns an exit code."""


def run_forked(run: Run, shares: Sequence[Sequence[str]], prepare: Callable[[], None]) -> int:
    """Run each share in a process of its own, all at the same time; returns one exit code for all when they have ended.

    prepare  imports and reads, before the fork, what the shares have in common. Should it fail, each meets that again

    A signal to stop reaches each of them, one during the preparation once they have begun. One that ends badly leaves
    the others running.
    """
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_run_share, args=(run, share)) for share in shares]
    begun, early = False, list[int]()

    def answer(number: int) -> None:
        if begun:
            _send(children, number)
        else:
            early.append(number)

    with forwarding(answer):
        _try(prepare)
        with _stop_signals_held_back():
            for child in children:
                child.start()
        begun = True
        for number in early:
            _send(children, number)
        for child in children:
            child.join()
    return joint_exit_code([1 if child.exitcode is None else child.exitcode for child in children])


def _try(prepare: Callable[[], None]) -> None:
    try:
        with uncollected():
            prepare()
    except Exception as error:  # noqa: BLE001  each share meets it again, and records it
        LOGGER.warning("each seed reads its task itself: %s", error)


def _run_share(run: Run, share: Sequence[str]) -> None:
    for number in STOP_SIGNALS:  # until a stage begins and answers them
        signal.signal(number, lambda *_: sys.exit(Interrupted.exit_code))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    sys.exit(run(share))


def _send(children: Sequence[ForkProcess], number: int) -> None:
    for child in children:
        if child.pid is not None and child.exitcode is None:
            os.kill(child.pid, number)


@contextmanager
def _stop_signals_held_back() -> Iterator[None]:
    """A child that has just been forked would answer them as this process does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
