"""Figures as people read them: a fitting unit, three digits, the method named, `unknown` for None."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite

from detour.accounting.energy import LEAST_COVERAGE, PREFERENCE, Band
from detour.accounting.fates import Known
from detour.reporting.data import Chain, Cost, Phase, Stage, TaskScores
from detour.text import ENERGY_UNITS, MASS_UNITS, format_count, format_duration, scaled

UNKNOWN = "unknown"
METRICS = {"macro_f1": "macro F1", "micro_f1": "micro F1", "accuracy": "accuracy", "f1": "F1"}


def significant(value: float | None, digits: int = 3) -> str:
    """1234.5 -> `1,234`, 0.012345 -> `0.0123`; never in powers of ten above 1e-6."""
    if value is None or not isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return f"{value:.10f}".rstrip("0").rstrip(".") if "e" in text and abs(value) >= 1e-6 else text


def energy(kwh: float | None) -> str:
    return scaled(kwh, ENERGY_UNITS)


def co2(grams: float | None) -> str:
    return scaled(grams, MASS_UNITS)


def spread(band: Band | None, units: Sequence[tuple[float, str]]) -> str:
    """The range of a band in the unit of its expected value, `` when it has none: `0.8 to 1.6 Wh`."""
    if band is None or band.low == band.high:
        return ""
    scale, unit = next((one for one in units if abs(band.expected) >= one[0]), units[-1])
    return f"{significant(band.low / scale)} to {significant(band.high / scale)} {unit}"


def energy_spread(band: Band | None) -> str:
    return spread(band, ENERGY_UNITS)


def co2_spread(band: Band | None) -> str:
    return spread(band, MASS_UNITS)


def hours(known: Known) -> str:
    """`0.123`, with a mark when some attempts are not in it."""
    if known.value is None:
        return UNKNOWN
    return significant(known.value) + (f" (+ {known.unknown} unknown)" if known.unknown else "")


def percent(value: float | None, digits: int = 1) -> str:
    return UNKNOWN if value is None else f"{100 * value:.{digits}f}"


def instant(epoch_s: float | None) -> str:
    return UNKNOWN if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def loss_fall(phase: Phase) -> str:
    """`8.350 → 4.321`, validation loss of the starting weights and of the promoted checkpoint."""
    losses = (phase.parent_validation_loss, phase.validation_loss)
    if losses == (None, None):
        return UNKNOWN
    return " → ".join(UNKNOWN if loss is None else f"{loss:.3f}" for loss in losses)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def metric(name: str | None) -> str:
    return METRICS.get(name or "", (name or "score").replace("_", " "))


def score(task: TaskScores) -> str:
    """`71.9 ± 0.8`, in percent; `2 of 3 seeds` while some are missing."""
    if task.mean is None:
        present = sum(value is not None for value in task.by_seed.values())
        return f"{present} of {len(task.by_seed)} seeds"
    deviation = "" if task.standard_deviation is None else f" ± {percent(task.standard_deviation)}"
    return percent(task.mean) + deviation


def objective(phase: Phase) -> str:
    if phase.objective == "causal":
        return "causal"
    rate = "" if phase.masking_rate is None else f" at {100 * phase.masking_rate:g} %"
    return f"{phase.objective or 'unknown objective'}{rate}"


def quotable_method(costs: Sequence[Cost]) -> str | None:
    """The best method by which all of them can be quoted in a sentence, so that figures side by side are comparable.

    None when there is none. What stretches over several sites has no single figure.
    """
    tables = [{row.method: row for row in cost.energy if row.it_energy_kwh is not None} for cost in costs]
    if any(len({row.site for row in cost.energy}) > 1 for cost in costs):
        return None
    common = [method for method in PREFERENCE if all(method in rows for rows in tables)]
    sufficient = [method for method in common if all((rows[method].coverage or 0) >= LEAST_COVERAGE for rows in tables)]
    return next(iter(sufficient or common), None)


def cost_in_words(cost: Cost, method: str | None) -> str:
    """`0.05 CPU-hours, 1.2 Wh and 0.07 g CO2eq (codecarbon)`."""
    parts = []
    if cost.gpu_hours.value is None or cost.gpu_hours.value > 0:
        parts.append(f"{hours(cost.gpu_hours)} GPU-hours")
    if cost.gpu_hours.value == 0 or not parts:
        parts.append(f"{hours(cost.cpu_hours)} CPU-hours")
    row = next((row for row in cost.energy if row.method == method), None)
    if row is None or row.facility_energy_kwh is None:
        return ", ".join([*parts, "energy unknown"])
    parts.append(energy(row.facility_energy_kwh.expected))
    carbon = "CO2eq unknown" if row.co2_g is None else f"{co2(row.co2_g.expected)} CO2eq"
    return f"{', '.join(parts)} and {carbon} ({row.method})"


def what_was_trained(chain: Chain) -> str:
    """`an encoder of 2.1M parameters on 300k tokens causal, then 60k tokens masked at 15 %`."""
    size = f"an encoder of {format_count(chain.parameters)} parameters" if chain.parameters else "an encoder"
    steps = [f"{format_count(phase.tokens)} tokens {objective(phase)}" for phase in chain.phases]
    return f"{size} on {', then '.join(steps)}" if steps else size


def what_came_out(chain: Chain, stages: Sequence[Stage]) -> str:
    """The scores, or why there are none."""
    stuck = [stage for stage in stages if stage.status == "failed"]
    if stuck:
        return f"not finished: {stuck[0].label} failed" + (f": {stuck[0].reason}" if stuck[0].reason else "")
    if chain.scores and all(task.mean is not None for task in chain.scores):
        return "; ".join(
            f"{metric(task.metric)} {score(task)} on {task.task} over {len(task.by_seed)} seeds"
            for task in chain.scores
        )
    done = sum(stage.status == "done" for stage in stages)
    if done == len(stages):
        return "all stages are done; no benchmark was asked for"
    return f"{chain.status}: {done} of {len(stages)} stages are done"


def wasted(cost: Cost) -> str:
    """The share of the allocated time that was not useful work, in one sentence."""
    fates = cost.fates_s
    if cost.allocated_s <= 0:
        return "Nothing ran."
    share = 100 * (1 - fates.useful / cost.allocated_s)
    lost = fates.redone + fates.failed + fates.idle
    return (
        f"{format_duration(cost.allocated_s)} were allocated to {cost.attempts} attempts, {share:.0f} % of it for no "
        f"useful work: {format_duration(fates.startup)} of start-up and restore, {format_duration(lost)} lost to "
        "interruptions, failures or idling. Failed and repeated runs are in all figures of this page."
    )


def wall(chain: Chain) -> str:
    """From the first start to the last end, pauses between attempts included."""
    if chain.started_s is None:
        return "not started"
    return "running" if chain.ended_s is None else format_duration(chain.ended_s - chain.started_s)
