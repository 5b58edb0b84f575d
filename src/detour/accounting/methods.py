"""Energy by codecarbon, by Slurm, by an estimate and by the card's convention; M1 is `detour.accounting.measured`."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, isfinite
from typing import TYPE_CHECKING

from detour.accounting.energy import Band, EnergyFigure, Method
from detour.site import Site, Sourced

if TYPE_CHECKING:
    from detour.ledger.events import EnergyCounted

GPU_COUNTER_ERROR = 0.05
CPU_RAM_ERROR = 0.30
ESTIMATE_ERROR = 0.35
NODE_OVER_BOARDS = 1.5
"""Nodes of 8 H100 have been seen to draw 0.97 to 1.05 kW of IT power a GPU with a board limit of 0.7 kW."""
SLURM_ERROR = 0.10
SLURM_LIMIT_FACTOR = 1.5


def card_convention(site: Site, reserved_gpu_hours: float | None, allocated_s: float) -> EnergyFigure:
    """Reserved GPU-hours x board power; with PUE and grid factor this is what the authors' model cards print.

    16 GPU-h x 0.7 kW x 1.2 x 34 g/kWh = 456.96 g. It counts boards only, at their limit, whatever they did; as a
    convention it has no error band.
    """
    reason = None
    if reserved_gpu_hours is None:
        reason = "the number of GPUs is unknown"
    elif reserved_gpu_hours == 0:
        reason = "no GPU was reserved, and the convention counts GPUs only"
    elif site.gpu_board_w is None:
        reason = f"no board power is known for {site.name}"
    energy = None
    if reason is None and reserved_gpu_hours is not None and site.gpu_board_w is not None:
        energy = Band.around(reserved_gpu_hours * site.gpu_board_w.value / 1000)
    return EnergyFigure(
        method=Method.CARD,
        site=site,
        it_energy_kwh=energy,
        allocated_s=allocated_s,
        covered_s=allocated_s if energy else 0.0,
        scope="GPU boards",
        detail="reserved hours at the board's power limit",
        reason=reason,
    )


def estimated(
    site: Site,
    allocated_s: float,
    gpus: float | None,
    cores: int | None,
    ram_gb: float | None,
    utilisation: float = 1.0,
) -> EnergyFigure:
    """M2: GPUs x time x board power x utilisation + cores x time x core power + RAM x time x power a GB, +-35 %, and
    up to what whole nodes are known to draw: a job on a few cores has its part of fans and power supplies too.

    GPUs and cores must be known (0 is known), with their power where there are any. RAM that was not recorded is left
    out and the scope says so. `utilisation` is that of the GPUs; 1 when it was not recorded.
    """
    reason = None
    if gpus is None or cores is None:
        reason = f"the number of {'GPUs' if gpus is None else 'cores'} is unknown"
    elif gpus and site.gpu_board_w is None:
        reason = f"no board power is known for {site.name}"
    elif cores and site.core_w is None:
        reason = f"no power per core is known for {site.name}"
    energy = None
    if reason is None:
        boards_w = (gpus or 0) * _value(site.gpu_board_w) * utilisation
        rest_w = (cores or 0) * _value(site.core_w) + (ram_gb or 0.0) * _value(site.ram_w_per_gb)
        power_w = Band.around(boards_w + rest_w, ESTIMATE_ERROR)
        highest_w = max(power_w.high, boards_w * NODE_OVER_BOARDS)
        energy = Band(power_w.low, power_w.expected, highest_w) * (allocated_s / 3.6e6)
    ram = ram_gb is not None and site.ram_w_per_gb is not None
    parts = [name for name, count in (("GPU boards", gpus), ("CPU cores", cores)) if count]
    return EnergyFigure(
        method=Method.ESTIMATED,
        site=site,
        it_energy_kwh=energy,
        allocated_s=allocated_s,
        covered_s=allocated_s if energy else 0.0,
        scope=" and ".join(parts) + (" and RAM" if ram else ", RAM unknown"),
        detail="nominal power x reserved time",
        reason=reason,
    )


def slurm_counted(
    site: Site,
    consumed_j: float | None,
    allocated_s: float,
    *,
    is_exclusive: bool | None,
    gpus: float | None,
    cores: int | None,
    ram_gb: float | None,
) -> EnergyFigure:
    """M3: Slurm's ConsumedEnergyRaw of a job, which is that of its whole nodes: so of exclusive allocations only.

    Sensors at fault show as much more than the hardware can draw: above 1.5 times its nominal power it is rejected.
    """
    nominal = estimated(site, allocated_s, gpus, cores, ram_gb).it_energy_kwh
    kwh = (number(consumed_j) or 0.0) / 3.6e6
    reason = None
    if not kwh:
        reason = "Slurm recorded no energy"
    elif not is_exclusive:
        reason = "the nodes were shared, or may have been, and Slurm's energy is that of whole nodes"
    elif nominal is not None and kwh > SLURM_LIMIT_FACTOR * nominal.expected:
        reason = f"{kwh:.4g} kWh is more than {SLURM_LIMIT_FACTOR:g} times what the hardware draws at its limit"
    return EnergyFigure(
        method=Method.SLURM,
        site=site,
        it_energy_kwh=None if reason else Band.around(kwh, SLURM_ERROR),
        allocated_s=allocated_s,
        covered_s=0.0 if reason else allocated_s,
        scope="whole nodes",
        detail="ConsumedEnergyRaw of an exclusive allocation",
        tool="Slurm",
        reason=reason or (None if nominal else "not compared with the hardware's power, which is not known"),
    )


def tracked(site: Site, trackers: Sequence[EnergyCounted], allocated_s: float, nodes: int = 1) -> EnergyFigure:
    """What codecarbon journalled during one attempt (`EnergyMeter`), extended over the time that it did not see.

    `trackers` are the last flushes of the attempt's trackers, one a node. A flush is cumulative, so the last one holds
    all (adding up those of a day once gave 3.27 times the truth). Node-seconds that no tracker saw (before it was up,
    after the last flush of a killed attempt, nodes without one) are added at the mean power, with an estimate's band.
    Attempts at once all saw the whole node: each takes the part that its time is.
    """
    if not trackers:
        return _untracked(site, allocated_s, "codecarbon recorded nothing")
    known = [flush for flush in trackers if None not in (number(flush.energy_kwh), number(flush.duration_s))]
    reason = next((flush.reason for flush in reversed(trackers) if flush.reason), None)
    seen_s = fsum(number(flush.duration_s) or 0.0 for flush in known) / max(nodes, len(known), 1)
    if seen_s <= 0:
        return _untracked(site, allocated_s, reason or "codecarbon recorded nothing")
    own = min(1.0, allocated_s / seen_s)
    seen_kwh = own * fsum(number(flush.energy_kwh) or 0.0 for flush in known)
    gpu_kwh = own * fsum(number(flush.gpu_kwh) or 0.0 for flush in known)
    missing_s = max(0.0, allocated_s - seen_s)
    return EnergyFigure(
        method=Method.CODECARBON,
        site=site,
        it_energy_kwh=Band.around(gpu_kwh, GPU_COUNTER_ERROR)
        + Band.around(max(seen_kwh - gpu_kwh, 0.0), CPU_RAM_ERROR)
        + Band.around(extension_kwh(seen_kwh, seen_s, missing_s), ESTIMATE_ERROR),
        allocated_s=allocated_s,
        covered_s=min(seen_s, allocated_s),
        extended_s=missing_s,
        scope=known[-1].scope or "",
        detail=known[-1].detail or "",
        tool="codecarbon",
        version=known[-1].version or "",
        reason=reason,
    )


def extension_kwh(seen_kwh: float, seen_s: float, missing_s: float) -> float:
    """Energy of `missing_s` unseen seconds at the mean power of the `seen_s` seen ones; 0 when nothing is missing.

    Raises ValueError when time is missing and none was seen: there is no mean power then.
    """
    if missing_s <= 0:
        return 0.0
    if seen_s <= 0:
        raise ValueError("no time was seen, so there is no mean power to extend")
    return seen_kwh / seen_s * missing_s


def number(value: object) -> float | None:
    """A finite figure of 0 or more out of a record, which may hold anything; else None."""
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0:
        return float(value)
    return None


def _value(sourced: Sourced | None) -> float:
    return sourced.value if sourced is not None else 0.0


def _untracked(site: Site, allocated_s: float, reason: str) -> EnergyFigure:
    return EnergyFigure(Method.CODECARBON, site, None, allocated_s, 0.0, tool="codecarbon", reason=reason)
