"""Plain training with transformers alone, as a baseline: whole rows, the library's own loss and Trainer.

Each row is one sequence, and the causal objective runs under the bidirectional mask, the only one that the library
has: the comparison is about speed, not about what is learnt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import ModernBertForMaskedLM, Trainer, TrainerCallback, TrainingArguments

from detour.pretraining.batches import Batch, Rows
from detour.pretraining.objectives import IGNORED, Objective, Vocabulary, make_example

Columns = dict[str, Tensor]


def plain_loss(model: ModernBertForMaskedLM) -> Callable[[Batch], Tensor]:
    """transformers' forward and loss of one microbatch."""

    def loss_of(batch: Batch) -> Tensor:
        ids = batch["input_ids"]
        labels = torch.full((ids.numel(),), IGNORED, device=ids.device)
        labels[batch["label_positions"]] = batch["labels"]
        loss: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels.view_as(ids)).loss
        return loss

    return loss_of


def trainer_tokens_per_s(
    model: ModernBertForMaskedLM,
    rows: Rows,
    objective: Objective,
    vocabulary: Vocabulary,
    *,
    steps: int,
    ready: int,
    rows_per_step: int,
    microbatch_rows: int,
    bf16: bool,
    folder: Path,
) -> float:
    """Speed of transformers' Trainer after its first `ready` steps. Raises ImportError without accelerate."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=microbatch_rows,
        gradient_accumulation_steps=rows_per_step // microbatch_rows,
        max_steps=steps,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    clock = _StepClock()
    data = _PlainRows(rows, objective, vocabulary, steps * rows_per_step)
    Trainer(model, arguments, data_collator=_stacked, train_dataset=data, callbacks=[clock]).train()
    tokens = (steps - ready) * rows_per_step * len(rows.row(0).input_ids)
    return tokens / (clock.ends_s[-1] - clock.ends_s[ready - 1])


class _StepClock(TrainerCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.ends_s: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends_s.append(time.perf_counter())


class _PlainRows(Dataset[Columns]):
    def __init__(self, rows: Rows, objective: Objective, vocabulary: Vocabulary, count: int) -> None:
        self.rows, self.objective, self.vocabulary, self.count = rows, objective, vocabulary, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Columns:
        example = make_example(self.rows.row(i), self.objective, self.vocabulary, (0, i))
        ids, labels = torch.from_numpy(example.input_ids), torch.from_numpy(example.labels)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def _stacked(examples: Sequence[Columns]) -> Columns:
    return {name: torch.stack([example[name] for example in examples]) for name in examples[0]}
