"""What is mutated, and the commands that read it: shipped configurations, a workspace's state, files for a verb."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from detour.config.loading import load_cluster
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import write_chains
from detour.orchestration.plans import load_plans
from tests.accounting.test_energy_files import HEAD
from tests.cards.made_up import CARD, run_chain
from tests.sacct.dumps import job, lines_of
from tests.statistics.test_score_files import FIRST, SECOND, WIDE
from tests.support.past import Past
from tests.usage.test_site_export import SREPORT

CONFIGS = Path(__file__).parents[2] / "configs"
KINDS = ("recipe", "sweep", "cluster", "budget", "state", "chain", "people", "data")
DUMP = "".join(lines_of(job(), job(JobID="18_[1-9]", JobIDRaw="18"), job(JobID="19", State="CANCELLED by 7")))
SCORES = "model,task,seed,metric,value\nours,cases,1,f1,0.5\nours,cases,2,f1,0.75\ntheirs,cases,1,f1,0.25\n"
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
HOURS = [NOW + timedelta(hours=hour) for hour in range(-24, 400)]
FACTORS = "hour,g_per_kwh\n" + "".join(f"{hour.isoformat()},{20 + hour.hour}\n" for hour in HOURS)
PROJECT = """name: Detours
people: [A, B]
released: [made-up]
equivalents: [{name: km, grams: 106.8, source: me}]
"""
BUNDLE = {
    "schema": 1,
    "job": "17",
    "sacct": [job(State="FAILED", ExitCode="1:0"), job(JobID="17.batch", State="OUT_OF_MEMORY", ExitCode="0:125")],
    "squeue": None,
    "log_tail": ["step 1", "CUDA out of memory. Tried to allocate 2.00 GiB", "slurmstepd: error: oom-kill"],
    "events": [{"kind": "attempt.started", "wall_s": 1.0, "attempt": 1, "data": {"node": "n1"}}],
    "unreadable": {"squeue": "no answer"},
}
ENERGY = HEAD + "2026-01-01T01:00:00,p,r1,3600,0.034,0.2,0.8,0.2,1.2,FRA,3.3.2,4,machine,1.2\n"
CSV = "label;text\n" + "".join(f'{"ab"[row % 2]};"un texte numéro {row}"\n' for row in range(60))
JSONL = "".join(json.dumps({"label": "ab"[row % 2], "text": f"un texte numéro {row}"}) + "\n" for row in range(60))


RECIPE = """extends: RECIPES/quickstart.yaml
name: mine
data: {sources: [{name: icd10-labels, package: null, exclude: null, path: ROWS, format: null, column: text}]}
benchmark:
  name: mine
  seeds: [1]
  tasks:
    - name: labels
      type: single_label
      max_length: 32
      epochs: 1
      data: {path: ROWS, text: text, label: label}
      split: {train: 60, validation: 20, test: 20, unit: percent}
