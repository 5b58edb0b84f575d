"""The place of a process among its job's, from the variables of each launcher."""

from __future__ import annotations

import pytest

from detour.jobs.rank import first_host, read_rank


@pytest.mark.parametrize(
    ("node_list", "host"),
    [
        ("jzxh1", "jzxh1"),
        ("jzxh[1-4]", "jzxh1"),
        ("jzxh[03-05,9]", "jzxh03"),
        ("login,jzxh[1-2]", "login"),
        ("a1,b2", "a1"),
    ],
)
def test_first_host_of_a_compressed_list(node_list: str, host: str) -> None:
    assert first_host(node_list) == host


def test_slurm_ranks_on_two_nodes() -> None:
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
    assert (rank.rank, rank.world_size, rank.local_rank, rank.local_world_size, rank.node_rank) == (5, 8, 1, 4, 1)
    assert rank.main_address == "jzxh1"
    exported: dict[str, str] = {}
    rank.export(exported)
    assert exported["NODE_RANK"] == "1"
    assert exported["MASTER_PORT"] == str(read_rank({**environment, "SLURM_PROCID": "0"}).main_port)


def test_a_port_is_one_attempts_alone() -> None:
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


def test_alone_without_a_launcher() -> None:
    assert (read_rank({}).rank, read_rank({}).world_size) == (0, 1)
