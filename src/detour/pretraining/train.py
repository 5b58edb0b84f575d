"""Run one pretraining phase to its last planned step, from the start or from the newest good checkpoint.

`train` only composes: rows, objective, model, optimizer and checkpoints come from their own modules, Composer drives
the steps, and `Run` holds what happens around each of them. An interrupted run ends with the same weights as an
uninterrupted one; on CPU bit for bit, with the thread count that the checkpoint restores.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from transformers import ModernBertForMaskedLM

from detour.checkpoints.promotion import CHECKPOINT, EARLIER_CHECKPOINT, HISTORY
from detour.checkpoints.store import Checkpoint, CheckpointStore
from detour.checkpoints.trainer_state import problem
from detour.corpus.layout import Index, read_index
from detour.corpus.packing import PackedRows
from detour.disk import with_room
from detour.errors import Interrupted, PermanentFailure
from detour.files import write_atomic
from detour.ledger.events import AttentionChosen, CheckpointResumed, CheckpointSkipped
from detour.pretraining.attention import MASK_BACKENDS, compile_layers, set_backend
from detour.pretraining.batches import Sharing, StepBatches, to_device
from detour.pretraining.composer_seam import run_steps
from detour.pretraining.device import use_bf16
from detour.pretraining.job import PretrainJob, Recorder, say
from detour.pretraining.kernel_choice import BrokenDevice, Choice, Heads, choose
from detour.pretraining.microbatch import microbatch_rows
from detour.pretraining.objectives import Objective, Vocabulary
from detour.pretraining.optimizer import ADAMW_BYTES, build_optimizer, freeze, load_optimizer_state
from detour.pretraining.ranks import Ranks, open_ranks
from detour.pretraining.residual import set_bf16_stream
from detour.pretraining.run import LossOf, Run
from detour.pretraining.start import load_model, set_attention_output_dropout
from detour.pretraining.state import restore_state

CONFIG = "config.json"
TRIAL_ROWS = 4
"""Rows on which attention kernels are timed."""


def train(job: PretrainJob, attempt: Recorder) -> dict[str, Any]:
    """Run the phase, or what is left of it, and return its metrics; a finished phase returns at once.

    `epochs` counts the passes over each source since the chain's first phase began.

    Call it on every rank; all of them return or raise the same. Raises Interrupted after a requested stop, once
    everything is saved, and PermanentFailure if retrying cannot help.
    """
    with open_ranks() as ranks:
        _check(job, ranks)
        store = CheckpointStore(job.work_dir / "checkpoints", job.stage)
        newest = ranks.from_main(_newest(store, attempt) if ranks.is_main else None)
        if newest is None or newest.step < job.steps:
            newest = _train_on(job, attempt, ranks, store, newest)
        if ranks.is_main:
            with_room(partial(_write_output, job, newest), say)
        ranks.wait()
        return _result(job, newest)


def _check(job: PretrainJob, ranks: Ranks) -> None:
    if job.batch_sequences % ranks.world_size:
        raise PermanentFailure(
            f"batch.sequences: {job.batch_sequences} rows cannot be shared equally by {ranks.world_size} processes"
        )


def _newest(store: CheckpointStore, attempt: Recorder) -> Checkpoint | None:
    newest, skipped = store.newest_good(problem)
    for damaged in skipped:
        attempt.event(CheckpointSkipped(path=str(damaged.path), step=damaged.step, reason=damaged.reason))
        say(f"the checkpoint of step {damaged.step:,} is left out: {damaged.reason}")
    if newest is not None:
        attempt.event(CheckpointResumed(step=newest.step, tokens=newest.tokens))
        say(f"resuming from the checkpoint of step {newest.step:,}")
    elif skipped:
        say("no checkpoint is left: starting from step 0")
    return newest


def _train_on(
    job: PretrainJob, attempt: Recorder, ranks: Ranks, store: CheckpointStore, newest: Checkpoint | None
) -> Checkpoint:
    if newest is not None and ranks.device.type == "cpu":
        torch.set_num_threads(newest.figures["threads"])
    index = read_index(job.corpus)
    model, optimizer = _model_and_optimizer(job, attempt, ranks, index, newest)
    if ranks.is_main:
        _write_config(job.work_dir / CONFIG, model.config.to_json_string())
    objective = Objective.of(job.phase)
    loss_of = LossOf(model, objective, job.training.cross_entropy)
    batches_of = partial(
        StepBatches,
        _rows(job),
        objective,
        Vocabulary.of(index),
        job.seeds.training,
        Sharing(job.first_row, job.batch_sequences, ranks.rank, ranks.world_size),
        range(newest.step if newest else 0, job.steps),
    )
    microbatch = _microbatch_rows(job, ranks, loss_of, optimizer, batches_of)
    if job.training.compile:
        compile_layers(model)
    run = Run(job, attempt, ranks, store, index, model, optimizer, newest, microbatch)
    run.start()
    try:
        run_steps(loss_of, optimizer, batches_of(microbatch), run.loop(), run)
    finally:
        run.writer.wait()
    if run.stop_reason is not None:
        raise Interrupted(f"{run.stop_reason}: saved at step {run.steps_done:,} of {job.steps:,}")
    assert run.saved is not None
    return run.saved


def _write_config(path: Path, content: str) -> None:
    """Write it only if it is not there, so that its mtime does not look like progress, or was cut short or changed."""
    if not path.is_file() or path.read_bytes() != content.encode():
        write_atomic(path, content)


def _model_and_optimizer(
    job: PretrainJob, attempt: Recorder, ranks: Ranks, index: Index, newest: Checkpoint | None
) -> tuple[ModernBertForMaskedLM, torch.optim.AdamW]:
    """Both on the device, in the state of the checkpoint, or as the phase starts without one."""
    model = load_model(job.start, index, job.seeds.training)
    choice = ranks.from_main(_choose_attention(job, model, ranks.device) if ranks.is_main else Choice("sdpa"))
    set_backend(model, choice.backend)
    if ranks.is_main:
        attempt.event(
            AttentionChosen(backend=choice.backend, layer_ms=dict(choice.layer_ms), refused=dict(choice.refused))
        )
    if job.precision == "bf16_residual":
        set_bf16_stream(model)
    freeze(model, job.phase.freeze)
    set_attention_output_dropout(model, job.phase.attention_output_dropout)
    model.to(ranks.device).train()
    optimizer = build_optimizer(model, job.optimizer)
    if newest is not None:
        restore_state(newest.path, model, optimizer)
    else:
        load_optimizer_state(model, optimizer, job.start.optimizer_state())
    return model, optimizer


def _microbatch_rows(
    job: PretrainJob,
    ranks: Ranks,
    loss_of: LossOf,
    optimizer: torch.optim.Optimizer,
    batches_of: Callable[[int], StepBatches],
) -> int:
    """The same on all ranks. Measured before layers are compiled: compiled layers never need more memory."""
    rows = job.batch_sequences // ranks.world_size
    if job.microbatch_sequences != "auto":
        return min(job.microbatch_sequences, rows)
    bf16 = use_bf16(job.precision, ranks.device)

    def run_rows(count: int) -> None:
        (batch, *_) = next(iter(batches_of(count)))
        try:
            with torch.autocast(ranks.device.type, torch.bfloat16, enabled=bf16):
                loss = loss_of(to_device(batch, ranks.device))
            torch.autograd.backward(loss)
        finally:
            loss_of.zero_grad()

    missing_moments = (
        0 if optimizer.state else ADAMW_BYTES * sum(p.numel() for p in loss_of.parameters() if p.requires_grad)
    )
    return ranks.from_main(microbatch_rows(rows, ranks.device, run_rows, missing_moments))


def _choose_attention(job: PretrainJob, model: ModernBertForMaskedLM, device: torch.device) -> Choice:
    setting, causal = job.training.attention, Objective.of(job.phase).causal
    if model.config.attention_dropout and setting not in MASK_BACKENDS:
        raise PermanentFailure(
            f"training.attention: {setting} cannot be used, because the model's config has `attention_dropout`, which "
            "packed kernels do not have: write `sdpa`, or set it to 0"
        )
    rows = _rows(job)
    first = [rows.row(job.first_row + i).cu_seqlens for i in range(TRIAL_ROWS)]
    lengths = torch.from_numpy(np.concatenate([np.diff(boundaries, prepend=0) for boundaries in first]))
    dtype = torch.bfloat16 if use_bf16(job.precision, device) else None
    try:
        return choose(setting, device, Heads.of(model.config, causal=causal), lengths.cumsum(0).to(torch.int32), dtype)
    except ValueError as error:
        raise PermanentFailure(f"training.attention: {setting} cannot be used here ({error}): write `auto`") from error
    except BrokenDevice as error:
        other = "sdpa" if setting == "varlen" else "varlen"
        raise PermanentFailure(f"training.attention: {error}: write `{other}`") from error


def _rows(job: PretrainJob) -> PackedRows:
    return PackedRows(job.corpus, "train", job.sequence_length, job.seeds.shuffle)


def _write_output(job: PretrainJob, final: Checkpoint) -> None:
    """Write the final state (a hard link if possible, otherwise a copy), the config and the gradient norms."""
    target = job.output_dir / (CHECKPOINT if final.path.suffix == Path(CHECKPOINT).suffix else EARLIER_CHECKPOINT)
    target.unlink(missing_ok=True)
    try:
        os.link(final.path, target)
    except OSError:
        shutil.copyfile(final.path, target)
    shutil.copyfile(job.work_dir / CONFIG, job.output_dir / CONFIG)
    norms = final.figures.get("gradient_norms", [])  # checkpoints of earlier versions have none
    write_atomic(job.output_dir / HISTORY, orjson.dumps({"gradient_norm": norms}))


def _result(job: PretrainJob, final: Checkpoint) -> dict[str, Any]:
    figures = final.figures
    return {
        "steps": final.step,
        "tokens": final.tokens,
        "final_loss": figures["loss"],
        "validation_loss": figures["validation_loss"],
        "validation_loss_start": figures["validation_loss_start"],
        "tokens_per_s": job.tokens / figures["train_s"],
        "microbatch_sequences": figures.get("microbatch_sequences"),  # unknown in checkpoints of earlier versions
        "epochs": _rows(job).epoch_of(job.first_row + job.steps * job.batch_sequences),
    }
