"""`detour doctor`: does the profile say what the site says, and can jobs run from here? Changes nothing."""

from __future__ import annotations

import json
import os
import pwd
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import fill

import click
import yaml

from detour.config.cluster import Cluster
from detour.config.loading import load_cluster
from detour.doctor.environment import environment_findings
from detour.doctor.findings import VERDICTS, Finding, merged_changes
from detour.doctor.live_site import LiveSite, ask_site
from detour.doctor.settings import compare
from detour.launch.clusters import profile_path
from detour.launch.options import json_option, workspace_option
from detour.ledger.workspace import Workspace
from detour.monitoring.text import cut, plain
from detour.scheduler.commands import Slurm

WIDTH = 100
PROBLEM = 2
"""Exit code when something is."""


@click.command(help="Check a cluster profile against the live site, and this environment.")
@click.option("--cluster", "name", default="local", show_default=True, help="The profile: a name or a file.")
@workspace_option
@json_option
def command(name: str, workspace: Path | None, as_json: bool) -> None:
    """Exit code 2 when something must be changed before jobs can run; what is unknown is no fault."""
    cluster, path = load_cluster(name), profile_path(name)
    site = ask_site(Slurm(), user_name(), time.time) if cluster.scheduler == "slurm" else LiveSite()
    findings = compare(cluster, site) if cluster.scheduler == "slurm" else []
    findings += environment_findings(cluster, Workspace.find(workspace).root)
    if as_json:
        click.echo(json.dumps(to_json(cluster, path, site, findings), indent=1, ensure_ascii=False))
    else:
        click.echo(render(cluster, path, site, findings))
    if any(finding.verdict == "problem" for finding in findings):
        sys.exit(PROBLEM)


def user_name() -> str:
    """Whom Slurm takes us for: the process's user, whatever the environment says."""
    return pwd.getpwuid(os.geteuid()).pw_name


def to_json(cluster: Cluster, path: Path, site: LiveSite, findings: Sequence[Finding]) -> dict[str, object]:
    return {
        "cluster": cluster.name,
        "profile": str(path),
        "counts": counts(findings),
        "findings": [asdict(finding) for finding in findings],
        "silences": list(site.silences),
        "change": merged_changes(findings),
    }


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    found = Counter(finding.verdict for finding in findings)
    return {verdict: found[verdict] for verdict in VERDICTS}


def render(cluster: Cluster, path: Path, site: LiveSite, findings: Sequence[Finding]) -> str:
    """The worst first; no line is longer than 100 columns, except those of the profile to be copied."""
    lines = [cut(plain(f"{cluster.name}: {cluster.description}"), WIDTH)]
    ordered = sorted(findings, key=lambda finding: VERDICTS.index(finding.verdict))
    for finding in ordered:
        lines += _finding_lines(finding)
    for silence in site.silences:
        lines.append(_wrapped(f"no answer: {plain(silence)}", ""))
    if change := merged_changes(findings):
        own = {"extends": str(path), "name": f"my-{cluster.name}"[:64], **change}
        lines += ["", "A profile of your own that says what the site says:", ""]
        lines += [f"  {line}" for line in yaml.safe_dump(own, sort_keys=False, allow_unicode=True).splitlines()]
        lines.append("")
    total = counts(findings)
    lines.append(", ".join(f"{number} {_plural(verdict, number)}" for verdict, number in total.items()))
    return "\n".join(lines)


def _plural(verdict: str, number: int) -> str:
    return f"{verdict}s" if verdict in ("problem", "warning") and number != 1 else verdict


def _finding_lines(finding: Finding) -> Iterator[str]:
    sides = [f"wanted: {finding.profile}" if finding.profile else "", f"found: {finding.site}" if finding.site else ""]
    said = "; ".join(plain(side) for side in sides if side)
    yield cut(f"{finding.verdict:<8} {plain(finding.subject)}" + (f"  ({said})" if said else ""), WIDTH)
    if finding.advice:
        yield _wrapped(plain(finding.advice), " " * 9)


def _wrapped(text: str, indent: str) -> str:
    return fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent or "  ", break_on_hyphens=False)
