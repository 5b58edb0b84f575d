"""Check a card's claims about scores against its own table: averages, differences, wins."""

from __future__ import annotations

import re
from collections.abc import Iterator

from detour.cards.findings import MAY_BE_ROUNDED, Finding, bare_name
from detour.cards.p_claims import four_decimals, p_findings
from detour.cards.points_claims import points_findings
from detour.cards.reading import Entry, FoundCard
from detour.statistics.comparing import compare
from detour.statistics.comparison import Comparison, Pair
from detour.statistics.scores import ScoreTable, decimals_of, is_rounded, rounding_slack
from detour.statistics.tables import rounded
from detour.statistics.verdicts import signed

SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\[*])")
WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
IN_WORDS = {word: number for number, word in enumerate(WORDS, 2)}
COUNT = rf"(\d{{1,4}}|{'|'.join(IN_WORDS)})"
WINS_CLAIM = re.compile(
    rf"\b(?:on|in|across|wins?) (?:all )?{COUNT}(?: of (?:the )?| out of (?:the )?|/){COUNT} (?:\w+ ){{0,2}}tasks\b"
    rf"|\b(?:on|in|across|wins?) {COUNT} (?:\w+ )?tasks (?:out )?of {COUNT}\b"
    rf"|\b(?:on|in|across|wins?) (?:all|each of|every one of) (?:the )?{COUNT}\b[^.]*\btasks\b",
    re.IGNORECASE,
)
EVERY_TASK = re.compile(
    r"\b(?:on|in|across) (?:(?:every|each)(?: single)? task\b|all (?:of )?(?:the |these )?tasks\b)", re.IGNORECASE
)


def score_findings(card: FoundCard) -> Iterator[Finding]:
    with_model = [table for table in card.results if _named_rows(card, table)]
    for table in card.results:
        comparison = compare(table)
        yield from _averages(table, comparison)
        ours = _own_row(card, table)
        if table in with_model or not with_model:
            yield from _metadata(card, table, ours)
        pairs = [_oriented(table, ours, other) for other in table.models if other != ours]
        yield from (_pair(pair) for pair in pairs)
        for line, text in card.paragraphs:
            for sentence in SENTENCE_END.split(text):
                yield from _claims(line, sentence, table, comparison, pairs)


def _averages(table: ScoreTable, comparison: Comparison) -> Iterator[Finding]:
    published = table.published or {}
    for model in table.models:
        mean, stated = comparison.averages[model].mean, published.get(model)
        if mean is None:
            yield Finding("unknown", f"average of {model}: scores are missing")
        elif stated is None and len(table.tasks) == 1:
            continue
        elif stated is None:
            yield Finding("computed", f"average of {model}: its {len(table.tasks)} scores give {rounded(mean, 2)}")
        else:
            decimals, slack = decimals_of(stated, published.values()), rounding_slack(table, len(table.tasks))
            said = f"average of {model}: stated {stated:g}, its {len(table.tasks)} scores give {rounded(mean, 2)}"
            if is_rounded(stated, mean, decimals):
                yield Finding("holds", said)
            elif is_rounded(stated, mean, decimals, slack):
                yield Finding("unknown", f"{said}; {MAY_BE_ROUNDED}")
            else:
                yield Finding("differs", said)


def _own_row(card: FoundCard, table: ScoreTable) -> str:
    """Return the row of the card's model, by its name in the metadata, otherwise the first row."""
    return next(iter(_named_rows(card, table)), table.models[0])


def _named_rows(card: FoundCard, table: ScoreTable) -> list[str]:
    names = {bare_name(entry.model) for entry in card.entries}
    return [model for model in table.models if bare_name(model) in names]


def _metadata(card: FoundCard, table: ScoreTable, ours: str) -> Iterator[Finding]:
    columns = {bare_name(task): task for task in table.tasks}
    figures = [figure for cell in table.cells.values() for figure in cell.values() if figure is not None]
    equal: set[str] = set()
    others: list[tuple[Entry, float]] = []
    for entry in card.entries:
        task = columns.get(bare_name(entry.dataset))
        shown = None if task is None else table.seeds(ours, task).get(None)
        if task is None or shown is None or entry.value is None:
            yield Finding("unknown", f"metadata: {entry.dataset} {entry.metric} is in no column of the table")
        elif any(is_rounded(shown, scale * entry.value, decimals_of(shown, figures)) for scale in (1, 100)):
            equal.add(bare_name(entry.dataset))
        else:
            others.append((entry, shown))
    for entry, shown in others:
        if bare_name(entry.dataset) in equal:
            yield Finding("unknown", f"metadata: {entry.dataset} {entry.metric} is not the metric of the table")
        else:
            yield Finding("differs", f"metadata: {entry.dataset} is {entry.value:g}, the table has {shown:g}")
    if equal:
        number = len({bare_name(entry.dataset) for entry in card.entries})
        yield Finding("holds", f"metadata: {len(equal)} of {number} figures of the model-index are those of the table")
    listed = {bare_name(entry.dataset) for entry in card.entries}
    scored = [task for task in table.tasks if any(value is not None for value in table.seeds(ours, task).values())]
    absent = [task for task in scored if bare_name(task) not in listed]
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


def _claims(line: int, text: str, table: ScoreTable, comparison: Comparison, pairs: list[Pair]) -> Iterator[Finding]:
    named = [pair for pair in pairs if _is_named(pair.second, text, pair.first)]
    yield from p_findings(line, text, named or pairs)
    yield from points_findings(line, text, table, comparison, named or pairs)
    for claim in WINS_CLAIM.finditer(text) if named else ():
        wins, tasks = (int(IN_WORDS.get(count.lower(), count)) for count in _counts(claim))
        yield _wins_finding(line, named[0], wins, tasks)
    if named and named[0].over_tasks and EVERY_TASK.search(text):
        yield _wins_finding(line, named[0], named[0].over_tasks.tasks, named[0].over_tasks.tasks)


def _counts(claim: re.Match[str]) -> tuple[str, str]:
    """Return the wins and the tasks of a claim; `all 8 tasks` states both in one number."""
    found = [count for count in claim.groups() if count]
    return found[0], found[-1]


def _is_named(model: str, text: str, ours: str) -> bool:
    name = bare_name(model)
    return bool(name) and name in bare_name(text.replace(ours, ""))


def _wins_finding(line: int, pair: Pair, wins: int, tasks: int) -> Finding:
    if pair.over_tasks is None:
        return Finding("unknown", f"{wins} of {tasks} tasks: {'; '.join(pair.untested)}", line)
    signs = pair.over_tasks.signs
    holds = (signs.wins, pair.over_tasks.tasks) == (wins, tasks)
    return Finding(
        "holds" if holds else "differs",
        f"{wins} of {tasks} tasks against {pair.second}: the table has {signs.wins} of {pair.over_tasks.tasks}",
        line,
    )
