"""Parse YAML text into a tree in which every value knows the file, line and column of its key.

Scalars follow YAML 1.2: `no` and `on` are text, `02:00:00` is not a base-60 number, `2e-4` is a number. No object is
ever constructed from a tag. Aliases expand to at most `MAX_VALUES` values, so a small file cannot fill the memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from detour.config.problems import COMMAND_LINE, KeyPath, Position, Problem, RecipeError, shown, similar_file, visible

MAX_BYTES = 1 << 20
MAX_VALUES = 20_000
MAX_DEPTH = 40
MAX_DIGITS = 30
DEVICES = Path("/dev")

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One value of a document. `position` is that of its key (or list item). Nodes compare by identity, so they can be
    dictionary keys.
    """

    position: Position
    value: Scalar | dict[str, Node] | list[Node]
    plain: bool = False
    """Whether it is an unquoted scalar, whose type is resolved again after `${VAR}` is substituted."""
    whole: bool = False
    """Whether it replaces what it extends instead of being merged into it."""
    named_at: Position | None = None
    """Position of the dotted key that it is the value of, if that is written elsewhere, as in an axis of a sweep."""

    @property
    def mapping(self) -> dict[str, Node]:
        """Its values by key; empty if it is not a mapping."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """Its items; empty if it is not a list."""
        return self.value if isinstance(self.value, list) else []

    @property
    def name(self) -> str | None:
        """The text of its key `name`; None if it has none."""
        name = self.mapping.get("name")
        return name.value if name is not None and isinstance(name.value, str) else None


_PREFIX = "tag:yaml.org,2002:"
_RESOLVED = (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), "~nN\0"),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("int", re.compile(rf"^[-+]?[0-9][0-9_]{{0,{MAX_DIGITS}}}$"), "-+0123456789"),
    (
        "float",
        re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?|[-+]?\.inf|\.nan)$"),
        "-+.0123456789",
    ),
)


class _Loader(yaml.SafeLoader):
    """Composes nodes only, with the four implicit types above instead of those of YAML 1.1."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _name, _pattern, _first in _RESOLVED:
    _Loader.add_implicit_resolver(_PREFIX + _name, _pattern, list(_first.replace("\0", "")) + [""] * (_name == "null"))


def resolve_scalar(text: str) -> Scalar:
    """Return the value of an unquoted scalar."""
    for name, pattern, _ in _RESOLVED:
        if pattern.match(text):
            return _construct(name, text)
    return text


def _construct(kind: str, text: str) -> Scalar:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text.replace("_", ""))
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def read_yaml(path: Path) -> tuple[Node, list[Problem]]:
    """Return the tree of a file that holds one mapping, and the problems that do not prevent reading it.

    Raises RecipeError if it cannot be read: missing, a folder, not text, not YAML or not a mapping.
    """
    name = shown(path)
    return parse_yaml(_read_text(path, name), name)


def parse_yaml(text: str, name: str) -> tuple[Node, list[Problem]]:
    root = _compose(text, name)
    if root is None:
        raise RecipeError.of_file(name, "is empty: expected a mapping of keys to values")
    reader = _Reader(name, text)
    node = reader.read(root, Position(name, 1, 1), (), 0)
    if not isinstance(node.value, dict):
        found = describe(node.value)
        raise RecipeError(
            [*reader.problems, Problem(Position(name, 1, 1), "", f"expected `key: value` lines, found {found}")]
        )
    return node, reader.problems


def parse_value(text: str) -> Node:
    """Parse the value of `key=value` on the command line as YAML. Raises ValueError."""
    name = str(COMMAND_LINE)
    try:
        root = _compose(text, name)
    except RecipeError as error:
        raise ValueError(f"{text!r} is not a YAML value: {error.problems[0].message}") from error
    if root is None:
        return Node(COMMAND_LINE, None)
    reader = _Reader(name, text, fixed=COMMAND_LINE)
    try:
        node = reader.read(root, COMMAND_LINE, (), 0)
    except RecipeError as error:
        raise ValueError(error.problems[0].message) from error
    if reader.problems:
        raise ValueError(reader.problems[0].message)
    return node


