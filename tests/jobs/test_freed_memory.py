"""Memory that is freed and allocated repeatedly stays with the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from detour.jobs.freed_memory import keep_freed_memory

def step():
    some = [torch.ones(10**7) for _ in range(2)]

if {kept}:
    keep_freed_memory()
for _ in range(20):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, kept: bool) -> int:
    """Return the number of pages that the kernel had to clear once the heap had grown to its size.

    It grows in the first steps, by more or less tensors, for glibc does not always find the gap that a tensor left.
    """
    code = FAULTS.format(kept=kept)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_memory_is_not_returned_to_the_kernel_in_every_step() -> None:
    assert faults(kept=True) < faults(kept=False) / 4
