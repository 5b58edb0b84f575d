"""Problems in YAML files and where they are: one line per problem, all problems of a file together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from detour.config.roots import find_named
from detour.errors import UserError
from detour.text import nearest_name, plain, printable

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of a document."""
EMPTY = "is empty: write a value, or leave the key out"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file. Line and column count from 1; 0 stands for the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        file = printable(self.file).replace("\n", " ")
        return f"{file}:{self.line}:{self.column}" if self.line else file


COMMAND_LINE = Position("<command line>")


@dataclass(frozen=True, slots=True)
class Problem:
    position: Position
    key: str
    """Dotted, with list items by name: `phases.mlm.tokens`; empty if the problem concerns no key."""
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.position), visible(self.key), self.message) if part)


class RecipeError(UserError):
    """One or more problems in what the user wrote, sorted by file and line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(
            sorted(set(problems), key=lambda p: (p.position.file, p.position.line, p.position.column, p.key, p.message))
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of_file(cls, name: str, message: str) -> RecipeError:
        """One problem that concerns a file as a whole."""
        return cls([Problem(Position(name), "", message)])


class Inconsistent(ValueError):
    """Raised by a model's validator, with each problem's path below that model so it is reported at its line."""

    def __init__(self, problems: Sequence[tuple[KeyPath, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(message for _, message in problems))


def visible(text: str) -> str:
    """Return text with escapes for what cannot be seen, such as the spaces that a copy from a web page has."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def shown(path: Path) -> str:
    """Return the path as a user would type it: relative if it is below the current folder."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - keeps symbolic links as the user wrote them
    try:
        return str(absolute.relative_to(Path.cwd()))
    except (ValueError, FileNotFoundError):
        return str(absolute)


def similar_file(path: Path) -> str:
    """Return ``; did you mean `other.yaml`?`` if the folder has a YAML file of a similar name, else nothing.

    A file in the current folder may be meant by its name, which is found in `configs`.
    """
    if path.name == str(path) and any(find_named(folder, path.stem) for folder in ("recipes", "sweeps", "clusters")):
        return f"; did you mean `{plain(path.stem)}`, without {path.suffix}?"
    names = {file.stem: file.name for file in path.parent.glob("*.y*ml") if file.is_file()}
    similar = nearest_name(path.stem, names)
    return f"; did you mean `{plain(names[similar])}`?" if similar else ""
