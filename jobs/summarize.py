"""Combine the results of a benchmark's tasks and seeds. Output: summary.json and summary.txt."""

from __future__ import annotations

import json
from typing import Any

from detour.evaluation.summary import as_text, summarize
from detour.files import write_atomic
from detour.jobs.context import StageContext
from detour.planning.stage import SummarizeStage


def run(context: StageContext[SummarizeStage]) -> dict[str, Any]:
    settings = context.stage.settings
    results = {}
    for role, folder in context.inputs.items():
        task, seed = role.rsplit("/", 1)
        results[task, int(seed)] = json.loads((folder / "result.json").read_bytes())
    summary = summarize(settings.tasks, settings.seeds, results)
    write_atomic(context.output_dir / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False))
    write_atomic(context.output_dir / "summary.txt", as_text(summary))
    return {"average": summary["average"]["primary"]["mean"], "missing": summary["missing"]}
