from __future__ import annotations

import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.checkpoints.store import Checkpoint, CheckpointStore, Skipped

WRITER = Path(__file__).with_name("killed_writer.py")


def content(step: int, size: int = 5000) -> bytes:
    return random.Random(step).randbytes(size)


def writer(step: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content(step))

    return write


def save(store: CheckpointStore, *steps: int) -> list[Checkpoint]:
    return [store.save(step, step * 1024, writer(step), {"loss": 1.0 / step}) for step in steps]


def loads(_: Path) -> None:
    """A check that finds nothing wrong."""


def only_skipped(skipped: list[Skipped]) -> Skipped:
    assert len(skipped) == 1
    return skipped[0]


def test_the_last_saved_state_is_returned(tmp_path: Path) -> None:
    save(CheckpointStore(tmp_path), 100, 20, 3000)
    checkpoint, skipped = CheckpointStore(tmp_path).newest_good(loads)
    assert checkpoint is not None
    assert checkpoint.step == 3000
    assert checkpoint.tokens == 3_072_000
    assert checkpoint.figures == {"loss": 1 / 3000}
    assert checkpoint.path.read_bytes() == content(3000)
    assert skipped == []


def test_an_empty_or_missing_folder_means_a_start_from_the_beginning(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "absent").newest_good(loads) == (None, [])


def test_the_later_of_two_saves_of_one_step_wins(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 7)
    later = store.save(7, 7, writer(8), {})
    assert store.newest_good(loads) == (later, [])
    assert later.path.read_bytes() == content(8)


