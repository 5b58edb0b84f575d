"""BRAT standoff whose documents are labelled with the codes in their entities' notes, as in FRASIMED.

The type of such a note is the terminology (`ICD-O-3.1`, `SNOMED`), which `data.terminology` selects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from detour.config.models import Task
from detour.tasks.document import Document
from detour.tasks.readers import brat
from detour.tasks.readers.registry import Reader


def read(paths: Sequence[Path], task: Task, dropped: Counter[str]) -> Iterator[Document]:
    for document in brat.read(paths, task, dropped):
        if not document.text.strip():
            dropped["empty document"] += 1
            continue
        codes = frozenset(code for entity in document.entities for code in entity.codes)
        yield replace(document, labels=codes, entities=())


READER = Reader(
    read,
    "a folder of ID.txt and ID.ann (BRAT standoff) whose notes hold the codes, as `#1<tab>SNOMED T1<tab>58477004`",
    suffixes=(brat.TEXT, brat.ANNOTATIONS),
    types=("multilabel",),
    is_paired=True,
)
