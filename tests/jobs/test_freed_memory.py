"""Memory that is freed and allocated repeatedly stays with the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from detour.jobs.freed_memory import keep_freed_memory

if {kept}:
    keep_freed_memory()
torch.ones(10**7).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    some = [torch.ones(10**7) for _ in range(2)]
    del some
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, kept: bool) -> int:
    """Return the number of pages that the kernel had to clear."""
    code = FAULTS.format(kept=kept)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_memory_is_not_returned_to_the_kernel_in_every_step() -> None:
    assert faults(kept=True) < faults(kept=False) / 4
