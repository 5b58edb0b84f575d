"""The page in a real browser without a network: from disk, light and dark, narrow, and on paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detour.ledger.workspace import Workspace
from detour.rendering.html import render_html
from detour.reporting.build import Question, build_report
from tests.rendering.browser import Browser
from tests.reporting.worked import NOW_S, make_worked, site_of
from tests.support.week import write_week

NARROW = 500
"""The smallest width of a headless browser."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    return Browser(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = Workspace(tmp_path_factory.mktemp("worked"))
    make_worked(workspace)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(build_report(workspace, Question(site_figure="18.9 h"), site_of, NOW_S)))
    return path


def test_the_page_opens_from_disk_without_requests_or_errors(browser: Browser, page: Path) -> None:
    content, console, asked = browser.requests(page)
    assert (console, asked) == ([], [])
    figures = re.findall(r"<figure>.*?</figure>", content, re.DOTALL)
    assert sum(figure.count("<svg") for figure in figures) == content.count("<svg") > 6
    assert all(figure.count("<table>") == 1 for figure in figures if "<svg" in figure)


def test_an_error_or_a_request_would_be_detected(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text('<script>nothing.at.all()</script><img src="http://example.invalid/x.png">')
    _, console, asked = browser.requests(bad)
    assert "nothing is not defined" in console[0]
    assert asked == ["http://example.invalid/x.png"]


@pytest.mark.parametrize(("dark", "paper"), [(False, "rgb(253, 253, 251)"), (True, "rgb(21, 24, 27)")])
def test_all_text_is_legible_and_a_phone_need_not_scroll_sideways(
    browser: Browser, page: Path, dark: bool, paper: str
) -> None:
    found = browser.measure(page, NARROW, dark)
    assert found["paper"] == paper
    assert found["texts"] > 300
    assert found["faintest"][0] >= 4.5, found["faintest"]  # WCAG AA
    assert found["overflow"] <= 0
    assert found["plots"] > 6
    assert found["widest_plot"] <= 0


def test_the_page_prints_on_several_pages(browser: Browser, page: Path, tmp_path: Path) -> None:
    assert 3 < sheets(browser, page, tmp_path) < 10


def test_fifty_chains_print_on_few_pages(browser: Browser, tmp_path: Path) -> None:
    workspace, now_s = Workspace(tmp_path / "week"), 1_790_000_000.0
    write_week(workspace, now_s)
    page = tmp_path / "report.html"
    page.write_text(render_html(build_report(workspace, Question(), site_of, now_s)))
    assert sheets(browser, page, tmp_path) <= 8


def sheets(browser: Browser, page: Path, folder: Path) -> int:
    """Pages of the printed report."""
    paper = folder / "report.pdf"
    browser.open(page, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    content = paper.read_bytes()
    assert content.startswith(b"%PDF-")
    return len(re.findall(rb"/Type\s*/Page\b", content))
