"""Energy from codecarbon, from Slurm, by an estimate and by the card's convention; for M1 see `measured`."""

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
"""Node power over board power: nodes of 8 H100 draw 0.97 to 1.05 kW of IT power per GPU with a 0.7 kW limit."""
UNREAD = "no energy counter was read"
SLURM_ERROR = 0.10
SLURM_LIMIT_FACTOR = 1.5


def card_convention(site: Site, reserved_gpu_hours: float | None, allocated_s: float) -> EnergyFigure:
    """Return reserved GPU-hours x board power, which with PUE and grid factor is the figure in model cards.

    16 GPU-h x 0.7 kW x 1.2 x 34 g/kWh = 456.96 g. It includes only boards, at their limit, whatever their load. As a
    convention, it has no error band.
    """
    reason = energy = None
    if reserved_gpu_hours is None:
        reason = "the number of GPUs is unknown"
    elif reserved_gpu_hours == 0:
        reason = "no GPU was reserved, and the convention counts GPUs only"
    elif site.gpu_board_w is None:
        reason = f"no board power is known for {site.name}"
    else:
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
) -> EnergyFigure:
    """Return M2: GPUs x time x board power + cores x time x core power + RAM x time x power per GB.

    The band is +-35 %, extended up to what whole nodes draw, because a job on a few cores also causes its share of fans
    and power supplies. GPUs and cores must be known (0 is known), with their power if there are any. Unknown RAM is
    left out, as stated in the scope.
    """
    reason = energy = None
    if gpus is None or cores is None:
        reason = f"the number of {'GPUs' if gpus is None else 'cores'} is unknown"
    elif gpus and site.gpu_board_w is None:
        reason = f"no board power is known for {site.name}"
    elif cores and site.core_w is None:
        reason = f"no power per core is known for {site.name}"
    else:
        boards_w = gpus * _value(site.gpu_board_w)
        rest_w = cores * _value(site.core_w) + (ram_gb or 0.0) * _value(site.ram_w_per_gb)
        power_w, kwh_per_w = boards_w + rest_w, allocated_s / 3.6e6
        highest_w = max(power_w * (1 + ESTIMATE_ERROR), boards_w * NODE_OVER_BOARDS)
        energy = Band(power_w * (1 - ESTIMATE_ERROR) * kwh_per_w, power_w * kwh_per_w, highest_w * kwh_per_w)
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
    """Return M3: Slurm's ConsumedEnergyRaw, which is that of whole nodes and so valid only for exclusive allocations.

    A figure above 1.5 times the hardware's nominal power is rejected as a sensor fault.
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
    """Return codecarbon's energy of an attempt (`EnergyMeter`), extended over the time that it did not observe.

    `trackers` are the last flushes of the attempt's trackers, one per node. Flushes are cumulative, so only the last
    one counts (adding up those of a day once gave 3.27 times the true value). Unobserved node-seconds (before the
    start, after the last flush of a killed attempt, nodes without a tracker) are added at the mean power, with the band
    of an estimate. Concurrent attempts all observe the whole node, so each gets the share of its time.
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
        + Band.around(seen_kwh / seen_s * missing_s, ESTIMATE_ERROR),
        allocated_s=allocated_s,
        covered_s=min(seen_s, allocated_s),
        extended_s=missing_s,
        scope=known[-1].scope or "",
        detail=known[-1].detail or "",
        tool="codecarbon",
        version=known[-1].version or "",
        reason=reason,
    )


def number(value: object) -> float | None:
    """Return a value from a record if it is a finite number of at least 0, otherwise None."""
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0:
        return float(value)
    return None


def _value(sourced: Sourced | None) -> float:
    return sourced.value if sourced is not None else 0.0


def _untracked(site: Site, allocated_s: float, reason: str) -> EnergyFigure:
    return EnergyFigure(Method.CODECARBON, site, None, allocated_s, 0.0, tool="codecarbon", reason=reason)
