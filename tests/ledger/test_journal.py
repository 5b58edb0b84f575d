import errno
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any
from zlib import crc32

import pytest

from detour.errors import UserError
from detour.ledger.events import AttemptEnded, AttemptStarted, CheckpointSaved, EnergyCounted, ProgressMade, StageDone
from detour.ledger.journal import QUEUE_BYTES, QUEUE_RECORDS, RESERVE_BYTES, Journal
from detour.ledger.spool import import_spool, spool, spool_name
from detour.ledger.workspace import Workspace
from tests.ledger.lines import all_records, journal_files, read_lines


class BrokenDisk:
    """Makes os.write or os.fsync fail on journals while `error` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.write_error: int | None = None
        self.sync_error: int | None = None
        self.partial = 0
        self._write, self._sync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.sync)

    def write(self, descriptor: int, data: Any) -> int:
        if self.write_error is None:
            return self._write(descriptor, data)
        if self.partial:
            part, self.partial = self.partial, 0
            return self._write(descriptor, bytes(data)[:part])
        raise OSError(self.write_error, os.strerror(self.write_error))

    def sync(self, descriptor: int) -> None:
        if self.sync_error is not None:
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        self._sync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> BrokenDisk:
    return BrokenDisk(monkeypatch)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's temporary folder."""
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("detour.ledger.spool.TEMPORARY_FOLDERS", ())
    return folder


def progress(done: int, unit: str = "tokens") -> ProgressMade:
    return ProgressMade(done=done, total=1000, unit=unit, figures={})


def saved(step: int) -> CheckpointSaved:
    return CheckpointSaved(step=step, tokens=10 * step)


def kinds(workspace: Workspace) -> list[str]:
    return [record["kind"] for record in all_records(workspace)]


def test_a_record_has_every_documented_field(workspace: Workspace) -> None:
    with Journal.open(workspace, "host/../α 1") as journal:
        journal.append(AttemptStarted(node="n1", ram_gb=float("nan")), chain="c", stage="s", job="12_3", attempt=2)
    (path,) = journal_files(workspace)
    opened, started, closed = read_lines(path)
    assert path.stem == journal.writer
    assert "/" not in journal.writer
    assert [opened["kind"], closed["kind"]] == ["journal.opened", "journal.closed"]
    assert opened["data"]["pid"] == os.getpid()
    assert [record["sequence"] for record in (opened, started, closed)] == [0, 1, 2]
    assert started["mono_s"] <= closed["mono_s"]
    assert {key: started[key] for key in ("schema", "writer", "chain", "stage", "job", "attempt", "data")} == {
        "schema": 1,
        "writer": path.stem,
        "chain": "c",
        "stage": "s",
        "job": "12_3",
        "attempt": 2,
        "data": {"node": "n1", "ram_gb": None},
    }


def test_writers_with_the_same_name_never_share_a_file(workspace: Workspace) -> None:
    with Journal.open(workspace, "run") as one, Journal.open(workspace, "run") as two:
        assert one.writer != two.writer
    assert len(journal_files(workspace)) == 2


@pytest.mark.parametrize(("root_mode", "file_mode"), [(0o700, 0o600), (0o770, 0o640), (0o2750, 0o640), (0o755, 0o640)])
def test_a_journal_is_private_unless_the_workspace_is_shared_with_the_group(
    workspace: Workspace, root_mode: int, file_mode: int
) -> None:
    workspace.root.chmod(root_mode)
    previous = os.umask(0o077)
    try:
        Journal.open(workspace, "run").close()
    finally:
        os.umask(previous)
    (path,) = journal_files(workspace)
    assert stat.S_IMODE(path.stat().st_mode) == file_mode
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o007 == 0


def test_a_ledger_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "workspace").write_text("a file")
    with pytest.raises(UserError, match="ledger cannot be written"):
        Journal.open(Workspace(tmp_path / "workspace"), "run")


@pytest.mark.parametrize("value", ["\udc80", 2**70, {1: {2, 3}}, Path("/x"), b"raw", object()])
def test_any_data_gives_a_record(workspace: Workspace, value: object) -> None:
    with Journal.open(workspace, "run") as journal:
        journal.append(StageDone(result=value), stage="s\udc80")
    record = all_records(workspace)[1]
    assert record["kind"] == "stage.done"
    assert record["stage"].startswith("s")
    assert record["data"]


