"""DiaMED: `train.json`, `validation.json` and `test.json`, each a list of clinical cases with an ICD-10 chapter.

Cases without a code (NaN) or an annotation, and several cases in one, are left out and counted. Texts are not changed:
harnesses that lower-case them or remove stop words get different scores.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from detour.config.models import Task
from detour.errors import UserError
from detour.tasks.document import Document
from detour.tasks.readers.lines import decoded
from detour.tasks.readers.registry import Reader

TEXT, CODE = "clinical_case", "icd-10"
WITHOUT_CODE = {"plusieurs cas cliniques": "several cases in one", "aucune annotation": "no annotation"}
"""Text in place of a code, in lower case -> why the case is left out."""


def read(paths: Sequence[Path], task: Task, dropped: Counter[str]) -> Iterator[Document]:  # noqa: ARG001
    for path in paths:
        for number, case in enumerate(_cases(path), 1):
            text, code = _field(path, number, case, TEXT), _field(path, number, case, CODE)
            if reason := _left_out(text, code):
                dropped[reason] += 1
            elif not isinstance(text, str) or not isinstance(code, str):
                raise UserError(f"{path}: case {number}: `{TEXT}` and `{CODE}` must be text")
            else:
                name = str(case.get("identifier", f"{path.stem} {number}"))
                yield Document(text, frozenset({" ".join(code.split())}), name=name, path=path)


def _cases(path: Path) -> list[Any]:
    try:
        cases = json.loads(decoded(path).removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: line {error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(cases, list):
        raise UserError(f"{path}: line 1: expected a list of cases, as in DiaMED's splits folder")
    return cases


def _field(path: Path, number: int, case: Any, key: str) -> Any:
    if not isinstance(case, dict) or key not in case:
        there = ", ".join(case) if isinstance(case, dict) else "no object"
        raise UserError(f"{path}: case {number}: no `{key}`; there is: {there}")
    return case[key]


def _left_out(text: Any, code: Any) -> str | None:
    if text is None or (isinstance(text, str) and not text.strip()):
        return "no text"
    if code is None or code != code or (isinstance(code, str) and code.strip().casefold() in ("", "nan")):
        return "no code"
    if isinstance(code, str):
        return next((reason for said, reason in WITHOUT_CODE.items() if said in code.casefold()), None)
    return None


READER = Reader(
    read,
    f"train.json, validation.json and test.json, each a list of cases with `{TEXT}` and `{CODE}`",
    suffixes=(".json",),
    types=("single_label",),
)
