"""The report as a BoAmps record (Boavizta), with the known fields of its public schema.

Energies are those of IT equipment, one measure per method, and must not be added up.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import ceil
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from detour.accounting.energy import EnergyFigure, Method
from detour.reporting.efficiency import consumed_tokens
from detour.reporting.report import Hardware, Report

STAGES = {"prepare": "preprocessing", "pretrain": "training", "evaluate": "finetuning"}
METHODS = {
    Method.MEASURED: "NVML energy counters",
    Method.SLURM: "Slurm ConsumedEnergyRaw",
    Method.CODECARBON: "codecarbon",
    Method.ESTIMATED: "estimation by nominal power",
    Method.CARD: "GPU-hours x board power limit",
}
"""Names of methods; the schema has free text here."""
QUALITY = ((0.10, "high"), (0.25, "medium"))
"""Maximum relative error of each quality; above, it is low."""


def boamps(report: Report) -> dict[str, Any]:
    kinds = dict.fromkeys(stage.kind for stage in report.stages.values() if stage.attempts)
    rows = [row for row in report.total.energy if row.it_energy_kwh is not None]
    countries = list(dict.fromkeys(one.country for one in report.hardware if one.country))
    grid = next((row.site.grid_g_per_kwh.value for row in rows if row.site.grid_g_per_kwh), None)
    starts = [attempt.started_s for stage in report.stages.values() for attempt in stage.attempts]
    return {
        "header": _header(report),
        "task": {
            "taskStage": "+".join(STAGES[kind] for kind in STAGES if kind in kinds) or "training",
            "taskFamily": "language model pretraining",
            "algorithms": _algorithms(report),
            "dataset": [{"dataUsage": "input", "dataType": "token", **_known(dataQuantity=_tokens(report))}],
        },
        "measures": [_measure(row, min(starts, default=None)) for row in rows],
        "system": {"os": "linux"},
        "software": {"language": "python", **_known(version=next(iter(report.versions.python), None))},
        "infrastructure": {
            "infraType": "onPremise",
            "components": [component for one in report.hardware for component in _components(one)],
        },
        **({"environment": {"country": countries[0], **_known(powerSourceCarbonIntensity=grid)}} if countries else {}),
        **_known(quality=_quality(rows)),
    }


def _header(report: Report) -> dict[str, Any]:
    owner = report.owner
    return {
        "reportId": str(uuid5(NAMESPACE_OID, f"{report.workspace} {report.title} {report.generated_s}")),
        "reportDatetime": _instant(report.generated_s),
        "reportStatus": "draft",
        "publisher": {
            "confidentialityLevel": "internal",
            **_known(name=owner and owner.institution, projectName=owner and owner.project),
        },
    }


def _algorithms(report: Report) -> list[dict[str, Any]]:
    """Return one entry per model size."""
    packages = report.versions.packages
    sizes = dict.fromkeys(chain.parameters for chain in report.chains)
    framework, versions = next(
        ((name, packages[name]) for name in ("transformers", "torch") if name in packages), (None, [None])
    )
    return [
        {
            "trainingType": "selfSupervisedLearning",
            "algorithmType": "neural network",
            "algorithmName": "ModernBERT encoder",
            **_known(
                parametersNumber=None if size is None else size / 1e9, framework=framework, frameworkVersion=versions[0]
            ),
        }
        for size in sizes
    ]


def _tokens(report: Report) -> int | None:
    """Return the tokens that all trainings consumed; None if the period has only a part of one."""
    phases = {phase.stage: phase for chain in report.chains for phase in chain.phases}
    trained = [(phase, report.stages[stage_id]) for stage_id, phase in phases.items()]
    known = [tokens for phase, stage in trained if (tokens := consumed_tokens(phase, stage)) is not None]
    return sum(known) if known and not any(stage.is_cut for _, stage in trained) else None


def _measure(row: EnergyFigure, start_s: float | None) -> dict[str, Any]:
    assert row.it_energy_kwh is not None
    return {
        "measurementMethod": f"{METHODS[row.method]} ({row.site.name})",
        "powerConsumption": row.it_energy_kwh.expected,
        **_known(
            version=row.version or None,
            measurementDuration=min(row.covered_s, row.allocated_s),
            measurementDateTime=None if start_s is None else _instant(start_s),
        ),
    }


def _components(one: Hardware) -> Iterator[dict[str, Any]]:
    """Yield the hardware components of known number, which the schema requires; MIG slices are boards with a share."""
    if one.most_gpus:
        boards = ceil(one.most_gpus)
        memory = None if one.gpu_memory_gb is None else round(one.gpu_memory_gb)
        share = None if boards == one.most_gpus else one.most_gpus / boards
        known = _known(componentName=_named(one), memorySize=memory, share=share)
        yield {"componentType": "gpu", "nbComponent": boards, **known}
    if one.most_cpus:
        yield {"componentType": "cpu", "nbComponent": one.most_cpus, "componentName": "cores of a job"}


def _named(one: Hardware) -> str | None:
    return f"{one.gpu or 'GPU'} (simulated)" if one.simulated else one.gpu


def _quality(rows: list[EnergyFigure]) -> str | None:
    """Return the quality by the band of the first method, which is the best."""
    energy = rows[0].it_energy_kwh if rows else None
    if energy is None or not energy.expected:
        return None
    error = max(energy.high - energy.expected, energy.expected - energy.low) / energy.expected
    return next((quality for most, quality in QUALITY if error <= most), "low")


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _instant(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
