from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detour.config.models import Benchmark
from detour.errors import UserError
from detour.tasks.loading import load_task
from detour.tasks.supported import unsupported_tasks
from tests.evaluation.conftest import make_task


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"type": "ner"},
            "task organs: the reader `table` supports tasks of type single_label and multilabel, not ner: "
            "set `reader` to `brat`, `bio`, `tokens`, `spans`",
        ),
        ({"data": {"path": "x", "reader": "brad"}}, "there is no reader `brad`; did you mean `brat`?"),
        ({"data": {"path": "x", "reader": "diamed", "split_column": "split"}}, "use `split_files`"),
        ({"data": None}, "`data` is missing"),
        ({"split": None}, "give one of `split`"),
        ({"data": {"path": "x", "split_column": "split"}}, "give one of `split`"),
    ],
)
def test_an_unsupported_task_is_refused_with_the_supported_ones(changes: dict[str, Any], message: str) -> None:
    task = make_task(**changes)
    with pytest.raises(UserError, match=message):
        load_task(task, [Path("x")])


def test_the_unsupported_tasks_of_a_benchmark_are_listed_with_their_reasons() -> None:
    tasks = [make_task().model_dump(), make_task(name="entities", type="ner").model_dump()]
    listed = unsupported_tasks(Benchmark.model_validate({"name": "b", "tasks": tasks, "seeds": [1]}))
    assert list(listed) == ["entities"]
