"""What a dump of accounting does not state about itself, as options of the verbs that read one."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from detour.sacct.reading import Dialect
from detour.usage.options import chosen_columns, header_of


def dump_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Pass `dialect` to the verb."""

    @click.option("--time-format", metavar="FORMAT", help="Format of the dump's times, as for strptime.")
    @click.option("--columns", "header", metavar="NAME,...", help="The columns of a dump without a header.")
    @click.option("--column", multiple=True, metavar="FIELD=COLUMN", help="The column of the dump that holds a field.")
    @click.option("--skip-broken", is_flag=True, help="Leave out rows of the dump that cannot be read, and list them.")
    @wraps(verb)
    def taking(
        time_format: str | None, header: str | None, column: tuple[str, ...], skip_broken: bool, **given: Any
    ) -> None:
        dialect = Dialect(
            time_format=time_format,
            columns=header_of(header),
            chosen=chosen_columns(column),
            skip_broken=skip_broken,
        )
        verb(dialect=dialect, **given)

    return taking
