"""Sweeps of growing size, from YAML to a priced plan: `python -m tests.benchmarks.sweep_planning`.

Each size is planned as by `detour plan SWEEP --cluster jean-zay --json`, in this process, best of several runs; in CPU
seconds, since this machine may be busy. For comparison, in the same run, a bare loop: one `json.dumps` and one SHA-256
for every stage that the chains need, which is the least that content keys could cost without any sharing.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from detour.config.loading import load_cluster
from detour.launch.text.plan_tree import render_tree
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.plans import Planned, load_plans
from detour.orchestration.progress import progress_of
from detour.pricing.plan_price import price_plan
from detour.pricing.totals import gpu_hours_of
from tests.support.no_history import NoHistory

CONFIGS = Path(__file__).parents[2] / "configs"
ARMS = "{cases: {clm: {}, mlm: {phases.clm: {name: mlm-30, objective: masked, masking_rate: 0.3}}}}"
DECAYS = "{key: phases.mlm.tokens, values: [0.25B, 1B, 2B, 3B, 5B]}"
CHAINS_A_SEED = 10


class Row(NamedTuple):
    recipe: str
    chains: int
    needed: int
    distinct: int
    load_s: float
    price_s: float
    bare_s: float

    @property
    def total_s(self) -> float:
        return self.load_s + self.price_s


def write_sweep(folder: Path, recipe: str, chains: int) -> Path:
    path = folder / f"{recipe}-{chains}.yaml"
    seeds = ", ".join(map(str, range(chains // CHAINS_A_SEED)))
    base = CONFIGS / "recipes" / f"{recipe}.yaml"
    path.write_text(f"name: bench\nrecipe: {base}\naxes:\n  arm: {ARMS}\n  decay: {DECAYS}\nseeds: [{seeds}]\n")
    return path


def cpu_s(action: Callable[[], object]) -> float:
    gc.collect()
    start_s = time.process_time()
    action()
    return time.process_time() - start_s


def price(planned: Planned, workspace: Workspace) -> None:
    shared = planned.shared
    known = progress_of(LedgerView(workspace), shared.stages.values())
    render_tree(planned.plans, known)
    priced = price_plan(shared.stages.values(), load_cluster("jean-zay"), NoHistory())
    gpu_hours_of(shared.uses, priced.prices)


def bare_loop(stages: int) -> None:
    for number in range(stages):
        inputs = {"model": f"export-{number:016x}"}
        text = json.dumps(["evaluate", f"{number:064x}", inputs], sort_keys=True, separators=(",", ":"))
        hashlib.sha256(text.encode()).hexdigest()


def measure(folder: Path, recipe: str, chains: int, runs: int) -> Row:
    path = write_sweep(folder, recipe, chains)
    load_s, price_s = [], []
    for _ in range(runs):
        planned: list[Planned] = []
        load_s.append(cpu_s(lambda: planned.append(load_plans(path))))  # noqa: B023  called at once
        price_s.append(cpu_s(lambda: price(planned[0], Workspace(folder / "workspace"))))  # noqa: B023
    shared = planned[0].shared
    assert len(shared.plans) == chains
    bare_s = min(cpu_s(lambda: bare_loop(shared.needed)) for _ in range(runs))
    return Row(recipe, chains, shared.needed, len(shared.stages), min(load_s), min(price_s), bare_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--chains", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    options = parser.parse_args()
    print("recipe                     chains   needed  distinct   plan s  price s  total s  us/stage   bare s  ratio")
    with tempfile.TemporaryDirectory() as folder:
        for recipe in ("quickstart", "moderncamembert-bio-base"):
            for chains in options.chains:
                row = measure(Path(folder), recipe, chains, options.runs)
                print(
                    f"{row.recipe:25} {row.chains:>7,} {row.needed:>8,} {row.distinct:>9,} {row.load_s:>8.2f} "
                    f"{row.price_s:>8.2f} {row.total_s:>8.2f} {row.total_s / row.needed * 1e6:>9.1f} "
                    f"{row.bare_s:>8.3f} {row.total_s / row.bare_s:>6.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
