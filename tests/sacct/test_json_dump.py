"""`sacct --json`, whose versions write the same things differently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from detour.errors import UserError
from detour.sacct.reading import read_rows
from detour.sacct.rows import JobRow

START_S = 1_772_323_200


def a_job(**changes: Any) -> dict[str, Any]:
    """Return a job as 22.05 prints it, with the fields that are read."""
    return {
        "account": "abc", "allocation_nodes": 1, "array": {"job_id": 0, "task": None, "task_id": None},
        "association": {"account": "abc", "cluster": "jz", "partition": None, "user": "ada"}, "cluster": "jz",
        "comment": {"administrator": None, "job": "mine", "system": None}, "het": {"job_id": 0, "job_offset": None},
        "job_id": 17, "name": "a|b\nc", "nodes": "n1", "partition": "gpu", "qos": "t3",
        "state": {"current": "COMPLETED", "reason": "None"}, "steps": [{"step": {"id": "17.batch"}}],
        "time": {"elapsed": 3600, "eligible": START_S, "end": START_S + 7200, "start": START_S + 3600,
                 "submission": START_S - 60, "suspended": 0, "limit": 60, "total": {"seconds": 1}},
        "tres": {"allocated": [
            {"type": "cpu", "name": "", "id": 1, "count": 24}, {"type": "mem", "name": "", "id": 2, "count": 5000},
            {"type": "node", "name": "", "id": 4, "count": 1}, {"type": "gres", "name": "gpu", "id": 1001, "count": 4},
            {"type": "gres", "name": "gpu:h100", "id": 1002, "count": 4}], "requested": []},
        "user": "ada",
    } | changes  # fmt: skip


def number(value: int | None) -> dict[str, Any]:
    return {"set": value is not None, "infinite": False, "number": value or 0}


def later(job: dict[str, Any]) -> dict[str, Any]:
    """Return the same job as versions from 23.02 on print it."""
    array, time = job["array"], job["time"]
    return job | {
        "array": array | {"task": array["task"] or "", "task_id": number(array["task_id"])},
        "het": job["het"] | {"job_offset": number(job["het"]["job_offset"])},
        "state": {"current": [job["state"]["current"]], "reason": "None"},
        "time": time | {"limit": number(time["limit"])},
        "user": "",
    }


def read(path: Path, *jobs: dict[str, Any], indent: int | None = 1) -> list[JobRow]:
    path.write_text(json.dumps({"meta": {"Slurm": {"release": "22.05.8"}}, "errors": [], "jobs": jobs}, indent=indent))
    return list(read_rows(path))


@pytest.mark.parametrize("indent", [1, None])
def test_json_and_text_give_the_same_rows(tmp_path: Path, indent: int | None) -> None:
    (row,) = read(tmp_path / "old.json", a_job(), indent=indent)
    assert (row.job_id, row.user, row.partition, row.cluster, row.name) == (17, "ada", "gpu", "jz", "a|b\nc")
    assert (row.submit_s, row.start_s, row.end_s) == (START_S - 60, START_S + 3600, START_S + 7200)
    assert (row.n_gpus, row.gpu_type, row.n_cpus, row.n_nodes, row.limit_s) == (4, "h100", 24, 1, 3600)
    assert (row.state, row.comment, row.exit_code) == ("COMPLETED", "mine", None)
    assert read(tmp_path / "new.json", later(a_job()), indent=indent) == [row]


@pytest.mark.parametrize("form", [dict, later])
def test_ids_equal_those_of_the_text(tmp_path: Path, form: Any) -> None:
    rows = read(
        tmp_path / "jobs.json",
        form(a_job(array={"job_id": 17, "task": None, "task_id": 0})),
        form(a_job(array={"job_id": 17, "task": "4-6%2", "task_id": None})),
        form(a_job(het={"job_id": 17, "job_offset": 1}, job_id=18)),
    )
    assert [(row.shown_id, row.tasks) for row in rows] == [("17_0", 1), ("17_[4-6%2]", 3), ("17+1", 1)]


@pytest.mark.parametrize("form", [dict, later])
def test_pending_running_and_never_started_jobs_lack_start_or_end(tmp_path: Path, form: Any) -> None:
    time = a_job()["time"]
    rows = read(
        tmp_path / "jobs.json",
        form(a_job(state={"current": "RUNNING"}, time=time | {"end": 0, "elapsed": 60})),
        form(a_job(state={"current": "PENDING"}, nodes="None assigned", time=time | {"start": 0, "end": 0})),
        form(a_job(state={"current": "CANCELLED"}, nodes="None assigned", time=time | {"start": time["end"]})),
    )
    assert [(row.ran, row.end_s is None, row.elapsed_s) for row in rows] == [
        (True, True, 60),
        (False, True, 0),
        (False, False, 0),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"jobs": [', "cannot be read as JSON"),
        ('{"jobs": [{"job_id": 1}]}', "is JSON, but holds no jobs with their times"),
        ('{"nodes": []}', "is JSON, but holds no jobs"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "dump").write_text(text)
    with pytest.raises(UserError, match=f"dump: {message}"):
        list(read_rows(tmp_path / "dump"))
