"""A group of commands with a default command."""

from __future__ import annotations

import click


class WriteByDefault(click.Group):
    """Makes `detour card CHAIN` the same as `detour card write CHAIN`."""

    default = "write"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [self.default, *args]
        return super().parse_args(ctx, args)
