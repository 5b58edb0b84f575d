"""A corpus of random documents with a learnable pattern, and phases of milliseconds on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from detour.checkpoints.trainer_state import TrainerState, read_trainer_state
from detour.config.models import Freeze, Model, OneMinusSqrt, Optimizer, Phase, Seeds, Training, WarmupConstant
from detour.corpus.layout import SPLITS, SpecialTokens, Split
from detour.ledger.events import Event
from detour.pretraining.job import PretrainJob
from detour.pretraining.start import Start
from detour.speed.corpus import Documents, write_made_corpus

VOCABULARY = 64
CLS, SEP = 1, 2
ROW_TOKENS = 64
BATCH_ROWS = 16
CONFIG = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "local_attention": 16,
    "global_attn_every_n_layers": 3,
}


def write_corpus(folder: Path, documents: int = 400, seed: int = 0) -> Path:
    """Every document counts upwards from a random token by a random stride; few lengths keep the steps short."""
    generator = np.random.default_rng(seed)
    splits: dict[Split, Documents] = {}
    for split in SPLITS:
        texts = [_document(generator) for _ in range(documents if split == "train" else 40)]
        splits[split] = np.concatenate(texts), np.cumsum([*map(len, texts)])
    special = SpecialTokens(pad=0, cls=CLS, sep=SEP, mask=3)
    return write_made_corpus(folder, "counting", splits, VOCABULARY, ROW_TOKENS, special)


def _document(generator: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    length, first, stride = generator.choice([6, 14, 30]), generator.integers(60), generator.integers(1, 4)
    return np.concatenate([[CLS], 4 + (first + stride * np.arange(length)) % 60, [SEP]])


CLM = Phase(
    name="clm",
    objective="causal",
    tokens=1,
    schedule=WarmupConstant(kind="warmup_constant"),
    carry="weights+optimizer",
)
MLM = Phase(name="mlm", objective="masked", tokens=1, masking_rate=0.15, schedule=OneMinusSqrt(kind="one_minus_sqrt"))


def final_state(made: PretrainJob) -> TrainerState:
    return read_trainer_state(made.output_dir / "checkpoint.safetensors")


def job(folder: Path, corpus: Path, phase: Phase = CLM, **changes: Any) -> PretrainJob:
    """Return a phase of 12 steps with its folders in `folder`; `config` changes the model's, `training` its runtime."""
    config = CONFIG | changes.pop("config", {})
    training = {"checkpoint_every": 3, "attention": "auto"} | changes.pop("training", {})
    settings: dict[str, Any] = {
        "start": Start(Model(config=config)),
        "phase": phase,
        "optimizer": Optimizer(lr=3e-3, weight_decay=1e-5),
        "steps": 12,
        "warmup_steps": 4 if phase.objective == "causal" else 0,
        "batch_sequences": BATCH_ROWS,
        "sequence_length": ROW_TOKENS,
        "seeds": Seeds(),
        "precision": "auto",
        "first_row": 0,
        "corpus": corpus,
        "work_dir": folder / "work",
        "output_dir": folder / "output",
        "training": Training(**training),
        "microbatch_sequences": BATCH_ROWS,
        "name": phase.name,
    }
    made = PretrainJob(**(settings | changes))
    made.work_dir.mkdir(parents=True, exist_ok=True)
    made.output_dir.mkdir(exist_ok=True)
    return made


def frozen(phase: Phase, *ranges: tuple[int, int], embeddings: bool = False) -> Phase:
    held = tuple(Freeze(first=first, last=last, embeddings=embeddings) for first, last in ranges)
    return phase.model_copy(update={"freeze": held})


E = TypeVar("E", bound=Event)


@dataclass
class Recorder:
    """An attempt that records its events, and asks for a stop after `stop_at` tokens."""

    stop_at: int | None = None
    events: list[Event] = field(default_factory=list)
    figures: list[dict[str, float | None]] = field(default_factory=list)
    stop_reason: str | None = None

    def event(self, event: Event) -> None:
        self.events.append(event)

    def progress(self, done: int, total: int, unit: str, **figures: float | None) -> None:
        assert unit == "tokens"
        assert 0 <= done <= total
        self.figures.append({"tokens": done, **figures})
        if self.stop_at is not None and done >= self.stop_at:
            self.stop_reason = "signal SIGTERM"

    def steps(self, key: str) -> list[float]:
        """Return the figure at every step."""
        return [value for entry in self.figures if "lr" in entry and (value := entry[key]) is not None]

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]
