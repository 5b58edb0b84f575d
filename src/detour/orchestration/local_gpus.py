"""Which GPUs of this machine `detour run` may use, determined without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from detour.accounting.allocation import nvml_uuids
from detour.errors import UserError

VARIABLE = "CUDA_VISIBLE_DEVICES"
AMD_DRIVER = Path("/dev/kfd")


def usable_gpus(wanted: int | None, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The entries of CUDA_VISIBLE_DEVICES for the jobs: the first `wanted`, or all if None.

    They are taken from this command's CUDA_VISIBLE_DEVICES, or from all of the machine's GPUs if it is not set. Raises
    UserError if there are fewer. How many GPUs AMD's driver has is unknown here.
    """
    visible = environment.get(VARIABLE)
    if visible is None:
        present = present_gpus()
        if wanted is not None and wanted > present and not AMD_DRIVER.exists():
            present = max(present, len(nvml_uuids()))  # WSL has neither the driver's list nor the device files
            if wanted > present:
                raise UserError(f"--gpus {wanted}: this machine has {present}; ask for no more")
        return tuple(map(str, range(present if wanted is None else wanted)))
    found = named_gpus(visible, present_gpus(), nvml_uuids() if "GPU-" in visible else ())
    if wanted is not None and wanted > len(found):
        raise UserError(
            f"--gpus {wanted}: {VARIABLE}={visible!r} lets this command use {len(found)} of the machine's GPUs; "
            "ask for no more, or unset it"
        )
    return found[:wanted]


def named_gpus(visible: str, present: int, uuids: Sequence[str] = ()) -> tuple[str, ...]:
    """The entries of CUDA_VISIBLE_DEVICES that name one of the `present` GPUs, in their order.

    As in CUDA, the list ends at the first entry that names no GPU or repeats one, and a process has only one slice
    (MIG). A UUID may be abbreviated; without the machine's `uuids`, any UUID is accepted.
    """
    found: list[str] = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.startswith("MIG-") and not found and present:
            return (entry,)
        if len(found) == present or entry in found or not _names_gpu(entry, present, uuids):
            break
        found.append(entry)
    return tuple(found)


def _names_gpu(entry: str, present: int, uuids: Sequence[str]) -> bool:
    if entry.isdecimal():
        return int(entry) < present
    return entry.startswith("GPU-") and (not uuids or sum(uuid.startswith(entry) for uuid in uuids) == 1)


def present_gpus(driver: Path = Path("/proc/driver/nvidia/gpus"), devices: Path = Path("/dev")) -> int:
    """Number of GPUs of this machine.

    A container may hide the driver's list, or show the host's whole list while it has only some of the devices.
    """
    listed = len(list(driver.glob("*")))
    given = sum(path.name.removeprefix("nvidia").isdecimal() for path in devices.glob("nvidia*"))
    return min(listed, given) if listed and given else listed or given
