"""The text of a batch script, written by submitit's Slurm executor; no other module uses that executor.

The command is our own line, `python -m detour.jobs ...`, in place of submitit's pickle. What submitit has no parameter
for (dependencies, hold, exit codes, kill-on-invalid-dep, signals) goes through its additional parameters.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import SlurmExecutor

from detour.errors import NotReady
from detour.scheduler.dependency import Dependency
from detour.scheduler.job_ids import array_option
from detour.scheduler.requests import JobRequest
from detour.scheduler.tags import Tag, Tasks

STAGES = "stages"
"""Name of the shell array with the stage ids of each array task."""
LISTS = ("exclude", "gres", "licenses")
"""Options whose value is a list, of which a job needs all that the profile and we ask for: sbatch takes the last."""
GATE_PATIENCE_S = 120
"""Seconds to wait for the gate: a shared file system may show a new file this late."""


@dataclass(frozen=True, slots=True)
class ScriptStyle:
    """What all jobs of a cluster have in common."""

    workspace: Path
    python: str
    """The interpreter on the compute node."""
    preamble: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    login_shell: bool = False
    export_srun_cpus_per_task: bool = False
    requeue: bool = True
    grace_s: int = 120
    """Seconds before the time limit at which the job is signalled to save."""


class _Text(SlurmExecutor):  # type: ignore[misc]
    """submitit's script writer, usable on a machine without Slurm for `--dry-run`."""

    @classmethod
    def affinity(cls) -> int:
        return 2

    def text(self, command: str, **parameters: Any) -> str:
        self.update_parameters(**parameters)
        return str(self._make_submission_file_text(command, uid=""))


def gate_of(script: Path) -> Path:
    """The file that lets this script's job start its work, if it was not sent held."""
    return script.with_suffix(".go")


