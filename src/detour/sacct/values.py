"""Parse values as printed by sacct and public data sets of job records, with one parser per kind.

All raise ValueError, with what was expected, for text of an unknown form; text that means "unknown" gives None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from detour.times import LONGEST_S, is_duration

UNKNOWN = frozenset({"", "unknown", "none", "n/a", "na", "nan", "nat", "null", "(null)", "invalid", "not_set"})
"""Texts that mean unknown, in lower case."""
_STATES = """PENDING REQUEUED REQUEUE_FED REQUEUE_HOLD SPECIAL_EXIT RESV_DEL_HOLD CONFIGURING RUNNING RESIZING SIGNALING
    STAGE_OUT STOPPED SUSPENDED COMPLETING EXPEDITING POWER_UP_NODE UPDATE_DB COMPLETED TIMEOUT PREEMPTED NODE_FAIL
    BOOT_FAIL DEADLINE FAILED OUT_OF_MEMORY LAUNCH_FAILED RECONFIG_FAIL CANCELLED REVOKED"""
STATES = frozenset(_STATES.split())
"""Slurm's states, from 20.02 on."""
_BY_NUMBER = """PENDING RUNNING SUSPENDED COMPLETED CANCELLED FAILED TIMEOUT NODE_FAIL PREEMPTED BOOT_FAIL DEADLINE
    OUT_OF_MEMORY"""
_NUMBERED = _BY_NUMBER.split()
"""States by number: `enum job_states` in slurm.h, as stored in Slurm's database."""
ID_DIGITS = 18
"""Maximum number of digits of an id; Slurm's own have ten."""
_SYNONYMS = {"CANCELED": "CANCELLED", "COMPLETE": "COMPLETED"}
_JOB = re.compile(r"(\d{1,18})(?:\+\d+)?(?:_(?:(\d{1,18})|\[([^\]]*)\]?))?$")
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9})(?::(\d{1,9}))?)?$")
_GRES_GPU = re.compile(
    r"(?:per_node:)?(?:(?:gres[:/])?gpu|7696487)(?::(?P<type>\(null\)|\d+(?=[:=]\d)|[^:=,(]*[a-z][^:=,(]*))?"
    r"(?:[:=](?P<count>\d{1,9}))?(?:\([^)]*\))?$",
    re.IGNORECASE,
)
"""Types may be numbers, `gpu:3090:2`; some versions print the number that stands for `gpu` in Slurm's database."""
_ENERGY_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_SECONDS_S = {f":{second:02d}": second for second in range(60)}
_LONGEST_DIGITS = len(f"{LONGEST_S:.0f}")
_NO_ENERGY = frozenset(map(float, (0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF)))
"""Values of NO_VAL and INFINITE, which some versions of Slurm print."""
_MOST_J = 1e15
"""Upper bound on joules (a gigawatt for eleven days); a counter that overflowed gives more."""
_MOST = 2**53


def unknown(text: str) -> bool:
    return text.lower() in UNKNOWN


class ShownId(NamedTuple):
    id: int | None
    """Id of a plain job; for an array task only JobIDRaw gives it."""
    array_id: int | None = None
    task: int | None = None
    tasks: int = 1


def parse_shown_id(text: str) -> ShownId | None:
    """Parse `17`, `17_3`, `17+1`, `17_[1-3,7%2]` (4 jobs); None for a step such as `17.batch`."""
    if text.isdecimal() and len(text) <= ID_DIGITS:
        return ShownId(int(text))
    if (found := _JOB.match(text)) is None:
        if "." in text and _JOB.match(text.partition(".")[0]):
            return None
        raise ValueError("a job id, such as 17, 17_3, 17_[4-6%2] or 17+1")
    if found[2] is None and found[3] is None:
        return ShownId(None)
    task = int(found[2]) if found[2] else None
    return ShownId(None, int(found[1]), task, _tasks(found[3]) if found[3] is not None else 1)


