"""Pages name files, rooms and tests that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
ARCHITECTURE = REPOSITORY / "docs" / "architecture.md"
CONTRIBUTING = REPOSITORY / "CONTRIBUTING.md"
ROOTS = (REPOSITORY, REPOSITORY / "src" / "detour")
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_architecture_page_names_files_that_exist() -> None:
    named = re.findall(r"(?<![\w/])((?:[a-z_]+/)+[a-z_]+\.(?:py|html))\b", ARCHITECTURE.read_text())
    assert [name for name in named if not any((root / name).exists() for root in ROOTS)] == []


@pytest.mark.parametrize("page", [ARCHITECTURE, CONTRIBUTING], ids=lambda page: page.name)
def test_a_page_names_functions_in_the_files_that_define_them(page: Path) -> None:
    named = re.findall(r"`(\w+)` (?:of|in)\s+`((?:[a-z_]+/)*[a-z_]+\.py)`", page.read_text())
    assert named
    texts = {file: (root / file).read_text() for root in ROOTS for _, file in named if (root / file).exists()}
    defined = r"^ *(?:def |class )?{}\b(?:\(|:| =)"
    assert [pair for pair in named if not re.search(defined.format(pair[0]), texts[pair[1]], re.MULTILINE)] == []


@pytest.mark.parametrize("page", [ARCHITECTURE, CONTRIBUTING], ids=lambda page: page.name)
def test_a_page_names_tests_that_exist(page: Path) -> None:
    named = re.findall(r"(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)", page.read_text())
    assert named
    assert [(file, test) for file, test in named if f"def {test}(" not in (REPOSITORY / file).read_text()] == []


def test_the_accuracy_of_why_is_the_sum_over_all_sets_of_its_corpus() -> None:
    pages = (REPOSITORY / "docs" / "why.md", REPOSITORY / "tests" / "diagnosis" / "corpus" / "README.md")
    rows = [re.findall(r"\| (\d+) of (\d+) \|$", page.read_text(), re.MULTILINE) for page in pages]
    by_kind, by_set = ([sum(map(int, column)) for column in zip(*found, strict=True)] for found in rows)
    assert by_kind == by_set


def contracts() -> dict[str, dict[str, list[str]]]:
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return {contract["id"]: contract for contract in listed}


def rooms_by_row() -> list[tuple[int, set[str], str]]:
    """Return floor, rooms and limits of each row of the page's table."""
    rows = re.findall(r"^\| (\d+) \| (`[^|]*) \|.*\|([^|]*)\|$", ARCHITECTURE.read_text(), re.MULTILINE)
    return [(int(floor), set(re.findall(r"`(\w+)`", rooms)), limits) for floor, rooms, limits in rows]


def names(modules: list[str]) -> set[str]:
    return {module.strip().removeprefix("detour.") for module in modules}


def test_the_architecture_page_lists_the_rooms_floor_by_floor() -> None:
    floors: dict[int, set[str]] = {}
    for floor, rooms, _ in rooms_by_row():
        floors.setdefault(floor, set()).update(rooms)
    highest_first = [floors[number] for number in sorted(floors, reverse=True)]
    assert highest_first == [names(layer.split("|")) for layer in contracts()["floors"]["layers"]]


@pytest.mark.parametrize(("limit", "contract"), [("no torch", "login-node"), ("only reads", "writers")])
def test_limits_of_the_architecture_page_are_contracts_of_the_same_rooms(limit: str, contract: str) -> None:
    listed = set[str]().union(*(rooms for _, rooms, limits in rooms_by_row() if limit in limits))
    assert listed == names(contracts()[contract]["source_modules"])


def test_the_commit_hooks_run_the_tools_of_make_check() -> None:
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    check = re.search(r"^check:.*\n((?:\t.*\n)+)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert check is not None
    tools = [line.strip().replace("$(BIN)", ".venv/bin") for line in check[1].splitlines()]
    assert [words_of(hook["entry"]) for hook in hooks] == [words_of(tool) for tool in tools]


@pytest.fixture(scope="module")
def with_new_verb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the files and the line that CONTRIBUTING.md adds for a verb."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in ("src", "launch", "jobs", "configs"):
        shutil.copytree(REPOSITORY / folder, copy / folder, symlinks=True)
    walk = CONTRIBUTING.read_text().partition("## Add a verb")[2].partition("\n## ")[0]
    for name, code in re.findall(r"`((?:src|launch|tests)/[\w/]*inputs\.py)`.*?```python\n(.*?)```", walk, re.DOTALL):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(textwrap.dedent(code))
    ((listing, line),) = re.findall(r'`GROUPS` in `([\w/]+\.py)`.*?^ +("inputs": .*?)$', walk, re.DOTALL | re.MULTILINE)
    page = copy / listing
    page.write_text(page.read_text().replace('\n        "schema": ', f'\n        {line}\n        "schema": '))
    return copy


def run(copy: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_verb_of_the_contributing_page_passes_its_test(with_new_verb: Path) -> None:
    assert "1 passed" in run(with_new_verb, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/launch")


@pytest.mark.parametrize("check", [("check",), ("format", "--check")], ids=" ".join)
def test_the_verb_of_the_contributing_page_passes_make_check(with_new_verb: Path, check: tuple[str, ...]) -> None:
    written = map(str, with_new_verb.rglob("*inputs.py"))
    run(with_new_verb, "-m", "ruff", *check, "--no-cache", "--config", str(REPOSITORY / "pyproject.toml"), *written)


def test_the_verb_of_the_contributing_page_is_listed(with_new_verb: Path) -> None:
    shown = run(with_new_verb, "-c", "from detour.launch.cli import main; main()", "--help")
    assert "inputs Print what each stage of a chain reads." in " ".join(shown.split())


def words_of(command: str) -> list[str]:
    return [word for word in command.split() if word != "." and not word.startswith("-")]
