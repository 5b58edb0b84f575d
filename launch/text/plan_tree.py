"""The chains of a sweep as a readable tree, in which shared stages are one branch.

Many branches that read alike (a hundred seeds, for example) are folded into one line that names the settings in which
they differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from detour.config.models import frozen_in_words
from detour.grouping import grouped
from detour.orchestration.progress import Progress, count
from detour.planning.plan import Plan
from detour.planning.sharing import Branch, tree
from detour.planning.stage import ExportStage, PrepareStage, PretrainStage
from detour.text import WIDTH, counted, cut, format_count

MOST_LINES = 90
"""Number of lines above which branches that read alike are folded."""
COMPARED = 20
"""Branches compared to find the settings in which folded ones differ."""
NAMED = 2
NAME_WIDTH = 40
"""Width of a chain's name; only the end of a longer one is shown."""


class Line(NamedTuple):
    """One step of some chains."""

    text: str
    chain: str
    """The only chain that ends here, with its other names; otherwise empty."""
    state: str


def render_tree(plans: Iterable[Plan], known: Mapping[str, Progress], width: int = WIDTH) -> list[str]:
    """No line is longer than `width`, which must be 80 or more."""
    roots = list(tree(plans).values())
    lines = list(_lines(roots, known, "", folded=_size(roots) > MOST_LINES))
    left_out = len(lines) - MOST_LINES
    if left_out > 0:
        lines[MOST_LINES:] = [Line(f"... and {left_out:,} more lines; --json has them all", "", "")]
    state_width = max(len(line.state) for line in lines)
    room = width - (state_width + 2 if state_width else 0)
    text_width = max((len(line.text) for line in lines if line.chain), default=0)
    text_width = min(text_width, room - min(NAME_WIDTH, max(len(line.chain) for line in lines)) - 2)
    return [f"{_left(line, text_width, room):<{room}}  {line.state}".rstrip() for line in lines]


def _left(line: Line, text_width: int, room: int) -> str:
    if not line.chain:
        return cut(line.text, room)
    return f"{cut(line.text, text_width):<{text_width}}  {_end(line.chain, room - text_width - 2)}"


def in_words(standing: Mapping[Progress, int]) -> str:
    """For example `3/74 done, 2 in flight`; empty if everything is new."""
    total = sum(standing.values())
    if standing.get("done") == total:
        return "done"
    done = [f"{standing['done']}/{total} done"] if standing.get("done") else []
    return ", ".join(done + [f"{n} {word}" for word in ("in flight", "failed") if (n := standing.get(word))])


def phase_in_words(stage: PretrainStage) -> str:
    """For example `masked 15%, layers 0-7 frozen, 1B tokens = 318 steps`, least important last, where it may be cut."""
    phase, runtime = stage.settings.phase, stage.runtime
    rate = f" {phase.masking_rate:.0%}" if phase.masking_rate else ""
    warmup = f", {runtime.warmup_steps:,} warm-up" if runtime.warmup_steps else ""
    frozen = f", {held} frozen" if (held := frozen_in_words(phase.freeze)) else ""
    tokens = f"{format_count(phase.tokens)} tokens = {runtime.steps:,} steps"
    return f"{phase.objective}{rate}{frozen}, {tokens}{warmup}"


def corpus_in_words(stage: PrepareStage) -> str:
    names = [source.name for source, _ in stage.settings.used]
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return f"{shown}: {stage.settings.sequence_length:,}-token rows"


def _model(stage: PretrainStage) -> str:
    """The published weights that a training starts from, if it does."""
    if "parent" in stage.inputs:
        return ""
    name = stage.runtime.model.pretrained
    return f"{name.rstrip('/').rpartition('/')[2]}, " if name else ""


def _lines(branches: Sequence[Branch], known: Mapping[str, Progress], prefix: str, *, folded: bool) -> Iterator[Line]:
    groups = list(_groups(branches, folded=folded))
    for index, (text, group) in enumerate(groups):
        is_last, is_end = index == len(groups) - 1, all(map(_ends, group))
        below = [child for branch in group for child in branch.branches.values()]
        stages = [stage for branch in (group + below if is_end else group) for stage in branch.stages]
        chains = [name for branch in group for name in branch.chains]
        line = prefix + ("└─ " if is_last else "├─ ") + text
        state = in_words(count(stages, known))
        if is_end and len(group) == 1:
            yield Line(line, _one_of(chains), state)
        else:
            yield Line(f"{line}  ({len(chains):,} chains)" if len(chains) > 1 else line, "", state)
        if not is_end:
            yield from _lines(below, known, prefix + ("   " if is_last else "│  "), folded=folded)


def _one_of(names: Sequence[str]) -> str:
    """A chain with its other names."""
    if len(names) <= 2:
        return " = ".join(names)
    return f"{names[0]} = {len(names) - 1} others"


def _groups(branches: Sequence[Branch], *, folded: bool) -> Iterator[tuple[str, list[Branch]]]:
    """The text of each line, and the branches it covers."""
    alike = grouped((_text(branch), branch) for branch in branches)
    for text, group in alike.items():
        if len(group) == 1:
            yield text, group
        elif folded:
            paths = list(_differences(group[:COMPARED]))
            differing = f", differing in {', '.join(paths[:NAMED])}" if paths else ""
            yield f"{text}, x{len(group):,}{differing}", group
        else:
            differences = _differences(group)
            for index, branch in enumerate(group):
                differing = ", ".join(
                    _setting(path, values[index]) for path, values in list(differences.items())[:NAMED]
                )
                yield f"{text}, {differing}" if differing else text, [branch]


def _text(branch: Branch) -> str:
    first = branch.stages[0]
    if isinstance(first, PrepareStage):
        return f"prepare  {corpus_in_words(first)}"
    if isinstance(first, PretrainStage):
        return f"{first.phase}  {_model(first)}{phase_in_words(first)}"
    assert isinstance(first, ExportStage)
    evaluations = sum(stage.kind == "evaluate" for stage in branch.stages)
    return f"export  {first.settings.dtype}, {counted(evaluations, 'evaluation')}"


def _ends(branch: Branch) -> bool:
    """Whether only one export with its results follows, which the line then covers too."""
    children = list(branch.branches.values())
    return not children or (len(children) == 1 and children[0].stages[0].kind == "export")


def _size(branches: Iterable[Branch]) -> int:
    return sum(1 if _ends(branch) else 1 + _size(branch.branches.values()) for branch in branches)


def _differences(group: Sequence[Branch]) -> dict[str, list[str]]:
    """Dotted path -> the value in each branch, for settings in which branches that read alike differ."""
    flat = [_flat({stage.kind: stage.settings.to_json() for stage in branch.stages}) for branch in group]
    paths = dict.fromkeys(path for settings in flat for path in settings)
    values = {path: [settings.get(path, "not set") for settings in flat] for path in paths}
    different = {path.partition(".")[2]: column for path, column in values.items() if len(set(column)) > 1}
    return {path: column for path, column in different.items() if "fingerprint" not in path}


def _setting(path: str, value: str) -> str:
    """`tokenizer moderncamembert-base`: only the name of a hub id or folder."""
    if path.endswith("pretrained"):
        return f"{path.removesuffix('.pretrained')} {value.rstrip('/').rpartition('/')[2]}"
    return f"{path} {value}"


def _flat(value: Any, path: str = "") -> dict[str, str]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {path: str(value)}
    return {
        inner: text
        for name, child in items
        for inner, text in _flat(child, f"{path}.{name}" if path else str(name)).items()
    }


def _end(text: str, width: int) -> str:
    """The end of a name, since names differ there."""
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}"
