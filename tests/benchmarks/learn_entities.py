"""A tiny encoder from random weights learns nested entities of a QUAERO corpus: F1 compared with simple baselines.

    python -m tests.benchmarks.learn_entities [CORPUS [STEPS]]

CORPUS contains train, dev and test with `EMEA` in each, as released; without one, a few synthetic documents are learnt.
Run twice with one seed: the results must be equal to the bit. 600 steps take some two minutes of one core for each run.
The tokenizer is made from the training texts.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from transformers import ModernBertConfig, ModernBertForMaskedLM

from detour.config.models import Task
from detour.corpus.tokenizer import train_tokenizer
from detour.evaluation.entity_scores import entity_scores
from detour.evaluation.evaluators import Evaluation, evaluate
from detour.evaluation.windows import word_places
from detour.ledger.attempt import Attempt
from detour.tasks.document import Document, Entity
from detour.tasks.files import task_files
from detour.tasks.loading import TaskDocuments, load_task
from tests.support.layouts import write_quaero

WIDTH, LAYERS, CONTEXT = 128, 3, 512


def make_task(corpus: Path, steps: int) -> Task:
    return Task.model_validate(
        {
            "name": "emea",
            "type": "ner",
            "data": {"path": str(corpus / "*" / "EMEA"), "reader": "brat", "split_files": True},
            "max_length": 128,
            "steps": steps,
            "validate_every": max(1, steps // 4),
            "batch_sequences": 8,
            "lr": 1e-3,
            "head_lr": 2e-3,
            "gradient_clip": 10,
        }
    )


def make_model(folder: Path, documents: Sequence[Document]) -> None:
    tokenizer = train_tokenizer((line for document in documents for line in document.text.splitlines()), 2048, CONTEXT)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH // 2,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        cls_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )
    ModernBertForMaskedLM(config).save_pretrained(folder)


def baselines(documents: TaskDocuments) -> dict[str, float]:
    """F1 on the development split without a model."""
    label = Counter(entity.label for one in documents.train for entity in one.entities).most_common(1)[0][0]
    held = documents.validation
    every_word = [[Entity(label, (place,)) for place in word_places(one.text)] for one in held]
    true_spans = [[Entity(label, ((entity.start, entity.end),)) for entity in one.entities] for one in held]
    truth = [one.entities for one in held]
    return {
        f"every word {label}": entity_scores(truth, every_word, documents.labels, is_flat=False)["micro_f1"],
        f"the true spans, all {label}": entity_scores(truth, true_spans, documents.labels, is_flat=False)["micro_f1"],
    }


def run(task: Task, paths: Sequence[Path], model: Path, work: Path) -> Evaluation:
    work.mkdir()
    evaluation = evaluate(task, paths, model, 42, work, Attempt())
    print(f"{work.name}: {evaluation.result.pop('elapsed_s'):.0f} s, dev {evaluation.result['validation']}", flush=True)
    return evaluation


def main() -> None:
    torch.set_num_threads(1)
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 600
    if len(sys.argv) > 1:
        learn(make_task(Path(sys.argv[1]), steps))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_quaero(Path(folder))
        learn(make_task(Path(folder) / "QUAERO" / "corpus", 40))


def learn(task: Task) -> None:
    assert task.data is not None
    paths = task_files(task.data)
    documents = load_task(task, paths)
    print({split: counts.entities for split, counts in documents.entity_counts.items()}, baselines(documents))
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        make_model(model, documents.train)
        first, second = (run(task, paths, model, Path(folder) / name) for name in ("first run", "second run"))
    assert first == second, "one seed gives one result, to the bit"
    print(f"equal to the bit; test {first.result['test']}")


if __name__ == "__main__":
    main()
