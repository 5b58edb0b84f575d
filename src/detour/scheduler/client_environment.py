"""The environment of Slurm's clients: the user's own, without anything that changes what they do or print.

A variable such as `SQUEUE_STATES` hides jobs, `SCANCEL_INTERACTIVE` makes scancel do nothing and exit 0, `SBATCH_*`
overrides a script's own options, and sbatch passes what an enclosing allocation has set on to the job. Settings of this
kind belong in the cluster profile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

PREFIXES = (
    *("SLURM_", "SLURMD_", "SLURMCTLD_", "SBATCH_", "SRUN_", "SALLOC_", "SATTACH_", "SCRUN_", "SQUEUE_", "SCANCEL_"),
    *("SACCT_", "SACCTMGR_", "SCONTROL_", "SINFO_", "SPANK_", "_SLURM_SPANK_", "PMI_", "PMIX_"),
)
"""Prefixes of all variables in the manual pages, and of those that jobs and plugins receive."""
NEEDED = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"})
"""Where Slurm is, and the token for sites that require one."""
DEVICES = frozenset(
    {"CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK"}
)
"""Set by Slurm in a job with GPUs; meaningless in another job."""
LOCALE = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "LANGUAGE": ""}
READABLE = {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
"""Prints times as seconds since the epoch, and the indices of pending array tasks in full."""

STARTING = ("sbatch", "srun")
"""Clients whose environment a job inherits."""


def is_ignored(name: str) -> bool:
    return name.startswith(PREFIXES) and name not in NEEDED


def site_variables() -> list[str | None]:
    """The variables that decide which Slurm answers; answers of another one must not be reused."""
    return [os.environ.get(name) for name in ("SLURM_CONF", "SLURM_CONF_SERVER")]


def ignored(environment: Iterable[str]) -> list[str]:
    """Names of the variables that no client receives, sorted."""
    return sorted(filter(is_ignored, environment))


def client_environment(environment: Mapping[str, str], client: str) -> dict[str, str]:
    """The environment for `client`, such as `squeue`. The time zone stays: times in questions to sacct use it."""
    foreign = DEVICES if "SLURM_JOB_ID" in environment else frozenset()
    kept = {name: value for name, value in environment.items() if not is_ignored(name) and name not in foreign}
    return {**kept, **LOCALE, **({} if client in STARTING else READABLE)}
