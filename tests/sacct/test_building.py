"""How a row becomes typed values."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from detour.errors import UserError
from detour.sacct.building import RowBuilder
from detour.sacct.columns import Cells
from detour.sacct.reading import Dialect, read_rows
from tests.sacct.dumps import DAY_S, HEADER, JOB, job, lines_of, read, read_one


@pytest.mark.parametrize(
    ("allocated", "requested", "gpus", "kind"),
    [
        ("cpu=8,gres/gpu=4,gres/gpu:h100=4", "", 4, "h100"),
        ("cpu=8,gres/gpu:h100=4", "", 4, "h100"),
        ("cpu=8,gres/gpu=4", "", 4, None),
        ("cpu=8,gres/gpu:a100=1,gres/gpu:v100=2", "", 3, "a100,v100"),
        ("cpu=8,gres/gpu:1g.10gb=2,gres/gpumem=10G,gres/gpuutil=0", "", 2, "1g.10gb"),
        ("cpu=8,gres/shard=3", "cpu=8", None, None),
        ("cpu=8,gres/gpu=1,gres/shard=3", "", 1, None),
        ("cpu=8,gres/mps=50", "", None, None),
        ("cpu=8,node=1", "cpu=8,gres/gpu=4", None, None),
        ("1=40,2=340000,4=1,5=40", "", 0, "none"),
        ("1=40,2=340000,4=1,5=40,1002=2", "", None, None),
        ("", "cpu=8,gres/gpu=4", None, None),
    ],
)
def test_gpus_are_counted_once_and_unknown_if_nothing_states_them(
    allocated: str, requested: str, gpus: int | None, kind: str | None
) -> None:
    row = read_one(AllocTRES=allocated, ReqTRES=requested)
    assert (row.n_gpus, row.gpu_type) == (gpus, kind)


@pytest.mark.parametrize(("gres", "asked", "gpus"), [("", "", 0), ("", "gpu:2", None), ("gpu:2", "gpu:2", 2)])
def test_an_empty_gres_column_alone_means_no_gpu(gres: str, asked: str, gpus: int | None) -> None:
    header = [*(column for column in HEADER if column not in ("AllocTRES", "ReqTRES")), "AllocGRES", "ReqGRES"]
    (row,) = read_rows(lines_of(job(AllocGRES=gres, ReqGRES=asked), header=header))
    assert row.n_gpus == gpus


@pytest.mark.parametrize(("gres", "gpus"), [("gpu:tesla:two", None), ("craynetwork:1", 0)])
def test_gpus_in_an_unknown_form_are_unknown_even_if_other_resources_are_listed(gres: str, gpus: int | None) -> None:
    (row,) = read_rows(lines_of(job(AllocTRES="", ReqTRES="cpu=8", AllocGRES=gres), header=[*HEADER, "AllocGRES"]))
    assert row.n_gpus == gpus


@pytest.mark.parametrize(
    ("column", "text", "gpus"),
    [
        ("ReqTRES", "billing=8,cpu=8,gres/gpu=4,gres/gpu:h100=4", 4),
        ("ReqTRES", "billing=8,cpu=8", 0),
        ("ReqTRES", "", None),
        ("ReqGRES", "gpu:4", 8),
        ("ReqGRES", "PER_NODE:gres:gpu:a100:4", 8),
        ("ReqGRES", "PER_JOB:gpu:4", None),
        ("num_gpus_req", "4", 4),
    ],
)
def test_without_an_allocation_gpus_are_those_requested_and_gres_counts_on_each_node(
    column: str, text: str, gpus: int | None
) -> None:
    header = [*(name for name in HEADER if name not in ("AllocTRES", "ReqTRES")), column]
    dump = read_rows(lines_of(job(**{"NNodes": "2", column: text}), header=header))
    (row,) = dump
    assert row.n_gpus == gpus
    assert dump.notes.gpus_are_requested


@pytest.mark.parametrize(("column", "text"), [("CPUTimeRAW", "57600"), ("CPUTime", "16:00:00")])
def test_without_any_other_figure_cpus_are_cpu_time_over_elapsed_time(column: str, text: str) -> None:
    header = [*(name for name in HEADER if name not in ("NCPUS", "AllocTRES")), column]
    (row,) = read_rows(lines_of(job(ElapsedRaw="7200", **{column: text}), header=header))
    assert row.n_cpus == 8


@pytest.mark.parametrize("text", ["9" * 400, "1e400", "inf", "nan:1"])
def test_a_cpu_time_that_no_job_can_have_is_refused(text: str) -> None:
    header = [*(name for name in HEADER if name not in ("NCPUS", "AllocTRES")), "CPUTimeRAW"]
    with pytest.raises(UserError, match=r"CPUTimeRAW: .*expected a duration, from 0 on"):
        list(read_rows(lines_of(job(CPUTimeRAW=text), header=header)))


@pytest.mark.parametrize("nodes", ["None assigned", "none assigned", "(null)"])
def test_a_job_without_nodes_never_started_even_with_a_start_time(nodes: str) -> None:
    row = read_one(State="CANCELLED by 0", NodeList=nodes, Start=JOB["End"], ElapsedRaw="0")
    assert (row.ran, row.start_s, row.end_s, row.elapsed_s, row.node_list) == (False, None, DAY_S + 10_800, 0, None)
    assert (row.wait_s, row.cancelled_by) == (None, "0")


@pytest.mark.parametrize(
    ("allocated", "ran"), [("cpu=8,gres/gpu=4,node=1", True), ("", False)], ids=["an allocation", "no allocation"]
)
def test_without_a_node_list_the_allocation_decides_whether_a_cancelled_job_ran(allocated: str, ran: bool) -> None:
    header = [column for column in HEADER if column not in ("NodeList", "NNodes")]
    cancelled = job(State="CANCELLED by 0", End=JOB["Start"], ElapsedRaw="0", AllocTRES=allocated)
    (row,) = read_rows(lines_of(cancelled, header=header))
    assert row.ran is ran


def test_without_a_duration_suspended_time_is_subtracted() -> None:
    header = [*(column for column in HEADER if column != "ElapsedRaw"), "Suspended"]
    (row,) = read_rows(lines_of(job() | {"Suspended": "00:30:00"}, header=header))
    assert row.elapsed_s == 5400


@pytest.mark.parametrize(
    ("start", "end", "elapsed", "began", "ended"),
    [
        # Paris, 2026-10-25: at 3:00 summer time, 1:00 UTC, clocks go back to 2:00
        ("01:30:00", "02:30:00", "3600", "2026-10-24T23:30:00", "2026-10-25T00:30:00"),
        ("01:30:00", "02:30:00", "7200", "2026-10-24T23:30:00", "2026-10-25T01:30:00"),
        ("02:30:00", "03:30:00", "3600", "2026-10-25T01:30:00", "2026-10-25T02:30:00"),
        ("02:30:00", "03:30:00", "7200", "2026-10-25T00:30:00", "2026-10-25T02:30:00"),
        # suspended for 100 s: ambiguous, so the first is taken
        ("02:30:00", "03:30:00", "7100", "2026-10-25T00:30:00", "2026-10-25T02:30:00"),
    ],
)
def test_in_a_repeated_hour_the_duration_decides_which_one_is_meant(
    start: str, end: str, elapsed: str, began: str, ended: str
) -> None:
    paris = Dialect(time_zone=ZoneInfo("Europe/Paris"))
    row = read_one(paris, Start=f"2026-10-25T{start}", End=f"2026-10-25T{end}", ElapsedRaw=elapsed)
    assert (row.start_s, row.end_s) == tuple(datetime.fromisoformat(f"{at}Z").timestamp() for at in (began, ended))


def test_pending_and_running_jobs_have_no_end() -> None:
    waiting = read_one(State="PENDING", Start="Unknown", End="Unknown", ElapsedRaw="0", NodeList="None assigned")
    running = read_one(State="RUNNING", End="Unknown", ElapsedRaw="60")
    assert (waiting.ran, waiting.unfinished) == (False, True)
    assert (running.ran, running.unfinished, running.elapsed_s, running.end_s) == (True, True, 60, None)


@pytest.mark.parametrize(
    ("shown", "array_job", "task", "tasks"),
    [
        ("17", None, None, 1),
        ("17_4", 17, 4, 1),
        ("17_[1-3%2]", 17, None, 3),
        ("17_[1,4-8:2]", 17, None, 4),
        ("17_[7]", 17, None, 1),
        ("17+1", None, None, 1),
    ],
)
def test_array_ids_give_job_task_and_number(shown: str, array_job: int | None, task: int | None, tasks: int) -> None:
    row = read_one(JobID=shown, JobIDRaw="21")
    assert (row.job_id, row.shown_id, row.array_job_id, row.array_task, row.tasks) == (
        21,
        shown,
        array_job,
        task,
        tasks,
    )


def test_a_recycled_id_and_a_requeue_are_distinguished_by_their_submission() -> None:
    first, second = read(JOB, job(Submit="2026-03-09T00:00:00"))
    assert (first.job_id, second.job_id) == (17, 17)
    assert first.submit_s != second.submit_s


def test_a_signal_is_distinguished_from_an_exit_code() -> None:
    assert (read_one(ExitCode="0:15").exit_code, read_one(ExitCode="0:15").signal) == (0, 15)
    assert (read_one(ExitCode="4:0").exit_code, read_one(ExitCode="4:0").signal) == (4, None)


def test_unlimited_and_the_partition_limit_are_unknown() -> None:
    assert {read_one(Timelimit=text).limit_s for text in ("UNLIMITED", "Partition_Limit", "")} == {None}


def test_every_field_comes_from_its_columns() -> None:
    given = Cells(
        job="9_1", raw_id="9", array_job="9", array_task="1", name="n", user="u", account="a", partition="p",
        qos="q", cluster="c", state="FAILED", submit="1", eligible="2", start="3", end="9", elapsed_raw="5",
        elapsed="00:05", suspended="00:01", limit_minutes="2", limit="00:02:00", exit="1:0",
        nodes="n[1-2]", n_nodes="2", n_cpus="8",
        cpu_time_raw="", cpu_time="", n_gpus="", n_gpus_requested="", allocated="", requested="gres/gpu=2",
        allocated_gres="gpu:h100:2", requested_gres="gpu:2", comment="c|d", reason="None", energy_raw="1500",
        energy="1.5K", restarts="1",
    )  # fmt: skip
    columns = {field: index for index, field in enumerate(Cells._fields)}
    build = RowBuilder(Cells._fields, columns, lambda text: float(text) if text else None)
    row = build(given)
    assert row is not None
    assert (row.elapsed_s, row.limit_s, row.n_nodes, row.n_gpus) == (5, 120, 2, 2)
    assert (row.gpu_type, row.comment, row.reason, row.restarts) == ("h100", "c|d", None, 1)
    assert row.consumed_energy_j == 1500
