"""Remedies for a pending job: when Slurm would start its script with a shorter limit, another QOS or partition.

`sbatch --test-only` submits nothing. It assumes that the job could start now, so dependency and hold are left out.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from detour.config.cluster import Cluster, Use
from detour.scheduler.commands import Slurm
from detour.scheduler.records import parse_time_s

TRIED = 4
"""Upper bound on trials: each uses up a job id."""
WORTH_S = 300.0
"""Seconds that an earlier start must gain to be worth naming."""
SHORTEST_S = 1800
_STARTS = re.compile(r"to start at (\S+)")
_OPTION = re.compile(r"^#SBATCH --(?P<name>[a-z-]+)(?:[= ](?P<value>\S+))?")
_LEFT_OUT = ("dependency", "hold", "kill-on-invalid-dep", "array", "output", "error")


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of options, and Slurm's answer."""

    options: tuple[str, ...]
    """Empty for the job as submitted."""
    starts_s: float | None
    """In seconds since the epoch; None if Slurm gives no start."""
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Remedies:
    as_submitted: Trial
    tried: tuple[Trial, ...]

    @property
    def best(self) -> Trial | None:
        """The trial that starts first, if it gains enough."""
        ordered = sorted((one for one in self.tried if one.starts_s is not None), key=lambda one: one.starts_s or 0.0)
        if not ordered:
            return None
        now = self.as_submitted.starts_s
        return ordered[0] if now is None or (ordered[0].starts_s or 0.0) <= now - WORTH_S else None


def try_remedies(slurm: Slurm, script: Path, cluster: Cluster) -> Remedies | None:
    """Try the remedies; None if the script cannot be read, or this node has no room for the one to try."""
    try:
        lines = script.read_text(encoding="utf-8").splitlines()
        with tempfile.TemporaryDirectory() as folder:
            return _tried(slurm, lines, Path(folder) / "job.sh", cluster)
    except OSError:
        return None


def _tried(slurm: Slurm, lines: Sequence[str], alone: Path, cluster: Cluster) -> Remedies:
    asked = {match["name"]: match["value"] or "" for line in lines if (match := _OPTION.match(line))}
    kept = [line for line in lines if not (match := _OPTION.match(line)) or match["name"] not in _LEFT_OUT]
    alone.write_text("\n".join(kept) + "\n", encoding="utf-8")
    as_submitted, *trials = [
        _try(slurm, alone, options) for options in ((), *list(candidates(asked, cluster))[: TRIED - 1])
    ]
    return Remedies(as_submitted, tuple(trials))


def candidates(asked: dict[str, str], cluster: Cluster) -> Iterator[tuple[str, ...]]:
    """Options that may start the job earlier, smallest change first.

    Half the time, then the profile's other QOS, then its partition.
    """
    limit_s = _limit_s(asked.get("time", ""))
    if limit_s is not None and limit_s // 2 >= SHORTEST_S:
        yield (f"--time={limit_s // 120}",)
    on_gpus = any(name.startswith("gpu") or (name == "gres" and "gpu" in value) for name, value in asked.items())
    use: Use = "gpu" if on_gpus else "cpu"
    for qos in cluster.qos:
        if qos.name != asked.get("qos") and use in qos.use:
            shorter = limit_s is not None and qos.wall is not None and qos.wall < limit_s
            yield (f"--qos={qos.name}", *([f"--time={qos.wall // 60}"] if shorter and qos.wall else []))
    name = cluster.partition(use).name
    if name and asked.get("partition") not in (None, name):
        yield (f"--partition={name}",)


def _try(slurm: Slurm, script: Path, options: tuple[str, ...]) -> Trial:
    result = slurm.test_only(script, options)
    found = _STARTS.search(f"{result.stdout}\n{result.stderr}")
    return Trial(options, parse_time_s(found[1]) if found else None, None if found else result.message)


def _limit_s(text: str) -> int | None:
    """Seconds, from sbatch's minutes: scripts of this project use no other form."""
    return int(text) * 60 if text.isdecimal() else None
