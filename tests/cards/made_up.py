"""A finished chain that used 16 GPU-hours, and a card from elsewhere; all names and figures are invented."""

from __future__ import annotations

from detour.ledger.workspace import Workspace
from detour.planning.stage import EvaluateStage, Stage
from tests.reporting.fabricate import HELD, Made, write_chain
from tests.support.stages import make_stages

TASKS = {"cases-30": 74.8, "cases-100": 60.1, "drugs": 71.0, "leaflets": 25.5, "talks": 63.6}
SEEDS = (42, 43, 44)
ON_GPUS = HELD | {"gpus": 4, "cpus": 96, "cluster": "jean-zay"}
WITHOUT = HELD | {"cluster": "jean-zay"}
CONFIG = {
    "architectures": ["ModernBertForMaskedLM"],
    "num_hidden_layers": 4,
    "hidden_size": 128,
    "num_attention_heads": 4,
    "max_position_embeddings": 1024,
    "vocab_size": 4096,
}


def stages(objective: str = "causal") -> list[Stage]:
    first = {"name": "one", "objective": objective, "tokens": 8000, "schedule": {"kind": "warmup_constant"}}
    first |= {"masking_rate": 0.3} if objective == "masked" else {}
    second = {"name": "two", "objective": "masked", "masking_rate": 0.15, "tokens": 4000}
    second |= {"schedule": {"kind": "one_minus_sqrt"}}
    tasks = [{"name": name, "type": "multilabel", "max_length": 64, "epochs": 1} for name in TASKS]
    benchmark = {"name": "made-up", "seeds": list(SEEDS), "tasks": tasks}
    sizes = {"data.sequence_length": 100, "batch.sequences": 4}
    return list(make_stages({**sizes, "phases": [first, second], "benchmark": benchmark}))


def run_chain(workspace: Workspace, name: str, objective: str = "causal", gain: float = 0.0) -> Workspace:
    """Create a finished chain: training held four GPUs for 3 h and for 1 h, the rest none."""
    workspace.create()
    made = Made(workspace)
    planned = stages(objective)
    write_chain(workspace, name, planned)
    hours = iter((3.0, 1.0))
    for stage in planned:
        if workspace.is_done(stage.id):
            continue
        files: dict[str, object] = {}
        if stage.kind == "promote":
            files = {"promotion.json": {"parameters": 1_000_000, "parent_validation_loss": 8.4, "validation_loss": 4.3}}
        elif stage.kind == "export":
            files = {"config.json": CONFIG, "export.json": {"dtype": "float32", "parameters": 1_000_000}}
        elif isinstance(stage, EvaluateStage):
            score = (TASKS[stage.task] + gain * (1 + 0.1 * (stage.seed - 43)) + (stage.seed - 43)) / 100
            files = {"result.json": {"primary_metric": "micro_f1", "test": {"micro_f1": score, "macro_f1": score / 2}}}
        if stage.kind == "pretrain":
            made.run(stage, next(hours) * 3600, files, ON_GPUS)
        else:
            made.run(stage, 60.0, files, WITHOUT)
    return workspace


CARD = """\
---
language:
- fr
license: apache-2.0
model-index:
- name: Made-up-base
results:
- task:
type: text-classification
name: Text Classification
dataset:
name: Cases-30
type: someone/cases
metrics:
- type: f1
value: 74.8
- task:
type: text-classification
name: Text Classification
dataset:
name: Cases-100
type: someone/cases
metrics:
- type: f1
value: 60.1
---

# Made-up-base

It is better by +2.0pp on average.

| Corpus | Tokens |
|---|---|
| One | 7B |
| Two | 500M |
| **Total** | **7.5B** |

Trained on 4× H100 80GB GPUs. Total: ~4 hours wall-clock (16 GPU-h, 0.46 kg CO₂eq).

| Model | Ctx | Cases-30 | Cases-100 | Drugs | Leaflets | Talks | Notes | **Avg** |
|---|---|---|---|---|---|---|---|---|
| **Made-up-base** | 8192 | **74.8** | **60.1** | 71.0 | 25.5 | 63.6 | 50.0 | **57.5** |
| Plain baseline (ours) | 8192 | 72.8 | 58.1 | 69.0 | 23.5 | 61.6 | 48.0 | 55.5 |
| Older | 512 | 60.0 | 60.0 | 60.0 | 60.0 | 60.0 | 60.0 | 61.0 |

Made-up-base beats the matched plain baseline on all 6 tasks (+2.0pp, binomial p=0.016).
"""


def framed(card: str) -> str:
    """Return the card with every line between two bars, as some viewers copy one."""
    return "".join(f"| {line} |\n" if line else "|\n" for line in card.splitlines())
