"""The rank of a process in its job, from the variables of each launcher."""

from __future__ import annotations

import pytest

from detour.jobs.__main__ import executor_of
from detour.jobs.rank import first_host, forget_leftovers, read_rank


@pytest.mark.parametrize(
    ("node_list", "host"),
    [
        ("jzxh1", "jzxh1"),
        ("jzxh[1-4]", "jzxh1"),
        ("jzxh[03-05,9]", "jzxh03"),
        ("login,jzxh[1-2]", "login"),
        ("rack[2-3]node[07,9]", "rack2node07"),
        ("a1,b2", "a1"),
    ],
)
def test_the_first_host_of_a_compressed_list_is_found(node_list: str, host: str) -> None:
    assert first_host(node_list) == host


def test_slurm_ranks_on_two_nodes_are_read() -> None:
    environment = {
        "SLURM_PROCID": "5",
        "SLURM_NTASKS": "8",
        "SLURM_NNODES": "2",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "1",
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_NODELIST": "jzxh[1-2]",
    }
    rank = read_rank(environment)
    assert rank.rank == 5
    assert rank.world_size == 8
    assert rank.local_rank == 1
    assert rank.local_world_size == 4
    assert rank.node_rank == 1
    assert rank.main_address == "jzxh1"
    exported: dict[str, str] = {}
    rank.export(exported)
    assert exported["NODE_RANK"] == "1"
    assert exported["MASTER_PORT"] == str(read_rank({**environment, "SLURM_PROCID": "0"}).main_port)


def test_each_attempt_has_its_own_port() -> None:
    job = {"SLURM_PROCID": "0", "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "detour:1:w:pretrain-1:1:s"}
    others: tuple[dict[str, str], ...] = (
        {},
        {"SLURM_JOB_ID": "78"},
        {"SLURM_JOB_NAME": "detour:1:w:pretrain-1:1:t"},
        {"SLURM_RESTART_COUNT": "1"},
    )
    ports = {read_rank(job | other).main_port for other in others}
    assert len(ports) == len(others)
    assert all(10_000 <= port < 20_000 for port in ports)


def test_without_a_launcher_the_process_is_alone() -> None:
    assert (read_rank({}).rank, read_rank({}).world_size) == (0, 1)


ALLOCATION = {
    "SLURM_JOB_ID": "7",
    "SLURM_ARRAY_JOB_ID": "6",
    "SLURM_ARRAY_TASK_ID": "1",
    "SLURM_PROCID": "0",
    "SLURM_NTASKS": "2",
    "SLURM_GPUS_PER_NODE": "4",
}
LOCAL = {"SUBMITIT_LOCAL_JOB_ID": "55", "SUBMITIT_LOCAL_NTASKS": "1", "SUBMITIT_LOCAL_GLOBALID": "0"}
LOCAL |= {"SUBMITIT_LOCAL_LOCALID": "0"}


def left(environment: dict[str, str]) -> dict[str, str]:
    forget_leftovers(environment)
    return environment


def test_a_local_job_in_an_allocation_of_two_tasks_is_alone() -> None:
    environment = left({**ALLOCATION, **LOCAL, "SUBMITIT_EXECUTOR": "local"})
    assert (read_rank(environment).world_size, executor_of(environment)) == (1, "process-55")


def test_local_jobs_in_one_allocation_have_a_port_each() -> None:
    jobs = ({**ALLOCATION, **LOCAL, "SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": pid} for pid in "56")
    assert len({read_rank(left(job)).main_port for job in jobs}) == 2


def test_a_process_started_by_hand_in_an_allocation_is_alone_and_in_no_job() -> None:
    environment = left(dict(ALLOCATION))
    assert read_rank(environment).world_size == 1
    assert executor_of(environment) is None
    assert environment == {}


def test_a_slurm_job_submitted_from_a_local_job_belongs_to_slurm() -> None:
    environment = left({**ALLOCATION, **LOCAL, "SUBMITIT_EXECUTOR": "slurm"})
    assert (read_rank(environment).world_size, executor_of(environment)) == (2, "6_1")
    assert not any(name.startswith("SUBMITIT_LOCAL_") for name in environment)


def test_the_location_of_slurm_is_kept() -> None:
    assert left({"SLURM_CONF": "/etc/slurm.conf"}) == {"SLURM_CONF": "/etc/slurm.conf"}
