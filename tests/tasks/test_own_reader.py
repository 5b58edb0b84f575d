"""The reader of docs/tasks.md works as that page says."""

from __future__ import annotations

import re
from collections import Counter
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from detour.config.models import Task
from detour.errors import UserError
from detour.tasks.files import task_files
from detour.tasks.loading import load_task
from detour.tasks.readers import registry

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module of the page, and its entry point as in an installed package."""
    text = PAGE.read_text()
    ((code,), (point,)) = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("python", "toml"))
    name, value = re.findall(r'^(\w+) = "(.*)"$', point, re.MULTILINE)[0]
    package, module = ModuleType("our_package"), ModuleType("our_package.registry")
    exec(compile(code, "registry.py", "exec"), module.__dict__)
    monkeypatch.setitem(__import__("sys").modules, "our_package", package)
    monkeypatch.setitem(__import__("sys").modules, "our_package.registry", module)
    points = [EntryPoint(name, value, registry.ENTRY_POINTS)]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.ENTRY_POINTS else [])


def task(path: Path) -> Task:
    return Task.model_validate(
        {
            "name": "notes",
            "type": "multilabel",
            "data": {"path": str(path), "reader": "registry"},
            "split": {"train": 2, "validation": 1, "test": 1},
            "max_length": 64,
            "epochs": 1,
        }
    )


@pytest.mark.usefixtures("installed")
def test_the_reader_reads_its_files_and_counts_what_it_leaves_out(tmp_path: Path) -> None:
    lines = [f"{number}|C50.9 C{number}|note {number}" for number in range(4)]
    (tmp_path / "a.notes").write_text("".join(f"{line}\r\n" for line in [*lines, "9||not coded"]))
    asked = task(tmp_path)
    assert asked.data is not None
    documents = load_task(asked, task_files(asked.data))
    assert documents.labels == ("C0", "C1", "C2", "C3", "C50.9")
    assert documents.dropped == Counter({"not coded": 1})


@pytest.mark.usefixtures("installed")
def test_a_bad_line_of_the_reader_is_one_message_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.notes").write_text("1|C50.9|note\n2|note\n")
    with pytest.raises(UserError, match=r"a.notes: line 2: expected NUMBER\|CODES\|TEXT"):
        load_task(task(tmp_path), [tmp_path / "a.notes"])
