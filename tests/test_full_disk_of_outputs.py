"""A disk that is full at any instant of a verb that writes output: one message, and the old output stays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from detour.launch.endings import ending
from detour.launch.verbs import detour
from detour.ledger.workspace import Workspace
from tests.cards.made_up import run_chain
from tests.support.small_disk import PAGE_BYTES, SmallDisk, mounted

STEPS = 6


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    """A disk with a workspace `w`, whose two chains are finished."""
    with mounted(tmp_path_factory.mktemp("full") / "disk", size_mib=16) as small_disk:
        run_chain(Workspace(small_disk.folder / "w"), "made-up")
        run_chain(Workspace(small_disk.folder / "w"), "other", "masked", gain=1.0)
        yield small_disk


def call(arguments: Sequence[str]) -> tuple[int, str]:
    """Return exit code and message."""
    try:
        detour.main(list(arguments), prog_name="detour", standalone_mode=False)
    except click.ClickException as error:
        return error.exit_code, error.format_message()
    except Exception as error:  # noqa: BLE001  what a command would end with
        return ending(error)[::-1]
    return 0, ""


def contents(folder: Path) -> dict[str, bytes | str]:
    """Return the content of files and the targets of links below it."""
    listed = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_symlink() or path.is_file()}
    return {
        str(name): str(path.readlink()) if path.is_symlink() else path.read_bytes() for name, path in listed.items()
    }


@pytest.mark.parametrize(
    "verb",
    [
        "report -o {0}/out/page.html",
        "report -o {0}/out/folder",
        "report -o {0}/out/data.json",
        "card made-up -o {0}/out/hub",
        "compare made-up other -o {0}/out/table.md --format markdown",
        "models promote made-up --to alias-{1}",
    ],
)
def test_a_verb_on_a_full_disk_leaves_the_old_output_or_the_new_one(verb: str, disk: SmallDisk) -> None:
    disk.free()

    def run(step: int) -> tuple[int, str]:
        return call([*verb.format(disk.folder, step).split(), "-w", f"{disk.folder}/w"])

    places = [disk.folder / "out", disk.folder / "w" / "models", disk.folder / "w" / "stages"]
    before = disk.room_bytes
    assert run(STEPS) == (0, "")
    needed = before - disk.room_bytes + PAGE_BYTES
    endings = []
    for step in range(STEPS):
        old = [contents(place) for place in places]
        disk.leave(needed * step // STEPS // PAGE_BYTES * PAGE_BYTES)
        endings.append(run(step))
        if endings[-1][0]:
            assert [contents(place) for place in places] == old, endings[-1]
        disk.free()
        assert run(step) == (0, ""), endings[-1]
    assert {code for code, _ in endings} <= {0, 2}
    assert endings[0][0] == 2 or verb.startswith("models")
    assert all(re.search("[Nn]o space left|disk is full", message) for code, message in endings if code)


def test_init_without_space_writes_nothing(disk: SmallDisk) -> None:
    endings = []
    for room in range(0, 5 * PAGE_BYTES, PAGE_BYTES):
        place = disk.folder / f"mine-{room}"
        disk.leave(room)
        endings.append(call(["init", str(place)])[0])
        assert endings[-1] == 0 or contents(place) == {}
        disk.free()
    assert endings == sorted(endings, reverse=True)
    assert set(endings) == {0, 2}
