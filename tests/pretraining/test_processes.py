"""Training as processes: killed at any instant, stopped by signals, and several at once."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from detour.checkpoints.trainer_state import TrainerState
from detour.config.models import Optimizer, Phase
from detour.pretraining.job import PretrainJob
from tests.pretraining.jobs import CLM, MLM, final_state, job
from tests.pretraining.process import finish, send, start

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 240.0
both_phases = pytest.mark.parametrize("phase", [CLM, MLM], ids=["clm", "mlm"])


def wait_for_checkpoint(made: PretrainJob, process: BaseProcess) -> None:
    give_up_s = time.monotonic() + TIMEOUT_S
    while not list((made.work_dir / "checkpoints").glob("step-*")):
        assert process.is_alive()
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainerState]:
    ends = {}
    for phase in (CLM, MLM):
        made = job(tmp_path_factory.mktemp(phase.name), corpus, phase)
        assert finish(start(made), TIMEOUT_S) == 0
        ends[phase.name] = final_state(made)
    return ends


def assert_bit_identical(actual: TrainerState, expected: TrainerState) -> None:
    assert (actual.step, actual.tokens) == (expected.step, expected.tokens)
    assert actual.model.keys() == expected.model.keys()
    assert all(torch.equal(tensor, expected.model[name]) for name, tensor in actual.model.items())
    assert actual.optimizer is not None
    assert expected.optimizer is not None
    for name, moments in actual.optimizer["state"].items():
        assert all(torch.equal(moment, expected.optimizer["state"][name][key]) for key, moment in moments.items())


@both_phases
def test_a_training_killed_repeatedly_ends_with_the_same_weights(
    tmp_path: Path, corpus: Path, phase: Phase, uninterrupted: dict[str, TrainerState]
) -> None:
    """Killed halfway through the second checkpoint, then at a random instant, then left alone."""
    made = job(tmp_path, corpus, phase)
    assert finish(start(made, die_in_write=2), TIMEOUT_S) == -signal.SIGKILL
    assert list((made.work_dir / "checkpoints").glob(".writing-*"))
    process = start(made)
    time.sleep(random.uniform(0.2, 1.5))
    process.kill()
    assert finish(process, TIMEOUT_S) in (-signal.SIGKILL, 0)
    assert finish(start(made), TIMEOUT_S) == 0
    assert_bit_identical(final_state(made), uninterrupted[phase.name])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2], ids=lambda number: number.name)
def test_a_signal_saves_a_checkpoint_and_ends_with_its_exit_code(
    tmp_path: Path, corpus: Path, number: signal.Signals, uninterrupted: dict[str, TrainerState]
) -> None:
    made = job(tmp_path, corpus, training={"checkpoint_every": 1})
    process = start(made)
    wait_for_checkpoint(made, process)
    send(process, number)
    assert finish(process, TIMEOUT_S) == 85
    assert not (made.output_dir / "checkpoint.safetensors").exists()
    assert finish(start(made), TIMEOUT_S) == 0
    assert_bit_identical(final_state(made), uninterrupted["clm"])


@pytest.mark.parametrize(
    ("phase", "nodes", "node_ranks"),
    [(CLM, 1, 2), (MLM, 1, 2), (CLM, 2, 4)],
    ids=["clm on two GPUs", "mlm on two GPUs", "clm on two nodes of four"],
)
def test_several_ranks_learn_the_same_as_one(
    tmp_path: Path, corpus: Path, phase: Phase, nodes: int, node_ranks: int
) -> None:
    alone, together = (
        job(tmp_path / name, corpus, phase, steps=4, optimizer=Optimizer(lr=2e-4)) for name in ("alone", "together")
    )
    processes = [start(alone), *start_ranks(together, nodes * node_ranks, node_ranks)]
    assert [finish(process, TIMEOUT_S) for process in processes] == [0] * (1 + nodes * node_ranks)
    expected = final_state(alone)
    for name, tensor in final_state(together).model.items():
        torch.testing.assert_close(tensor, expected.model[name], atol=1e-6, rtol=0)
    assert final_state(together).tokens == expected.tokens


RARE = MLM.model_copy(update={"masking_rate": 0.01})
"""In batches of two rows, one has no masked token in the first step, and both have none in the third."""


def test_a_rank_without_a_token_to_predict_takes_part_in_the_step(tmp_path: Path, corpus: Path) -> None:
    alone, together = (
        job(tmp_path / name, corpus, RARE, steps=2, batch_sequences=2, optimizer=Optimizer(lr=2e-4))
        for name in ("alone", "together")
    )
    assert [finish(process, TIMEOUT_S) for process in (start(alone), *start_ranks(together))] == [0, 0, 0]
    expected = final_state(alone)
    for name, tensor in final_state(together).model.items():
        torch.testing.assert_close(tensor, expected.model[name], atol=1e-6, rtol=0)


def test_a_step_without_a_token_to_predict_ends_every_rank_for_good(tmp_path: Path, corpus: Path) -> None:
    made = job(tmp_path, corpus, RARE, steps=3, batch_sequences=2)
    assert [finish(process, TIMEOUT_S) for process in start_ranks(made)] == [86, 86]


def test_a_stop_on_one_rank_stops_all_ranks_after_the_same_step(tmp_path: Path, corpus: Path) -> None:
    made = job(tmp_path, corpus, steps=200, training={"checkpoint_every": 1})
    first, second = start_ranks(made)
    wait_for_checkpoint(made, first)
    send(second, signal.SIGTERM)
    assert [finish(process, TIMEOUT_S) for process in (first, second)] == [85, 85]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_user_loggers_do_not_deadlock_with_two_ranks(tmp_path: Path, corpus: Path, name: str) -> None:
    made = job(tmp_path, corpus, steps=2, training={"loggers": (name,)})
    assert [finish(process, TIMEOUT_S) for process in start_ranks(made)] == [0, 0]


ALONE = """
import sys
from pathlib import Path
import torch
from detour.pretraining.train import train
from tests.pretraining.jobs import MLM, Recorder, job
torch.set_num_threads(1)
train(job(Path(sys.argv[1]), Path(sys.argv[2]), MLM, steps=3), Recorder())
"""


def test_equal_trainings_write_the_same_bytes(tmp_path: Path, corpus: Path) -> None:
    def began(seed: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", ALONE, str(tmp_path / seed), str(corpus)]
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed})

    assert [process.wait(TIMEOUT_S) for process in [began("1"), began("2")]] == [0, 0]
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / seed / "output").iterdir()} for seed in ("1", "2")
    )
    assert first.keys() == {"checkpoint.safetensors", "config.json", "history.json"}
    assert [name for name in first if first[name] != second[name]] == []


def start_ranks(made: PretrainJob, world_size: int = 2, node_ranks: int = 2) -> list[BaseProcess]:
    """Start ranks that each have an output folder, as under the harness."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    jobs = [made, *(replace(made, output_dir=made.work_dir / f"rank{rank}") for rank in range(1, world_size))]
    return [start(job, ranks=(rank, world_size, node_ranks, port)) for rank, job in enumerate(jobs)]
