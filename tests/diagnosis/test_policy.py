"""What follows from a verdict automatically."""

from __future__ import annotations

import pytest

from detour.diagnosis.evidence import Evidence, SlurmRow
from detour.diagnosis.judge import judge
from detour.diagnosis.policy import counts_as_fruitless, ends_for_good, nodes_to_avoid
from detour.diagnosis.verdict import Verdict

OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacity of"


def verdict(*log: str, nodes: str = "n041", state: str = "FAILED") -> Verdict:
    return judge(Evidence(sacct=(SlurmRow({"JobID": "7", "State": state, "NodeList": nodes}),), log=log, events=()))


@pytest.mark.parametrize(
    ("line", "for_good"),
    [
        (OUT_OF_MEMORY, True),
        ("ModuleNotFoundError: No module named 'composer'", True),
        ("ValueError: the node hiccuped", False),
        ("OSError: [Errno 116] Stale file handle", False),
        ("srun: error: n041: task 0: Exited with exit code 1", False),
    ],
)
def test_only_what_a_change_alone_can_mend_beyond_doubt_ends_a_stage(line: str, for_good: bool) -> None:
    assert ends_for_good(verdict(line), is_further=False) is for_good


def test_an_attempt_that_got_further_is_repeated() -> None:
    assert not ends_for_good(verdict(OUT_OF_MEMORY), is_further=True)


def test_a_nodes_failure_does_not_speak_against_the_stage_and_a_silent_kill_does() -> None:
    assert not counts_as_fruitless(verdict(state="NODE_FAIL"))
    assert not counts_as_fruitless(verdict("Failed to initialize NVML: Driver/library version mismatch"))
    assert counts_as_fruitless(verdict("srun: error: n041: task 0: Killed"))


def test_a_kernel_that_failed_without_a_reason_counts_for_it_may_be_the_program() -> None:
    assert counts_as_fruitless(verdict("RuntimeError: CUDA error: unspecified launch failure"))


@pytest.mark.parametrize(
    ("line", "nodes", "avoided"),
    [
        ("RuntimeError: CUDA error: uncorrectable ECC error encountered", "n041", ("n041",)),
        ("RuntimeError: CUDA error: uncorrectable ECC error encountered", "n[041-044]", ()),
        ("srun: error: Node failure on n043", "n[041-044]", ("n043",)),
        (OUT_OF_MEMORY, "n041", ()),
        ("Failed to initialize NVML: Driver/library version mismatch", "n041", ("n041",)),
        ("RuntimeError: No CUDA GPUs are available", "n041", ()),
    ],
)
def test_the_next_jobs_avoid_a_node_that_is_known_to_be_at_fault(
    line: str, nodes: str, avoided: tuple[str, ...]
) -> None:
    assert nodes_to_avoid(verdict(line, nodes=nodes)) == avoided
