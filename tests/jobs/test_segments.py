from __future__ import annotations

from detour.jobs.segments import cancel_later_segments
from detour.ledger.process import user_name
from detour.scheduler.commands import Slurm
from detour.scheduler.tags import Tag
from tests.scheduler.fake_slurm import FakeSlurm


def test_only_own_later_segments_of_the_unit_are_cancelled() -> None:
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
    assert cancel_later_segments({"SLURM_JOB_NAME": first}, Slurm(fake.acting(user_name())), dict) == ["2", "5"]
    assert [job.id for job in fake.live()] == [1, 3, 4]
    assert fake.denials == []


def test_segments_with_rewritten_names_are_found_by_their_scripts() -> None:
    fake = FakeSlurm(rewrites=True)
    tags = [
        Tag("w", unit, segment, f"s{unit[-1]}{segment}") for unit in ("pretrain-1", "pretrain-2") for segment in (1, 2)
    ]
    fake.user = user_name()
    for tag in tags:
        fake.add(
            str(tag), False, "", (tag.unit,)
        ).script = f"/w/submissions/{tag.unit}/{tag.segment}-{tag.submission}.sh"
    environment = {"SLURM_JOB_NAME": "rewritten", "SLURM_JOB_ID": "1"}
    assert cancel_later_segments(environment, Slurm(fake.acting(user_name())), lambda: tags) == ["2"]
    assert [job.id for job in fake.live()] == [1, 3, 4]
