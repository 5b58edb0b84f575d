"""The page of `detour --help`, with its list of verbs. Imports nothing, so that it is shown at once."""

from __future__ import annotations

GROUPS = {
    "Plan and run": {
        "plan": "Show what a recipe or sweep would do and cost.",
        "run": "Run a recipe or a sweep on this machine.",
        "submit": "Submit missing stages of a recipe or sweep to Slurm, exactly once.",
        "init": "Write a recipe and a cluster profile with comments, to start from.",
        "schema": "Print the JSON Schema of recipes, or a table of every key.",
    },
    "Watch": {
        "status": "Show chains, their stages and what they have used so far.",
        "watch": "Walk through chains, stages and logs on the whole terminal.",
        "show": "Show everything known about stages, or about each stage of chains.",
        "list": "List chains and sweeps, or stages with their ids.",
        "logs": "Print the log of a stage's last attempt, or of another.",
        "wait": "Wait until chains have ended.",
        "why": "Say why a stage failed or is pending, and what to do.",
        "forecast": "Show when jobs will start, and how good such forecasts have been.",
    },
    "Steer": {
        "cancel": "Cancel chains, sweeps, or stages with their dependents.",
        "hold": "Hold pending jobs of chains, sweeps or stages.",
        "release": "Release held jobs of chains, sweeps or stages.",
        "retry": "Resubmit failed stages and damaged outputs, with their dependents.",
        "override": "Accept a checkpoint that a gate refused, with a reason.",
        "adopt": "Record jobs of this workspace that its ledger does not know.",
    },
    "Hours, energy, CO2": {
        "budget": "Show what each budget has spent and reserved.",
        "prices": "Compare finished stages with their estimates.",
        "report": "Write the report of chains, of a sweep, or of the workspace.",
        "serve": "Serve the report as a live page, with what is going on now.",
        "energy": "Show energy and CO2 by method, or read other tools' files.",
        "usage": "Sum jobs, hours and waits from an accounting dump, or from sacct.",
    },
    "Models": {
        "compare": "Compare models by their scores over seeds and tasks.",
        "models": "List versions of models; show, compare, promote or roll one back.",
        "card": "Write, verify or push a model card with its hub folder.",
    },
    "Workspace and machine": {
        "gc": "Show what no plan, job or pin needs, and remove it.",
        "pin": "Protect stages, and everything they are made of, from `detour gc`.",
        "unpin": "Let `detour gc` remove pinned stages again.",
        "bench": "Measure how fast a recipe trains on the device of this machine.",
        "clusters": "List the cluster profiles, or show one with its sources.",
        "doctor": "Check a profile against the live site, and this environment.",
        "completion": "Print the script with which a shell completes verbs and names.",
    },
}
VERBS = {verb: line for verbs in GROUPS.values() for verb, line in verbs.items()}
"""Each verb is a module of `launch`; a test compares each line with the verb's own help."""

_PAGE = """\
Usage: detour [OPTIONS] VERB [ARGS]...

  Encoder pretraining with a causal detour, as chains of jobs.

  Exit codes:
    0    done
    1    a bug
    2    bad input: correct it and run again
    3    a stage failed
    4    over budget: nothing was submitted
    5    Slurm did not answer, or did not do as ordered
    124  `detour wait --timeout`: the time is over
    130  interrupted

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

`detour VERB --help` describes a verb.
"""


def help_page() -> str:
    width = max(map(len, VERBS))
    return _PAGE + "\n".join(_group(name, verbs, width) for name, verbs in GROUPS.items())


def _group(name: str, verbs: dict[str, str], width: int) -> str:
    return "\n".join([f"\n{name}:", *(f"  {verb:<{width}}  {line}" for verb, line in verbs.items())])
