"""The good records among a journal's bytes, however damaged, and a count of the damage. Pure.

Only complete lines with a good checksum are used. A line that is cut by a kill, overwritten, or glued to its neighbour
costs only itself: the next good record is searched inside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

import orjson

MAX_RECORD_STARTS = 8
"""Starts of records tried inside a damaged record, whose text may contain them; bounded, since others write it."""
_RECORD_START = re.compile(rb'[0-9a-f]{8} \{"')


class Parsed(NamedTuple):
    payloads: list[bytes]
    """JSON of the good records, in the file's order."""
    used: int
    """Bytes up to and including the last newline; the rest is being written or torn."""
    bad_lines: int
    nul_bytes: int


def parse(content: bytes) -> Parsed:
    """Split journal bytes, starting at the start of a line, into good payloads and counted damage."""
    used = content.rfind(b"\n") + 1
    payloads: list[bytes] = []
    bad = nuls = 0
    lines = content[:used].split(b"\n")
    lines.pop()
    for line in lines:
        payload = line[9:]
        if line[:9] == b"%08x " % crc32(payload):
            payloads.append(payload)
            continue
        rest = line.strip(b"\0")
        nuls += len(line) - len(rest)
        if rest:
            found = list(_records_within(rest))
            payloads += found
            bad += sum(map(len, found)) + 9 * len(found) != len(rest)
    return Parsed(payloads, used, bad, nuls)


def _records_within(line: bytes) -> Iterator[bytes]:
    """Good records in a damaged line: each ends where the next one starts, or with the line."""
    edges = [*(match.start() for match in _RECORD_START.finditer(line)), len(line)]
    position = 0
    for index, start in enumerate(edges[:-1]):
        if start < position:
            continue
        for end in edges[index + 1 : index + 2 + MAX_RECORD_STARTS]:
            payload = line[start + 9 : end].rstrip(b"\0")
            if int(line[start : start + 8], 16) == crc32(payload):
                yield payload
                position = end
                break


def decode(payloads: list[bytes]) -> list[object]:
    """JSON values of payloads with a good checksum; all at once, which is faster than line by line."""
    try:
        values: list[object] = orjson.loads(b"[%b]" % b",".join(payloads))
    except ValueError:
        return [value for payload in payloads if (value := _decoded(payload)) is not None]
    return values


def _decoded(payload: bytes) -> object:
    try:
        value: object = orjson.loads(payload)
    except ValueError:
        return None
    return value
