"""Mutated inputs through the commands that read them: a bug or more than five seconds of CPU is a finding.

    python -m tests.benchmarks.fuzz_inputs [--count 20000] [--seed 1] [--only recipe] [--ways new]

Recipes, sweeps, clusters and budgets are the shipped ones; state files are those of a small workspace; the others are
files that people pass to a verb (`fuzz_files`). Each kind gets the same number of mutations, however many files it has.
Every finding is stored under --keep with its bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import io
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import click

from detour.config import yaml_source
from detour.errors import BUG_EXIT_CODE
from detour.launch.endings import ending
from detour.launch.verbs import detour
from tests.benchmarks.fuzz_files import KINDS, Case, cases
from tests.benchmarks.fuzz_mutations import NEW, Mutation

MOST_CPU_S = 5.0
MEMORY_BYTES = 6 * 2**30
SCALARS = [
    *["", "~", "null", "true", "-1", "0", "1e309", "-.inf", ".nan", "9" * 40, "1e-320", "0x41", "0o17", "1_000"],
    *[
        "2026-02-30",
        "10:61",
        "'",
        '"',
        "[",
        "]",
        "{",
        "}",
        "&a *a",
        "*a",
        "!!python/object:os.system x",
        "|",
        ">",
        "%TAG",
    ],
    *["${HOME}", "${NO_SUCH}", "${", "{recipe:>99999999999}", "{0.__class__}", "{", "../../../../etc/passwd", "/", "."],
    *["\\u0000", "é" * 300, "a" * 5000, "/" * 5000, "\u202e", "\x1b[2J", "😀", "[[[[[[1]]]]]]", "- - - 1", "a: b: c"],
    *["20h", "1h99", "-5m", "10B", "1e99B", "0.0000001", "100%", "1,5"],
]
TOKENS = [
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\t",
    b"\r\n",
    b"\x1b[31m",
    b"\xc3",
    b": ",
    b"- ",
    b"#",
    b"\\",
    b"," * 50,
]


class TooSlow(BaseException):
    """Not an Exception, so that no code on the way handles it as one of its own."""


TOLD_EVERY = 1000
MOST_COMMANDS = 3
"""Upper bound on commands per file, different ones each time."""


def mutated(content: bytes, chance: random.Random, ways: Sequence[Mutation]) -> bytes:
    """One to four changes."""
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        content = chance.choice(ways)(content, chance)
    return content


def _bytes(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.choice(TOKENS) + content[at + chance.randrange(4) :]


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _lines(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    first, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    action = chance.randrange(4)
    if action == 0:
        del lines[first]
    elif action == 1:
        lines.insert(other, lines[first])
    elif action == 2:
        lines[first] = b"  " + lines[first]
    else:
        lines[first], lines[other] = lines[other], lines[first]
    return b"".join(lines)


def _value(content: bytes, chance: random.Random) -> bytes:
    """Another value after a colon, on its own line or in JSON."""
    marks = [index for index in range(len(content)) if content[index : index + 1] == b":"]
    if not marks:
        return content
    at = chance.choice(marks) + 1
    end = next((index for index in range(at, len(content)) if content[index] in b"\n,}]"), len(content))
    return content[:at] + b" " + chance.choice(SCALARS).encode() + content[end:]


def _nested(content: bytes, chance: random.Random) -> bytes:
    depth = chance.choice([10, 100, 2000])
    return content + b"\nextra: " + b"[" * depth + b"]" * depth + b"\n"


OLD: Sequence[Mutation] = [_bytes, _cut, _lines, _value, _value, _value, _nested]


WAYS: dict[str, Sequence[Mutation]] = {"old": OLD, "new": NEW, "all": [*OLD, *NEW]}


@contextlib.contextmanager
def limited() -> Iterator[None]:
    def stop(_number: int, _frame: object) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, MOST_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """The same text is parsed once, and nothing waits for a disk."""
    parse = functools.lru_cache(maxsize=256)(yaml_source.parse_yaml)
    with patch.object(yaml_source, "parse_yaml", parse), patch.object(os, "fsync", lambda _descriptor: None):
        yield


def outcome(command: Sequence[str]) -> str:
    """`ok`, `refused`, or what is wrong with it."""
    said = io.StringIO()
    try:
        with limited(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            detour.main(list(command), prog_name="detour", standalone_mode=False)
    except TooSlow:
        return f"more than {MOST_CPU_S:.0f} s of CPU"
    except click.ClickException:
        return "refused"
    except SystemExit as error:
        return "refused" if error.code else "ok"
    except BaseException as error:  # noqa: BLE001  what a command would end with
        message, exit_code = ending(error)
        return message if exit_code == BUG_EXIT_CODE else "refused"
    return "traceback on the screen" if "Traceback (most recent" in said.getvalue() else "ok"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="mutated files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--ways", choices=WAYS, default="all", help="of mutating")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "detour-fuzz")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    chance, counts, findings = random.Random(options.seed), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as name, hurried():
        folder = Path(name)
        listed: dict[str, list[Case]] = {}
        for case in cases(folder):
            if options.only in (None, case.kind):
                listed.setdefault(case.kind, []).append(case)
        os.chdir(folder)
        gc.freeze()
        begun_s = time.process_time()
        for number in range(options.count):
            kind, path, commands = chance.choice(listed[chance.choice(list(listed))])
            original = path.read_bytes()
            content = mutated(original, chance, WAYS[options.ways])
            path.write_bytes(content)
            for command in chance.sample(commands, min(len(commands), MOST_COMMANDS)):
                result = outcome(command)
                counts[f"{kind} {result if result in ('ok', 'refused') else 'FOUND'}"] += 1
                if result not in ("ok", "refused"):
                    findings[f"{kind}: {command[0]}: {result}"] += 1
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"{kind}-{number}-{path.name}").write_bytes(content)
            path.write_bytes(original)
            if (number + 1) % TOLD_EVERY == 0:
                print(f"{number + 1:,} files, {findings.total()} findings", file=sys.stderr, flush=True)
        cpu_s = time.process_time() - begun_s
    for what, number in sorted(counts.items()):
        print(f"{what:<20} {number:>8,}")
    print(f"{options.count:,} files, {cpu_s:.0f} s of CPU")
    for what, number in findings.most_common():
        print(f"{number:>6}  {what}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
