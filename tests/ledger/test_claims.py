import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from detour.ledger import claims
from detour.ledger.claims import STALE_AFTER_S, UNFINISHED_AFTER_S, ClaimHeld, claim, holder
from detour.ledger.process import Process
from detour.ledger.workspace import Workspace
from tests.support.small_disk import mounted

NAME = "pretrain-0123456789abcdef"


def make_old(path: Path, age_s: float) -> None:
    past = time.time() - age_s
    os.utime(path, (past, past))


def claim_elsewhere(workspace: Workspace, age_s: float) -> Path:
    """Create a claim of a process on another machine, `age_s` old."""
    claim(workspace, NAME, "alice's submit")
    path = workspace.claims / f"{NAME}.json"
    data = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps({**data, "host": "login7", "boot": "another", "token": "theirs"}))
    make_old(path, age_s)
    return path


def test_one_claimant_gets_the_claim_and_the_other_learns_the_owner(workspace: Workspace) -> None:
    assert holder(workspace, NAME) is None
    with claim(workspace, NAME, "submit base") as held:
        with pytest.raises(ClaimHeld, match=rf"submit base, \S+ on \S+ \(process {os.getpid()}\) since 20") as refusal:
            claim(workspace, NAME, "another")
        assert refusal.value.holder.owner == "submit base"
        assert holder(workspace, NAME) == refusal.value.holder
        assert held.refresh()
    assert holder(workspace, NAME) is None
    held.release()
    claim(workspace, NAME, "another").release()
    assert list(workspace.claims.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a" * 300, "a b"])
def test_a_name_that_leaves_the_folder_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a claim"):
        claim(workspace, name, "owner")


def test_the_group_can_read_a_claim_if_it_can_read_the_workspace(workspace: Workspace) -> None:
    workspace.root.chmod(0o770)
    claim(workspace, NAME, "owner")
    assert stat.S_IMODE((workspace.claims / f"{NAME}.json").stat().st_mode) == 0o640


def test_a_dead_process_of_this_machine_holds_no_claim(workspace: Workspace) -> None:
    script = (
        "import sys, pathlib; from detour.ledger.claims import claim; from detour.ledger.workspace import Workspace;"
        f"claim(Workspace(pathlib.Path(sys.argv[1])), '{NAME}', 'killed'); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(workspace.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(ClaimHeld):
            claim(workspace, NAME, "too early")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert holder(workspace, NAME) is None
    with claim(workspace, NAME, "next"):
        assert [path.name for path in workspace.claims.iterdir()] == [f"{NAME}.json"]


def test_a_recycled_process_id_is_another_process() -> None:
    present = Process.current()
    assert present.is_alive() is True
    earlier = Process(present.host, present.pid, present.user, present.boot, (present.start_ticks or 0) - 1)
    assert earlier.is_alive() is False
    elsewhere = Process(present.host, present.pid, present.user, "another boot", present.start_ticks)
    assert elsewhere.is_alive() is None


@pytest.mark.parametrize(("age_s", "free"), [(STALE_AFTER_S - 60, False), (STALE_AFTER_S + 60, True)])
def test_claims_of_other_machines_expire_only_by_age(workspace: Workspace, age_s: float, free: bool) -> None:
    claim_elsewhere(workspace, age_s)
    assert (holder(workspace, NAME) is None) == free
    if free:
        claim(workspace, NAME, "next")
    else:
        with pytest.raises(ClaimHeld, match="login7"):
            claim(workspace, NAME, "next")


@pytest.mark.parametrize(("age_s", "free"), [(0, False), (UNFINISHED_AFTER_S + 60, True)])
def test_an_empty_claim_is_being_written_or_abandoned(workspace: Workspace, age_s: float, free: bool) -> None:
    path = workspace.claims / f"{NAME}.json"
    path.touch()
    make_old(path, age_s)
    if free:
        claim(workspace, NAME, "next")
    else:
        with pytest.raises(ClaimHeld):
            claim(workspace, NAME, "next")


@pytest.mark.parametrize("token", ["../../victim", "a/../../victim", "\0", "*", "x" * 5000, ["a"], None])
def test_a_claim_with_an_impossible_token_counts_as_damaged_and_touches_no_other_file(
    workspace: Workspace, token: object
) -> None:
    path, others = workspace.claims / f"{NAME}.json", {workspace.claims / f"{NAME}.a.7", workspace.root / "victim.0"}
    for other in others:
        other.touch()
    path.write_bytes(orjson.dumps({"token": token, "owner": "eve"}))
    assert holder(workspace, NAME) is not None
    make_old(path, UNFINISHED_AFTER_S + 1)
    claim(workspace, NAME, "owner").release()
    assert not path.exists()
    assert all(other.exists() for other in others)


def test_a_mark_without_a_number_hinders_no_one(workspace: Workspace) -> None:
    (workspace.claims / f"{NAME}..x").touch()
    (workspace.claims / f"{NAME}.json").touch()
    make_old(workspace.claims / f"{NAME}.json", UNFINISHED_AFTER_S + 1)
    claim(workspace, NAME, "owner").release()


def test_an_owner_whose_claim_was_taken_over_neither_refreshes_nor_releases_it(workspace: Workspace) -> None:
    late = claim(workspace, NAME, "slept for an hour")
    path = workspace.claims / f"{NAME}.json"
    data = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps({**data, "host": "elsewhere"}))
    make_old(path, 2 * STALE_AFTER_S)
    with claim(workspace, NAME, "next") as held:
        assert not late.refresh()
        late.release()
        assert held.refresh()
        present = holder(workspace, NAME)
        assert present is not None
        assert present.owner == "next"


def test_only_one_of_many_takes_over_a_stale_claim(workspace: Workspace) -> None:
    for _ in range(20):
        claim_elsewhere(workspace, 2 * STALE_AFTER_S)
        with ThreadPoolExecutor(8) as pool:
            won = [taken for taken in pool.map(lambda _: attempt_claim(workspace), range(16)) if taken]
        assert len(won) == 1
        won[0].release()
        assert list(workspace.claims.iterdir()) == []


def attempt_claim(workspace: Workspace) -> claims.Claim | None:
    try:
        return claim(workspace, NAME, "taker")
    except ClaimHeld:
        return None


def test_a_killed_takeover_blocks_others_only_briefly(workspace: Workspace) -> None:
    claim_elsewhere(workspace, 2 * STALE_AFTER_S)
    mark = workspace.claims / f"{NAME}.theirs.0"
    mark.touch()
    with pytest.raises(ClaimHeld):
        claim(workspace, NAME, "while the change of hands is young")
    make_old(mark, UNFINISHED_AFTER_S + 60)
    with claim(workspace, NAME, "next"):
        assert [path.name for path in workspace.claims.iterdir()] == [f"{NAME}.json"]


def test_a_takeover_killed_on_this_machine_blocks_nothing_and_a_slow_one_keeps_its_right(workspace: Workspace) -> None:
    claim_elsewhere(workspace, 2 * STALE_AFTER_S)
    mark = workspace.claims / f"{NAME}.theirs.0"
    living = Process.current()
    mark.write_bytes(orjson.dumps(living.to_json()))
    make_old(mark, UNFINISHED_AFTER_S + 60)
    with pytest.raises(ClaimHeld):
        claim(workspace, NAME, "while its author is alive")
    mark.write_bytes(orjson.dumps(living._replace(start_ticks=1).to_json()))
    with claim(workspace, NAME, "next"):
        assert [path.name for path in workspace.claims.iterdir()] == [f"{NAME}.json"]


CONTENDER = f"""
import os, pathlib, sys
from detour.ledger.claims import ClaimHeld, claim
from detour.ledger.workspace import Workspace
workspace = Workspace(pathlib.Path(sys.argv[1]))
sys.stdin.readline()
for turn in range(60):
    try:
        with claim(workspace, "{NAME}", "contender"):
            inside = os.open(workspace.root / "inside", os.O_CREAT | os.O_EXCL)
            os.close(inside)
            os.unlink(workspace.root / "inside")
            print("held", flush=True)
    except ClaimHeld:
        pass
"""


def test_two_processes_never_hold_a_claim_at_once(workspace: Workspace) -> None:
    command = [sys.executable, "-c", CONTENDER, str(workspace.root)]
    contenders = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for contender in contenders:
        assert contender.stdin is not None
        contender.stdin.write("go\n")
        contender.stdin.flush()
    outputs = [contender.communicate(timeout=60)[0] for contender in contenders]
    assert [contender.returncode for contender in contenders] == [0] * 4
    assert sum(output.count("held") for output in outputs) >= 4
    assert [path.name for path in workspace.claims.iterdir()] == []


def test_the_age_of_a_claim_is_known_on_a_read_only_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", size_mib=4) as disk:
        made = Workspace(disk.folder / "w")
        made.create()
        claim_elsewhere(made, STALE_AFTER_S - 60)
        subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)
        assert holder(made, NAME) is not None


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace on a disk without room for a byte."""
    with mounted(tmp_path / "disk", size_mib=4) as disk:
        made = Workspace(disk.folder / "w")
        made.create()
        disk.leave(0)
        yield made


def test_on_a_full_disk_a_claim_is_empty_and_still_excludes_others(full: Workspace) -> None:
    with pytest.raises(OSError, match="No space left"):
        claim(full, NAME, "submit base")
    with claim(full, NAME, "cancel base", without_room=True) as held:
        assert (full.claims / f"{NAME}.json").stat().st_size == 0
        for without_room in (False, True):
            with pytest.raises(ClaimHeld):
                claim(full, NAME, "another", without_room=without_room)
        assert held.refresh()
    assert list(full.claims.iterdir()) == []


def test_an_empty_claim_is_refreshed_by_its_owner(full: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "FRESH_EVERY_S", 0.01)
    path = full.claims / f"{NAME}.json"
    with claim(full, NAME, "cancel base", without_room=True):
        make_old(path, 2 * UNFINISHED_AFTER_S)
        time.sleep(0.2)
        assert holder(full, NAME) is not None


def test_an_empty_claim_that_was_taken_over_is_not_released_by_its_former_owner(full: Workspace) -> None:
    late = claim(full, NAME, "cancel base", without_room=True)
    make_old(full.claims / f"{NAME}.json", 2 * UNFINISHED_AFTER_S)
    with claim(full, NAME, "cancel base", without_room=True) as held:
        assert not late.refresh()
        late.release()
        assert held.refresh()
    assert list(full.claims.iterdir()) == []
