"""Dumps read as rows: output of sacct, difficult names of jobs, and tables published by other centres."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.errors import UserError
from detour.sacct.reading import Dialect, read_rows
from tests.sacct.dumps import DAY_S, HEADER, JOB, job, lines_of, read, read_one


def test_a_row_of_parsable2_is_read_into_typed_values() -> None:
    row = read_one()
    assert (row.job_id, row.shown_id, row.cluster, row.name, row.user) == (17, "17", "jz", "train", "ada")
    assert (row.account, row.partition, row.qos, row.state) == ("abc@h100", "gpu_p6", "t3", "COMPLETED")
    assert (row.submit_s, row.eligible_s) == (DAY_S, DAY_S + 600)
    assert (row.start_s, row.end_s, row.elapsed_s) == (DAY_S + 3600, DAY_S + 10_800, 7200)
    assert (row.limit_s, row.exit_code, row.signal) == (72_000, 0, None)
    assert (row.n_nodes, row.n_cpus, row.n_gpus, row.gpu_type, row.billing) == (1, 96, 4, "h100", 4.0)
    assert row.wait_s == 3600


def test_parsable_with_its_trailing_delimiter_reads_the_same() -> None:
    assert list(read_rows(lines_of(JOB, JOB, end="|\n"))) == read(JOB, JOB)


@pytest.mark.parametrize("delimiter", ["^", "@@", "%", "\x1f", "\t", " | "])
@pytest.mark.parametrize("end", ["", "the delimiter"])
def test_any_delimiter_of_sacct_is_recognized_in_the_header(delimiter: str, end: str) -> None:
    lines = [line.replace("|", delimiter) for line in lines_of(JOB, end="|\n" if end else "\n")]
    assert list(read_rows(lines)) == [read_one()]


def test_carriage_returns_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "".join(lines_of(JOB, end="\r\n")).encode())
    assert list(read_rows(path)) == read(JOB)


def test_columns_can_come_in_any_order_and_be_missing() -> None:
    (row,) = read_rows(lines_of(JOB, header=["End", "Start", "JobID", "AllocTRES"]))
    assert (row.job_id, row.end_s, row.n_gpus, row.user, row.submit_s) == (17, DAY_S + 10_800, 4, None, None)
    assert row.elapsed_s == 7200


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_is_read_directly(tmp_path: Path, pack: type) -> None:
    path = tmp_path / "dump"
    path.write_bytes(pack("".join(lines_of(JOB)).encode()))
    assert list(read_rows(path)) == read(JOB)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe_is_read_from_its_first_byte(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """A shell passes the output of `<(sacct ...)` as a pipe, which can be opened only once."""
    pipe, jobs = tmp_path / "pipe", [job(JobID=str(number), JobIDRaw=str(number)) for number in range(200)]
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(pack("".join(lines_of(*jobs)).encode()),))
    writer.start()
    assert len(list(read_rows(pipe))) == 200
    writer.join()


def test_steps_are_left_out_and_counted() -> None:
    steps = [job(JobID=f"17.{name}", JobIDRaw=f"17.{name}") for name in ("batch", "extern", "0")]
    dump = read_rows(lines_of(JOB, *steps, job(JobID="18_3.0", JobIDRaw="20.0")))
    assert len(list(dump)) == 1
    assert (dump.notes.rows, dump.notes.steps) == (1, 4)


def test_a_repeated_header_in_joined_files_is_no_row() -> None:
    assert len(list(read_rows([*lines_of(JOB), *lines_of(job(JobID="18", JobIDRaw="18"))]))) == 2


# Names


@pytest.mark.parametrize("name", ["a|b", "|", "a||b|", "été à la mer", "训练", "two\nlines", "a\n\nb|c\nd", "  x "])
def test_any_name_is_read_and_shifts_no_column(name: str) -> None:
    before, row, after = read(job(JobID="16", JobIDRaw="16"), job(JobName=name), job(JobID="18", JobIDRaw="18"))
    assert row._replace(name=None) == read_one()._replace(name=None)
    assert (before.job_id, row.name and row.name.replace("\n\n", "\n"), after.job_id) == (
        *(16, name.strip().replace("\n\n", "\n")),
        18,
    )


@pytest.mark.parametrize("name", ["a|b", "two\nlines", "a|b\nc|d"])
def test_a_name_in_the_last_column_can_contain_anything(name: str) -> None:
    header = [*(column for column in HEADER if column != "JobName"), "JobName"]
    rows = [job(JobName=name), job(JobID="18", JobIDRaw="18", JobName=name)]
    assert [row.name for row in read_rows(lines_of(*rows, header=header))] == [name, name]


ALPHABETICAL = sorted([*HEADER, "AdminComment", "Comment"])
"""The order of `--format=ALL`: free text before JobID."""


@pytest.mark.parametrize("note", ["two\nlines", "a|b", "a|b\nc|d\ne"])
def test_names_and_comments_before_the_id_shift_no_column(note: str) -> None:
    rows = [
        job(JobID=str(n), JobIDRaw=str(n)) | {"AdminComment": note if n % 2 else "", "Comment": ""} for n in range(1, 6)
    ]
    found = list(read_rows(lines_of(*rows, header=ALPHABETICAL)))
    assert [(row.job_id, row.user, row.n_gpus) for row in found] == [(n, "ada", 4) for n in range(1, 6)]


def test_lines_that_could_be_one_row_or_two_are_refused() -> None:
    header = ["Comment", "JobID", "Start", "End", "JobName", "QOS"]
    rows = [job(JobID="7") | {"Comment": ""}, job(JobID="8") | {"Comment": "a|b\nc"}]
    with pytest.raises(UserError, match=r"sacct:2: .*may be one row or two"):
        list(read_rows(lines_of(*rows, header=header)))


@given(st.lists(st.text("ab|\n 7é", max_size=12), min_size=1, max_size=4), st.permutations(HEADER))
def test_with_any_names_the_figures_are_right_or_the_line_refused(names: list[str], header: list[str]) -> None:
    rows = [job(JobID=str(100 + n), JobIDRaw=str(100 + n), JobName=name) for n, name in enumerate(names)]
    try:
        found = list(read_rows(lines_of(*rows, header=header)))
    except UserError as refused:
        assert str(refused).startswith("sacct:")  # noqa: PT017
        return
    assert [(row.job_id, row.user, row.n_gpus, row.elapsed_s) for row in found] == [
        (100 + n, "ada", 4, 7200) for n in range(len(names))
    ]


def test_a_delimiter_in_one_of_two_text_columns_is_located_by_the_columns_between() -> None:
    header = ["JobID", "JobName", "User", "State", "Start", "End", "Comment"]
    line = "|".join(["17", "a|b", "ada", "FAILED", JOB["Start"], JOB["End"], "c|d"])
    (row,) = read_rows(["|".join(header), line])
    assert (row.name, row.user, row.comment) == ("a|b", "ada", "c|d")


def test_a_delimiter_is_located_among_the_many_columns_of_format_all() -> None:
    """Columns between free texts that are not read cannot locate it; the figures can."""
    header = [
        "AdminComment",
        "AllocCPUS",
        "JobID",
        "JobName",
        "Layout",
        "State",
        "Start",
        "SubmitLine",
        "WorkDir",
        "End",
    ]
    row = ["", "8", "17", "a|b", "", "CANCELLED by 7", JOB["Start"], "sbatch x|tee y", "/w", JOB["End"]]
    (found,) = read_rows(["|".join(header), "|".join(row)])
    assert (found.n_cpus, found.state, found.cancelled_by, found.elapsed_s) == (8, "CANCELLED", "7", 7200)
    assert found.name in ("a", "a|b")


def test_a_name_repeated_in_its_submit_line_is_read() -> None:
    """As the real sacct prints `--format=ALL`; ConsumedEnergy may be empty or 0, which both mean unknown."""
    free = {"Comment": "a|b", "JobName": "two\nlines|x", "SubmitLine": "sbatch -J two\nlines|x --comment=a|b t.sh"}
    others = dict.fromkeys(["AdminComment", "Constraints", "Container", "SystemComment", "WCKey", "WorkDir"], "")
    energy = {"ConsumedEnergy": "0", "ConsumedEnergyRaw": "0", "DerivedExitCode": "0:0", "Elapsed": "02:00:00"}
    rows = [job(JobID=str(n), JobIDRaw=str(n)) | others | energy | free for n in (1, 2, 3)]
    found = list(read_rows(lines_of(*rows, header=sorted(rows[0]))))
    assert [(row.job_id, row.name, row.n_gpus, row.consumed_energy_j) for row in found] == [
        (n, free["JobName"], 4, None) for n in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        # Timelimit and Elapsed are never empty, so `|` is a name
        ("JobID|Start|JobName|TimelimitRaw|AveCPU|Elapsed|WorkDir", f"17|{JOB['Start']}|||1200||02:00:00|/w"),
        # JobIDRaw is that of JobID
        ("JobID|Start|Elapsed|JobName|JobIDRaw|UID|Reason", f"17|{JOB['Start']}|02:00:00|a|9|17|12|None"),
        # TRESUsageInAve is a list
        ("JobID|Start|JobName|TRESUsageInAve|Elapsed|WorkDir", f"17|{JOB['Start']}|a|01:00:00||02:00:00|/w"),
    ],
)
def test_columns_that_are_never_empty_locate_the_end_of_a_name(header: str, row: str) -> None:
    (found,) = read_rows([header, row])
    assert (found.job_id, found.elapsed_s) == (17, 7200)


def test_a_delimiter_without_a_text_column_is_refused_at_its_line() -> None:
    header = ["JobID", "User", "Start", "End"]
    with pytest.raises(UserError, match=r"^jobs:3: expected 4 columns, and found 5"):
        list(read_rows(["|".join(header), "1|a|Unknown|Unknown", "2|a|b|Unknown|Unknown"], name="jobs"))


# Invalid dumps


def test_an_unknown_state_is_kept_and_named() -> None:
    dump = read_rows(lines_of(job(State="FROZEN_SOLID"), JOB))
    assert [row.state for row in dump] == ["FROZEN_SOLID", "COMPLETED"]
    assert dict(dump.notes.unknown_states) == {"FROZEN_SOLID": 1}


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        ("Start", "03/01-13:22:11", "a time with its year"),
        ("Start", "yesterday", "a time, such as 2026-03-01T12:00:00"),
        ("ElapsedRaw", "long", "a duration, such as 1-02:03:04"),
        ("ExitCode", "ok", "an exit code and a signal"),
        ("JobID", "seventeen", "a job id"),
        ("NCPUS", "many", "a number"),
        ("AllocTRES", "gres/gpu=lots", "a number"),
    ],
)
def test_a_value_of_another_type_is_refused_with_file_line_and_column(column: str, text: str, expected: str) -> None:
    with pytest.raises(UserError, match=f"^jobs.txt:3: {column}: '{text}'; expected {expected}"):
        list(read_rows(lines_of(JOB, job(**{column: text})), name="jobs.txt"))


def test_broken_rows_can_be_skipped_and_are_named() -> None:
    dump = read_rows(lines_of(job(Start="soon"), JOB), Dialect(skip_broken=True), name="jobs")
    assert [row.job_id for row in dump] == [17]
    assert dump.notes.n_broken == 1
    assert dump.notes.broken[0].startswith("jobs:2: Start: 'soon'; expected a time")


def test_a_dump_truncated_in_a_row_is_refused() -> None:
    lines = lines_of(JOB, job(JobID="18", JobIDRaw="18"))
    with pytest.raises(UserError, match=r"^jobs:3: expected 21 columns, and found 4"):
        list(read_rows([*lines[:2], "18|18|jz|tra"], name="jobs"))


def test_a_message_between_rows_is_refused() -> None:
    with pytest.raises(UserError, match=r"^jobs:2: expected 21 columns on one line"):
        list(read_rows([*lines_of(JOB), "sacct: error: slurmdbd went away\n"], name="jobs"))


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("", "is empty"),
        ("JobID    State\n-----  ------\n", "aligned output"),
        ("17|ada|COMPLETED|2026-03-01T00:00:00\n", "expected a header with JobID, Start, and End or Elapsed"),
        ("JobID|User|State|Submit\n", "no column Start, End or Elapsed: it has JobID, User, State, Submit"),
        ("hello\n", "expected a header"),
    ],
)
def test_other_text_is_refused_with_what_was_expected(tmp_path: Path, first: str, message: str) -> None:
    path = tmp_path / "dump"
    path.write_text(first)
    with pytest.raises(UserError, match=message) as refused:
        list(read_rows(path))
    assert str(refused.value).startswith(f"{path}:")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"jobid": 1}]', "is JSON"),
        (b"; Version: 2.2", "Standard Workload Format"),
        (b"PAR1", "Parquet"),
        (b"PK\3\4", "zip"),
        ("JobID|State".encode("utf-16"), "UTF-16"),
        (b"JobId=5 UserId=ada(1001) Name=a", "jobcomp/filetxt"),
    ],
)
def test_other_file_formats_are_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "dump").write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(read_rows(tmp_path / "dump"))


def test_a_truncated_archive_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dump.gz").write_bytes(gzip.compress("".join(lines_of(JOB)).encode())[:-9])
    for name in ("dump.gz", "absent"):
        with pytest.raises(UserError, match=f"{name}: cannot be read"):
            list(read_rows(tmp_path / name))


# Tables of other centres


def test_a_table_without_a_header_in_the_form_of_xdmod_is_recognized() -> None:
    row = (
        "17|17|jz|gpu|t3|abc|abc|45|ada|1001|2026-03-01T00:00:00|2026-03-01T00:00:00|2026-03-01T01:00:00|"
        "2026-03-01T03:00:00|02:00:00|0:0|CANCELLED by 1001|1|12|12|31000Mn|cpu=12,node=1|"
        "billing=12,cpu=12,gres/gpu=2,mem=31000M,node=1|37-14:00:00|n31|a | name\n"
    )
    dump = read_rows([row, row])
    first, _ = dump
    assert (first.user, first.qos, first.n_gpus, first.n_cpus, first.name) == ("ada", "t3", 2, 12, "a | name")
    assert (first.state, first.cancelled_by, first.elapsed_s) == ("CANCELLED", "1001", 7200)
    assert dump.notes.layout == "Open XDMoD's"


def test_the_form_before_alloctres_is_distinguished_from_later_ones() -> None:
    row = (
        "17|17|jz|gpu|abc|abc|45|ada|1001|2016-03-01T00:00:00|2016-03-01T00:00:00|2016-03-01T01:00:00|"
        "2016-03-01T03:00:00|02:00:00|0:0|COMPLETED|2|12|12|31000Mn|{}|37-14:00:00|n[31-32]|a | name\n"
    )
    for listed, layout, gpus in (
        ("gpu:2|cpu=12,node=2", "Open XDMoD's oldest", 4),
        ("|cpu=12,node=2", "Open XDMoD's oldest", 0),
        ("cpu=12,gres/gpu=3|cpu=12,gres/gpu=3,node=2", "Open XDMoD's older", 3),
    ):
        dump = read_rows([row.format(listed)])
        assert [one.n_gpus for one in dump] == [gpus]
        assert dump.notes.layout == layout


@pytest.mark.parametrize(
    ("elapsed", "suspended", "unexplained"), [("7200", "", 0), ("3600", "01:00:00", 0), ("120", "", 1)]
)
def test_a_duration_in_another_unit_is_detected(elapsed: str, suspended: str, unexplained: int) -> None:
    dump = read_rows(lines_of(job(ElapsedRaw=elapsed, Suspended=suspended), header=[*HEADER, "Suspended"]))
    assert len(list(dump)) == 1
    assert dump.notes.unexplained == unexplained


def test_a_queue_column_next_to_gpu_time_is_the_wait() -> None:
    """As in the tables of AcmeTrace."""
    table = [
        "job_id,user,gpu_num,state,submit_time,start_time,end_time,duration,queue,gpu_time\n",
        "dlc1,u1,64,FAILED,2023-05-17 11:00:58+00:00,2023-05-17 11:01:08+00:00,2023-05-17 11:01:16+00:00,8,10.0,512\n",
    ]
    (row,) = read_rows(table)
    assert (row.partition, row.n_gpus, row.elapsed_s, row.wait_s) == (None, 64, 8, 10)


def test_columns_can_be_named_for_a_table_without_a_header() -> None:
    (row,) = read_rows(["17|1767225600|60\n"], Dialect(columns=["JobID", "Start", "Elapsed"]))
    assert (row.job_id, row.start_s, row.elapsed_s) == (17, 1_767_225_600, 60)


def test_a_quoted_table_with_other_headings_is_read() -> None:
    table = [
        "job_id,user_id,job_state,submit_time,start_time,end_time,run_time,num_cores_alloc,num_gpus_alloc,name\n",
        "7,u1,COMPLETED,2026-03-01 00:00:00+00:00,2026-03-01 01:00:00+00:00,2026-03-01 03:00:00+00:00,7200,32,4,"
        '"a,\n"\n',
    ]
    (row,) = read_rows(table)
    assert (row.job_id, row.user, row.state, row.n_cpus, row.n_gpus) == (7, "u1", "COMPLETED", 32, 4)
    assert (row.submit_s, row.start_s, row.end_s, row.elapsed_s) == (DAY_S, DAY_S + 3600, DAY_S + 10_800, 7200)


def test_quotation_marks_in_names_are_text_in_tab_separated_output_of_sacct() -> None:
    names = ['"a', 'b"', 'say "hi"', '"']
    rows = [job(JobID=str(n), JobIDRaw=str(n), JobName=name) for n, name in enumerate(names, 1)]
    found = list(read_rows([line.replace("|", "\t") for line in lines_of(*rows)]))
    assert [(row.job_id, row.name, row.n_gpus) for row in found] == [(n, name, 4) for n, name in enumerate(names, 1)]


def test_a_table_can_omit_the_ids_of_its_jobs() -> None:
    (row,) = read_rows(["job_id,start_time,end_time\n", "9f2c-ab,1772323200,1772326800\n"])
    assert (row.job_id, row.shown_id, row.elapsed_s) == (None, "9f2c-ab", 3600)


def test_a_tab_separated_table_with_a_chosen_column_is_read() -> None:
    table = ["JOBID\tWHO\tBEGIN\tEND\tCPUS\n", "7_2\tada\t1772323200\t1772326800\t8\n"]
    (row,) = read_rows(table, Dialect(chosen={"user": "who"}))
    assert (row.user, row.elapsed_s, row.n_cpus, row.array_job_id, row.array_task) == ("ada", 3600, 8, 7, 2)


def test_a_missing_chosen_column_is_answered_with_the_existing_ones() -> None:
    with pytest.raises(UserError, match="no column 'Owner': it has JobID, Start, End"):
        list(read_rows(["JobID|Start|End\n"], Dialect(chosen={"user": "Owner"})))


def test_a_table_row_of_another_width_is_refused_at_its_line() -> None:
    with pytest.raises(UserError, match=r"^sacct:3: expected 3 columns, and found 4: quote values"):
        list(read_rows(["JobID,Start,End\n", "1,Unknown,Unknown\n", "2,a,Unknown,Unknown\n"]))


def test_times_are_read_in_the_given_zone() -> None:
    assert read_one(Dialect(time_zone=ZoneInfo("Europe/Paris"))).start_s == DAY_S


@pytest.mark.parametrize("path", ["/dev/zero", "one line"])
def test_an_endless_line_is_refused_before_it_fills_the_memory(tmp_path: Path, path: str) -> None:
    dump = Path(path) if path.startswith("/") else tmp_path / "dump.txt"
    if not dump.exists():
        dump.write_text("x" * 5_000_000)
    with pytest.raises(UserError, match=r":1: expected rows of a table, and found a line of more than 4,194,304"):
        list(read_rows(dump))


def test_a_row_with_far_too_many_delimiters_is_refused_at_once() -> None:
    with pytest.raises(UserError, match=r":2: expected \d+ columns, and found 100"):
        read(job(JobName="|" * 100_000))


def test_a_delimiter_in_a_name_among_thousands_of_columns_is_refused() -> None:
    others = [f"column{number}" for number in range(2000)]
    header = ["JobID", "Start", "Elapsed", "JobName", *others]
    with pytest.raises(UserError, match=r":2: expected 2004 columns, and found 2005"):
        list(read_rows(["|".join(header), "|".join(["17", JOB["Start"], "60", "a|b", *others])]))


def test_ids_written_with_a_fraction_by_a_data_frame_are_no_steps() -> None:
    table = ["job_id,start_time,end_time\n", "17.0,1772323200,1772326800\n", "18.0,1772323200,1772326800\n"]
    assert [row.shown_id for row in read_rows(table)] == ["17", "18"]
    mixed = read_rows([table[0], "17,1772323200,1772326800\n", *table[1:]])
    assert ([row.shown_id for row in mixed], mixed.notes.steps) == (["17"], 2)


@pytest.mark.parametrize("delimiter", [",", "\t", "|"])
def test_a_repeated_header_of_a_table_is_no_row(delimiter: str) -> None:
    table = [line.replace(",", delimiter) for line in ("JobID,Start,End\n", "1,Unknown,Unknown\n")]
    assert [row.shown_id for row in read_rows([*table, *table])] == ["1", "1"]
