"""The header of safetensors files: 8 bytes with its length, then JSON, then the tensors."""

from __future__ import annotations

from typing import IO

import orjson

LENGTH_BYTES = 8
METADATA = "__metadata__"


def write_ordered(file: IO[bytes], content: bytes) -> None:
    """Write what `safetensors` serialized, with its metadata sorted by key.

    The library orders keys by a hash that differs from process to process, so equal contents would be unequal files.
    """
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = orjson.loads(content[LENGTH_BYTES:end])
    header[METADATA] = dict(sorted(header[METADATA].items()))
    text = orjson.dumps(header)
    text += b" " * (-len(text) % LENGTH_BYTES)  # the format aligns tensors
    file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
    file.write(memoryview(content)[end:])
