"""The findings of a profile's check, worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import yaml

from detour.doctor.check import Checked
from detour.doctor.findings import VERDICTS, Finding, merged_changes
from detour.text import plain, wrapped


def doctor_json(checked: Checked) -> dict[str, object]:
    findings = checked.findings
    return {
        "cluster": checked.cluster.name,
        "profile": str(checked.profile),
        "counts": counts(findings),
        "findings": [asdict(finding) for finding in findings],
        "unanswered": list(checked.live.unanswered),
        "change": merged_changes(findings),
    }


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    found = Counter(finding.verdict for finding in findings)
    return {verdict: found[verdict] for verdict in VERDICTS}


def render_doctor(checked: Checked, width: int) -> str:
    """No line is longer than `width`, except those of the profile to copy."""
    cluster, findings = checked.cluster, checked.findings
    lines = wrapped(plain(f"{cluster.name}: {cluster.description}"), "", width)
    ordered = sorted(findings, key=lambda finding: VERDICTS.index(finding.verdict))
    for finding in ordered:
        lines += _finding_lines(finding, width)
    for said in checked.live.unanswered:
        lines += wrapped(f"no answer: {plain(said)}", "", width)
    if change := merged_changes(findings):
        own = {"extends": str(checked.profile), "name": f"my-{cluster.name}"[:64], **change}
        lines += ["", "A profile of your own that agrees with the site:", ""]
        lines += [f"  {line}" for line in yaml.safe_dump(own, sort_keys=False, allow_unicode=True).splitlines()]
        lines.append("")
    total = counts(findings)
    lines.append(", ".join(f"{number} {_plural(verdict, number)}" for verdict, number in total.items()))
    return "\n".join(lines)


def _plural(verdict: str, number: int) -> str:
    return f"{verdict}s" if verdict in ("problem", "warning") and number != 1 else verdict


def _finding_lines(finding: Finding, width: int) -> Iterator[str]:
    sides = [
        f"expected: {finding.profile}" if finding.profile else "",
        f"found: {finding.site}" if finding.site else "",
    ]
    said = "; ".join(plain(side) for side in sides if side)
    first = f"{finding.verdict:<8} {plain(finding.subject)}" + (f"  ({said})" if said else "")
    yield from wrapped(first, "", width)
    if finding.advice:
        yield from wrapped(plain(finding.advice), " " * 9, width)
