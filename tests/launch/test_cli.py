"""The frame of the command: its list of verbs, messages of errors, and a start without heavy imports."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from detour.errors import UserError
from detour.launch.text.help import VERBS
from detour.launch.verbs import detour, run_verb

DETOUR = Path(sys.executable).parent / "detour"
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_each_verb_begins_with_its_line_in_the_list(verb: str) -> None:
    command = import_module(f"detour.launch.{verb}").command
    assert command.help is not None
    assert command.help.splitlines()[0] == VERBS[verb]


def test_help_lists_every_verb_in_80_columns() -> None:
    shown = CliRunner().invoke(detour, ["--help"]).output
    listed = [
        line.split()[0] for line in shown.partition("describes a verb")[2].splitlines()[1:] if line.startswith("  ")
    ]
    assert listed == list(VERBS)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_each_verb_fits_80_columns_and_cuts_no_sentence(verb: str) -> None:
    shown = CliRunner().invoke(detour, [verb, "--help"]).output
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    assert [line for line in shown.partition("Commands:")[2].splitlines() if line.endswith("...")] == []


@pytest.mark.parametrize(
    ("verb", "option", "number"),
    [
        *[("logs", "--lines", number) for number in ("0", "9" * 30)],
        *[("run", "--jobs", number) for number in ("0", "9" * 30)],
        *[("status", "--every", number) for number in ("0", "nan", "inf", "1e300")],
        *[("energy", "--pue", number) for number in ("0.9", "nan", "inf")],
    ],
)
def test_an_impossible_number_is_refused(verb: str, option: str, number: str) -> None:
    result = CliRunner().invoke(detour, [verb, "quickstart", option, number])
    assert (result.exit_code, f"Invalid value for '{option}'" in result.output) == (2, True)


def test_help_lists_every_option_of_the_command() -> None:
    shown = CliRunner().invoke(detour, ["--help"]).output
    options = detour.get_params(click.Context(detour))
    assert [option for parameter in options for option in parameter.opts if option not in shown] == []


@pytest.mark.parametrize("arguments", [["--help"], ["status", "-w", "nowhere"]])
def test_the_most_frequent_commands_import_neither_torch_nor_pydantic(arguments: list[str]) -> None:
    code = f"import sys; sys.argv[1:] = {arguments!r}; import atexit; from detour.launch.cli import main\n"
    code += (
        "atexit.register(lambda: print(sorted({'torch', 'pydantic', 'numpy', 'submitit'} & set(sys.modules))))\nmain()"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "no-such-file.yaml"], "no-such-file.yaml"),
        (["plan", "configs/recipes/quickstart.yml"], "no such file; did you mean `quickstart.yaml`?"),
        (["plan", "configs"], "configs: is a folder: give a YAML file in it, or the name of a recipe"),
        (["submit", "quickstart"], "Name the profile of the cluster; `detour clusters` lists them."),
        (["status", "no-such-chain", "-w", "nowhere"], "no-such-chain"),
        (["-w", "nowhere", "status"], "no such option '-w': options of a verb go after it"),
        (["plan", "configs/recipes/quickstart.yaml", "phases.clm.tokens=ten"], "phases.clm.tokens"),
        (["plan", "configs/recipes/quickstart.yaml", "--cluster", "jean-zai"], "jean-zai"),
        (["submit", "configs/recipes/quickstart.yaml", "--cluster", "local"], "detour run"),
        (["submit", "configs/recipes/quickstart.yaml", "--cluster", "slurm-local", "--time", "20"], "20h"),
        (["run", "configs/recipes/moderncamembert-bio-base.yaml"], "mc-bio"),
        (["cancel", "no-such-chain", "-w", "nowhere"], "no-such-chain"),
        (["logs", "--folow"], "no such option '--folow'; did you mean `--follow`? Try `detour logs --help`.\n"),
        (["logs", "--json"], "missing argument 'NAME...'. Try `detour logs --help`.\n"),
        (["submit", "quickstart", "--time", "400d"], "'--time': 400d is too long; at most a year (366d) is accepted"),
        (["schema", "--markdown", "--status"], "--markdown has the keys of recipes: leave it out, or --status"),
        (["wait", "--timeout", "abc"], "'abc' is not a duration: write 20h, 90m, 1h30 or 02:00:00. Try `detour wait"),
        (["clusters", "a", "b\x1b[2J"], "got unexpected extra argument (b [2J). Try `detour clusters --help`.\n"),
        (["logs", "--zzz", "x"], "detour: no such option '--zzz'. Try `detour logs --help`.\n"),
        (["logs", "-n", "x"], "'x' is not a whole number. Try `detour logs --help`.\n"),
        (["completion"], "Choose from: bash, zsh, fish. Try `detour completion --help`.\n"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [DETOUR, *[str(tmp_path) if word == "nowhere" else word for word in arguments]],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "DETOUR_WORKSPACE": str(tmp_path / "workspace")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    assert said in result.stderr
    assert result.stderr.startswith("detour: ")
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("statsu", "did you mean `status`"),
        ("xyzzy", "`detour --help` lists them"),
    ],
)
def test_a_mistyped_verb_is_answered_with_the_nearest_one(typed: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run_verb([typed])