def _read_text(path: Path, name: str) -> str:
    if path.is_fifo() and DEVICES not in path.parents:  # it may have no writer; those of a shell do
        raise RecipeError.of_file(name, "is a pipe: give a file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise RecipeError.of_file(name, f"no such file{similar_file(path)}") from error
    except IsADirectoryError as error:
        raise RecipeError.of_file(name, "is a folder: give a YAML file") from error
    except OSError as error:
        raise RecipeError.of_file(name, f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise RecipeError.of_file(name, "is larger than 1 MiB: this is not a configuration file")
    if (zero := content.find(b"\0")) >= 0:
        raise RecipeError.of_file(name, f"is binary (a zero byte at byte {zero}): expected YAML text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        position = Position(name, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        message = f"byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8 text"
        raise RecipeError([Problem(position, "", message)]) from error


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        # Our loader derives from SafeLoader and only composes: nothing is constructed.
        return yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        position = Position(name, before.count("\n") + 1, error.position - before.rfind("\n"))
        raise RecipeError([Problem(position, "", "a control character has no place in YAML")]) from error
    except yaml.MarkedYAMLError as error:
        raise RecipeError([_syntax_problem(error, name, text)]) from error
    except RecursionError as error:
        raise RecipeError.of_file(name, "is nested too deeply") from error


def _syntax_problem(error: yaml.MarkedYAMLError, name: str, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    position = Position(name, mark.line + 1, mark.column + 1) if mark else Position(name)
    said = error.problem or "not YAML"
    if "'\\t'" in said:
        return Problem(position, "", "a tab is used where YAML wants spaces: indent with spaces")
    if mark and text[mark.index - 1 : mark.index + 1] == "${":
        return Problem(position, "", "not valid YAML: between brackets, a text with `${` must be quoted")
    context = (error.context or "").removeprefix("while ")
    if error.context_mark and (context.startswith("parsing a flow") or "end of stream" in said):
        opened = Position(name, error.context_mark.line + 1, error.context_mark.column + 1)
        message = "the quote that opens here is not closed"
        if "flow" in context:
            message = "what starts here with a bracket is not closed, or a comma is missing in it"
        return Problem(opened, "", f"not valid YAML: {message}")
    if "mapping values are not allowed" in said:
        said = "a `:` where none can be: quote the text, or check the indentation of this line and the one before"
    elif "could not find expected ':'" in said or error.context == "while scanning a simple key":
        said = "a key without `:`"
    elif "but found another document" in said:
        said, context = "a second document (`---`): one file holds one", ""
    elif "expected <block end>" in said and mark and text[mark.index - 1] in "}]":
        said, context = "a text that begins with a bracket must be quoted", ""
    elif "expected <block end>" in said:
        said, context = "this line belongs to nothing above it: check its indentation", ""
    return Problem(position, "", f"not valid YAML: {said}{f' ({context})' if context else ''}")


class _Reader:
    """Turns composed nodes into ours, collecting problems."""

    def __init__(self, name: str, text: str, fixed: Position | None = None) -> None:
        self.name = name
        self.text = text
        self.fixed = fixed
        self.problems: list[Problem] = []
        self.values = 0
        self.top = Position(name, 1, 1)

    def read(self, node: yaml.Node, position: Position, path: KeyPath, depth: int) -> Node:
        self.values += 1
        if depth == 1:
            self.top = position
        if self.values > MAX_VALUES:
            message = f"aliases expand to more than {MAX_VALUES:,} values: write them out, or use `extends`"
            raise RecipeError([*self.problems, Problem(self.top, dotted(path[:1]), message)])
        if depth > MAX_DEPTH:
            message = f"is nested more than {MAX_DEPTH} levels deep (or refers to itself)"
            raise RecipeError([*self.problems, Problem(position, dotted(path[:3]), message)])
        kind = node.tag.removeprefix(_PREFIX)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return Node(position, self._mapping(node, path, depth))
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            children = enumerate(node.value)
            return Node(position, [self.read(c, self._at(c), (*path, i), depth + 1) for i, c in children])
        if isinstance(node, yaml.ScalarNode) and kind in ("str", "null", "bool", "int", "float"):
            return Node(position, self._scalar(kind, node, position, path), plain=node.style is None)
        self._problem(position, path, f"the YAML tag `{node.tag}` has no meaning here: write the plain value")
        return Node(position, None)

    def _scalar(self, kind: str, node: yaml.ScalarNode, position: Position, path: KeyPath) -> Scalar:
        if "\0" in node.value:  # YAML can express it, but no file name can hold it
            raise RecipeError([*self.problems, Problem(position, dotted(path), "holds a NUL character: remove it")])
        try:
            return _construct(kind, node.value)
        except ValueError:
            self._problem(position, path, f"{node.value!r} does not fit its tag `{node.tag}`")
            return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[str, Node]:
        children: dict[str, Node] = {}
        for key, value in node.value:
            at = self._at(key)
            if not isinstance(key, yaml.ScalarNode):
                self._problem(at, path, "a key must be text")
                continue
            name = key.value
            if name == "<<" and key.style is None:
                message = "YAML 1.2 has no merge keys: write the keys out, or use `extends`"
                self._problem(at, (*path, name), message)
                continue
            if name in children:
                first = children[name].position
                self._problem(at, (*path, name), f"written twice, first in line {first.line}: keep one")
                continue
            start, end = key.end_mark.index, value.start_mark.index
            if start <= end and ":" not in self.text[start:end]:  # an alias is where its anchor is
                self._problem(at, (*path, name), _without_value(name))
                continue
            children[name] = self.read(value, at, (*path, name), depth + 1)
        return children

    def _at(self, node: yaml.Node) -> Position:
        return self.fixed or Position(self.name, node.start_mark.line + 1, node.start_mark.column + 1)

    def _problem(self, position: Position, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(position, dotted(path), message))


def _without_value(key: str) -> str:
    """Say what is wrong with a key between brackets, where `lr: 0,5` is `lr: 0` and a key `5`."""
    if ":" in key:
        return "a space is missing after `:`"
    return "a key without `:`" + (" (a decimal comma? write a point, as in 0.5)" if key[:1].isdigit() else "")


def dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)


def describe(value: object) -> str:
    """Return a value as messages show it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{visible(value if len(value) <= 60 else value[:57] + "...")}"'
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return str(value)


def to_plain(node: Node) -> Any:
    """Return the bare values, for pydantic. A null in a mapping counts as missing."""
    if isinstance(node.value, dict):
        return {key: to_plain(child) for key, child in node.value.items() if child.value is not None}
    if isinstance(node.value, list):
        return [to_plain(child) for child in node.value]
    return node.value
