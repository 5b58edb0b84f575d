"""Usage figures from a site's own exports: tables of sreport and of web portals."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Literal
from unicodedata import normalize

from detour.errors import UserError
from detour.files import is_file_or_pipe
from detour.sacct.columns import plain_name
from detour.text import plain

Kind = Literal["gpu", "cpu"]
_NAMES: Mapping[str, Sequence[str]] = {
    "account": ("account", "project", "projectid", "projet"),
    "user": ("login", "user", "username", "utilisateur"),
    "resource": ("tresname", "resource", "ressource"),
    "period": ("period", "month", "mois"),
    "gpu": ("gpuhours", "gpuh", "hgpu"),
    "cpu": ("cpuhours", "corehours", "cpuh", "hcpu"),
}
_OF_HOURS = frozenset({"h", "hour", "hours", "heure", "heures"})
_OF_USE = frozenset({"used", "usage", "consumed", "consumption", "consommees", "consommation", "utilisees", "en"})
_OF_KIND: Mapping[str, Kind] = {"gpu": "gpu", "gpus": "gpu", "cpu": "cpu", "cpus": "cpu", "core": "cpu", "cores": "cpu"}
_UNIT = re.compile(r"reported in (TRES |CPU )?(Hours|Minutes|Seconds)", re.IGNORECASE)
_OF_SREPORT = "propername"
"""A column that only sreport prints; its figures are of CPUs unless they name a resource."""
_IN_HOURS = {"hours": 1.0, "minutes": 1 / 60, "seconds": 1 / 3600}
_SHARE = re.compile(r"\(.*%\)$")


@dataclass(frozen=True, slots=True)
class SiteUsage:
    """One line of a site's export."""

    hours: float
    kind: Kind
    account: str | None = None
    user: str | None = None
    """None: the whole account."""
    period: str | None = None
    """Period as written by the site."""


def read_site_usage(text: str, name: str) -> list[SiteUsage]:
    """Read the lines of an export, called `name` in messages.

    It is the output of `sreport --parsable2` (whose titles give the unit), or a table separated by `|`, tabs, commas or
    semicolons. The table has a column of GPU-hours or CPU-hours, or one of hours and one that names the resource; GPU
    types count if their total is missing. Raises UserError, with the line.
    """
    unit = _UNIT.search(text)
    factor = _IN_HOURS[unit[2].lower()] if unit else 1.0
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip(" -")]
    header_at, at, delimiter = _header(lines, name)
    is_sreport = _OF_SREPORT in map(plain_name, lines[header_at][1].split(delimiter))
    if is_sreport and unit is None:
        raise UserError(
            f"{name}: sreport's figures without their unit: keep its title lines, so without --noheader, or write the "
            "figure itself, as `1234.5 GPU-h`"
        )
    rows: list[tuple[str, Mapping[str, str]]] = []
    for number, line in lines[header_at + 1 :]:
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
        if len(cells) < max(at.values()) + 1:
            raise UserError(f"{name}:{number}: {len(cells)} columns where the header has more")
        rows.append((f"{name}:{number}", {field: cells[index] for field, index in at.items()}))
    resources = {cell.get("resource", "").lower() for _, cell in rows}
    of_none: Kind = "cpu" if is_sreport or (unit and unit[1] and unit[1].upper() == "CPU ") else "gpu"
    kinds: dict[str, Kind] = {"": of_none, "gpu": "gpu", "cpu": "cpu", "core": "cpu", "gres/gpu": "gpu"}
    if "gres/gpu" not in resources:
        kinds |= {resource: "gpu" for resource in resources if resource.startswith("gres/gpu:")}
    return [usage for where, cell in rows for usage in _line(cell, kinds, factor, where)]


def site_hours(rows: Iterable[SiteUsage], name: str, account: str | None = None) -> SiteUsage:
    """Sum the hours of one account over the periods of the export: GPU-hours if there are any, otherwise CPU-hours.

    If the account has a line of its own, the lines of its users are not added. Raises UserError if the account is
    ambiguous.
    """
    rows = list(rows)
    kind: Kind = "gpu" if any(row.kind == "gpu" for row in rows) else "cpu"
    of_kind = [row for row in rows if row.kind == kind]
    accounts = sorted({row.account for row in of_kind if row.account is not None} - {"root"})
    if account is None and len(accounts) > 1:
        raise UserError(f"{name}: it has {plain(', '.join(accounts))}: say which with --site-account")
    chosen = account or (accounts[0] if accounts else None)
    if account is not None and account not in accounts:
        raise UserError(f"{name}: no account {account!r}: it has {plain(', '.join(accounts)) or 'none'}")
    mine = [row for row in of_kind if row.account == chosen]
    whole = [row for row in mine if row.user is None]
    return SiteUsage(fsum(row.hours for row in whole or mine), kind, chosen)


