"""Which process of the job this is, whatever started it: Slurm, submitit's local executor, or a shell."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from hashlib import sha256

from detour.scheduler.client_environment import is_ignored

LAUNCHER = "SUBMITIT_EXECUTOR"
"""Set by the batch script to `slurm`, by the local executor to `local`."""

IDENTITY = ("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_RESTART_COUNT")
"""Identify one attempt on all its ranks. The name holds the submission's tag, so clusters on one host differ too."""
PORTS = range(10_000, 20_000)


@dataclass(frozen=True, slots=True)
class Rank:
    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int
    main_address: str
    main_port: int

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def export(self, environment: MutableMapping[str, str]) -> None:
        """Set what torch.distributed and Composer read; only NODE_RANK is set by nothing else."""
        environment.update(
            RANK=str(self.rank),
            WORLD_SIZE=str(self.world_size),
            LOCAL_RANK=str(self.local_rank),
            LOCAL_WORLD_SIZE=str(self.local_world_size),
            NODE_RANK=str(self.node_rank),
            MASTER_ADDR=self.main_address,
            MASTER_PORT=str(self.main_port),
        )


def first_host(node_list: str) -> str:
    """`jean-zay-iam[03-05,9]` -> `jean-zay-iam03`: the first name of Slurm's compressed list."""
    return re.sub(r"\[(\w+)[^]]*]", r"\1", node_list).partition(",")[0]


def forget_leftovers(environment: MutableMapping[str, str]) -> None:
    """Remove variables set by a launcher other than this process's own: an allocation or job it was started in.

    Otherwise a `detour run` in an allocation of two tasks would wait for a second rank.
    """
    launcher = environment.get(LAUNCHER)
    for name in list(environment):
        of_slurm, of_local = is_ignored(name), name.startswith("SUBMITIT_LOCAL_")
        if (of_slurm and launcher != "slurm") or (of_local and launcher != "local"):
            del environment[name]


def read_rank(environment: Mapping[str, str] = os.environ) -> Rank:
    """This process's rank; without a launcher's variables it is the only one."""
    if "SLURM_PROCID" in environment:
        nodes = int(environment.get("SLURM_NNODES", "1"))
        world = int(environment.get("SLURM_NTASKS", "1"))
        return Rank(
            rank=int(environment["SLURM_PROCID"]),
            world_size=world,
            local_rank=int(environment.get("SLURM_LOCALID", "0")),
            local_world_size=max(1, world // nodes),
            node_rank=int(environment.get("SLURM_NODEID", "0")),
            main_address=first_host(environment.get("SLURM_STEP_NODELIST", socket.gethostname())),
            main_port=_port("".join(environment.get(name, "") for name in IDENTITY)),
        )
    if "SUBMITIT_LOCAL_GLOBALID" in environment:
        world = int(environment["SUBMITIT_LOCAL_NTASKS"])
        return Rank(
            rank=int(environment["SUBMITIT_LOCAL_GLOBALID"]),
            world_size=world,
            local_rank=int(environment["SUBMITIT_LOCAL_LOCALID"]),
            local_world_size=world,
            node_rank=0,
            main_address="127.0.0.1",
            main_port=_port(environment["SUBMITIT_LOCAL_JOB_ID"]),
        )
    return Rank(0, 1, 0, 1, 0, "127.0.0.1", _port(str(os.getpid())))


def _port(job: str) -> int:
    """A port equal on all ranks of a job, unlikely to collide with another job's, and below the ephemeral ports."""
    return PORTS.start + int(sha256(job.encode()).hexdigest(), 16) % len(PORTS)