def _tasks(ranges: str) -> int:
    """Count the array tasks in `1-3,7%2`; of a list that Slurm truncated with `...`, only those shown count."""
    count = 0
    for part in ranges.partition("%")[0].split(","):
        if part and "..." not in part:
            if (found := _RANGE.match(part)) is None:
                raise ValueError("array tasks, such as [1-3,7%2]")
            first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
            count += max(0, (last - first) // max(step, 1) + 1)
    return max(count, 1)


def parse_state(text: str) -> tuple[str | None, str | None]:
    """`CANCELLED by 1001` -> CANCELLED and 1001; an unknown word is kept, in upper case."""
    if unknown(text) and text.upper() not in STATES:
        return None, None
    word, _, rest = text.strip().partition(" by ")
    word = word.rstrip("+*").upper()
    if word.isdecimal() and len(word) <= 2 and int(word) < len(_NUMBERED):
        word = _NUMBERED[int(word)]
    return _SYNONYMS.get(word, word), rest.strip() or None


def parse_exit(text: str) -> tuple[int | None, int | None]:
    """`1:0` -> exit code 1 and no signal; `0:15` -> 0 and 15."""
    if unknown(text):
        return None, None
    code, _, signal = text.partition(":")
    try:
        return int(code), (int(signal) or None) if signal else None
    except ValueError:
        raise ValueError("an exit code and a signal, such as 0:15") from None


def parse_duration_s(text: str) -> float | None:
    """Parse `1-02:03:04`, `02:03:04`, `03:04`, with or without fractions of a second, or `1 days 02:03:04` of a data
    frame; a plain number is seconds.
    """
    if text.isdecimal() and len(text) < _LONGEST_DIGITS:
        return int(text)
    if (seconds := _SECONDS_S.get(text[-3:])) is not None:
        return _to_the_minute_s(text[:-3]) + seconds
    return None if unknown(text) else _whole(_clock_s(text))


def parse_cpu_time_s(text: str) -> float | None:
    """Parse a duration that is summed over all CPUs of a job and so may be far longer than a job."""
    if unknown(text):
        return None
    seconds = float(text) if text.isdecimal() else _clock_s(text)
    if not 0 <= seconds < _MOST:
        raise ValueError("a duration, from 0 on")
    return seconds


@lru_cache(1 << 14)
def _to_the_minute_s(text: str) -> float:
    """Parse `1-02:03` (days, hours, minutes); cached, since most of these repeat, unlike whole durations."""
    return _whole(_clock_s(f"{text}:00"))


def _clock_s(text: str) -> float:
    days, dash, clock = text.replace(" days ", "-").replace("+", "").rpartition("-")
    try:
        total = 0.0
        for part in clock.split(":"):
            total = total * 60 + float(part)
        return total + (float(days) * 86_400 if dash else 0.0)
    except ValueError:
        raise ValueError("a duration, such as 1-02:03:04 or 93784") from None


def _whole(seconds: float) -> float:
    if not is_duration(seconds):
        raise ValueError("a duration from 0 to 31 years")
    return int(seconds) if seconds.is_integer() else seconds


def parse_limit_s(text: str) -> float | None:
    """Parse a time limit; a plain number is minutes, as in Slurm.

    None for UNLIMITED, for the partition's own, and for one so long that it has no effect.
    """
    if unknown(text) or text.lower() in ("unlimited", "infinite", "partition_limit"):
        return None
    try:
        limit_s = _clock_s(f"{text}:00" if text.isdecimal() else text)
        return None if limit_s >= LONGEST_S else _whole(limit_s)
    except ValueError:
        raise ValueError("a time limit, such as 1-00:00:00, UNLIMITED or Partition_Limit") from None


def parse_count(text: str) -> int | None:
    """Parse a count; data sets write -1 for unknown. Parts of a GPU, a core or a node are refused, not rounded."""
    if unknown(text):
        return None
    try:
        count = int(text) if text.isdecimal() else float(text)
    except (ValueError, OverflowError):
        raise ValueError("a number") from None
    if not -1 <= count < _MOST or count != int(count):
        raise ValueError("a number from 0 on, without a fraction")
    return None if count == -1 else int(count)


def parse_energy_j(text: str) -> float | None:
    """Parse joules: `1234`, `1.50M`. None for 0, which sacct prints if nothing was measured."""
    if unknown(text):
        return None
    unit = text[-1].upper() if text[-1].isalpha() else ""
    try:
        joules = float(text[: len(text) - len(unit)]) * _ENERGY_UNITS[unit]
    except (ValueError, KeyError):
        joules = -1.0
    if not joules >= 0:
        raise ValueError("joules, such as 1234 or 1.50M")
    return None if joules == 0 or joules in _NO_ENERGY or joules >= _MOST_J else joules


LAST_OF_SLURM = 1000
"""Largest number of a resource that Slurm defines; larger ones are defined by the site."""
_PARTS_OF_GPUS = frozenset({"gres/shard", "gres/mps"})


@dataclass(frozen=True, slots=True)
class Tres:
    """The parsed parts of AllocTRES or ReqTRES."""

    gpus: int | None = None
    """None if no GPU is listed."""
    gpu_type: str | None = None
    cpus: int | None = None
    nodes: int | None = None
    billing: float | None = None
    has_nameless: bool = False
    """Whether a listed resource may be GPUs: one with a site-defined number or in an unknown form, or shards and MPS,
    which do not tell the number of GPUs."""


def parse_tres(text: str) -> Tres:
    """Parse `billing=8,cpu=8,gres/gpu=4,gres/gpu:h100=4,node=1`: 4 GPUs, since the total is listed with its types.

    Also `1=8,4=1,5=8,1002=2`, with the numbers of cpu, node and billing in Slurm's database; from 1001 on, they are the
    site's own resources, in its own order.
    """
    found = {name: value for name, _, value in (part.partition("=") for part in text.split(","))}
    plain, typed = parse_count(found.get("gres/gpu", "")), typed_gpus(text)
    return Tres(
        gpus=plain if plain is not None else sum(typed.values()) if typed else None,
        gpu_type=",".join(sorted(typed)) or None,
        cpus=parse_count(found.get("cpu", found.get("1", ""))),
        nodes=parse_count(found.get("node", found.get("4", ""))),
        billing=_number(found.get("billing", found.get("5", ""))),
        has_nameless=any(_may_be_gpus(name) for name in found),
    )


def _may_be_gpus(name: str) -> bool:
    return name in _PARTS_OF_GPUS or (name.isdecimal() and int(name) > LAST_OF_SLURM)


def typed_gpus(text: str) -> dict[str, int]:
    """Return GPU counts by type from AllocTRES or ReqTRES: `gres/gpu:h100=4` is 4 of type h100."""
    parts = (part.partition("=") for part in text.split(","))
    return {name[9:]: parse_count(value) or 0 for name, _, value in parts if name.startswith("gres/gpu:")}


def parse_gres(text: str) -> Tres:
    """Parse `gpu:h100:4`, `gpu:4(S:0-1)`, `gres:gpu:2`, ignoring other resources; GPUs are None if uncountable."""
    total, types = None, set()
    for part in map(str.strip, re.split(r",(?![^(]*\))", text)):
        if found := _GRES_GPU.match(part):
            total = (total or 0) + int(found["count"] or 1)
            types |= {found["type"]} - {None, "(null)"}
        elif re.match(r"(?:per_\w+:)?(?:gres[:/])?gpu[:=(]", part, re.IGNORECASE):
            return Tres(has_nameless=True)
    return Tres(gpus=total, gpu_type=",".join(sorted(types)) or None)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < _MOST else None
