"""Format figures, names and lines for all screens, reports and messages. Pure; standard library only.

Text from files that others may write (labels, reasons, names) passes through `plain` before it is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from math import floor, isfinite, log10

WIDTH = 100
"""Default width of a screen, in columns."""
NAMES_SHOWN = 3
ENERGY_UNITS = ((1e3, "MWh"), (1.0, "kWh"), (1e-3, "Wh"), (1e-6, "mWh"))
"""Units of energy in kWh, largest first, for `scaled`."""
MASS_UNITS = ((1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg"))
"""Units of mass in grams, largest first, for `scaled`."""
_SEQUENCE = r"\x1b(?:\[[0-9;:?]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9])"
"""Terminal sequences: colours, titles, character sets."""
_COUNT_UNITS = ((1e3, "k"), (1e6, "M"), (1e9, "B"), (1e12, "T"))


def format_count(value: int | None) -> str:
    """1_000_000_000 -> `1B`, 999_999 -> `1M`; at most three significant digits; None -> `unknown`."""
    if value is None:
        return "unknown"
    if value < 1000:
        return str(value)
    for scale, suffix in _COUNT_UNITS:
        figure = f"{value / scale:.3g}"
        if float(figure) < 1000:
            return f"{figure}{suffix}"
    return f"{value / scale:,.0f}{suffix}"


def format_duration(seconds: float | None) -> str:
    """45 -> `45s`, 169 -> `2m49s`, 8100 -> `2h15m`, 568800 -> `6d14h`; None -> `unknown`."""
    if seconds is None:
        return "unknown"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, rest_minutes = divmod(minutes, 60)
    days, rest_hours = divmod(hours, 24)
    if minutes == 0:
        return f"{rest_s}s"
    if hours == 0:
        return f"{minutes}m{rest_s:02d}s"
    return f"{hours}h{rest_minutes:02d}m" if hours < 100 else f"{days}d{rest_hours:02d}h"


def amount(value: float) -> str:
    """Format with two or three significant digits, or as a whole number: `1,234`, `16.0`, `0.46`, `<0.0001`."""
    if value == 0:
        return "0"
    if 0 < value < 1e-4:
        return "<0.0001"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def unit_for(value: float, units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """Return the scale and name of the largest unit that gives at least 1 to three digits, otherwise the smallest."""
    return next((one for one in units if float(f"{value / one[0]:.3g}") >= 1), units[-1])


def scaled(value: float | None, units: Sequence[tuple[float, str]]) -> str:
    """Format with three significant digits in the largest unit that gives at least 1: `0.0123` kWh -> `12.3 Wh`.

    Less than 1 of the smallest unit gets two digits, so that it fits in eight columns.
    """
    if value is None:
        return "unknown"
    if value == 0:
        return f"0 {next(unit for scale, unit in units if scale == 1)}"
    scale, unit = unit_for(value, units)
    figure = value / scale
    if abs(figure) < 1 and f"{figure:.3g}" != "1":
        return f"{figure:.2g} {unit}" if abs(figure) >= 0.01 else f"<0.01 {unit}"
    return f"{figure:,.0f} {unit}" if figure >= 100 else f"{figure:.3g} {unit}"


def exact(value: float, digits: int = 6) -> str:
    """Format with up to `digits` significant digits and no exponent: `1,234.5`, `0.3836`, `12,345,678`."""
    if not isfinite(value):
        return "unknown"
    rounded = float(f"{value:.{digits}g}")
    if abs(rounded) >= 10**digits or rounded == 0:
        return f"{value:,.0f}"
    places = min(max(0, digits - 1 - floor(log10(abs(rounded)))), 12)
    return f"{rounded:,.{places}f}".rstrip("0").rstrip(".") if places else f"{rounded:,.0f}"


def bare_number(stated: str) -> str:
    """Return a figure without thousands separators and with a decimal point: `0,46` is 0.46, `1,000` is 1000."""
    import re  # not at the start of every command

    joined = re.sub(r"(?<=\d)[ \u00a0\u2009\u202f'\u2019](?=\d{3}(?!\d))", "", stated)
    if 0 <= joined.rfind(".") < joined.rfind(","):
        return joined.replace(".", "").replace(",", ".")
    is_decimal = re.fullmatch(r"0,\d+|\d+,(?!\d{3}$)\d+", joined)
    return joined.replace(",", "." if is_decimal else "")


def counted(number: int, noun: str, nouns: str = "") -> str:
    """`1 stage`, `1,234 stages`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {nouns or f'{noun}s'}"


def stage_label(name: str, seed: int | None = None, width: int | None = None) -> str:
    """`evaluate emea seed 42`. To fit in `width`, the name is cut, never the seed, which distinguishes stages."""
    tail = "" if seed is None else f" seed {seed}"
    return (name if width is None else cut(name, width - len(tail))) + tail


def stage_names(names: Sequence[str]) -> str:
    """`evaluate emea, evaluate medline (18 stages)`: the first few distinct names."""
    distinct = list(dict.fromkeys(names))
    shown = ", ".join(distinct[:NAMES_SHOWN]) + (", ..." if len(distinct) > NAMES_SHOWN else "")
    return shown if len(names) == 1 else f"{shown} ({counted(len(names), 'stage')})"


