"""Every input variable in the manual pages of Slurm's clients, of 22.05 and 24.11, each with a hostile value.

`input_variables` reads installed pages; the names are in slurm_variables.txt, so that most tests need no Slurm.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

PAGES = ("sbatch", "srun", "squeue", "scancel", "sacct", "scontrol", "sinfo", "sacctmgr", "salloc")
LISTED = Path(__file__).with_suffix(".txt").read_text().split()
WHERE_SLURM_IS = frozenset({"SLURM_CONF"})
"""Names the Slurm to use, as PATH names the clients: the only input variable that is wanted."""

_SECTION = re.compile(r"^\.SH ", re.MULTILINE)
_NAME = re.compile(r"\\fB((?:[A-Z]+_)[A-Z0-9_]+)\\fR")
_ENDINGS = {
    "_STATES": "PENDING",
    "_STATE": "RUNNING",
    "_ARRAY_INX": "0-3",
    "_EXPORT": "NONE",
    "_EXPORT_ENV": "NONE",
    "_DEPENDENCY": "afterok:1",
    "_SIGNAL": "KILL@1",
    "_TIME_FORMAT": "relative",
    "_TIMELIMIT": "1",
    "_CLUSTERS": "elsewhere",
    "_FORMAT": "%all",
    "_FORMAT2": "jobid",
    "_SORT": "-i",
    "_NTASKS": "2",
    "_JOB_ID": "1",
    "_DEBUG_FLAGS": "protocol",
    "_WORKING_DIR": "/nonexistent",
    "_REMOTE_CWD": "/nonexistent",
}


def hostile(name: str) -> str:
    """A value that would change what the variable's clients do: it names nothing that exists, or selects everything."""
    if name.endswith(("PARTITION", "ACCOUNT", "NAME", "NAMES", "QOS", "LICENSES", "USER", "USERS", "WCKEY")):
        return "nobody"
    return next((value for ending, value in _ENDINGS.items() if name.endswith(ending)), "1")


def hostile_variables() -> dict[str, str]:
    return {name: hostile(name) for name in LISTED if name not in WHERE_SLURM_IS}


def input_variables(root: Path) -> Iterator[str]:
    """As listed in the manual pages below `root`, without the sections on variables set in jobs."""
    for page in PAGES:
        text = gzip.decompress((root / f"usr/share/man/man1/{page}.1.gz").read_bytes()).decode()
        for section in _SECTION.split(text):
            title = section.partition("\n")[0]
            if "ENVIRONMENT VARIABLES" in title and "OUTPUT" not in title:
                yield from (name for name in _NAME.findall(section) if name != "NOTE")
