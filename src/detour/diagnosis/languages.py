"""Translates messages of the system and its shells into English, the language of the rules."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from detour.diagnosis.rules import read_rules


def in_english(text: str) -> str:
    """The text with the messages in `rules/languages.yaml` in English; everything else is unchanged."""
    plain = text.replace("’", "'")
    for foreign, english in _english(plain.isascii()).items():
        if foreign in plain:
            plain = plain.replace(foreign, english)
    return plain


@cache
def _english(only_ascii: bool) -> Mapping[str, str]:
    """Messages that a text with only these letters can contain; longest first, since some begin with others."""
    if only_ascii:
        return {one: english for one, english in _english(False).items() if one.isascii()}
    said = {one: english for english, others in read_rules("languages.yaml").items() for one in others}
    return {one: said[one] for one in sorted(said, key=len, reverse=True)}
