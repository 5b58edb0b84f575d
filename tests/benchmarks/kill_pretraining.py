"""SIGKILL training processes at random instants, in both phases, also while a checkpoint is written, and count.

    python -m tests.benchmarks.kill_pretraining [--kills 20]

Each trial is a phase that is killed once and then run again to its end. It succeeds if the final weights and moments
are those of an undisturbed run, bit for bit, and the tokens are those planned.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from detour.checkpoints.trainer_state import TrainerState, read_trainer_state
from detour.config.models import Phase
from detour.pretraining.job import PretrainJob
from tests.pretraining.jobs import CLM, MLM, job, write_corpus
from tests.pretraining.process import finish, start

TIMEOUT_S = 300.0
STEPS = 24
"""With a checkpoint after each."""
IN_WRITE_EVERY = 5
"""Every fifth trial is killed halfway through writing a checkpoint, the others at a random instant."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator, counts = random.Random(options.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = write_corpus(folder / "corpus")
        uninterrupted = {phase.name: _undisturbed(folder, corpus, phase) for phase in (CLM, MLM)}
        trial = 0
        while counts["killed"] < options.kills:
            trial += 1
            phase = (CLM, MLM)[trial % 2]
            expected, took_s = uninterrupted[phase.name]
            made = _job(folder / f"trial{trial}", corpus, phase)
            where = _kill(made, took_s, generator, in_write=trial % IN_WRITE_EVERY == 0)
            if where is None:
                continue
            if finish(start(made), TIMEOUT_S):
                raise SystemExit(f"trial {trial}: the run after the kill failed")
            same = _same(read_trainer_state(made.output_dir / "checkpoint.safetensors"), expected)
            verdict = "bit-identical" if same else "DIFFERENT"
            counts.update(["killed", verdict, f"killed {where.partition(' of step')[0]}", f"killed in {phase.name}"])
            print(f"{counts['killed']:3d} {phase.name} killed {where}: {verdict}", flush=True)
    for label, count in sorted(counts.items()):
        print(f"{label:45s} {count:4d} of {options.kills}")
    return 0 if counts["bit-identical"] == options.kills else 1


def _job(folder: Path, corpus: Path, phase: Phase) -> PretrainJob:
    return job(folder, corpus, phase, steps=STEPS, training={"checkpoint_every": 1})


def _undisturbed(folder: Path, corpus: Path, phase: Phase) -> tuple[TrainerState, float]:
    """Its result, and the seconds from its first sign of life to its end."""
    made = _job(folder / f"undisturbed-{phase.name}", corpus, phase)
    process = start(made)
    _wait_for_first_sign(made)
    began_s = time.monotonic()
    if finish(process, TIMEOUT_S):
        raise SystemExit("the undisturbed run failed")
    return read_trainer_state(made.output_dir / "checkpoint.safetensors"), time.monotonic() - began_s


def _kill(made: PretrainJob, took_s: float, generator: random.Random, *, in_write: bool) -> str | None:
    """Where the process was when it died, as shown by what it left; None if it had ended before."""
    if in_write:
        finish(start(made, die_in_write=generator.randint(1, STEPS)), TIMEOUT_S)
        return "in a checkpoint write"
    process = start(made)
    _wait_for_first_sign(made)
    time.sleep(generator.uniform(0, took_s))
    process.kill()
    if finish(process, TIMEOUT_S) == 0:
        return None
    checkpoints = made.work_dir / "checkpoints"
    if list(checkpoints.glob(".writing-*")):
        return "in a checkpoint write"
    saved = [int(path.name.split("-")[1]) for path in checkpoints.glob("step-*")]
    return f"after the checkpoint of step {max(saved)}" if saved else "before its first checkpoint"


def _wait_for_first_sign(made: PretrainJob) -> None:
    """Wait until the model is built and the steps are about to begin."""
    give_up_s = time.monotonic() + TIMEOUT_S
    while not (made.work_dir / "config.json").exists():
        if time.monotonic() > give_up_s:
            raise SystemExit("training does not begin")
        time.sleep(0.005)


def _same(actual: TrainerState, expected: TrainerState) -> bool:
    if actual.optimizer is None or expected.optimizer is None:
        return False
    moments = actual.optimizer["state"]
    return (
        (actual.step, actual.tokens) == (expected.step, expected.tokens)
        and all(torch.equal(tensor, expected.model[name]) for name, tensor in actual.model.items())
        and all(
            torch.equal(tensor, expected.optimizer["state"][name][key])
            for name in moments
            for key, tensor in moments[name].items()
        )
    )


if __name__ == "__main__":
    sys.exit(main())
