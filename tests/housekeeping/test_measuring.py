"""The size of a folder on disk equals that of `du`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from detour.housekeeping.measuring import measure


def du(path: Path, *options: str) -> int:
    listed = subprocess.run(["du", "--summarize", *options, str(path)], capture_output=True, text=True, check=True)
    return int(listed.stdout.split()[0])


def test_small_sparse_and_hard_linked_files_count_as_in_du(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    (folder / "work").mkdir(parents=True)
    for number in range(20):
        (folder / "work" / f"{number}").write_text("1")
    (folder / "big").write_bytes(b"x" * 300_000)
    (folder / "again").hardlink_to(folder / "big")
    (folder / "link").symlink_to(folder / "work")
    with (folder / "sparse").open("wb") as file:
        file.truncate(50_000_000)
    subprocess.run(["sync", "--file-system", str(folder)], check=True)
    for path in (folder, folder / "big", folder / "link"):
        extent = measure(path)
        assert extent.size_bytes == du(path, "--block-size=1")
        assert extent.inodes == du(path, "--inodes")