def site_figure_of(given: str | None, account: str | None) -> str | None:
    """Return the content of the file `given`, or an account's figure if it is a site's export; other text unchanged.

    Raises UserError if the file cannot be read as text.
    """
    if given is None or not is_file_or_pipe(Path(given)):
        return given
    try:
        text = Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise UserError(f"--site-figure {given}: cannot be read as text ({error})") from error
    return figure_in(text, given, account)


def figure_in(text: str, name: str, account: str | None = None) -> str:
    """Return the figure of an export as text: `1234.5 GPU-h`; other text is returned unchanged."""
    if account is None and not any(delimiter in text for delimiter in "|\t;\n"):
        return text
    try:
        rows = read_site_usage(text, name)
    except UserError:
        if account is not None:
            raise
        return text
    found = site_hours(rows, name, account)
    return f"{f'{found.hours:.6f}'.rstrip('0').rstrip('.')} {found.kind.upper()}-h"


def _header(lines: Sequence[tuple[int, str]], name: str) -> tuple[int, Mapping[str, int], str]:
    for place, (_, line) in enumerate(lines):
        for delimiter in (one for one in "|\t;," if one in line):
            fields = [_field(cell) for cell in line.split(delimiter)]
            at = {field: fields.index(field) for field in fields if field is not None}
            if at.keys() & {"gpu", "cpu", "used"}:
                return place, at, delimiter
    raise UserError(
        f"{name}: no table of a site's usage: expected a header with Account and Used, as `sreport --parsable2` prints "
        "it, or with GPU hours"
    )


def _field(heading: str) -> str | None:
    """`GPU hours used` -> gpu, `Heures consommées` -> used; None for other headings, such as `GPU hours allocated`."""
    ascii_only = normalize("NFKD", heading).encode("ascii", "ignore").decode()
    name = plain_name(ascii_only)
    for field, names in _NAMES.items():
        if name in names:
            return field
    words = set(re.findall(r"[a-z]+", ascii_only.lower()))
    kinds = words - _OF_HOURS - _OF_USE
    if not words or not kinds <= _OF_KIND.keys():
        return None
    if not kinds:
        return "used"
    return _OF_KIND[kinds.pop()] if len(kinds) == 1 and words & _OF_HOURS else None


def _line(cell: Mapping[str, str], kinds: Mapping[str, Kind], factor: float, where: str) -> Iterator[SiteUsage]:
    """Yield a figure for each column of hours, ignoring resources that are not in `kinds`."""
    who = (cell.get("account") or None, cell.get("user") or None, cell.get("period") or None)
    if "used" in cell and (kind := kinds.get(cell.get("resource", "").lower())) is not None:
        yield SiteUsage(_amount(cell["used"], where) * factor, kind, *who)
    if "gpu" in cell:
        yield SiteUsage(_amount(cell["gpu"], where), "gpu", *who)
    if "cpu" in cell:
        yield SiteUsage(_amount(cell["cpu"], where), "cpu", *who)


def _amount(text: str, where: str) -> float:
    try:
        return number_of(_SHARE.sub("", text.strip()))
    except ValueError:
        raise UserError(f"{where}: {text!r} where hours were expected, such as 1234.5") from None


def number_of(written: str) -> float:
    """Parse a number with a decimal point or comma and any usual thousands separator. Raises ValueError."""
    text = re.sub(r"[\s'\u2019]", "", written).rstrip(".,")
    if not re.fullmatch(r"\d[\d.,]*", text):
        raise ValueError(written)
    if "," in text and "." in text:
        thousands = "," if text.rindex(".") > text.rindex(",") else "."
        text = text.replace(thousands, "").replace(",", ".")
    elif text.count(",") > 1 or re.fullmatch(r"[1-9]\d{0,2},\d{3}", text):
        text = text.replace(",", "")
    elif text.count(".") > 1:
        text = text.replace(".", "")
    return float(text.replace(",", "."))