def test_a_figure_that_is_not_a_number_is_stored_as_unknown(tmp_path: Path) -> None:
    checkpoint = CheckpointStore(tmp_path).save(1, 1, writer(1), {"loss": float("nan")})
    assert checkpoint.figures == {"loss": None}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "state.safetensors").unlink(), "state.safetensors is missing"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda folder: (folder / "state.safetensors").write_bytes(b""), "has 0 bytes instead of 5,000"),
        (lambda folder: (folder / "state.safetensors").write_bytes(content(4)), "does not have the SHA-256"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "does not have the digest"),
    ],
)
def test_a_damaged_newest_checkpoint_is_set_aside_and_the_previous_one_used(
    tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    older, newest = save(CheckpointStore(tmp_path), 1, 2)
    damage(newest.path.parent)
    checkpoint, skipped = CheckpointStore(tmp_path).newest_good(loads)
    assert checkpoint == older
    assert only_skipped(skipped).step == 2
    assert reason in only_skipped(skipped).reason
    assert only_skipped(skipped).path == tmp_path / f"damaged-{newest.path.parent.name}"
    assert only_skipped(skipped).path.is_dir()
    assert CheckpointStore(tmp_path).newest_good(loads) == (older, [])


def test_a_checkpoint_of_another_training_is_set_aside(tmp_path: Path) -> None:
    (own,) = save(CheckpointStore(tmp_path, "pretrain-1"), 1)
    save(CheckpointStore(tmp_path, "pretrain-2"), 2)
    checkpoint, skipped = CheckpointStore(tmp_path, "pretrain-1").newest_good(loads)
    assert checkpoint == own
    assert only_skipped(skipped).reason == "it is a checkpoint of pretrain-2"


def test_a_checkpoint_that_was_put_back_is_set_aside_again(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, "pretrain-1")
    (foreign,) = save(CheckpointStore(tmp_path, "pretrain-2"), 2)
    for _ in range(3):
        _, skipped = store.newest_good(loads)
        shutil.copytree(only_skipped(skipped).path, foreign.path.parent)
    assert len(list(tmp_path.glob("damaged-step-*"))) == 3


def test_a_checkpoint_without_a_record_of_its_training_is_resumed(tmp_path: Path) -> None:
    (older,) = save(CheckpointStore(tmp_path), 1)
    assert CheckpointStore(tmp_path, "pretrain-1").newest_good(loads) == (older, [])


def test_if_the_newest_is_deleted_the_previous_one_is_used(tmp_path: Path) -> None:
    older, newest = save(CheckpointStore(tmp_path), 1, 2)
    shutil.rmtree(newest.path.parent)
    assert CheckpointStore(tmp_path).newest_good(loads) == (older, [])


def test_a_checkpoint_rejected_by_the_caller_is_skipped(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    older, _ = save(store, 1, 2)
    checkpoint, skipped = store.newest_good(lambda path: "holds NaN" if path.read_bytes() == content(2) else None)
    assert checkpoint == older
    assert only_skipped(skipped).reason == "holds NaN"


@pytest.mark.parametrize("name", ["state.safetensors", "manifest.json"])
@settings(max_examples=30, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True))
def test_truncation_at_any_byte_is_detected(tmp_path_factory: pytest.TempPathFactory, name: str, place: float) -> None:
    folder = tmp_path_factory.mktemp("store")
    older, newest = save(CheckpointStore(folder), 1, 2)
    damaged = newest.path.with_name(name)
    with damaged.open("r+b") as file:
        file.truncate(int(place * damaged.stat().st_size))
    checkpoint, skipped = CheckpointStore(folder).newest_good(loads)
    assert checkpoint == older
    assert only_skipped(skipped).step == 2
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["state.safetensors", "manifest.json"])
@settings(max_examples=30, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_changed_bit_anywhere_is_detected(
    tmp_path_factory: pytest.TempPathFactory, name: str, place: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("store")
    older, newest = save(CheckpointStore(folder), 1, 2)
    damaged = newest.path.with_name(name)
    octets = bytearray(damaged.read_bytes())
    octets[int(place * len(octets))] ^= 1 << bit
    damaged.write_bytes(octets)
    assert CheckpointStore(folder).newest_good(loads)[0] == older
    shutil.rmtree(folder)


def test_an_error_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    (older,) = save(store, 1)

    def fill_the_disk(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store.save(2, 2, fill_the_disk, {})
    assert list(tmp_path.iterdir()) == [older.path.parent]


def test_prune_keeps_the_newest_good_checkpoints(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    saved = save(store, 1, 2, 3, 4)
    assert store.prune(2) == [saved[1].path.parent, saved[0].path.parent]
    assert sorted(tmp_path.iterdir()) == [saved[2].path.parent, saved[3].path.parent]


def test_prune_never_removes_the_last_good_checkpoint(tmp_path: Path) -> None:
    older, middle, newest = save(CheckpointStore(tmp_path), 1, 2, 3)
    middle.path.write_bytes(content(9))
    (newest.path.parent / "manifest.json").unlink()
    assert CheckpointStore(tmp_path).prune(1) == []
    assert CheckpointStore(tmp_path).newest_good(loads)[0] == older


def test_a_checkpoint_renamed_to_another_step_is_set_aside(tmp_path: Path) -> None:
    older, newer = save(CheckpointStore(tmp_path), 1, 2)
    folder = older.path.parent
    folder.rename(tmp_path / folder.name.replace("step-000000000001", "step-000000000009"))
    checkpoint, skipped = CheckpointStore(tmp_path).newest_good(loads)
    assert checkpoint == newer
    assert only_skipped(skipped).reason == "it is named for step 9 and is of step 1"


def test_files_and_folders_that_are_not_named_like_checkpoints_are_ignored(tmp_path: Path) -> None:
    (kept,) = save(CheckpointStore(tmp_path), 1)
    (tmp_path / "step-2-copy of mine").mkdir()
    (tmp_path / "step-000000000003-0123456789ab").write_text("a note")
    assert CheckpointStore(tmp_path).newest_good(loads) == (kept, [])


def test_prune_detects_a_file_that_changed_after_it_was_verified(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    _, newest = save(store, 1, 2)
    newest.path.write_bytes(content(9))
    assert store.prune(1) == []


def test_keeping_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        CheckpointStore(tmp_path).prune(0)


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    (good,) = save(CheckpointStore(tmp_path), 1)
    for leftover in (".writing-2-4711", ".removing-step-000000000000-abc"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "state.safetensors").write_bytes(b"half")
    CheckpointStore(tmp_path).newest_good(loads)
    assert list(tmp_path.iterdir()) == [good.path.parent]


def test_a_writer_killed_at_random_instants_never_costs_a_committed_checkpoint(tmp_path: Path) -> None:
    """25 kills; after each, the newest good one is at least the last that the writer reported as saved."""
    instants = random.Random(0)
    reached = cut_short = 0
    for _ in range(25):
        process = subprocess.Popen([sys.executable, str(WRITER), str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(instants.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        reported = [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
        reached = max([reached, *reported])
        cut_short += bool(list(tmp_path.glob(".writing-*")))
        checkpoint, skipped = CheckpointStore(tmp_path).newest_good(loads)
        assert skipped == []
        assert (checkpoint.step if checkpoint else 0) >= reached
        assert not [entry for entry in tmp_path.iterdir() if not entry.name.startswith("step-")]
    assert reached > 0
    assert cut_short > 0


def test_users_who_can_write_in_the_parent_folder_can_resume_and_prune(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    checkpoint = CheckpointStore(tmp_path / "checkpoints").save(1, 1, lambda path: path.touch(), {})
    for folder in (checkpoint.path.parent, tmp_path / "checkpoints"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o2770
