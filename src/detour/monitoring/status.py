"""The one read model of what is going on: for the command line, the live view, the web page and JSON.

`detour.monitoring.monitor` makes it. Every figure that is not known is None. Named tuples, because they are made at
import in a third of the time of dataclasses, and `detour status` is to answer at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from detour.ledger.state import StageStatus
from detour.monitoring.costs import EnergyTotal
from detour.monitoring.seen import SeenJob
from detour.text import stage_label

SCHEMA = 1


class StageRow(NamedTuple):
    """One stage; shared by several chains, it is the same in each."""

    id: str
    name: str
    """What people call it, whatever its seed: `evaluate icd10-chapter`."""
    seed: int | None
    kind: str
    status: StageStatus
    reason: str | None
    """Why it failed or stopped, in its own words."""
    inputs: tuple[str, ...]
    """Ids of the stages that it waits for."""
    done: int | None
    total: int | None
    unit: str | None
    """`done` of `total` tokens, documents or steps, as last reported."""
    rate_per_s: float | None
    """Units a second: of this moment while it runs, of its last attempt when it ended."""
    eta_s: float | None
    figures: Mapping[str, float | None]
    """As last reported: loss, validation_loss, lr..."""
    attempts: int
    jobs: tuple[str, ...]
    seen: tuple[SeenJob, ...]
    """Those of `jobs` that Slurm described, where it was asked."""
    elapsed_s: float | None
    """Over all attempts."""
    energy_kwh: float | None
    """Of the facility, by `energy_method`."""
    co2_g: float | None
    energy_method: str | None

    @property
    def label(self) -> str:
        return stage_label(self.name, self.seed)

    @property
    def fraction(self) -> float | None:
        if self.status == "done":
            return 1.0
        return min(self.done / self.total, 1.0) if self.done is not None and self.total else None

    @property
    def tokens_per_s(self) -> float | None:
        return self.rate_per_s if self.unit == "tokens" else None

    @property
    def loss(self) -> float | None:
        return self.figures.get("loss")


class ChainStatus(NamedTuple):
    name: str
    stages: tuple[StageRow, ...]
    elapsed_s: float | None
    """Sum over attempts, which may have run side by side."""
    energy: tuple[EnergyTotal, ...]
    """One a method, never to be added."""
    quoted: EnergyTotal | None
    """The one to quote; None when some site has no figure."""

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(stage.status for stage in self.stages))

    @property
    def is_done(self) -> bool:
        return all(stage.status == "done" for stage in self.stages)


class Status(NamedTuple):
    workspace: str
    now_s: float
    chains: tuple[ChainStatus, ...]
    warnings: tuple[str, ...] = ()
    """What could not be read, in sentences."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; derived figures of stages and chains included."""
        chains = []
        for chain in self.chains:
            rows = [
                {
                    **row._asdict(),
                    "label": row.label,
                    "seen": [job._asdict() for job in row.seen],
                    "fraction": row.fraction,
                    "tokens_per_s": row.tokens_per_s,
                    "loss": row.loss,
                }
                for row in chain.stages
            ]
            energy = {
                "energy": [total._asdict() for total in chain.energy],
                "quoted": chain.quoted._asdict() if chain.quoted else None,
            }
            counts = {"counts": chain.counts, "is_done": chain.is_done}
            chains.append({**chain._asdict(), "stages": rows, **energy, **counts})
        return {**self._asdict(), "schema": SCHEMA, "chains": chains}
