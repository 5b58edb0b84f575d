"""The only module that writes to the terminal: results to standard output, everything else to standard error."""

from __future__ import annotations

import codecs
import io
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from detour.text import cut, printable

if TYPE_CHECKING:
    import re

TERMINAL_ENCODING = "DETOUR_TERMINAL_ENCODING"
"""Environment variable with the terminal's encoding, if this process was started again in UTF-8."""
STANDARD_OUTPUT = "standard output"
LARGEST_BITS = 63
"""Upper bound on bits of an integer in JSON."""
NARROWEST, WIDEST, UNKNOWN = 80, 120, 100
_STEERING = "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
"""Delete, C1 controls, and marks of direction, width and language; JSON escapes the controls below the space itself."""


def show(*lines: str, styled: bool = False) -> None:
    """Print part of the result, without control characters unless the lines are `styled`: cleaned and coloured.

    A reader that has seen enough, such as `head`, does not end the verb. Raises OSError if the result cannot be
    written.
    """
    for line in lines:
        _write(line if styled else printable(line))


def _write(text: str) -> bool:
    """Print a text; returns whether there is still a reader."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        ignore_closed_pipe()
        return False
    except OSError as error:
        error.filename = STANDARD_OUTPUT
        raise
    return True


def show_while_read(lines: Iterable[str]) -> bool:
    """Print a text without end while it is read; returns whether there is still a reader."""
    return all(_write(printable(line)) for line in lines)


def show_progress(line: str) -> None:
    """Print part of the result while a verb works: a full disk must not stop the work."""
    with suppress(OSError):
        show(line)


def show_json(value: Any) -> None:
    """Print the whole result of a verb with --json: nothing else goes to standard output.

    Characters that could control a terminal but that JSON allows are escaped.
    """
    _write(json_text(value))


def json_text(value: Any, *, indented: bool = True) -> str:
    """JSON text, also of dataclasses and named tuples by their fields.

    File names that are not UTF-8 are replaced, and integers too large for many JSON readers become text.
    """
    import re

    import orjson

    option = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indented else 0)
    try:
        text = orjson.dumps(value, default=_by_name, option=option).decode()
    except orjson.JSONEncodeError:
        text = orjson.dumps(_encodable(value), default=_by_name, option=option).decode()
    return re.sub(_STEERING, _escaped, text)


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _by_name(value: Any) -> Any:
    """The fields of a named tuple, which orjson leaves to its caller."""
    return value._asdict()


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, int) and value.bit_length() > LARGEST_BITS:
        return str(value)
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_asdict"):
        return [_encodable(item) for item in value]
    fields = getattr(value, "__dataclass_fields__", ()) or getattr(value, "_fields", ())
    return {name: _encodable(getattr(value, name)) for name in fields} if fields else value


def say(*lines: str) -> None:
    """Print progress, warnings and errors to standard error. A message that cannot be written stops nothing."""
    with suppress(OSError):
        for line in lines:
            print(printable(line), file=sys.stderr, flush=True)


def warn(warnings: Iterable[str]) -> None:
    """Print each warning once, in the same form everywhere: `warning: ...`."""
    say(*(f"warning: {warning}" for warning in dict.fromkeys(warnings)))


def say_waiting(holder: str) -> None:
    say(f"waiting: {holder} is submitting to this workspace")


def waiting_words(client: str, left_s: float) -> str:
    """Which client of Slurm is awaited, and when it will be stopped."""
    return f"waiting for {client} (until {time.strftime('%H:%M:%S', time.localtime(time.time() + left_s))})"


@contextmanager
def waiting_line(client: str, left_s: float) -> Iterator[None]:
    """A line on standard error while one of Slurm's clients is awaited, erased when it has ended."""
    width = os.get_terminal_size(sys.stderr.fileno()).columns or NARROWEST
    _say_in_place(cut(waiting_words(client, left_s), width - 1))
    try:
        yield
    finally:
        _say_in_place("\r\x1b[K")


def _say_in_place(text: str) -> None:
    with suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


def ask_to_finish() -> bool:
    """Ask after Ctrl-C in a submission; without a terminal to ask on, it is completed."""
    say("\nInterrupted: what was sent so far is held, and none of it runs.")
    if not sys.stdin.isatty():
        say("There is no terminal to ask on: the submission is completed. `detour cancel` removes it.")
        return True
    import click

    return click.confirm("Finish the submission? (no: withdraw all of it)", default=True, err=True)


def is_terminal() -> bool:
    return sys.stdout.isatty()


def progress_is_visible(arguments: Sequence[str]) -> bool:
    """Whether what a command waits for can be shown and erased: not in pipes, and not with --json."""
    return is_animated() and sys.stderr.isatty() and "--json" not in arguments


def is_animated() -> bool:
    """Whether lines can be redrawn."""
    return is_terminal() and os.environ.get("TERM", "dumb") != "dumb"


def can_draw_screens() -> bool:
    """Whether the whole terminal can be drawn on, with the characters that this needs, and keys can be read."""
    encoding = os.environ.get(TERMINAL_ENCODING) or sys.stdout.encoding
    return is_animated() and sys.stdin.isatty() and sys.stderr.isatty() and encoding.lower() in ("utf-8", "utf8")


def uses_colour() -> bool:
    """Whether the terminal has colours and NO_COLOR (no-color.org) is not set."""
    return is_animated() and not os.environ.get("NO_COLOR")


def prepare_streams() -> None:
    """Print ASCII for characters that the locale's encoding lacks, and replace closed streams.

    A closed stream leads nowhere; otherwise it would lead to the first file that is opened.
    """
    encoding = os.environ.pop(TERMINAL_ENCODING, None)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  the lowest free descriptor is its own
        elif isinstance(stream, io.TextIOWrapper) and mode == "w":
            stream.reconfigure(encoding=encoding, errors=ERRORS)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """ASCII of equal width, so that columns stay aligned."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_ASCII.get(letter, "?") for letter in lacking), error.end


_ASCII = dict(zip("✗‖↻▶○⊘·✓…│├└─━±×→", "x|~>o-.+.||`--+x>", strict=True))
"""Signs of states stay distinct: `?` is one of them."""
ERRORS = "detour.ascii"
codecs.register_error(ERRORS, _in_ascii)


def ignore_closed_pipe() -> None:
    """The reader of a pipe, such as `head`, has seen enough: not an error, and what follows is not shown."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def columns(narrowest: int = NARROWEST, widest: int = WIDEST) -> int:
    """Like `shutil.get_terminal_size`, whose import takes longer than reading a small ledger."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal():
        width = int(given)
    else:
        width = os.get_terminal_size(sys.stdout.fileno()).columns if is_terminal() else UNKNOWN
    return min(max(width, narrowest), widest)


def rows_that_fit(besides: int) -> int | None:
    """Lines of a table on this terminal with `besides` other lines.

    None if the output is not a terminal, or the terminal does not know its size.
    """
    if not is_terminal():
        return None
    lines = os.get_terminal_size(sys.stdout.fileno()).lines
    return max(lines - besides, 1) if lines else None
