"""The only module that imports Composer: its Trainer drives the steps, and every guarantee is kept outside it.

Composer provides the loop, microbatches with exact token weights, DDP, autocast and the user's loggers. Saving,
resuming, scheduling and NaN checks are in `train` and `run`: Composer's checkpoints are not atomic, a truncated one
makes it start over, a schedule restored halfway raises the rate, and its NaN monitor stops one rank while the others
hang.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from detour.errors import PermanentFailure
from detour.imports import uncollected
from detour.pretraining.batches import Batch, StepBatches, count_labels, count_rows, count_tokens

WORKERS = 2
"""Data loader processes that prepare the next steps while a GPU computes."""
WATCHED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Hooks(Protocol):
    """Callbacks around every step, called in the same order on all ranks."""

    def before_step(self, step: int, batches: Sequence[Batch]) -> None:
        """`step` counts from 0 within the phase; `batches` are this rank's microbatches, still on the CPU."""

    def after_backward(self) -> None:
        """Called with final gradients: accumulated over microbatches, averaged over ranks, not yet applied."""

    def after_step(self, steps_done: int, loss: float) -> dict[str, float]:
        """Return the metrics for the user's loggers. `loss` is the mean over the step's labelled tokens."""

    @property
    def stopping(self) -> bool:
        """Whether to stop after this step; read after `after_step`."""


@dataclass(frozen=True, slots=True)
class Loop:
    """Range and size of the steps, and where their metrics go."""

    first_step: int
    steps: int
    rows_per_step: int
    tokens_per_step: int
    microbatch_rows: int
    """Rows of one forward pass on one device."""
    bf16: bool
    seed: int
    loggers: tuple[str, ...] = ()
    log_folder: Path = Path()
    run_name: str = "pretrain"


def run_steps(
    loss_of: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: StepBatches,
    loop: Loop,
    hooks: Hooks,
) -> None:
    """Train from `loop.first_step` to `loop.steps`, or until `hooks.stopping` is true after a step.

    `loss_of` maps a Batch to its mean loss. Exceptions raised by the hooks propagate unchanged.
    """
    with _kept_signal_handlers(), _quiet():
        composer = _import_composer()
        trainer = _trainer(composer, loss_of, optimizer, batches, loop, hooks)
    trainer.state.timestamp = _timestamp(composer, loop)
    try:
        trainer.fit()
    finally:
        trainer.engine.close()


def _trainer(
    composer: Any,
    loss_of: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: StepBatches,
    loop: Loop,
    hooks: Hooks,
) -> Any:
    on_cuda = torch.cuda.is_available()
    return composer.Trainer(
        model=_composer_model(composer, loss_of),
        train_dataloader=composer.DataSpec(
            loader_of(batches, WORKERS if on_cuda else 0, pinned=on_cuda),
            split_batch=_already_split,
            get_num_samples_in_batch=count_rows,
            get_num_tokens_in_batch=_token_counts,
        ),
        optimizers=optimizer,
        max_duration=f"{loop.steps}ba",
        device="gpu" if on_cuda else "cpu",
        precision="amp_bf16" if loop.bf16 else "fp32",
        device_train_microbatch_size=loop.microbatch_rows,
        accumulate_train_batch_on_tokens=True,
        callbacks=[_callback(composer, hooks)],
        loggers=_loggers(loop),
        run_name=loop.run_name,
        spin_dataloaders=False,
        progress_bar=False,
        seed=loop.seed,
    )


def loader_of(batches: StepBatches, workers: int, *, pinned: bool = False) -> DataLoader[list[Batch]]:
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pinned,
        worker_init_fn=_ignore_stop_signals,
    )


def _ignore_stop_signals(_worker: int) -> None:
    """Slurm sends SIGTERM to all processes of a step; it would end the workers, and the training before it has saved.

    Workers end with the training's process, however that ends.
    """
    for number in WATCHED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _token_counts(batch: Any) -> dict[str, int]:
    """Composer weights microbatches by `loss_generating`; given a plain number, it would use that instead."""
    return {"total": count_tokens(batch), "loss_generating": count_labels(batch)}


def _as_it_is(batches: Any) -> Any:
    return batches


def _already_split(batches: Any, _rows: int) -> Any:
    return batches


def _composer_model(composer: Any, loss_of: nn.Module) -> nn.Module:
    class LossModel(composer.ComposerModel):  # type: ignore[misc]
        """Computes the loss inside `forward`, where autocast applies and DDP prepares its reduction."""

        def __init__(self) -> None:
            super().__init__()
            self.loss_of = loss_of

        def forward(self, batch: Batch) -> Tensor:
            loss: Tensor = self.loss_of(batch)
            return loss

        def loss(self, outputs: Tensor, _batch: Batch) -> Tensor:
            return outputs

    return LossModel()