def listed(names: Sequence[str], most: int) -> str:
    """List up to `most` names, then the number of others: `a, b and 8 more`."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def nearest_name(word: str, names: Iterable[str]) -> str | None:
    """Return the most similar name in any case, None if no name is close.

    For `cml` it is `clm`, of the same letters, not `mlm`.
    """
    from difflib import get_close_matches  # only messages need it

    known = list(names)
    if same := [name for name in known if name.casefold() == word.casefold()]:
        return same[0]
    similar = get_close_matches(word, known)
    same_letters = (name for name in similar if sorted(name) == sorted(word))
    return next(same_letters, similar[0]) if similar else None


def suggestion(word: str, names: Collection[str], otherwise: str | None = None) -> str:
    """Return the end of a message on an unknown word: ``; did you mean `clm`?``.

    If no name is close, `otherwise`; by default the names: `; available: clm, mlm`.
    """
    if (name := nearest_name(word, names)) is not None:
        return f"; did you mean `{plain(name)}`?"
    if otherwise is not None:
        return otherwise
    return f"; available: {', '.join(map(plain, names))}" if names else ""


def plain(text: str) -> str:
    """Return untrusted text as one line without control characters, which could control the terminal."""
    if text.isprintable() and "  " not in text:
        return text.strip()
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def printable(text: str) -> str:
    """Replace control characters other than line ends in untrusted text, which could control the terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def without_sequences(text: str) -> str:
    """Return text without terminal sequences, such as colours."""
    import re

    return re.sub(_SEQUENCE, "", text)


def pasted(*words: str) -> str:
    """A command to paste into a shell, with each word quoted where it must be.

    Characters that `plain` would change are written as escapes, which bash and zsh understand.
    """
    from shlex import quote  # few screens suggest a command

    return " ".join(quote(word) if plain(word) == word else _escaped(word) for word in words)


def _escaped(word: str) -> str:
    codes = "".join(f"\\x{byte:02x}" for byte in word.encode(errors="surrogateescape"))
    return f"$'{codes}'"


def cells(text: str) -> int:
    """Return the width in a terminal: two columns for wide characters (Chinese, emoji), none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(1 if letter.isascii() else _letter_cells(letter) for letter in text)


def _letter_cells(letter: str) -> int:
    from unicodedata import category, east_asian_width  # few texts need it

    return 0 if category(letter) in ("Mn", "Me") else 2 if east_asian_width(letter) in "WF" else 1


def cut(text: str, width: int) -> str:
    if cells(text) <= width:
        return text
    room, kept = max(width - 1, 0), 0
    for letter in text:
        if (room := room - cells(letter)) < 0:
            break
        kept += 1
    return f"{text[:kept]}…"


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Cut or pad text to `width`, aligned left or right."""
    if text.isascii() and len(text) <= width:
        return text.rjust(width) if right else text.ljust(width)
    shown = cut(text, width)
    space = " " * (width - cells(shown))
    return space + shown if right else shown + space


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = (), gap: str = "  ") -> list[str]:
    """Return a line for each row of a table, with its columns aligned left; those numbered in `right`, right."""
    sizes = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return [
        gap.join(
            fitted(cell, size, right=column in right)
            for column, (cell, size) in enumerate(zip(row, sizes, strict=True))
        ).rstrip()
        for row in rows
    ]


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key that compares numbers in names numerically: 9 before 10, `7_2` before `7_10`."""
    parts = ((is_number, "".join(letters)) for is_number, letters in groupby(name, str.isdecimal))
    return tuple((int(part), "") if is_number else (-1, part) for is_number, part in parts)


def wrapped(text: str, indent: str = "  ", width: int = WIDTH, most_lines: int | None = None) -> list[str]:
    """Wrap text into lines of at most `width` columns, all but the first indented further.

    Names with hyphens stay on one line if they fit. Commands in backticks always do, so that they can be copied: only
    their lines may be longer.
    """
    import re
    import textwrap  # not every screen needs it

    longest, too_long = width - len(indent) - 4, list[str]()

    def whole(command: re.Match[str]) -> str:
        if cells(command[0]) <= longest:
            return joined(command[0])
        too_long.append(command[0])
        return _COMMAND * longest

    text = re.sub("`detour [^`]+`", whole, text)
    lines = textwrap.wrap(
        _as_long_as_wide(text),
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        max_lines=most_lines,
        placeholder=" ...",
        break_on_hyphens=False,
    )
    lines = [re.sub(f"{_COMMAND}+", lambda _: too_long.pop(0), line) for line in lines] if too_long else lines
    return [line.replace(_SECOND_CELL, "").replace(JOINT, " ") for line in lines]


JOINT = "\1"
"""Placeholder for a space at which `wrapped` does not break the line."""
_SECOND_CELL = "\0"
"""Placeholder after a wide character while text is wrapped, because textwrap counts characters."""
_COMMAND = "\2"
"""Placeholder for a command that is longer than a line."""


def joined(text: str) -> str:
    """Mark text that `wrapped` keeps on one line."""
    return text.replace(" ", JOINT)


def _as_long_as_wide(text: str) -> str:
    if text.isascii():
        return text
    return "".join(letter + _SECOND_CELL * (cells(letter) - 1) for letter in text)
