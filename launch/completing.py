"""What a shell offers as completion: names of chains, sweeps, stages and recipes. Never raises, never prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import click
from click.shell_completion import CompletionItem, get_completion_class

from detour.errors import DetourError
from detour.ledger.workspace import Workspace

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_DETOUR_COMPLETE"
_FILES = {
    "bash": "~/.local/share/bash-completion/completions/detour",
    "zsh": "~/.zfunc/_detour",
    "fish": "~/.config/fish/completions/detour.fish",
}
_PLAIN_WORDS = re.compile(r"\w[\w.+@%,/ -]*")
"""Names that shells treat as one word, once spaces are quoted, and that bash does not split; others are not offered."""
_UNSAFE = re.compile(r"[^\w .+-]")
"""Characters removed from the description of a name."""
MOST_STAGES = 200


def script(shell: str) -> str:
    """The completion script, with how to install it. The shell calls `detour` with `VARIABLE` set; click answers."""
    from detour.launch.verbs import detour

    made = get_completion_class(shell)
    assert made is not None
    source = made(detour, {}, "detour", VARIABLE).source()
    if shell == "bash":  # the others quote by themselves
        source = source.replace("COMPREPLY+=($value)", 'COMPREPLY+=("$(printf %q "$value")")')
    head, rest = ("#compdef detour\n", source.replace("#compdef detour", "", 1)) if shell == "zsh" else ("", source)
    return f"{head}# Completion of detour in {shell}. To install it:\n#   {_install(shell)}\n{rest.strip()}"


def _install(shell: str) -> str:
    """To be pasted: the folders are often not there yet."""
    file = _FILES[shell]
    command = f"mkdir -p {file.rpartition('/')[0]} && detour completion {shell} > {file}"
    return (
        f"{command}\n#   and in ~/.zshrc: fpath+=~/.zfunc; autoload -Uz compinit; compinit"
        if shell == "zsh"
        else command
    )


def complete_names(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Chains and sweeps; once something is typed, also stages by id, or by label after `CHAIN/`, as there are many."""
    return list(_offered(typed, _names(_workspace(context), typed)))


def complete_sweeps(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    return list(_offered(typed, _sweeps(_workspace(context))))


def complete_recipes(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Recipes and sweeps by name, otherwise files: bash does not offer files together with other words."""
    return list(_offered(typed, _recipes())) or [CompletionItem(typed, type="file")]


def complete_clusters(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Profiles by name, otherwise files."""
    from detour.config.loading import available_clusters

    names = _offered(typed, ((name, "profile") for name in available_clusters()))
    return list(names) or [CompletionItem(typed, type="file")]


def _offered(typed: str, names: Iterable[tuple[str, str]]) -> Iterator[CompletionItem]:
    """Yields nothing if the workspace cannot be read: a shell has no place for error messages."""
    try:
        for name, said in dict(names).items():
            if name.startswith(typed) and _PLAIN_WORDS.fullmatch(name):
                yield CompletionItem(name, help=said or None)
    except (OSError, ValueError, DetourError):
        return


def _workspace(context: click.Context) -> Workspace:
    given = context.params.get("workspace")
    return given if isinstance(given, Workspace) else Workspace.find(given)


def _names(workspace: Workspace, typed: str) -> Iterator[tuple[str, str]]:
    from detour.planning.files import chain_names
    from detour.planning.selection import known_chains

    chains = chain_names(workspace)
    yield from ((name, "chain") for name in chains)
    known = known_chains(workspace)
    yield from ((name, "sweep") for name in known.sweeps if name not in chains)
    if typed:
        stages = [stage for stage in known.stages.values() if stage.id.startswith(typed)]
        yield from ((stage.id, _UNSAFE.sub("", stage.label)) for stage in stages[:MOST_STAGES])
    if (chain := known.chains.get(typed.partition("/")[0])) and "/" in typed:
        yield from ((f"{chain.chain}/{stage.label}", "stage") for stage in chain.stages[:MOST_STAGES])


def _sweeps(workspace: Workspace) -> Iterator[tuple[str, str]]:
    from detour.planning.selection import known_chains

    yield from ((name, "sweep") for name in known_chains(workspace).sweeps)


def _recipes() -> Iterator[tuple[str, str]]:
    from detour.config.roots import config_roots

    for kind in ("recipe", "sweep"):
        files = [file for root in config_roots() for file in (root / f"{kind}s").glob("*.yaml")]
        yield from ((file.stem, kind) for file in sorted(files))
