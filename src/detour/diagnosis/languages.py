"""What the system and its shells say, in the English that the rules are written in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from detour.diagnosis.rules import read_rules


def in_english(text: str) -> str:
    """With the messages of `rules/languages.yaml` in English; all else stays."""
    plain = text.replace("’", "'")
    for foreign, english in _english().items():
        if foreign in plain:
            plain = plain.replace(foreign, english)
    return plain


@cache
def _english() -> Mapping[str, str]:
    """Longest first, for some begin like others."""
    said = {one: english for english, others in read_rules("languages.yaml").items() for one in others}
    return {one: said[one] for one in sorted(said, key=len, reverse=True)}
