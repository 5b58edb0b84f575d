from __future__ import annotations

from detour.jobs.segments import cancel_later_segments
from detour.ledger.process import user_name
from detour.scheduler.commands import Slurm
from detour.scheduler.tags import Tag
from tests.scheduler.fake_slurm import FakeSlurm


def test_only_ones_own_later_segments_of_the_unit_are_cancelled() -> None:
    fake = FakeSlurm()

    def add(user: str, unit: str, segment: int) -> str:
        fake.user = user
        name = str(Tag("w", unit, segment, f"s{fake.next_id}"))
        fake.add(name, False, "", (unit,))
        return name

    first = add(user_name(), "pretrain-1", 1)
    add(user_name(), "pretrain-1", 2)
    add("somebody", "pretrain-1", 2)
    add(user_name(), "pretrain-2", 2)
    add(user_name(), "pretrain-1", 3)
    assert cancel_later_segments({"SLURM_JOB_NAME": first}, Slurm(fake.acting(user_name()))) == ["2", "5"]
    assert [job.id for job in fake.live()] == [1, 3, 4]
    assert fake.denials == []
