"""What a client of Slurm answered, and what the answer of sbatch means; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from detour.errors import UserError

LINES_SHOWN = 3
_JOB_ID = re.compile(r"^(\d+)(?:;(\S+))?$")
_SUBMIT_LIMIT = re.compile(r"(QOS|Assoc)\w*Submit\w*Limit|Max\w*SubmitJobs?|maximum number of jobs", re.IGNORECASE)
QUEUE_IS_FULL = re.compile(r"Slurm [^;\n]*(?:temporarily unable to accept job|job queue full)")
"""sbatch prints this and retries for two minutes when the site's MaxJobCount is reached."""
_NO_ANSWER = re.compile(
    r"unable to contact|timed out|connection (refused|reset|timed)|zero bytes were transmitted|standby mode"
    r"|temporarily (un|in)able|communication (connection|shutdown|failure)|resource temporarily unavailable"
    r"|transport endpoint|unexpected message|slurm_persist_conn|no route to host|fetch_config|authentication",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class CommandResult:
    returncode: int | None
    """None if the program was stopped because it took too long: what it did is unknown."""
    stdout: str = ""
    stderr: str = ""

    @property
    def message(self) -> str:
        """What went wrong in the client's own words, for people; only the last lines if there are many."""
        lines = dict.fromkeys(line.strip() for line in self.stderr.splitlines() if line.strip())
        said = "; ".join(list(lines)[-LINES_SHOWN:])
        if self.returncode is None:
            return f"no answer in time ({said})" if said else "no answer in time"
        ended = f"exit code {self.returncode}" if self.returncode >= 0 else f"killed by signal {-self.returncode}"
        return said or f"{ended} without a message"


class SubmissionRefused(UserError):
    """Slurm refused the job, for a reason that retrying does not cure."""


@dataclass(frozen=True, slots=True)
class SubmitAnswer:
    """The answer of one `sbatch`. At most one of `job_id`, `limit` and `refusal` is set; if none, nothing is known."""

    job_id: str | None = None
    limit: str | None = None
    """Slurm's message that the user may have no more jobs now."""
    refusal: str | None = None
    unknown: str = ""
    """Why nothing is known; the job may be in the queue."""


def read_submission(result: CommandResult) -> SubmitAnswer:
    """Exit 0 with a single id is a job; an error that Slurm explains is no job; anything else proves nothing.

    A site's wrapper may print further numbers; the id is then looked up.
    """
    said = result.stderr
    if full := QUEUE_IS_FULL.search(said):
        return SubmitAnswer(limit=full[0])
    if result.returncode is None:
        return SubmitAnswer(unknown=f"sbatch gave {result.message}")
    if result.returncode == 0:
        ids = {match[1] for line in result.stdout.splitlines() if (match := _JOB_ID.match(line.strip()))}
        if len(ids) == 1:
            return SubmitAnswer(ids.pop())
        return SubmitAnswer(unknown="sbatch printed several numbers" if ids else "sbatch printed no job id")
    if result.returncode == 127 or _NO_ANSWER.search(said) or "error:" not in said:
        return SubmitAnswer(unknown=result.message)
    if limit := _SUBMIT_LIMIT.search(said):
        return SubmitAnswer(limit=limit[0])
    return SubmitAnswer(refusal=" ".join(line.strip() for line in said.splitlines() if line.strip()))
