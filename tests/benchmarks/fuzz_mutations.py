"""Ways in which files go wrong: text from another editor or system, odd values, and JSON of another shape."""

from __future__ import annotations

import json
import math
import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

Mutation = Callable[[bytes, random.Random], bytes]
WORD = re.compile(r"[A-Za-z_]\w+")
NUMBER = re.compile(r"(?<![\w.])-?\d[\d_]*(\.\d+)?(?![\w.])")
KEY = re.compile(r"^( *)(- )?([\w.-]+):(.*)$")
LOOKALIKES = str.maketrans("aeopcxyi", "аеорсхуі")
INVISIBLE = ["\u200b", "\u202e", "\u2066", "\ufeff", "\u00ad", "\u0301", "\u2028", "\x85", "\x0b", "\x00", "\ud800"]
ODD_TEXTS = [
    *["yes", "no", "on", "Off", "~", "null", "2026-01-01", "2026-01-01T10:00:00Z", "12:34:56", "1e400", "-1e400"],
    *[".nan", "-.inf", "9" * 5000, "0x1p-3", "0b101", "1_0", "+5", "1.", ".5", "-0.0", "'5'", '"1e3"', "٣", "½", "²"],
    *["/dev/zero", "/dev/stdin", "/proc/self/mem", "/", "..", "~nobody/x", "file:///etc/passwd", "a\x00b", "**/*"],
    *["{[(*+?", "(a+)+$", "%s%n", "{0.__class__}", "${PATH}", "=1+1", "-rf", "--help", "@/etc/passwd", "a" * 300],
    *["!!binary aGk=", "!!set {a}", "!!timestamp 1", "!x y", "&a [*a]", "? [a]", "<<: *a", "|+", ">-", "- a", "{a: 1"],
]
ODD_VALUES: list[Any] = [
    *[None, True, False, 0, -1, 2**53 + 1, 2**63, -(2**70), 10**400, 1e308, -1e308, 5e-324, -0.0],
    *[math.nan, math.inf, -math.inf, "", " ", "0", "nan", "1e3", "\ud800", "\x1b[2J", "../../x", "a" * 100_000],
    *[[], {}, [[]], {"": {}}, [None], "2026-01-01", 1_767_300_000.0, 1e18, -1e18],
]


def _text(change: Callable[[str, random.Random], str]) -> Mutation:
    def mutate(content: bytes, chance: random.Random) -> bytes:
        return change(content.decode("utf-8", "replace"), chance).encode("utf-8", "surrogatepass")

    return mutate


def _replaced(pattern: re.Pattern[str], text: str, chance: random.Random, new: Callable[[str], str]) -> str:
    found = list(pattern.finditer(text))
    if not found:
        return text
    one = chance.choice(found)
    return text[: one.start()] + new(one[0]) + text[one.end() :]


def encoding(content: bytes, chance: random.Random) -> bytes:
    text = content.decode("utf-8", "replace")
    name = chance.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "utf-8-sig", "utf-7"])
    return text.replace("a", "é", chance.randrange(3)).encode(name, "replace")


def line_ends(content: bytes, chance: random.Random) -> bytes:
    return content.replace(b"\n", chance.choice([b"\r\n", b"\r", b"\n\r", b"\xe2\x80\xa8", b"\x0c\n", b"\\\n", b""]))


