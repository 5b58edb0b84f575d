"""The verbs as click commands; only the module of the verb that is called is imported."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

from detour.errors import UserError
from detour.imports import uncollected
from detour.launch.text.help import VERBS, help_page
from detour.text import nearest_name, plain, suggestion

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Verbs(click.Group):
    """A group whose commands are modules of `launch`, imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            raise UserError(unknown_verb(cmd_name))
        with uncollected():
            command: click.Command = import_module(f"detour.launch.{cmd_name}").command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete verbs without importing them, unlike click, which would import all of them for their help."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(verb, help=said) for verb, said in VERBS.items() if verb.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002
        return help_page()


def unknown_verb(name: str) -> str:
    """The message for an unknown verb, with the nearest verb if there is one."""
    return f"no verb {name!r}{suggestion(name, VERBS, '; `detour --help` lists them')}"


@click.command(
    cls=Verbs,
    subcommand_metavar="VERB [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="detour", prog_name="detour")
def detour() -> None:
    """Encoder pretraining with a causal detour, as chains of jobs."""


def run_verb(arguments: Sequence[str]) -> int | None:
    """The exit code; None for success. Raises UserError for mistyped options and arguments."""
    try:
        code: int | None = detour.main(list(arguments), prog_name="detour", standalone_mode=False)
        return code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        raise UserError(usage_message(error)) from error
    except click.Abort:
        raise KeyboardInterrupt from None


def usage_message(error: click.UsageError) -> str:
    """Click's message in the form of all others: one line, and which help page says what was expected."""
    if isinstance(error, click.NoSuchOption):
        near = nearest_name(error.option_name.lstrip("-"), _long_options(error.ctx))
        text = f"no such option {error.option_name!r}" + (f"; did you mean `--{near}`?" if near else "")
    else:
        text = plain(error.format_message()).rstrip(".").replace("valid integer range", "whole number")
        text = text[:1].lower() + text[1:]
    if error.ctx is None:
        return text
    if error.ctx.parent is None and not text.endswith("?"):
        return f"{text}: options of a verb go after it, as in `detour VERB --help`"
    end = "" if text.endswith("?") else "."
    return f"{text}{end} Try `{error.ctx.command_path} --help`."


def _long_options(context: click.Context | None) -> list[str]:
    """Names without their dashes, which would make all of them similar."""
    parameters = context.command.get_params(context) if context else ()
    return [name[2:] for parameter in parameters for name in parameter.opts if name.startswith("--")]