def _callback(composer: Any, hooks: Hooks) -> Any:
    class Events(composer.Callback):  # type: ignore[misc]
        def batch_start(self, state: Any, _logger: Any) -> None:
            hooks.before_step(state.timestamp.batch.value, state.batch)

        def after_train_batch(self, _state: Any, _logger: Any) -> None:
            hooks.after_backward()

        def batch_end(self, state: Any, logger: Any) -> None:
            loss = state.total_loss_dict["loss/train/total"]
            logger.log_metrics(hooks.after_step(state.timestamp.batch.value, loss))
            if hooks.stopping:
                state.stop_training()

    return Events()


def _timestamp(composer: Any, loop: Loop) -> Any:
    done, rows, tokens = (loop.first_step * unit for unit in (1, loop.rows_per_step, loop.tokens_per_step))
    return composer.Timestamp(
        batch=done, batch_in_epoch=done, sample=rows, sample_in_epoch=rows, token=tokens, token_in_epoch=tokens
    )


def _loggers(loop: Loop) -> list[Any]:
    """Composer's loggers, offline, writing to `loop.log_folder`.

    Create them on every rank: MLflow's communicates with its peers, and all of them write on rank 0 only. Raises
    PermanentFailure if a logger's package is missing.
    """
    from composer.utils.import_helpers import MissingConditionalImportError

    makers = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
    if loop.loggers:
        loop.log_folder.mkdir(parents=True, exist_ok=True)
    loggers = []
    for name in loop.loggers:
        try:
            loggers.append(makers[name](loop))
        except (ImportError, MissingConditionalImportError) as error:
            raise PermanentFailure(
                f"training.loggers: {name} needs its package: `pip install {name}`, or leave it out"
            ) from error
    return loggers


def _tensorboard(loop: Loop) -> Any:
    from composer.loggers import TensorboardLogger

    return TensorboardLogger(log_dir=str(loop.log_folder), flush_interval=10)


def _wandb(loop: Loop) -> Any:
    """Composer calls `get_url()` on a run, which wandb has since replaced with `url`."""
    import wandb
    from composer.loggers import WandBLogger

    if not hasattr(wandb.Run, "get_url"):
        wandb.Run.get_url = lambda run: run.url
    return WandBLogger(
        project="detour", name=loop.run_name, init_kwargs={"mode": "offline", "dir": str(loop.log_folder)}
    )


def _mlflow(loop: Loop) -> Any:
    """Write plain files: the locks of mlflow's default database do not hold on every cluster's file system.

    Each metric is then a file, so `loss` excludes Composer's `loss/train/total`, which is the same value.
    """
    from composer.loggers import MLFlowLogger

    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return MLFlowLogger(
        experiment_name="detour",
        run_name=loop.run_name,
        tracking_uri=(loop.log_folder / "mlflow").absolute().as_uri(),
        ignore_metrics=["loss/train/*"],
    )


@contextmanager
def _kept_signal_handlers() -> Iterator[None]:
    """Restore the signal handlers: those of Composer and its MLflow logger exit without saving."""
    handlers = {number: signal.getsignal(number) for number in WATCHED_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide Composer's deprecation warnings, which its users can do nothing about."""
    logging.getLogger("composer").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _import_composer() -> Any:
    """Composer 0.32.1 imports torchvision (vision models) and mcli (a hosted logger); empty modules replace them if
    they are not installed."""
    if "composer" not in sys.modules:
        for package in ("torchvision", "mcli"):
            if importlib.util.find_spec(package) is None:
                _stand_in(package)
    with uncollected():
        import composer
        from composer.utils import collect_env

    # Its Trainer starts another Python to find the processor's name, which it then does not use.
    collect_env.get_cpu_model = str
    return composer


def _stand_in(package: str) -> None:
    parts: dict[str, dict[str, dict[str, Any]]] = {
        "mcli": {"mcli": {}},
        "torchvision": {
            "torchvision": {"__version__": "0.0.0"},
            "torchvision.transforms": {"Compose": type("Compose", (), {})},
            "torchvision.transforms.functional": {},
            "torchvision.datasets": {"VisionDataset": type("VisionDataset", (), {})},
            "torchvision.models": {},
            "torchvision.models.resnet": {
                "Bottleneck": type("Bottleneck", (), {}),
                "BasicBlock": type("BasicBlock", (), {}),
            },
            "torchvision.utils": {"draw_segmentation_masks": None},
            "torchvision.ops": {"box_convert": None},
        },
    }
    # These probe for torchvision: import them before the stand-in exists, so that they find none.
    import torchmetrics  # noqa: F401
    import transformers.utils.import_utils  # noqa: F401

    for name, attributes in parts[package].items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.util.spec_from_loader(name, loader=None)
        module.__path__ = []
        module.__dict__.update(attributes)
        sys.modules[name] = module
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], leaf, module)
