"""Training in separate processes, to be killed, stopped or run in parallel; forked with everything imported."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import types
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from detour.checkpoints.trainer_state import TrainerState, write_trainer_state
from detour.errors import Interrupted, PermanentFailure
from detour.pretraining import composer_seam, run
from detour.pretraining.job import PretrainJob
from detour.pretraining.train import train
from tests.pretraining.jobs import Recorder

composer_seam._import_composer()
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def start(
    job: PretrainJob, *, die_in_write: int | None = None, ranks: tuple[int, int, int, int] | None = None
) -> BaseProcess:
    """`die_in_write`: SIGKILL itself half way through writing that checkpoint, counted from 1. `ranks`: (rank, world
    size, ranks a node, port)."""
    process = _CONTEXT.Process(target=_train, args=(job, die_in_write, ranks))
    process.start()
    return process


def finish(process: BaseProcess, timeout_s: float = 120) -> int:
    """Return its exit code; a negative one is the signal that ended it."""
    process.join(timeout_s)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
        raise TimeoutError(f"training did not end within {timeout_s} s")
    return code


def send(process: BaseProcess, number: signal.Signals) -> None:
    assert process.pid is not None
    os.kill(process.pid, number)


def _train(job: PretrainJob, die_in_write: int | None, ranks: tuple[int, int, int, int] | None) -> None:
    torch.set_num_threads(1)
    recorder = Recorder()

    def request_stop(number: int, _frame: types.FrameType | None) -> None:
        recorder.stop_reason = f"signal {signal.Signals(number).name}"

    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, request_stop)
    if ranks is not None:
        rank, world_size, node_ranks, port = ranks
        os.environ.update(
            RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank % node_ranks),
            LOCAL_WORLD_SIZE=str(node_ranks), NODE_RANK=str(rank // node_ranks),
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
        )  # fmt: skip
    if die_in_write is not None:
        _die_in_write(die_in_write)
    try:
        train(job, recorder)
    except (Interrupted, PermanentFailure) as error:
        sys.exit(error.exit_code)


def _die_in_write(number: int) -> None:
    writes = iter(range(1, number + 1))

    def write_half(path: Path, state: TrainerState) -> None:
        write_trainer_state(path, state)
        if next(writes) == number:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(run, "write_trainer_state", write_half)  # noqa: B010  mypy takes it for a constant
