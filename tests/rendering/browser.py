"""A real browser, headless and without a network, that opens a page from disk or from this machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=127.0.0.1:9",
    "--enable-logging=stderr",
)


class Browser:
    """Each call starts a new browser, with its own profile in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = next((found for name in NAMES if (found := shutil.which(name))), None)
        if self.program is None:
            pytest.fail("no Chromium: `make browser` installs it once, as root on Debian or Ubuntu")

    def open(self, page: Path | str, *options: str, dark: bool = False) -> tuple[str, list[str]]:
        """Return (standard output, messages of the page's console)."""
        theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
        profile = f"--user-data-dir={self.folder / 'profile'}"
        command = [
            str(self.program),
            *OPTIONS,
            profile,
            *theme,
            *options,
            page if isinstance(page, str) else page.as_uri(),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return ended.stdout, re.findall(r"CONSOLE.*", ended.stderr)

    def requests(self, page: Path) -> tuple[str, list[str], list[str]]:
        """Return (the document after loading, messages of the console, all requested addresses)."""
        log = self.folder / "network.json"
        content, console = self.open(page, "--dump-dom", f"--log-net-log={log}")
        return content, console, addresses(json.loads(log.read_text()))

    def measure(self, page: Path, width: int, dark: bool) -> dict[str, Any]:
        """Return what MEASURE finds in a copy of the page, whose own policy allows no script."""
        copy = self.folder / "measured.html"
        written = re.sub(r"<meta http-equiv=.Content-Security-Policy.*?>", "", page.read_text())
        copy.write_text(written.replace("</body>", f"<script>{MEASURE}</script></body>"))
        content, _ = self.open(copy, "--dump-dom", f"--window-size={width},900", dark=dark)
        (found,) = re.findall(r'data-found="(.*?)"', content)
        measured: dict[str, Any] = json.loads(unescape(found))
        return measured


def addresses(log: dict[str, Any]) -> list[str]:
    """Return the page's requests, distinguished by origin from those that the browser makes for itself."""
    asked = (event.get("params", {}) for event in log["events"])
    return sorted({params["url"] for params in asked if "file://" in params.get("network_isolation_key", "")})


MEASURE = """
const light = color => color.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
  .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05)
const behind = element => {
  const cell = element.previousElementSibling
  if (element.tagName === "text" && /in-shade/.test(element.getAttribute("class"))) return getComputedStyle(cell).fill
  for (let one = element; one; one = one.parentElement) {
    const color = getComputedStyle(one).backgroundColor
    if (color && !/, 0\\)$/.test(color)) return color
  }
}
const shown = [...document.querySelectorAll("body *")].filter(element => [...element.childNodes].some(
  node => node.nodeType === 3 && node.data.trim()) && !["SCRIPT", "STYLE", "title"].includes(element.tagName))
const faint = shown.map(element => {
  const style = getComputedStyle(element)
  return [ratio(element.tagName === "text" ? style.fill : style.color, behind(element)), element.textContent.trim()]
}).sort((a, b) => a[0] - b[0])
const plots = [...document.querySelectorAll("svg")].map(plot => plot.getBoundingClientRect()).filter(box => box.width)
document.body.dataset.found = JSON.stringify({
  plots: plots.length, widest_plot: Math.max(...plots.map(box => box.right)) - innerWidth,
  texts: shown.length, faintest: faint[0], overflow: document.documentElement.scrollWidth - innerWidth,
  paper: getComputedStyle(document.body).backgroundColor,
})
"""
"""WCAG contrast of every text with what is behind it; by how much the page and its widest plot exceed the window."""
