"""All errors that users can cause or must act on, grouped by what to do about them.

UserError                 exit 2   a file, an option or an argument is wrong: correct it and run again
├── RecipeError                    ... in a YAML file: with file, line and key of each problem
StageFailed               exit 3   a stage failed, and a retry alone does not help
BudgetRefused             exit 4   the plan exceeds a budget
SchedulerUnavailable      exit 5   Slurm gave no usable answer: nothing is known, nothing was changed
Withdrawn                 exit 130 interrupted (Ctrl-C): jobs were withdrawn, or stages saved and stopped
NoRoom                    exit 1   (in a job) the disk stayed full: free some space, the next attempt resumes
NotReady                  exit 87  (in a job) an input is missing or does not match its digest
Interrupted               exit 85  (in a job) stopped on request after saving; the next segment resumes
PermanentFailure          exit 86  (in a job) retrying cannot help: bad data, NaN, a failed gate
"""

from __future__ import annotations

BUG_EXIT_CODE = 1
"""Exit code of a command that ends with any other error."""


class DetourError(Exception):
    """Base of all errors that end a command with one message and a documented exit code."""

    exit_code = BUG_EXIT_CODE


class NoRoom(DetourError):
    """A disk or quota stayed full for the maximum waiting time; the next attempt resumes from the last save."""


class UserError(DetourError):
    """Something the user wrote is wrong; the message names it, what was expected and what to do."""

    exit_code = 2


class StageFailed(DetourError):
    exit_code = 3


class BudgetRefused(DetourError):
    exit_code = 4


class SchedulerUnavailable(DetourError):
    exit_code = 5


class Withdrawn(DetourError):
    exit_code = 130


class Interrupted(DetourError):
    exit_code = 85


class PermanentFailure(DetourError):
    exit_code = 86


class NotReady(DetourError):
    exit_code = 87