def invisible(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(INVISIBLE) + text[at:]


def lookalike(text: str, chance: random.Random) -> str:
    return _replaced(WORD, text, chance, lambda word: word.translate(LOOKALIKES))


def decomposed(text: str, chance: random.Random) -> str:
    return unicodedata.normalize("NFD", _replaced(WORD, text, chance, lambda word: word.replace("e", "é")))


def number_as_text(text: str, chance: random.Random) -> str:
    spell = chance.choice(['"{}"', "'{}'", "{}.0", "{}e0", "{}px", "- {}", "[{}]", "{{a: {}}}", "-{}", "{}" + "0" * 40])
    return _replaced(NUMBER, text, chance, spell.format)


def odd_text(text: str, chance: random.Random) -> str:
    return _replaced(chance.choice([WORD, NUMBER]), text, chance, lambda _: chance.choice(ODD_TEXTS))


def tabs(text: str, chance: random.Random) -> str:
    return text.replace("  ", "\t", chance.choice([1, 2, -1]))


def key_again(text: str, chance: random.Random) -> str:
    """The same key twice, with another value or in other letters."""
    lines = text.splitlines(keepends=True)
    found = [(number, match) for number, line in enumerate(lines) if (match := KEY.match(line))]
    if not found:
        return text + text
    number, match = chance.choice(found)
    key = chance.choice([match[3], match[3].upper(), f'"{match[3]}"', f"? {match[3]}\n{match[1]}"])
    lines.insert(number + chance.randrange(2), f"{match[1]}{key}: {chance.choice(ODD_TEXTS)}\n")
    return "".join(lines)


def anchored(text: str, chance: random.Random) -> str:
    """Aliases that multiply, merge into each other or refer to themselves."""
    depth = chance.choice([3, 9, 30])
    bombs = [
        "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(depth)),
        "".join(f"b{n}: &b{n} {{{f'<<: *b{n - 1}, ' if n else ''}k{n}: v}}\n" for n in range(depth)),
        "c: &c {<<: *c}\n",
        "d: &d [*d]\n",
        "<<: [{name: a}, {name: b}]\n",
        "<<: 5\n",
    ]
    return chance.choice(bombs) + text if chance.random() < 0.5 else text + "\n" + chance.choice(bombs)


def long_line(text: str, chance: random.Random) -> str:
    size = chance.choice([10_000, 1_000_000])
    return _replaced(WORD, text, chance, lambda word: word * (size // len(word)))


def deep(text: str, chance: random.Random) -> str:
    depth = chance.choice([50, 500, 5000])
    shapes = [
        "".join(f"{' ' * n}k:\n" for n in range(min(depth, 500))),
        "- " * depth + "x\n",
        '{"a":' * depth + "1" + "}" * depth,
        "(" * depth,
    ]
    return text + "\n" + chance.choice(shapes)


def documents(text: str, chance: random.Random) -> str:
    return (
        chance.choice(["---\n", "%YAML 9.9\n---\n", "...\n", "--- !x\n", "# "])
        + text
        + chance.choice(["", "\n---\n{}"])
    )


def cut_lines(text: str, chance: random.Random) -> str:
    """Each line may end early, as after a crash with many writers."""
    share = chance.choice([0.05, 0.5])
    lines = text.splitlines(keepends=True)
    return "".join(line[: chance.randrange(len(line))] if chance.random() < share else line for line in lines)


def columns(text: str, chance: random.Random) -> str:
    """In a table: a column more, fewer, twice or elsewhere, or another separator."""
    separator = max(",;|\t", key=text.count)
    if chance.random() < 0.3:
        return text.replace(separator, chance.choice(",;|\t "))
    rows = [line.split(separator) for line in text.splitlines()]
    at, other = chance.randrange(len(rows[0]) or 1) if rows else 0, chance.randrange(3)
    for row in rows[chance.randrange(2) :]:
        if at < len(row):
            row[at : at + 1] = [[], [row[at], row[at]], [chance.choice(ODD_TEXTS)]][other]
    return "\n".join(separator.join(row) for row in rows) + "\n"


def structure(content: bytes, chance: random.Random) -> bytes:
    """In JSON, or lines of it with or without checksums: another value somewhere, under a valid checksum."""
    lines = content.splitlines()
    try:
        json.loads(content)
        return _changed(content, chance)
    except ValueError:
        pass  # lines of JSON
    if not lines:
        return content
    number = chance.randrange(len(lines))
    mark, _, payload = lines[number].partition(b" ")
    if len(mark) == 8 and payload.startswith(b"{"):
        changed = _changed(payload, chance)
        lines[number] = b"%08x %b" % (crc32(changed), changed)
    else:
        lines[number] = _changed(lines[number], chance)
    return b"\n".join(lines) + b"\n"


def _changed(content: bytes, chance: random.Random) -> bytes:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return content
    places = list(_places(value))
    if not places:
        return content
    container, key = chance.choice(places)
    action = chance.randrange(5)
    if action == 0:
        del container[key]
    elif action == 1 and isinstance(container[key], str | int | float):
        container[key] = str(container[key]) if not isinstance(container[key], str) else len(container[key])
    elif action == 2:
        other, name = chance.choice(places)
        container[key] = other[name] if name in other or (isinstance(other, list) and name < len(other)) else None
    else:
        container[key] = chance.choice(ODD_VALUES)
    try:
        return json.dumps(value).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):  # a value inside itself
        return content


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


NEW: Sequence[Mutation] = [
    encoding,
    line_ends,
    structure,
    structure,
    structure,
    *map(
        _text,
        (
            invisible,
            lookalike,
            decomposed,
            number_as_text,
            number_as_text,
            odd_text,
            odd_text,
            odd_text,
            tabs,
            key_again,
            key_again,
            anchored,
            long_line,
            deep,
            documents,
            cut_lines,
            columns,
        ),
    ),
]
