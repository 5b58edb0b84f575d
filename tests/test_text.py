"""Every figure has one spelling, and no text from files controls the terminal."""

from __future__ import annotations

import subprocess

import pytest

from detour.text import (
    ENERGY_UNITS,
    aligned,
    amount,
    bare_number,
    cells,
    exact,
    fitted,
    format_count,
    format_duration,
    natural_key,
    pasted,
    plain,
    printable,
    scaled,
    suggestion,
    wrapped,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "unknown"),
        (0, "0"),
        (999, "999"),
        (1_000, "1k"),
        (999_499, "999k"),
        (999_999, "1M"),
        (1_234_567, "1.23M"),
        (999_999_999, "1B"),
        (10_000_000_000, "10B"),
        (1_500_000_000_000_000, "1,500T"),
    ],
)
def test_counts_have_three_digits_and_round_into_the_next_unit(value: int | None, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (169, "2m49s"),
        (3599.7, "1h00m"),
        (8100, "2h15m"),
        (158 * 3600, "6d14h"),
    ],
)
def test_durations_have_two_units(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1234.5, 6, "1,234.5"),
        (0.00021, 6, "0.00021"),
        (-0.5, 6, "-0.5"),
        (0.0, 6, "0"),
        (999_999.9, 6, "1,000,000"),
        (12_345_678.0, 6, "12,345,678"),
        (12_345.6, 4, "12,346"),
        (1e-20, 6, "0"),
        (float("nan"), 6, "unknown"),
    ],
)
def test_an_exact_figure_never_has_an_exponent(value: float, digits: int, text: str) -> None:
    assert exact(value, digits) == text


def test_an_amount_rounds_into_the_next_unit() -> None:
    assert scaled(0.9999, ENERGY_UNITS) == "1 kWh"
    assert scaled(0.0123, ENERGY_UNITS) == "12.3 Wh"
    assert scaled(1.91e-7, ENERGY_UNITS) == "0.19 mWh"
    assert scaled(1e-9, ENERGY_UNITS) == "<0.01 mWh"
    assert scaled(None, ENERGY_UNITS) == "unknown"
    assert scaled(0.0, ENERGY_UNITS) == "0 kWh"


def test_an_amount_keeps_its_sign() -> None:
    assert amount(-1234.5) == "-1,234"
    assert amount(0.456) == "0.46"
    assert amount(0.000009) == "<0.0001"


@pytest.mark.parametrize(
    ("text", "width", "column"),
    [
        ("base", 6, "base  "),
        ("base-30k", 6, "base-…"),
        ("漢字", 6, "漢字  "),
        ("漢字漢字", 6, "漢字… "),
        ("e\u0301te\u0301", 4, "e\u0301te\u0301 "),
    ],
)
def test_a_column_has_its_width_on_the_terminal_for_any_letters(text: str, width: int, column: str) -> None:
    assert fitted(text, width) == column
    assert cells(column) == width
    assert fitted(text, width, right=True).endswith(column.rstrip())


def test_columns_are_as_wide_as_their_widest_cell_on_the_terminal() -> None:
    rows = [("name", "n", "why"), ("模型", "10", ""), ("e\u0301", "7", "new")]
    assert aligned(rows, right=[1]) == ["name   n  why", "模型  10", "e\u0301      7  new"]


WORDS = ["base", "-b", "my chain", "it's", "a  b", " c ", "$HOME", "`id`", "a\\x41", "é", "\x1b[2J", "1\n2", ""]


def test_the_words_of_a_command_reach_the_shell_unchanged() -> None:
    command = plain(pasted("printf", "%s\\0", *WORDS))
    printed = subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout
    assert printed.decode().split("\0")[:-1] == WORDS


@pytest.mark.parametrize("width", [40, 80, 100])
def test_a_command_stays_on_one_line_so_that_it_can_be_copied(width: int) -> None:
    command = f"`detour retry -w /{'long/' * 18} 'my chain'`"
    lines = wrapped(f"{command} submits it again; once the cause is fixed: {command}, then look", "  ", width)
    assert sum(command in line for line in lines) == 2
    assert all(len(line) <= width for line in lines if command not in line)


def test_wide_letters_are_wrapped_by_their_columns() -> None:
    lines = wrapped("漢字" * 10, "", 16)
    assert "".join(line.strip() for line in lines) == "漢字" * 10
    assert max(map(cells, lines)) == 16


def test_job_ids_sort_as_numbers() -> None:
    assert sorted(["10", "9", "7_10", "7_2"], key=natural_key) == ["7_2", "7_10", "9", "10"]


def test_control_characters_are_removed_but_lines_stay() -> None:
    assert printable("a\x1b[2Jb\r\nc\x9b\u202e") == "a [2Jb \nc  "


@pytest.mark.parametrize(
    ("word", "names", "end"),
    [
        ("statsu", ["status", "submit"], "; did you mean `status`?"),
        ("cml", ["mlm", "clm"], "; did you mean `clm`?"),
        ("zzz", ["clm", "mlm"], "; available: clm, mlm"),
        ("zzz", [], ""),
        ("base", ["base\x1b[2J"], "; did you mean `base [2J`?"),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest_name_or_all_names(word: str, names: list[str], end: str) -> None:
    assert suggestion(word, names) == end


def test_a_long_list_of_names_can_be_replaced_by_advice() -> None:
    assert suggestion("zzz", ["clm", "mlm"], "; `detour list` lists them") == "; `detour list` lists them"
    assert suggestion("cml", ["clm", "mlm"], "; `detour list` lists them") == "; did you mean `clm`?"


@pytest.mark.parametrize(
    ("stated", "value"),
    [
        ("0,46", 0.46),
        ("1,000", 1000.0),
        ("12,5", 12.5),
        ("1,234.5", 1234.5),
        ("1.234,5", 1234.5),
        ("1.234.567,5", 1_234_567.5),
        ("1\u202f234,5", 1234.5),
        ("1\u2019234.5", 1234.5),
        ("457.00", 457.0),
    ],
)
def test_a_number_is_read_with_any_usual_separators(stated: str, value: float) -> None:
    assert float(bare_number(stated)) == value