def test_state_is_synced_at_once_and_progress_is_not(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    journal = Journal.open(workspace, "run")
    monkeypatch.setattr(os, "fsync", synced.append)
    for done in range(50):
        journal.append(progress(done))
        journal.append(EnergyCounted(energy_kwh=0.1))
    assert synced == []
    journal.append(saved(1))
    assert len(synced) == 1
    journal.close()


def test_threads_and_forks_keep_their_order(workspace: Workspace) -> None:
    journal = Journal.open(workspace, "run")

    def work(name: int) -> None:
        for index in range(200):
            journal.append(progress(index, unit=str(name)))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = os.fork()
    if child == 0:
        journal.append(saved(7))
        os._exit(0)
    os.waitpid(child, 0)
    journal.close()
    own, forked = sorted((read_lines(path) for path in journal_files(workspace)), key=len, reverse=True)
    assert [record["sequence"] for record in own] == list(range(802))
    for name in range(4):
        assert [r["data"]["done"] for r in own if r["data"].get("unit") == str(name)] == list(range(200))
    assert [record["kind"] for record in forked] == ["journal.opened", "checkpoint.saved"]
    assert forked[0]["writer"] != own[0]["writer"]


def test_a_signal_handler_can_append(workspace: Workspace) -> None:
    journal = Journal.open(workspace, "run")
    handled = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal handled
        handled += 1
        journal.append(saved(handled))

    previous = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        written = 0
        while handled < 30:
            journal.append(progress(written))
            written += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    journal.close()
    records = all_records(workspace)
    assert [record["sequence"] for record in records] == list(range(written + handled + 2))
    steps = [record["data"]["step"] for record in records if record["kind"] == "checkpoint.saved"]
    assert sorted(steps) == list(range(1, handled + 1))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_a_failing_disk_leaves_whole_lines_and_missed_records_follow(
    workspace: Workspace, disk: BrokenDisk, error: int
) -> None:
    journal = Journal.open(workspace, "run")
    disk.write_error, disk.partial = error, 10
    journal.append(saved(1))
    assert kinds(workspace) == ["journal.opened"]
    disk.write_error = None
    journal.append(saved(2))
    assert [record["data"].get("step") for record in all_records(workspace)][1:] == [1, 2]
    journal.close()


def test_after_a_failed_sync_records_are_written_again(workspace: Workspace, disk: BrokenDisk) -> None:
    journal = Journal.open(workspace, "run")
    journal.append(progress(1))
    disk.sync_error = errno.EIO
    journal.append(saved(1))
    assert kinds(workspace) == ["journal.opened"]
    disk.sync_error = None
    journal.close()
    assert kinds(workspace) == ["journal.opened", "progress", "checkpoint.saved", "journal.closed"]


def test_a_deleted_journal_is_created_again(workspace: Workspace) -> None:
    journal = Journal.open(workspace, "run")
    journal_files(workspace)[0].unlink()
    journal.append(saved(1))
    journal.append(saved(2))
    journal.close()
    assert [record["data"].get("step") for record in all_records(workspace)][:2] == [1, 2]


def test_the_queue_is_bounded_and_drops_progress_first(workspace: Workspace, disk: BrokenDisk) -> None:
    journal = Journal.open(workspace, "run")
    disk.write_error = errno.ENOSPC
    for step in range(20):
        journal.append(saved(step))
        for done in range(60):
            journal.append(progress(done))
    disk.write_error = None
    journal.append(saved(20))
    journal.close()
    records = all_records(workspace)
    assert [r["data"]["step"] for r in records if r["kind"] == "checkpoint.saved"] == list(range(21))
    assert len(records) <= QUEUE_RECORDS + 3
    assert sum(path.stat().st_size for path in journal_files(workspace)) <= QUEUE_BYTES + 1000
    assert [r["kind"] for r in records[-3:]] == ["progress", "checkpoint.saved", "journal.closed"]


@pytest.mark.usefixtures("node")
def test_records_beyond_the_queue_wait_on_the_node_and_none_is_missing(workspace: Workspace, disk: BrokenDisk) -> None:
    journal = Journal.open(workspace, "report")
    disk.write_error = errno.EROFS
    for step in range(3 * QUEUE_RECORDS):
        journal.append(saved(step))
    journal.close()
    disk.write_error = None
    assert import_spool(workspace) == 1
    records = all_records(workspace)
    assert sorted(r["sequence"] for r in records) == list(range(3 * QUEUE_RECORDS + 2))
    assert [r["data"]["step"] for r in records if r["kind"] == "checkpoint.saved"] == list(range(3 * QUEUE_RECORDS))


def test_without_disk_space_the_end_is_kept_on_the_node(
    workspace: Workspace, disk: BrokenDisk, node: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal.open(workspace, "run")
    disk.write_error = errno.ENOSPC
    journal.append(saved(1))
    journal.append(AttemptEnded(outcome="done"))
    journal.append(StageDone())
    journal.close()
    assert len(caplog.records) == 1
    disk.write_error = None
    (waiting,) = node.glob(f"detour-spool-{os.getuid()}/{spool_name(workspace)}/*.jsonl")
    assert stat.S_IMODE(waiting.parent.parent.stat().st_mode) == 0o700
    assert import_spool(workspace) == 1
    assert import_spool(workspace) == 0
    wanted = ["journal.opened", "checkpoint.saved", "attempt.ended", "stage.done", "journal.closed"]
    records = sorted(all_records(workspace), key=lambda record: int(record["sequence"]))
    assert [record["sequence"] for record in records] == list(range(5))
    assert [record["kind"] for record in records] == wanted


def test_the_next_journal_on_the_node_imports_kept_records(workspace: Workspace, disk: BrokenDisk, node: Path) -> None:
    journal = Journal.open(workspace, "run")
    disk.write_error = errno.ENOSPC
    journal.append(AttemptEnded(outcome="done"))
    Journal.open(workspace, "too early").close()
    assert kinds(workspace) == ["journal.opened"]
    disk.write_error = None
    Journal.open(workspace, "next").close()
    assert sorted(kinds(workspace)) == ["attempt.ended", *["journal.closed"] * 2, *["journal.opened"] * 3]
    journal.append(StageDone())
    journal.close()
    assert kinds(workspace).count("stage.done") == 1
    assert not [path for path in node.rglob("*") if path.is_file()]


def test_spooling_during_an_import_loses_nothing(workspace: Workspace, node: Path) -> None:
    lines = [b"%d\n" % number for number in range(400)]
    with ThreadPoolExecutor(1) as pool:
        spooling = pool.submit(lambda: [spool(workspace, spool_name(workspace), "w", [line]) for line in lines])
        while not spooling.done():
            import_spool(workspace)
        spooling.result()
    import_spool(workspace)
    assert not [path for path in node.rglob("*") if path.is_file()]
    found = [line for path in journal_files(workspace) for line in path.read_bytes().splitlines(keepends=True)]
    assert sorted(found, key=int) == lines


def test_kept_records_are_imported_under_any_path_of_the_workspace(
    workspace: Workspace, node: Path, tmp_path: Path
) -> None:
    (tmp_path / "mount").symlink_to(workspace.root)
    spool(workspace, spool_name(workspace), "w", [b"1\n"])
    assert import_spool(Workspace(tmp_path / "mount")) == 1
    spool(workspace, spool_name(workspace), "w", [b"2\n"])
    moved = Workspace(workspace.root.rename(tmp_path / "moved"))
    assert import_spool(moved) == 1
    assert not [path for path in node.rglob("*") if path.is_file()]


@pytest.mark.usefixtures("node")
def test_kept_records_are_not_imported_into_another_workspace(workspace: Workspace, tmp_path: Path) -> None:
    spool(workspace, spool_name(workspace), "w", [b"1\n"])
    copy = Workspace(Path(shutil.copytree(workspace.root, tmp_path / "copy")))
    assert import_spool(copy) == 0
    workspace.root.rename(tmp_path / "away")
    remade = Workspace(workspace.root)
    remade.create()
    assert import_spool(remade) == 0
    assert import_spool(Workspace(tmp_path / "away")) == 1


def test_records_kept_by_an_earlier_version_are_imported(workspace: Workspace, node: Path) -> None:
    earlier = node / f"detour-spool-{os.getuid()}" / f"{crc32(str(workspace.root).encode()):08x}"
    earlier.mkdir(parents=True)
    earlier.parent.chmod(0o700)
    (earlier / "w.0.jsonl").write_bytes(b"1\n")
    assert import_spool(workspace) == 1


def test_an_unreadable_identity_costs_no_record(workspace: Workspace, node: Path) -> None:
    (workspace.root / "workspace.json").write_text("{")
    spool(workspace, spool_name(workspace), "w", [b"1\n"])
    assert import_spool(workspace) == 1
    assert not [path for path in node.rglob("*") if path.is_file()]


def test_a_spool_folder_of_another_user_is_not_trusted(workspace: Workspace, disk: BrokenDisk, node: Path) -> None:
    stranger = node / f"detour-spool-{os.getuid()}"
    stranger.mkdir()
    stranger.chmod(0o777)
    journal = Journal.open(workspace, "run")
    disk.write_error = errno.ENOSPC
    journal.append(AttemptEnded(outcome="done"))
    disk.write_error = None
    assert list(stranger.iterdir()) == []
    assert import_spool(workspace) == 1
    assert "attempt.ended" in kinds(workspace)
    journal.close()


def test_records_that_one_temporary_folder_did_not_take_wait_in_another(
    workspace: Workspace, disk: BrokenDisk, node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr("detour.ledger.spool.TEMPORARY_FOLDERS", (str(other),))
    other.mkdir()
    journal = Journal.open(workspace, "run")
    disk.write_error = errno.ENOSPC
    journal.append(AttemptEnded(outcome="done"))
    disk.write_error = None
    monkeypatch.setenv("TMPDIR", str(node))
    assert import_spool(workspace) == 1
    journal.close()


def test_a_journal_opens_on_a_node_without_any_temporary_folder(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "missing")])
    Journal.open(workspace, "run").close()
    assert kinds(workspace) == ["journal.opened", "journal.closed"]


def test_records_of_a_journal_that_cannot_be_created_are_kept_on_the_node(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, node: Path
) -> None:
    real: Callable[..., int] = os.open
    full = True

    def refuse(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if full and flags & os.O_CREAT and str(path).startswith(str(workspace.ledger)):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    journal = Journal.open(workspace, "run")
    journal.append(AttemptStarted())
    full = False
    journal.append(saved(1))
    journal.close()
    assert list(node.iterdir()) == []
    assert kinds(workspace) == ["journal.opened", "attempt.started", "checkpoint.saved", "journal.closed"]


FULL_DISK = """
import sys
from pathlib import Path
from detour.ledger.events import AttemptEnded, CheckpointSaved, ProgressMade
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
journal = Journal.open(workspace, "run")
try:
    with (workspace.root / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)
except OSError:
    pass
for done in range(500):
    journal.append(ProgressMade(done=done, total=500, unit="x" * 100, figures={}))
    if done % 50 == 0:
        journal.append(CheckpointSaved(step=done, tokens=done))
journal.append(AttemptEnded(outcome="done", exit_code=0))
journal.close()
"""


def fill(root: Path, node: Path, limit: int) -> str:
    """Run the script above with each of its files limited to `limit` bytes; return its output."""
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(root)],
        env={**os.environ, "TMPDIR": str(node)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return str(ran.stderr)


def steps_and_end(records: list[dict[str, Any]]) -> tuple[list[int], list[dict[str, Any]]]:
    steps = [record["data"]["step"] for record in records if record["kind"] == "checkpoint.saved"]
    return steps, [record["data"] for record in records if record["kind"] == "attempt.ended"]


def test_a_file_at_its_size_limit_still_records_the_end(workspace: Workspace, node: Path) -> None:
    message = fill(workspace.root, node, limit=RESERVE_BYTES)
    assert message.count("\n") == 1
    assert import_spool(workspace) == 1
    steps, ends = steps_and_end(all_records(workspace))
    assert sorted(steps) == list(range(0, 500, 50))
    assert ends == [{"outcome": "done", "exit_code": 0}]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A 1 MiB file system if this user may mount one, otherwise a plain folder."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_still_records_the_end(tiny_disk: Path, node: Path) -> None:
    message = fill(tiny_disk / "workspace", node, limit=1 << 20)
    assert message == ""
    steps, ends = steps_and_end(all_records(Workspace(tiny_disk / "workspace")))
    assert steps == list(range(0, 500, 50))
    assert ends == [{"outcome": "done", "exit_code": 0}]
