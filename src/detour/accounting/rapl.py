"""CPU and RAM energy of this node, from the RAPL counters of Intel and AMD processors in Linux.

`/sys/class/powercap/intel-rapl:N` is a package and `intel-rapl:N:M` a part of one, of which only `dram` is not included
in the package's counter. On most systems only root may read them; unreadable counters are left out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

POWERCAP = Path("/sys/class/powercap")
CPUS = Path("/sys/devices/system/cpu")


class Zone(NamedTuple):
    counter: Path
    range_uj: int
    """Value after which the counter wraps to 0."""
    is_ram: bool


class HostCounters:
    """Sums of joules since its creation. Read at least every minute, since a counter may wrap within three."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self._zones = {zone: value for zone in _zones(root) if (value := _number(zone.counter)) is not None}
        self._sums_j = dict.fromkeys((zone.is_ram for zone in self._zones), 0.0)

    def read(self) -> tuple[float | None, float | None]:
        """Return the energy of CPU and RAM of the whole node, in joules; None without a readable counter."""
        for zone, before in self._zones.items():
            now = _number(zone.counter)
            if now is not None:
                self._sums_j[zone.is_ram] += (now - before if now >= before else now - before + zone.range_uj) / 1e6
                self._zones[zone] = now
        return self._sums_j.get(False), self._sums_j.get(True)


def share_of_cores(held: set[int], cpus: Path = CPUS) -> float:
    """Return the share of this node's cores that the `held` logical CPUs belong to; 1 if unknown.

    Cores are counted, not logical CPUs, because with `--hint=nomultithread` half of these are a whole node.
    """
    cores: dict[str, set[int]] = {}
    for cpu in range(os.cpu_count() or 0):
        try:
            siblings = (cpus / f"cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            return 1.0
        cores.setdefault(siblings, set()).add(cpu)
    return sum(bool(members & held) for members in cores.values()) / len(cores) if cores else 1.0


def _zones(root: Path) -> list[Zone]:
    found = []
    for folder in sorted(root.glob("intel-rapl:*")):
        name, range_uj = _line(folder / "name"), _number(folder / "max_energy_range_uj")
        is_ram = name == "dram"
        if range_uj is not None and (is_ram or name.startswith("package")):
            found.append(Zone(folder / "energy_uj", range_uj, is_ram))
    return found


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _line(path)
    return int(text) if text.isdecimal() else None
