"""The environment of Slurm's clients: the user's own, without all that changes what they do or print.

A variable such as `SQUEUE_STATES` hides jobs, `SCANCEL_INTERACTIVE` makes scancel do nothing and exit 0, `SBATCH_*`
goes ahead of a script's own options, and sbatch hands on to the job what an allocation around it has set. What is
wanted of these belongs in the cluster profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PREFIXES = (
    *("SLURM_", "SLURMD_", "SLURMCTLD_", "SBATCH_", "SRUN_", "SALLOC_", "SATTACH_", "SCRUN_", "SQUEUE_", "SCANCEL_"),
    *("SACCT_", "SACCTMGR_", "SCONTROL_", "SINFO_", "SPANK_", "_SLURM_SPANK_", "PMI_", "PMIX_"),
)
"""Of every variable that the manual pages list, and of those that jobs and plugins are given."""
NEEDED = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"})
"""Where the Slurm is, and the token of a site that wants one."""
DEVICES = frozenset(
    {"CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK"}
)
"""Set by Slurm in a job with GPUs, and of no meaning to another job."""
LOCALE = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "LANGUAGE": ""}
READABLE = {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
"""Times as seconds since the epoch, and the indices of waiting array tasks in full."""


def is_ignored(name: str) -> bool:
    return name.startswith(PREFIXES) and name not in NEEDED


def ignored(environment: Iterable[str]) -> list[str]:
    """Names of the variables that no client is given, sorted."""
    return sorted(filter(is_ignored, environment))


def client_environment(environment: Mapping[str, str], client: str) -> dict[str, str]:
    """For `client`, as `squeue`. The time zone stays: it is that of the times which sacct is asked with."""
    foreign = DEVICES if "SLURM_JOB_ID" in environment else frozenset()
    kept = {name: value for name, value in environment.items() if not is_ignored(name) and name not in foreign}
    return {**kept, **LOCALE, **({} if client == "sbatch" else READABLE)}
