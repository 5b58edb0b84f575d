"""Format figures for people: a fitting unit, three digits, the method, `unknown` for None."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite

from detour.accounting.energy import Band, EnergyFigure, Method
from detour.accounting.fates import Known
from detour.reporting.data import Chain, Cost, Phase, Stage, TaskScores
from detour.text import ENERGY_UNITS, MASS_UNITS, counted, format_count, format_duration, plain, scaled, unit_for
from detour.text import exact as exact_figure
from detour.times import DAY_S, local

UNKNOWN = "unknown"
OBTAINED = {
    Method.MEASURED: "measured",
    Method.SLURM: "counted by Slurm",
    Method.CODECARBON: "tracked by codecarbon",
    Method.ESTIMATED: "estimated",
    Method.CARD: "by the card's convention",
}
"""Methods in sentences, for readers unfamiliar with detour; tables use their names."""
METRICS = {"macro_f1": "macro F1", "micro_f1": "micro F1", "accuracy": "accuracy", "f1": "F1"}


def significant(value: float | None, digits: int = 3) -> str:
    """1234.5 -> `1,234`, 0.012345 -> `0.0123`; without exponents down to 1e-6."""
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
    """Format the range of a band in the unit of its expected value, `0.8 to 1.6 Wh`; empty if it has none."""
    if band is None or band.low == band.high:
        return ""
    scale, unit = unit_for(band.expected, units)
    return f"{significant(band.low / scale)} to {significant(band.high / scale)} {unit}"


def energy_spread(band: Band | None) -> str:
    return spread(band, ENERGY_UNITS)


def co2_spread(band: Band | None) -> str:
    return spread(band, MASS_UNITS)


def figure(value: float | None) -> str:
    """Format hours with enough digits for readers to check sums: `1,234.56`, `15.75`, `0.0974`."""
    return f"{value:,.2f}" if value is not None and abs(value) >= 0.1 else significant(value)


def hours(known: Known) -> str:
    """`0.123`, with a remark if it does not include some attempts."""
    if known.value is None:
        return UNKNOWN
    return figure(known.value) + (f" (+ {known.unknown} unknown)" if known.unknown else "")


def hours_of(known: Known, unit: str) -> str:
    """Format for a sentence: `1,234.56 GPU-hours`, `an unknown number of GPU-hours`."""
    return f"an unknown number of {unit}" if known.value is None else f"{hours(known)} {unit}"


def used_hours(cost: Cost) -> str:
    """Format its GPU-hours, or its CPU-hours if it used no GPU."""
    return hours_of(cost.hours(cost.has_gpus), f"{cost.device}-hours")


def percent(value: float | None, digits: int = 1) -> str:
    return UNKNOWN if value is None else f"{100 * value:.{digits}f}"


def instant(epoch_s: float | None, time_zone: str = "UTC") -> str:
    return UNKNOWN if epoch_s is None else local(epoch_s, time_zone).strftime("%Y-%m-%d %H:%M %Z")


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def metric(name: str | None) -> str:
    return METRICS.get(name or "", (name or "score").replace("_", " "))


def score(task: TaskScores) -> str:
    """`71.9 ± 0.8`, in percent; `2 of 3 seeds` while some are missing."""
    if task.mean is None:
        return f"{task.present} of {len(task.by_seed)} seeds"
    deviation = "" if task.standard_deviation is None else f" ± {percent(task.standard_deviation)}"
    return percent(task.mean) + deviation


def objective(phase: Phase) -> str:
    if phase.objective == "causal":
        return "causal"
    rate = "" if phase.masking_rate is None else f" at {100 * phase.masking_rate:g} %"
    return f"{phase.objective or 'unknown objective'}{rate}"


def cost_in_words(cost: Cost, row: EnergyFigure | None) -> str:
    """`0.05 CPU-hours, 1.2 Wh and 0.07 g CO2eq (estimated)`; `row` is the energy to quote."""
    parts = []
    if cost.gpu_hours.value is None or cost.gpu_hours.value > 0:
        parts.append(hours_of(cost.gpu_hours, "GPU-hours"))
    if cost.gpu_hours.value == 0 or not parts:
        parts.append(hours_of(cost.cpu_hours, "CPU-hours"))
    if row is None or row.facility_energy_kwh is None:
        return ", ".join([*parts, "energy by site" if is_by_site(cost) else "energy unknown"])
    parts.append(energy(row.facility_energy_kwh.expected))
    carbon = "CO2eq unknown" if row.co2_g is None else f"{co2(row.co2_g.expected)} CO2eq"
    return f"{', '.join(parts)} and {carbon} ({obtained(row)})"


def obtained(row: EnergyFigure) -> str:
    """`estimated`; `measured, 60 % of the time` if the figure does not cover all of it."""
    return OBTAINED[row.method] + partly(row)


def partly(*rows: EnergyFigure) -> str:
    """Return which share of the time energy figures include, empty if all of it."""
    uncounted_s, allocated_s = sum(row.uncounted_s for row in rows), sum(row.allocated_s for row in rows)
    return f", {percent(1 - uncounted_s / allocated_s, 0)} % of the time" if uncounted_s else ""


def is_by_site(cost: Cost) -> bool:
    """Whether there is no single energy figure to quote because those of several sites are not added."""
    known = any(row.it_energy_kwh is not None for row in cost.energy)
    return known and len({row.site.name for row in cost.energy}) > 1


def what_was_trained(chain: Chain) -> str:
    """`an encoder of 2.1M parameters on 300k tokens causal, then 60k tokens masked at 15 %`."""
    size = f"an encoder of {format_count(chain.parameters)} parameters" if chain.parameters else "an encoder"
    steps = [f"{format_count(phase.tokens)} tokens {objective(phase)}" for phase in chain.phases]
    return f"{size} on {', then '.join(steps)}" if steps else size


def what_came_out(chain: Chain, stages: Sequence[Stage]) -> str:
    """Return the scores, or why there are none."""
    stuck = [stage for stage in stages if stage.status == "failed"]
    if stuck:
        return f"not finished: {stuck[0].label} failed" + (f": {stuck[0].reason}" if stuck[0].reason else "")
    if chain.scores and all(task.mean is not None for task in chain.scores):
        scores = "; ".join(
            f"{metric(task.metric)} {score(task)} on {task.task} over {counted(len(task.by_seed), 'seed')}"
            for task in chain.scores
        )
        has_spread = any(task.standard_deviation is not None for task in chain.scores)
        return f"{scores} (± one standard deviation)" if has_spread else scores
    done = sum(stage.status == "done" for stage in stages)
    if done == len(stages):
        return "all stages are done; no benchmark was requested"
    return f"{chain.status}: {done} of {len(stages)} stages are done"


def wasted(cost: Cost) -> str:
    """Return a sentence on the share of hours that was not useful work."""
    fates, share = cost.fates(cost.has_gpus), cost.useful_share
    if share is None:
        return "Nothing ran."
    lost = fates.redone + fates.failed + fates.idle
    return (
        f"{used_hours(cost)} were allocated to {counted(cost.attempts, 'attempt')}, "
        f"{percent(1 - share)} % of them without useful work: {figure(fates.startup)} of start-up and restore, "
        f"{figure(lost)} lost to interruptions, failures or idling. Failed and repeated runs are in all figures."
    )


def wall(chain: Chain) -> str:
    """Return the time from the first start to the last end, including pauses between attempts."""
    if chain.started_s is None:
        return "not started"
    return "running" if chain.ended_s is None else format_duration(chain.ended_s - chain.started_s)


def text(value: object) -> str:
    """Format untrusted names and reasons as one line without control characters."""
    return "–" if value is None or value == "" else plain(str(value))


def whole(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def energy_of(band: Band | None) -> str:
    return energy(None if band is None else band.expected)


def co2_of(band: Band | None) -> str:
    return co2(None if band is None else band.expected)


def in_percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{percent(value)} %"


def moment(span_s: float, time_zone: str = "UTC") -> Callable[[float | None], str]:
    """Return a formatter of the ends of periods: with the time of day if the span is short."""
    return partial(instant if span_s < 3 * DAY_S else last_day, time_zone=time_zone)


def last_day(epoch_s: float | None, time_zone: str = "UTC") -> str:
    """Format the last day before an exclusive end, so that midnight is the end of the previous day."""
    return day(None if epoch_s is None else epoch_s - 1, time_zone)


def day(epoch_s: float | None, time_zone: str = "UTC") -> str:
    return UNKNOWN if epoch_s is None else local(epoch_s, time_zone).strftime("%Y-%m-%d")


def days(first_s: float, last_s: float, time_zone: str = "UTC") -> str:
    """`2026-07-01 to 2026-09-30 (Europe/Paris)`, both days included; UTC is not mentioned."""
    first, last = day(first_s, time_zone), day(last_s, time_zone)
    zone = "" if time_zone == "UTC" else f" ({time_zone})"
    return (first if first == last else f"{first} to {last}") + zone


def seconds(value: float | None) -> str:
    """Format a duration, short ones with a fraction: `1.8s`."""
    return f"{value:.2g}s" if value is not None and value < 10 else format_duration(value)


def advised(value: float | None) -> str:
    return "none" if value is None else format_duration(value)


def exact(value: float | None) -> str:
    """Format with up to six significant digits: `1,234.5`, `0.3836`, `0.0002`."""
    return UNKNOWN if value is None else exact_figure(value)


def signed(value: float | None) -> str:
    if value is None or value == 0:
        return UNKNOWN if value is None else "0"
    return f"{value:+.3g}" if abs(value) < 1000 else f"{value:+,.0f}"


def signed_figure(value: float | None) -> str:
    """Format signed hours with enough digits to check sums: `+0.37`, `-1.25`."""
    return UNKNOWN if value is None else f"{'+' if value > 0 else ''}{figure(value)}"


def signed_percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:+.1f} %"


def count_of(value: float | None) -> str:
    return UNKNOWN if value is None else significant(value) if value < 1000 else format_count(round(value))


def loss(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


def yes(value: bool) -> str:
    return "yes" if value else "–"


def amount_of(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{significant(value)} {unit}"
