"""What must not be in a support ticket: tokens, keys and passwords that a program has written to its log."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "[hidden]"
_SECRETS = re.compile(
    r"\b(?:(?:hf|gh[pousr]|github_pat|glpat|[sp]k|xox[abp])[-_]|AKIA|ASIA|eyJ)[-_A-Za-z0-9.]{16,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?<=[Bb]earer )[-\w.~+/=]{12,}"
)
_NAMED = re.compile(
    r"(?P<name>(?:token(?!i[sz])|secret|passw(?:or)?d|api[_-]?key|access[_-]?key|credential)"
    r"(?!\w{0,40}(?:Error|Exception)\b)[\w-]{0,40}[\"']?\s{0,8}[=:]{1,2}\s{0,8}[\"']?)"
    r"(?!<|Permission denied|No such file|Is a directory|Stale file|Input/output|Invalid |Expired )"
    r"(?P<value>[^\s\"',;)}\]]{6,})",
    re.IGNORECASE,
)
"""A secret after its name, but not a system error about a file of that name."""
_COUNT = re.compile(r"[\d.,eE+_/%-]+[kKMBG]?")


def redacted(text: str) -> str:
    """The text with `[hidden]` in place of what looks like a secret; figures such as `tokens: 83886080000` stay."""
    named = _NAMED.sub(lambda match: match[0] if _COUNT.fullmatch(match["value"]) else match["name"] + HIDDEN, text)
    return _SECRETS.sub(HIDDEN, named)


def redacted_json(value: Any) -> Any:
    """Plain JSON values with every text redacted."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, list):
        return [redacted_json(item) for item in value]
    if isinstance(value, dict):
        return {key: redacted_json(item) for key, item in value.items()}
    return value
