"""Why a job is pending, in words: Slurm's reason, and which of the two waits it is.

A job first becomes eligible (its dependencies end, it is not held, its begin time comes), and then starts (nodes are
free, its turn has come, no limit prevents it).
"""

from __future__ import annotations

from typing import Literal

BY_ADMINISTRATOR = "JobHeldAdmin"
"""Only the site can release the job."""
Wait = Literal["eligible", "start"]
"""What a pending job waits for: to become eligible, or to start once it is."""
_BEFORE_ELIGIBLE = {
    "Dependency": "waits for the jobs before it",
    "DependencyNeverSatisfied": "a job that it waits for failed: it can never start",
    "BeginTime": "waits for its begin time, as after a requeue",
    "JobArrayTaskLimit": "waits for other tasks of its array",
    "Reservation": "waits for its reservation",
}
_AFTER = {
    "Resources": "next in turn, waits for free nodes",
    "Priority": "others are ahead of it",
    "None": "not yet considered by Slurm",
    "": "not yet considered by Slurm",
    "Nodes required for job are DOWN": "the nodes it requests are down, drained or reserved",
    "ReqNodeNotAvail": "the nodes it requests are down, drained or reserved, perhaps for maintenance",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition is inactive",
    "PartitionTimeLimit": "its time limit is above the partition's",
    "PartitionNodeLimit": "it requests more nodes than the partition has",
    "Licenses": "waits for a licence",
    "NodeDown": "the node it requests is down",
    "BadConstraints": "no node matches its request",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its QOS is not valid",
    "AccountNotAllowed": "its account may not use the partition",
    "QOSNotAllowed": "its QOS may not use the partition",
}


def wait_of(reason: str, is_held: bool) -> Wait:
    return "eligible" if is_held or _word(reason) in _BEFORE_ELIGIBLE else "start"


def reason_in_words(reason: str, is_held: bool) -> str:
    """`others are ahead of it (Priority)`: our words, then Slurm's reason."""
    word = _word(reason)
    if is_held:
        who = "an administrator" if word == BY_ADMINISTRATOR else "a person"
        return reason if reason.startswith("held by Slurm") else f"held by {who} ({reason or 'priority 0'})"
    if words := _BEFORE_ELIGIBLE.get(word) or _AFTER.get(word):
        return f"{words} ({word})" if word and " " not in word else words
    if word.startswith(("QOS", "Assoc", "Max")):
        return f"waits under a limit of its {'QOS' if word.startswith('QOS') else 'account'} ({word})"
    return f"Slurm says {reason}"


def _word(reason: str) -> str:
    """`ReqNodeNotAvail, UnavailableNodes:n[1-4]` -> `ReqNodeNotAvail`."""
    return reason.partition(",")[0].strip("() ")
