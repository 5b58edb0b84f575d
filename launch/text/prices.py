"""Finished stages compared with their estimates, and the basis of the next estimate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detour.grouping import grouped
from detour.launch.text.price import band_json
from detour.pricing.comparison import Accuracy, Compared, accuracy
from detour.pricing.history import Finished, LedgerHistory
from detour.pricing.price import Measured
from detour.text import amount, counted, cut, format_duration, plain, wrapped


def render_prices(
    rows: Sequence[Compared],
    finished: Sequence[Finished],
    needed_by: Mapping[str, Sequence[str]],
    newest: int,
    width: int,
) -> str:
    """At most `width` columns, which must be 80 or more; `needed_by` has the chains of each stage, by its id."""
    lines = [
        f"  {'kind':<10}{'stages':>7}{'priced':>8}{'expected':>13}{'actual':>13}{'median':>9}{'largest':>9}  in band"
    ]
    lines += [_accuracy(one) for one in accuracy(rows)]
    shown = rows[-newest:]
    if len(shown) < len(rows):
        lines.append(f"\nThe newest {len(shown)} of {len(rows)} (--all for the rest):")
    else:
        lines.append("\nStage by stage:")
    by_chains = grouped((tuple(needed_by.get(row.finished.stage.id, ())), row) for row in shown)
    for chains, of_chains in by_chains.items():
        lines.append(cut(f"{_chains(chains)}:", width))
        lines += [_row(row, width) for row in of_chains]
    lines.append("\nThe next estimate starts from:")
    lines += [line for text in _next(finished) for line in wrapped(text, width=width)]
    return "\n".join(lines)


def _accuracy(one: Accuracy) -> str:
    head = f"  {one.kind:<10}{one.stages:>7,}{one.priced:>8,}"
    if not one.priced:
        return f"{head}{'no price':>13}"
    times = f"{format_duration(one.expected_s):>13}{format_duration(one.actual_s):>13}"
    return f"{head}{times}{_percent(one.median_error):>9}{_percent(one.largest_error):>9}  {one.within} of {one.priced}"


def _chains(chains: Sequence[str]) -> str:
    if not chains:
        return "in no chain any more"
    others = f" and {counted(len(chains) - 1, 'other chain')}" if len(chains) > 1 else ""
    return f"{plain(chains[0])}{others}"


def _row(row: Compared, width: int) -> str:
    finished, quoted = row.finished, row.quoted
    tries = f", {finished.attempts} attempts" if finished.attempts > 1 else ""
    took = f"{format_duration(finished.allocated_s)}{tries}"
    expected = quoted.wall_s if quoted else None
    said = "no price" if expected is None else f"expected {format_duration(expected.expected)}"
    label = cut(plain(finished.stage.label), 34)
    error = "" if row.error is None else f"  {_percent(row.error)}"
    return cut(f"  {label:<34}  {plain(finished.cluster or 'unknown'):<13} {took}; {said}{error}", width)


def _next(finished: Sequence[Finished]) -> Iterator[str]:
    for cluster in dict.fromkeys(one.cluster for one in finished if one.cluster):
        history = LedgerHistory(finished, cluster, {})
        for signature in history.signatures:
            measured = history.measured(signature)
            assert measured is not None
            yield f"{plain(cluster)}: {plain(signature)}: {_measured(signature, measured)}"


def _measured(signature: str, measured: Measured) -> str:
    of = f"{measured.stages} stage{'s' if measured.stages > 1 else ''}, +-{measured.error:.0%}"
    kind = signature.partition(" ")[0]
    if kind == "pretrain" and measured.unit_s > 0:
        return f"{amount(1 / measured.unit_s)} tokens/s per device after {amount(measured.fixed_s)} s ({of})"
    if kind == "prepare" and measured.unit_s > 0:
        return f"{amount(1e-6 / measured.unit_s)} MB/s ({of})"
    return f"{format_duration(measured.unit_s)} ({of})"


def _percent(error: float | None) -> str:
    return "" if error is None else f"{error:+.0%}"


def prices_json(
    rows: Sequence[Compared], finished: Sequence[Finished], needed_by: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    return {
        "kinds": [{name: getattr(one, name) for name in Accuracy.__slots__} for one in accuracy(rows)],
        "stages": [_row_json(row) | {"chains": list(needed_by.get(row.finished.stage.id, ()))} for row in rows],
        "next": {
            cluster: {
                signature: measured._asdict()
                for signature in history.signatures
                if (measured := history.measured(signature)) is not None
            }
            for cluster in dict.fromkeys(one.cluster for one in finished if one.cluster)
            for history in [LedgerHistory(finished, cluster, {})]
        },
    }


def _row_json(row: Compared) -> dict[str, Any]:
    finished, quoted = row.finished, row.quoted
    return {
        "stage": finished.stage.id,
        "label": finished.stage.label,
        "kind": finished.stage.kind,
        "cluster": finished.cluster,
        "attempts": finished.attempts,
        "started_s": finished.started_s,
        "allocated_s": finished.allocated_s,
        "gpu_hours": finished.gpu_hours,
        "expected_s": band_json(quoted.wall_s) if quoted else None,
        "expected_gpu_hours": band_json(quoted.gpu_hours) if quoted else None,
        "source": quoted.source if quoted else None,
        "error": row.error,
        "within": row.is_within,
    }