def submission_script(
    request: JobRequest,
    tag: Tag,
    dependency: Dependency | None,
    style: ScriptStyle,
    logs: Path,
    gate: Path | None = None,
) -> str:
    """The script of one segment, tagged twice, and cancelled once it can never run.

    The job is submitted held; with a `gate` it may start, but does nothing until that file exists.
    """
    asked = request.resources
    to_batch, to_task = log_patterns(logs, tag, is_array=request.is_array)
    body = _Text(logs).text(
        shlex.join(_srun(to_task)) + " " + _command(request, style),
        job_name=str(tag),
        time=max(1, -(-request.wall_s // 60)),
        nodes=asked.nodes,
        ntasks_per_node=asked.tasks_per_node,
        cpus_per_task=asked.cpus_per_task,
        comment=str(tag),
        account=asked.account,
        partition=asked.partition,
        qos=asked.qos,
        constraint=asked.constraint,
        dependency=None if dependency is None else str(dependency),
        wckey=None,
        stderr_to_stdout=True,
        use_srun=False,
        setup=[*(_wait_for(gate) if gate else ()), *_setup(request, style)],
        additional_parameters=_additional(request, style, held=gate is None) | {"output": to_batch},
    )
    shell = "#!/bin/bash -l" if style.login_shell else "#!/bin/bash"
    return f"{shell}\n{body.partition(chr(10))[2]}"


def log_patterns(logs: Path, tag: Tag, *, is_array: bool = False) -> tuple[str, str | None]:
    """The `--output` of sbatch and of srun; None for srun means that tasks write where the batch script does.

    One file for each job (or array task) and rank, named by the job's id as people write it. A backslash turns off all
    of Slurm's patterns: sbatch consumes three of four, srun consumes all, so all jobs of a submission share one file
    then.
    """
    folder, job = str(logs), "%A_%a" if is_array else "%j"
    if "\\" in folder:
        return f"{folder}/{tag.segment}-{tag.submission}_log.out".replace("\\", "\\" * 4), None
    folder = folder.replace("%", "%%")
    return f"{folder}/{job}_0_log.out", f"{folder}/{job}_%t_log.out"


def _srun(log_pattern: str | None) -> list[str]:
    """The srun command. Without `--export=ALL` it inherits `--export=NONE` of sbatch, which hides the script's exports.

    It appends, so neither srun nor a requeue removes what is in the log already.
    """
    output = [] if log_pattern is None else ["--output", log_pattern, "--open-mode=append"]
    return ["srun", "--unbuffered", *output, "--export=ALL", "--kill-on-bad-exit=1"]


def _additional(request: JobRequest, style: ScriptStyle, *, held: bool) -> dict[str, str | bool]:
    """Options that submitit lacks or handles differently."""
    found: dict[str, str | bool] = {
        **({"hold": True} if held else {}),
        "kill-on-invalid-dep": "yes",
        "signal": f"USR2@{style.grace_s}",
        "requeue" if style.requeue else "no-requeue": True,
    }
    if request.is_array:
        found["array"] = array_option(range(len(request.tasks)), request.parallelism)
    gpu = [request.resources.gpu_option] if request.resources.gpu_option else []
    for option in (*gpu, *request.resources.options):
        name, separator, value = option.removeprefix("--").partition("=")
        if name in LISTS and name in found:
            value = f"{found[name]},{value}"
        found[name] = value if separator else True
    return found


def _wait_for(gate: Path) -> list[str]:
    there = f"[ -e {shlex.quote(str(gate))} ]"
    problem = "detour: its submission was cut short: submit the chain again"
    return [
        f"for ((second = 0; second < {GATE_PATIENCE_S}; second++)); do {there} && break; sleep 1; done",
        f"{there} || {{ echo '{problem}'; exit {NotReady.exit_code}; }}",
    ]


def _setup(request: JobRequest, style: ScriptStyle) -> list[str]:
    lines = list(style.preamble)
    lines += [f"export {name}={shlex.quote(value)}" for name, value in style.environment.items()]
    if style.export_srun_cpus_per_task:
        lines.append("export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK")
    if request.is_array:
        listed = " ".join(shlex.quote(" ".join(task)) for task in request.tasks)
        lines.append(f"{STAGES}=({listed})")
    return lines


def _command(request: JobRequest, style: ScriptStyle) -> str:
    """`python -m detour.jobs --workspace W STAGE...`; an array task looks its stages up by index.

    Without `-P`, the folder in which sbatch was called, often a checkout, would take precedence over the code snapshot.
    """
    line: Sequence[str] = [style.python, "-uP", "-m", request.module, "--workspace", str(style.workspace)]
    if request.is_array:
        return f"{shlex.join(line)} ${{{STAGES}[SLURM_ARRAY_TASK_ID]}}"
    return shlex.join([*line, *request.tasks[0]])


def tasks_in(script: str) -> Tasks | None:
    """The stages of each task, read from a script of `submission_script`; None if it is not one."""
    for line in reversed(script.splitlines()):
        with suppress(ValueError):
            if line.startswith(f"{STAGES}=("):
                listed = shlex.split(line.removeprefix(f"{STAGES}=(").removesuffix(")"))
                return tuple(tuple(task.split()) for task in listed)
            if line.startswith("srun ") and f"${{{STAGES}[" not in line:
                words = shlex.split(line)
                return (tuple(words[words.index("--workspace") + 2 :]),)
    return None


def gpu_option(selector: str, gpus_per_node: int, nodes: int, gpu_type: str | None) -> str | None:
    """The option that requests the GPUs of a job at this site; `selector` as in a cluster profile.

    Slurm's `--gpus` counts those of all nodes, its other options those of each node.
    """
    if gpus_per_node == 0 or selector == "none":
        return None
    count = gpus_per_node * nodes if selector == "gpus" else gpus_per_node
    counted = f"{gpu_type}:{count}" if gpu_type else str(count)
    return f"gres=gpu:{counted}" if selector == "gres" else f"{selector}={counted}"
