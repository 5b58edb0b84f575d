"""A site's own figure, read from its files."""

from __future__ import annotations

import pytest

from detour.errors import UserError
from detour.usage.site_export import SiteUsage, figure_in, read_site_usage, site_figure_of, site_hours

RULE = "-" * 80
SREPORT = f"""\
{RULE}
Cluster/Account/User Utilization 2026-01-01T00:00:00 - 2026-01-31T23:59:59 (2678400 secs)
Usage reported in TRES Minutes
{RULE}
Cluster|Account|Login|Proper Name|TRES Name|Used
jz|root|||cpu|9000
jz|root|||gres/gpu|900
jz|abc@h100|||cpu|7200
jz|abc@h100|||gres/gpu|600
jz|abc@h100|||gres/gpu:h100|600
jz|abc@h100|ada|Ada|gres/gpu|360
jz|abc@h100|bob|Bob|gres/gpu|240
"""


def test_sreport_is_read_in_its_unit_and_an_account_not_added_to_its_users() -> None:
    rows = read_site_usage(SREPORT, "january")
    assert SiteUsage(6.0, "gpu", "abc@h100", "ada") in rows
    assert site_hours(rows, "january") == SiteUsage(10.0, "gpu", "abc@h100")


def test_users_are_added_up_if_the_account_has_no_line_of_its_own() -> None:
    table = "Project;User;GPU hours\nabc;ada;1 234.5\nabc;bob;0.5\n"
    assert site_hours(read_site_usage(table, "portal"), "portal").hours == 1235.0


def test_periods_of_one_project_are_added_up() -> None:
    table = "project,month,gpu_hours,cpu_hours\nabc,2026-01,3,40\nabc,2026-02,4,50\n"
    rows = read_site_usage(table, "portal")
    assert [(row.period, row.kind, row.hours) for row in rows[:2]] == [
        ("2026-01", "gpu", 3.0),
        ("2026-01", "cpu", 40.0),
    ]
    assert site_hours(rows, "portal") == SiteUsage(7.0, "gpu", "abc")


def test_gpu_types_are_added_up_if_their_total_is_missing() -> None:
    table = "Account|TRES Name|Used\nabc|gres/gpu:h100|6\nabc|gres/gpu:a100|4\nabc|cpu|500\n"
    assert site_hours(read_site_usage(table, "portal"), "portal") == SiteUsage(10.0, "gpu", "abc")


def test_sreport_without_a_resource_column_is_about_cpus_in_the_unit_of_its_title() -> None:
    table = "Usage reported in CPU Minutes\nCluster|Account|Login|Proper Name|Used|Energy\njz|abc|||1200|0\n"
    assert site_hours(read_site_usage(table, "january"), "january") == SiteUsage(20.0, "cpu", "abc")


@pytest.mark.parametrize(
    "heading", ["GPU hours", "GPU hours used", "Consumed GPU-hours", "Heures GPU consommées", "Heures", "Usage"]
)
def test_a_column_of_hours_is_recognized_by_its_heading_with_either_decimal_mark(
    heading: str,
) -> None:
    table = f"Projet;GPU hours allocated;{heading}\nabc;10 000;1 234,5\n"
    assert site_hours(read_site_usage(table, "portal"), "portal") == SiteUsage(1234.5, "gpu", "abc")


def test_an_ambiguous_account_is_refused() -> None:
    table = "Account|Used\nabc|3\ndef|4\n"
    with pytest.raises(UserError, match="it has abc, def: say which with --site-account"):
        site_hours(read_site_usage(table, "portal"), "portal")
    assert site_hours(read_site_usage(table, "portal"), "portal", "def").hours == 4.0
    with pytest.raises(UserError, match="no account 'ghi': it has abc, def"):
        site_hours(read_site_usage(table, "portal"), "portal", "ghi")


def test_plain_text_is_its_own_figure() -> None:
    assert figure_in("1,234.5 GPU-h", "text") == "1,234.5 GPU-h"
    assert (
        figure_in("Used in January:\n1,234.5 GPU-h of 2,000\n", "mail") == "Used in January:\n1,234.5 GPU-h of 2,000\n"
    )
    assert figure_in(SREPORT, "january") == "10 GPU-h"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "no table of a site's usage"),
        ("Cluster|Account|Login|Proper Name|Used\njz|abc|||1200\n", "sreport's figures without their unit"),
        ("Account|Used\nabc|many\n", "portal:2: 'many' where hours were expected"),
        ("Account|Used\nabc\n", "portal:2: 1 columns where the header has more"),
    ],
)
def test_a_file_that_is_no_export_is_refused_at_its_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_site_usage(text, "portal")


@pytest.mark.parametrize("text", ["1,234.5 GPU-h", "x" * 5000, "a\0b"])
def test_an_option_that_is_no_file_is_its_own_text(text: str) -> None:
    assert site_figure_of(text, None) == text
