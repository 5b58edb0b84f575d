"""The only place that knows Composer: its Trainer drives the steps, everything that must hold is decided outside.

Composer brings the loop, microbatches with exact token weights, DDP, autocast and users' loggers. It is not asked to
save, resume, schedule or watch for NaN: its checkpoints are not atomic, a truncated one makes it start anew, a schedule
restored half way raises the rate, and its NaN monitor stops one rank while the others hang. Those live in `train`.
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
"""Processes that read and mask the next steps' rows while a GPU computes."""
WATCHED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Hooks(Protocol):
    """What `train` does around every step; the same calls in the same order on all ranks."""

    def before_step(self, step: int, batches: Sequence[Batch]) -> None:
        """`step` counts from 0 within the phase; `batches` are its microbatches on this rank, on the CPU."""

    def after_backward(self) -> None:
        """Gradients are complete: accumulated over microbatches, averaged over ranks, not yet applied."""

    def after_step(self, steps_done: int, loss: float) -> dict[str, float]:
        """Returns what users' loggers are given. `loss` is the mean over all predicted tokens of the step."""

    @property
    def stopping(self) -> bool:
        """Whether to end after this step; asked after `after_step`."""


@dataclass(frozen=True, slots=True)
class Loop:
    """How the steps are run."""

    first_step: int
    steps: int
    rows_per_step: int
    tokens_per_step: int
    microbatch_rows: int
    """On one device."""
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
    """Train from `loop.first_step` to `loop.steps`, or to the step after which `hooks.stopping` is true.

    `loss_of` maps a Batch to its mean loss. Exceptions of the hooks come through unchanged.
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
    loader = DataLoader(
        batches, batch_size=None, num_workers=WORKERS if on_cuda else 0, collate_fn=_as_it_is, pin_memory=on_cuda
    )
    return composer.Trainer(
        model=_composer_model(composer, loss_of),
        train_dataloader=composer.DataSpec(
            loader,
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


def _token_counts(batch: Any) -> dict[str, int]:
    """Composer weights microbatches by `loss_generating`; given a plain number, it weights them by that instead."""
    return {"total": count_tokens(batch), "loss_generating": count_labels(batch)}


def _as_it_is(batches: Any) -> Any:
    return batches


def _already_split(batches: Any, _rows: int) -> Any:
    return batches


def _composer_model(composer: Any, loss_of: nn.Module) -> nn.Module:
    class LossModel(composer.ComposerModel):  # type: ignore[misc]
        """The loss is computed inside forward, where DDP prepares the reduction and autocast applies."""

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
    """Composer's, offline, into `loop.log_folder`; raises PermanentFailure naming the package that is missing.

    To be made on every rank: MLflow's talks to its peers, and all of them write on rank 0 only.
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
    """Composer asks a run for `get_url()`, which wandb has since replaced by `url`."""
    import wandb
    from composer.loggers import WandBLogger

    if not hasattr(wandb.Run, "get_url"):
        wandb.Run.get_url = lambda run: run.url
    return WandBLogger(
        project="detour", name=loop.run_name, init_kwargs={"mode": "offline", "dir": str(loop.log_folder)}
    )


def _mlflow(loop: Loop) -> Any:
    """Into plain files: mlflow would rather have a database, whose locks do not hold on every cluster's disks.

    There a metric is a file, so that `loss` rules out Composer's `loss/train/total`, which is the same figure.
    """
    from composer.loggers import MLFlowLogger

    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return MLFlowLogger(
        experiment_name="detour",
        run_name=loop.run_name,
        tracking_uri=f"file:{loop.log_folder}/mlflow",
        ignore_metrics=["loss/train/*"],
    )


@contextmanager
def _kept_signal_handlers() -> Iterator[None]:
    """Composer and its MLflow logger install handlers that exit without saving; the ones that were there come back."""
    handlers = {number: signal.getsignal(number) for number in WATCHED_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Composer's deprecation warnings concern its authors, not the person who trains."""
    logging.getLogger("composer").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _import_composer() -> Any:
    """Composer 0.32.1 imports torchvision and mcli for vision models and a hosted logger; where they are absent, empty
    modules stand in for them."""
    if "composer" not in sys.modules:
        for package in ("torchvision", "mcli"):
            if importlib.util.find_spec(package) is None:
                _stand_in(package)
    with uncollected():
        import composer

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
    # These look for the real torchvision: let them find that there is none.
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
