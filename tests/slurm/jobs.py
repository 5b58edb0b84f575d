"""Small jobs for a real Slurm, and how to wait for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detour.scheduler.commands import Slurm, SubprocessRunner
from detour.scheduler.dependency import Dependency
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.sent_jobs import SubmissionLedger
from detour.scheduler.submission import Submitter
from detour.scheduler.submission_script import ScriptStyle, gate_of, submission_script
from detour.scheduler.tags import Tag
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until

CPU = Resources(account="abc@cpu", partition="cpu_p1")
GPU = Resources(account="abc@h100", partition="gpu_p6", qos="qos_gpu_h100-dev")
FAKE_PYTHON = """\
#!/bin/bash
# in place of `python -uP -m detour.jobs --workspace W STAGE...`: each try of a stage ends as W/plan/STAGE says,
# line by line
workspace=$5
shift 5
for stage; do
    echo "$SLURM_JOB_ID" >>"$workspace/runs/$stage"
    code=$(sed -n "$(wc -l <"$workspace/runs/$stage")p" "$workspace/plan/$stage" 2>/dev/null)
    [ "${code:-0}" = 0 ] || exit "$code"
    touch "$workspace/done/$stage"
done
"""


def client(cluster: SlurmCluster) -> Slurm:
    return Slurm(SubprocessRunner(cluster.environment))


def sbatch(cluster: SlurmCluster, shell: str, *options: str, dependency: Dependency | None = None) -> str:
    """Submit a line of shell to the CPU partition; returns the job's id."""
    waits = () if dependency is None else (f"--dependency={dependency}", "--kill-on-invalid-dep=yes")
    where = ("-A", "abc@cpu", "-p", "cpu_p1", "-o", "/dev/null")
    return cluster.run("sbatch", "--parsable", *where, *options, *waits, "--wrap", shell).stdout.strip()


def states(cluster: SlurmCluster, ids: Sequence[str]) -> dict[str, str]:
    """First word of each job's or array task's state, from the accounts."""
    lines = cluster.run("sacct", "-nXP", "-j", ",".join(ids), "-o", "JobID,State").stdout.splitlines()
    return {job: state.split()[0] for job, state in (line.split("|") for line in lines)}


def wait_for_states(cluster: SlurmCluster, expected: Mapping[str, str], timeout_s: float = 240.0) -> None:
    """Wait until the accounts have exactly these states; fails with the last ones they had."""
    last: dict[str, str] = {}

    def reached() -> bool:
        last.update(states(cluster, list(expected)))
        return last == dict(expected)

    try:
        wait_until(reached, "jobs to end", timeout_s, every_s=0.3)
    except RuntimeError as error:
        raise AssertionError(f"expected {dict(expected)}, accounts say {last}") from error


@dataclass
class FakeWorkspace:
    """Stages whose attempts end as given, under a directory that every job can write to."""

    root: Path
    user: str = "root"

    def __post_init__(self) -> None:
        for name in ("plan", "runs", "done", "logs"):
            (self.root / name).mkdir(parents=True)
            (self.root / name).chmod(0o777)
        self.root.chmod(0o755)
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)

    @property
    def python(self) -> Path:
        return self.root / "python"

    @property
    def name(self) -> str:
        return self.root.name

    def plan(self, stage: str, *codes: int) -> None:
        """Exit codes of the stage's attempts, in turn; 0 after the last."""
        (self.root / "plan" / stage).write_text("".join(f"{code}\n" for code in codes))

    def is_done(self, stage: str) -> bool:
        return (self.root / "done" / stage).exists()

    def runs(self, stage: str) -> list[str]:
        """Ids of the jobs that attempted the stage, in order."""
        path = self.root / "runs" / stage
        return path.read_text().split() if path.exists() else []

    def write_script(
        self, request: JobRequest, tag: Tag, dependency: Dependency | None, *, gated: bool = False
    ) -> Path:
        path = self.root / f"{tag.unit}.{tag.segment}.{tag.submission}.sh"
        style = ScriptStyle(self.root, str(self.python))
        gate = gate_of(path) if gated else None
        path.write_text(submission_script(request, tag, dependency, style, self.root / "logs", gate))
        return path

    def submitter(self, slurm: Slurm, ledger: SubmissionLedger) -> Submitter:
        return Submitter(slurm, ledger, self.name, [self.user], self.write_script, is_done=self.is_done)


def small_chain(resources: Resources = CPU, name: str = "0") -> list[JobRequest]:
    """prepare -> pretrain, two segments -> promote -> three evaluations in an array -> summarize."""

    def job(stage: str, *after: str, segments: int = 1) -> JobRequest:
        return JobRequest(((stage,),), resources, wall_s=600, segments=segments, after=after)

    evaluations = tuple((f"evaluate-{name}-{number}",) for number in range(3))
    return [
        job(f"prepare-{name}"),
        job(f"pretrain-{name}", f"prepare-{name}", segments=2),
        job(f"promote-{name}", f"pretrain-{name}", f"prepare-{name}"),
        JobRequest(evaluations, resources, wall_s=600, after=(f"promote-{name}",), parallelism=2),
        job(f"summarize-{name}", *(stage for (stage,) in evaluations)),
    ]
