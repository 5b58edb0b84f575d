"""What a profile may add to batch scripts: sbatch options and variables of the job's environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

_OPTION = re.compile(r"--([a-z][a-z0-9-]*)(=[^\r\n]+)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OURS: Mapping[str, str] = {
    "time": "set `wall` of the partition or the QOS",
    "signal": "set `grace`",
    "requeue": "set `requeue: true`",
    "no-requeue": "set `requeue: false`",
    "account": "set `account`",
    "clusters": "set `slurm_cluster`",
    "constraint": "set `constraint` of the partition",
    "cpus-per-task": "set `cores_per_gpu` and `cpu_only_cores`",
    "partition": "set `name` of the partition",
    "qos": "list it in `qos`",
    **dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-task"), "set `gpu`"),
    **dict.fromkeys(("nodes", "ntasks", "ntasks-per-node"), "set `training_gpus`"),
    **dict.fromkeys(
        ("array", "comment", "dependency", "error", "hold", "job-name", "kill-on-invalid-dep", "open-mode", "output"),
        "remove it",
    ),
}
"""Options that submission, saving in time and prices rely on, each with what to do instead."""


def _is_sbatch_option(text: str) -> str:
    match = _OPTION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an sbatch option: write `--name=value` or `--name`, one per item")
    name = "gpus" if re.match("--gres=.*gpu", text) else match[1]
    if name in OURS:
        raise ValueError(f"`--{match[1]}` is set for each job: {OURS[name]}")
    return text


def _is_variable(name: str) -> str:
    if _VARIABLE.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a variable name: write letters, digits and `_`")
    return name


def _is_one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} holds a line break or another character that cannot be seen: remove it")
    return text


SbatchOption = Annotated[str, AfterValidator(_is_sbatch_option)]
VariableName = Annotated[str, AfterValidator(_is_variable)]
OptionValue = Annotated[str, AfterValidator(_is_one_line)]
"""What becomes the value of an option in a batch script: an account, a partition, a QOS, a type of GPU."""
