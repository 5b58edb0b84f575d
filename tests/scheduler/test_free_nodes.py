"""What is free on a cluster, from an answer of sinfo."""

from __future__ import annotations

from collections.abc import Sequence

from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm
from detour.scheduler.free_nodes import FreeNodes, read_free_nodes

ANSWER = """\
cpu_p1|idle|(null)|gpu:0|0/40/0/40|
gpu_p6*|mix|gpu:h100:4(S:0-1)|gpu:h100:3(IDX:0-2)|72/24/0/96|
gpu_p6*|idle|gpu:h100:4|gpu:h100:0(IDX:N/A)|0/96/0/96|
gpu_p6*|idle~|gpu:h100:4|gpu:h100:0(IDX:N/A)|0/96/0/96|
gpu_p6*|alloc|gpu:h100:4|gpu:h100:4(IDX:0-3)|96/0/0/96|
gpu_p6*|drain|gpu:h100:4|gpu:h100:0(IDX:N/A)|0/0/96/96|
gpu_p6*|idle*|gpu:h100:4|gpu:h100:0(IDX:N/A)|0/0/96/96|
mig|mix|gpu:1g.10gb:4,gpu:h100:2,nvme:1|gpu:1g.10gb:1(IDX:0),gpu:h100:2(IDX:4-5)|8/24/0/32|
broken|n/a
"""


def found(answer: str) -> list[FreeNodes]:
    def run(command: Sequence[str], timeout_s: float) -> CommandResult:
        assert command[0] == "sinfo"
        assert timeout_s > 0
        return CommandResult(0, answer)

    return read_free_nodes(Slurm(run))


def test_only_nodes_that_take_jobs_count_as_free_and_partitions_with_gpus_come_first() -> None:
    assert found(ANSWER) == [
        FreeNodes("gpu_p6", nodes=6, nodes_free=2, gpus=24, gpus_free=9, most_gpus_free=4, cores=576, cores_free=216),
        FreeNodes("mig", nodes=1, nodes_free=0, gpus=6, gpus_free=3, most_gpus_free=3, cores=32, cores_free=24),
        FreeNodes("cpu_p1", nodes=1, nodes_free=1, gpus=0, gpus_free=0, most_gpus_free=0, cores=40, cores_free=40),
    ]
