"""Check a card's claims about scores against its own table: averages, differences, wins."""

from __future__ import annotations

import re
from collections.abc import Iterator

from detour.cards.findings import Finding, Verdict, agrees, bare_name
from detour.cards.p_claims import four_decimals, p_findings
from detour.cards.reading import FoundCard
from detour.statistics.comparing import compare
from detour.statistics.comparison import Comparison, Pair
from detour.statistics.scores import ScoreTable, decimals_of, is_rounded
from detour.statistics.tables import rounded
from detour.statistics.verdicts import signed

SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\[*])")
POINTS_CLAIM = re.compile(r"(?:[+]\s?|\bby )(\d+(?:\.\d+)?)\s*(?:F1\b|pp|%?\s*(?:F1 )?points?|pts)\b")
WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
IN_WORDS = {word: number for number, word in enumerate(WORDS, 2)}
COUNT = rf"(\d{{1,4}}|{'|'.join(IN_WORDS)})"
WINS_CLAIM = re.compile(
    rf"\b(?:on|in|across|wins?) (?:all )?{COUNT}(?: of (?:the )?| out of (?:the )?|/){COUNT} (?:\w+ ){{0,2}}tasks\b"
    rf"|\b(?:on|in|across|wins?) all (?:the )?{COUNT}\b[^.]*\btasks\b",
    re.IGNORECASE,
)


def score_findings(card: FoundCard) -> Iterator[Finding]:
    for table in card.results:
        comparison = compare(table)
        yield from _averages(table, comparison)
        ours = _own_row(card, table)
        yield from _metadata(card, table, ours)
        pairs = [_oriented(table, ours, other) for other in table.models if other != ours]
        yield from (_pair(pair) for pair in pairs)
        for line, text in card.paragraphs:
            for sentence in SENTENCE_END.split(text):
                yield from _claims(line, sentence, comparison, pairs)


def _averages(table: ScoreTable, comparison: Comparison) -> Iterator[Finding]:
    published = table.published or {}
    for model in table.models:
        mean, stated = comparison.averages[model].mean, published.get(model)
        if mean is None:
            yield Finding("unknown", f"average of {model}: scores are missing")
        elif stated is None:
            yield Finding("computed", f"average of {model}: its {len(table.tasks)} scores give {rounded(mean, 2)}")
        else:
            verdict: Verdict = "differs"
            if is_rounded(stated, mean, decimals_of(stated, published.values())):
                verdict = "holds"
            yield Finding(
                verdict, f"average of {model}: stated {stated:g}, its {len(table.tasks)} scores give {rounded(mean, 2)}"
            )


def _own_row(card: FoundCard, table: ScoreTable) -> str:
    """Return the row of the card's model, by its name in the metadata, otherwise the first row."""
    names = {bare_name(entry.model) for entry in card.entries}
    return next((model for model in table.models if bare_name(model) in names), table.models[0])


def _metadata(card: FoundCard, table: ScoreTable, ours: str) -> Iterator[Finding]:
    columns = {bare_name(task): task for task in table.tasks}
    figures = [figure for cell in table.cells.values() for figure in cell.values() if figure is not None]
    equal = 0
    for entry in card.entries:
        task = columns.get(bare_name(entry.dataset))
        shown = None if task is None else table.seeds(ours, task).get(None)
        if shown is None or entry.value is None:
            yield Finding("unknown", f"metadata: {entry.dataset} {entry.metric} is in no column of the table")
        elif not any(is_rounded(shown, scale * entry.value, decimals_of(shown, figures)) for scale in (1, 100)):
            yield Finding("differs", f"metadata: {entry.dataset} is {entry.value:g}, the table has {shown:g}")
        else:
            equal += 1
    if equal:
        yield Finding(
            "holds", f"metadata: {equal} of {len(card.entries)} figures of the model-index are those of the table"
        )
    absent = [
        task for task in table.tasks if bare_name(task) not in {bare_name(entry.dataset) for entry in card.entries}
    ]
    if card.entries and absent:
        yield Finding("differs", f"metadata: {', '.join(absent)} of the table are not in the model-index")


def _oriented(table: ScoreTable, ours: str, other: str) -> Pair:
    cells = {place: cell for place, cell in table.cells.items() if place[0] in (ours, other)}
    return compare(ScoreTable((ours, other), table.tasks, cells)).pairs[0]


def _pair(pair: Pair) -> Finding:
    if pair.over_tasks is None or pair.average.mean is None:
        return Finding("unknown", f"{pair.first} and {pair.second}: {'; '.join(pair.untested)}")
    signs = pair.over_tasks.signs
    ties = f" ({signs.ties} equal)" if signs.ties else ""
    return Finding(
        "computed",
        f"{pair.first} against {pair.second}: {signed(pair.average.mean)} on average, better on {signs.wins} of "
        f"{pair.over_tasks.tasks} tasks{ties}, sign test p = {four_decimals(signs.p_one_sided)} one-sided, "
        f"{four_decimals(signs.p_two_sided)} two-sided",
    )


def _claims(line: int, text: str, comparison: Comparison, pairs: list[Pair]) -> Iterator[Finding]:
    named = [pair for pair in pairs if _is_named(pair.second, text, pair.first)]
    yield from p_findings(line, text, named or pairs)
    for claim in POINTS_CLAIM.finditer(text):
        yield _points_claim(line, claim[1], comparison, named or pairs)
    for claim in WINS_CLAIM.finditer(text) if named else ():
        yield _wins_claim(line, claim, named)


def _is_named(model: str, text: str, ours: str) -> bool:
    name = bare_name(model)
    return bool(name) and name in bare_name(text.replace(ours, ""))


def _points_claim(line: int, stated: str, comparison: Comparison, pairs: list[Pair]) -> Finding:
    for pair in pairs:
        exact = pair.average.mean
        means = [comparison.averages[model].mean for model in (pair.first, pair.second)]
        if exact is None or None in means:
            continue
        shown = float(rounded(means[0] or 0.0)) - float(rounded(means[1] or 0.0))
        if agrees(stated, exact):
            doubt = "" if agrees(stated, shown) else f"; the averages as they are printed differ by {shown:.1f}"
            return Finding("holds", f"+{stated} against {pair.second}: the averages differ by {exact:.2f}{doubt}", line)
        if agrees(stated, shown):
            return Finding(
                "holds",
                f"+{stated} against {pair.second}: from the printed averages; unrounded they differ by {exact:.2f}",
                line,
            )
    found = ", ".join(f"{pair.second} {signed(pair.average.mean)}" for pair in pairs if pair.average.mean is not None)
    return Finding(
        "differs", f"+{stated}: the averages differ by {found}" if found else f"+{stated}: scores are missing", line
    )


def _wins_claim(line: int, claim: re.Match[str], pairs: list[Pair]) -> Finding:
    wins, tasks = (IN_WORDS.get(count.lower(), count) for count in (claim[1] or claim[3], claim[2] or claim[3]))
    pair = pairs[0]
    if pair.over_tasks is None:
        return Finding("unknown", f"{wins} of {tasks} tasks: {'; '.join(pair.untested)}", line)
    signs = pair.over_tasks.signs
    holds = (signs.wins, pair.over_tasks.tasks) == (int(wins), int(tasks))
    return Finding(
        "holds" if holds else "differs",
        f"{wins} of {tasks} tasks against {pair.second}: the table has {signs.wins} of {pair.over_tasks.tasks}",
        line,
    )
