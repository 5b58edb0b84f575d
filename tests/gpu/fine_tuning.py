"""Two seeds of a long-document task on this device: seconds, documents a second, peak memory.

    python -m tests.gpu.fine_tuning [--tiny]

The base model has random weights and the documents are made up, in the lengths and settings of the French multilabel
tasks (up to 4,096 tokens, batches of 4): what is measured is speed.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedTokenizerFast

from detour.config.models import Task
from detour.evaluation.evaluators import evaluate
from detour.ledger.attempt import Attempt

WORDS = {"cardio": "coeur", "neuro": "cerveau", "pneumo": "poumon"}
OTHERS = ("maladie", "chronique", "du", "de", "la", "sans", "autre", "avec")
SPECIAL = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "cls", "sep", "mask", "unk")}
TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
SEEDS = (42, 43)


@dataclass
class Listener:
    """What fine-tuning needs of an attempt."""

    stop_reason: str | None = None
    figures: list[dict[str, Any]] = field(default_factory=list)

    def progress(self, *_: object, **figures: Any) -> None:
        self.figures.append(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a small model and short documents, for a CPU")
    options = parser.parse_args()
    documents, longest = (60, 32) if options.tiny else (480, 4096)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = _model(folder / "model", TINY if options.tiny else {}, longest)
        data, task = _documents(folder / "task.jsonl", documents, longest), _task(documents, longest)
        for seed in SEEDS:
            started_s = time.perf_counter()
            work = folder / str(seed)
            work.mkdir()
            result = evaluate(task, [data], model, seed, work, cast(Attempt, Listener())).result
            elapsed_s = time.perf_counter() - started_s
            read = (task.epochs or 0) * documents * 0.8
            memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if torch.cuda.is_available() else ""
            scores = ", ".join(f"{metric} {value:.3f}" for metric, value in list(result["test"].items())[:2])
            print(f"seed {seed}: {elapsed_s:.1f} s, {read / elapsed_s:.1f} documents/s{memory}; {scores}", flush=True)


def _model(folder: Path, size: dict[str, int], longest: int) -> Path:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_word_tokenizer(), **SPECIAL)
    tokenizer.save_pretrained(folder)
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }
    torch.manual_seed(0)
    config = ModernBertConfig(vocab_size=len(tokenizer), max_position_embeddings=max(64, longest), **size, **special)
    ModernBertForMaskedLM(config).save_pretrained(folder)
    return folder


def _word_tokenizer() -> Tokenizer:
    words = [*SPECIAL.values(), *WORDS.values(), *OTHERS]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token=SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    first, last = SPECIAL["cls_token"], SPECIAL["sep_token"]
    ends = [(first, words.index(first)), (last, words.index(last))]
    tokenizer.post_processor = TemplateProcessing(single=f"{first} $A {last}", special_tokens=ends)
    return tokenizer


def _documents(file: Path, count: int, longest: int) -> Path:
    draw = random.Random(7)
    rows = []
    for number in range(count):
        label = draw.choice(sorted(WORDS))
        words = [WORDS[label], *draw.choices(OTHERS, k=draw.randrange(longest // 8, longest // 3)), str(number)]
        rows.append(json.dumps({"text": " ".join(words), "labels": [label]}))
    file.write_text("\n".join(rows) + "\n")
    return file


def _task(documents: int, longest: int) -> Task:
    return Task.model_validate(
        {
            "name": "organs",
            "type": "multilabel",
            "data": {"path": "task.jsonl", "label": "labels"},
            "split": {"train": documents * 8 // 10, "validation": documents // 10, "test": documents // 10},
            "max_length": longest,
            "epochs": 3,
            "batch_sequences": 4,
            "lr": 2e-5,
            "positive_weights": True,
        }
    )


if __name__ == "__main__":
    main()
