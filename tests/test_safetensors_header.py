"""Safetensors files with equal contents are equal."""

from __future__ import annotations

import io
import json
import random

import torch
from safetensors.torch import load, save

from detour.safetensors_header import write_ordered

TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(7.0), "half": torch.ones(3, dtype=torch.bfloat16)}


def ordered(metadata: dict[str, str]) -> bytes:
    file = io.BytesIO()
    write_ordered(file, save(TENSORS, metadata))
    return file.getvalue()


def test_the_order_of_metadata_depends_only_on_their_keys() -> None:
    metadata = {f"key {i}": "x" * i for i in range(20)}
    shuffled = dict(random.Random(0).sample(list(metadata.items()), len(metadata)))
    assert ordered(metadata) == ordered(shuffled) == ordered(metadata)


def test_a_file_keeps_its_tensors_and_metadata() -> None:
    metadata = {"progress": '{"é": "\\n\u2028"}', "format": "pt"}
    content = ordered(metadata)
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    assert json.loads(content[8 : 8 + length])["__metadata__"] == metadata
    read = load(content)
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in TENSORS.items())