""".replace("RECIPES", str(CONFIGS / "recipes"))


class Case(NamedTuple):
    kind: str
    path: Path
    commands: Sequence[Sequence[str]]


def cases(folder: Path) -> list[Case]:
    return [*_configurations(folder), *_state(folder), *_chain(folder), *_for_people(folder), *_data(folder)]


def _configurations(folder: Path) -> Iterator[Case]:
    for kind, commands in (
        ("recipe", [["plan", "{}"]]),
        ("sweep", [["plan", "{}"]]),
        ("cluster", [["clusters", "{}"], ["plan", "quickstart", "--cluster", "{}"]]),
        ("budget", [["budget", "{}"]]),
    ):
        for path in sorted((CONFIGS / f"{kind}s").glob("*.yaml")):
            copied = folder / "configs" / f"{kind}s" / path.name
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copied)
            yield Case(kind, copied, [[part.format(copied) for part in command] for command in commands])


def _state(folder: Path) -> Iterator[Case]:
    """A small workspace as left by `submit` and a job, and the files in it that verbs read."""
    workspace = Workspace(folder / "workspace")
    workspace.create()
    planned = load_plans(CONFIGS / "recipes" / "quickstart.yaml")
    write_chains(workspace, planned.plans, load_cluster("local"))
    past, stages = Past(workspace, "segment-1"), [stage.id for stage in planned.plans[0].stages]
    past.attempt(stages[0], 1_767_300_000.0, 60.0, gpus=0, cpus=2, cluster="local")
    past.attempt(stages[1], 1_767_300_100.0, None, gpus=1, cpus=2, cluster="jean-zay")
    past.write()
    for stage in stages[:2]:
        workspace.output(stage).mkdir(parents=True, exist_ok=True)
    workspace.manifest(stages[0]).write_text('{"sha256": "0", "files": {}, "stage": {}, "result": {"documents": 3}}')
    workspace.failure(stages[1]).write_text('{"reason": "the loss is not finite", "attempt": 1, "job": "7"}')
    commands = [
        *[
            "status --offline",
            "status --json",
            "show quickstart",
            "wait --timeout 0s",
            "list",
            "why",
            "plan quickstart",
        ],
        *["plan quickstart", "prices", "budget", "gc --dry-run", f"report -o {folder}/report.html"],
    ]
    yield from _in(workspace, "state", commands)


def _chain(folder: Path) -> Iterator[Case]:
    """A workspace whose two chains are finished, with their scores."""
    workspace = run_chain(Workspace(folder / "finished"), "made-up")
    run_chain(workspace, "other", "masked", gain=1.0)
    commands = [
        *["models", "models show made-up", "compare made-up other", "card made-up --print", "energy", "show made-up"],
        *[f"report -o {folder}/finished", "report --json"],
    ]
    yield from _in(workspace, "chain", commands)


def _in(workspace: Workspace, kind: str, commands: Sequence[str]) -> Iterator[Case]:
    for path in sorted(workspace.root.rglob("*")):
        if path.suffix in (".json", ".jsonl") and path.is_file():
            yield Case(kind, path, [[*command.split(), "-w", str(workspace.root)] for command in commands])


def _for_people(folder: Path) -> Iterator[Case]:
    place, about = f"-w {folder}/finished", (CONFIGS / "cards" / "quickstart.yaml").read_text()
    for name, content, commands in (
        ("dump.txt", DUMP, ["usage {0}", "usage {0} --json --skip-broken", "forecast --replay {0} {1}"]),
        ("scores.csv", SCORES, ["compare {0} {1}"]),
        ("scores.jsonl", f"{FIRST}\n{SECOND}\n", ["compare {0} other {1}"]),
        ("scores.json", '{"ours": {"cases": {"1": 0.5, "2": 0.75}}}', ["compare {0} other --format latex {1}"]),
        ("table.md", WIDE, ["compare {0} --format markdown {1}"]),
        ("emissions.csv", ENERGY, ["energy {0} {1}", "energy {0} made-up --json {1}"]),
        ("about.yaml", about, ["card made-up --print --about {0} {1}"]),
        ("card.md", CARD, ["card verify {0} {1}"]),
        ("bundle.json", json.dumps(BUNDLE), ["why --from {0} {1}"]),
        ("project.yaml", PROJECT, ["report -o {0}.html --project {0} {1}"]),
        ("site.txt", SREPORT, ["report -o {0}.html --site-figure {0} --site-account abc@h100 {1}"]),
        ("factors.csv", FACTORS, ["plan quickstart --cluster jean-zay --when --factors {0}"]),
    ):
        path = folder / "people" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        yield Case("people", path, [command.format(path, place).split() for command in commands])


def _data(folder: Path) -> Iterator[Case]:
    """Files that a recipe names: texts, a task's labels, a model."""
    from tests.checkpoints.tiny import tiny_model

    place = folder / "data"
    tiny_model().save_pretrained(place / "model")
    for name, content in (("rows.csv", CSV), ("rows.jsonl", JSONL)):
        (place / name).write_text(content)
        separator = ", separator: ;" if name == "rows.csv" else ""
        (place / f"{name}.yaml").write_text(RECIPE.replace("ROWS", f"{place}/{name}{separator}"))
        yield Case("data", place / name, [["plan", f"{place}/{name}.yaml"]])
    for path in (place / "model" / "config.json", place / "model" / "model.safetensors"):
        yield Case("data", path, [["plan", f"{place}/rows.csv.yaml", f"model={{pretrained: {place}/model}}"]])
