"""Failures really provoked on this machine, diagnosed from what Python, bash and the system wrote."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from detour.diagnosis.evidence import Evidence, SlurmRow
from detour.diagnosis.judge import judge

PYTHON = shlex.quote(sys.executable)
PROGRAMS = {
    "import no_such_module": "environment",
    "from os import no_such_name": "environment",
    "open('/no/such/file')": "missing_input",
    "import zipfile; zipfile.ZipFile('damaged')": "corrupt_input",
    "import json; json.load(open('damaged'))": "corrupt_input",
    "import gzip; gzip.open('damaged').read()": "corrupt_input",
    "import pickle; pickle.load(open('damaged', 'rb'))": "corrupt_input",
    "open('latin', encoding='utf-8').read()": "corrupt_input",
    "import ctypes; ctypes.CDLL('libnosuch.so.3')": "environment",
    "import ctypes; ctypes.string_at(0)": "crash",
    "import os; os.abort()": "crash",
    "import socket; a = socket.create_server(('127.0.0.1', 0)); socket.create_server(a.getsockname())": "rendezvous",
    "import socket; socket.create_connection(('127.0.0.1', 1))": "network",
    "open('/dev/full', 'w').write('x' * 100000)": "disk_full",
    "import locale; locale.setlocale(locale.LC_ALL, 'xx_YY.UTF-8')": "environment",
    "raise KeyError('text')": "code_error",
    "import argparse; argparse.ArgumentParser().parse_args(['--x'])": "code_error",
    "def f(": "code_error",
}
LINES = {
    f"{PYTHON} /no/such/train.py": "missing_input",
    "/no/such/python train.py": "environment",
    "no_such_command": "environment",
    "./script": "environment",
    f'ulimit -n 20; {PYTHON} -c \'x = [open("latin", "rb") for _ in range(50)]\'': "environment",
    f"ulimit -v 300000; {PYTHON} -c 'bytearray(10**10)'": "host_oom",
    "kill -9 $$": "unknown",
    "echo working; exit 3": "unknown",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("provoked")
    (folder / "damaged").write_bytes(b"\x1f\x8b\x08\x00" + b"{" * 20)
    (folder / "latin").write_bytes(b"caf\xe9\n")
    (folder / "script").write_text("#!/no/such/interpreter\n")
    (folder / "script").chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("line", "cause"),
    [*((f"{PYTHON} -c {shlex.quote(program)}", cause) for program, cause in PROGRAMS.items()), *LINES.items()],
    ids=[*PROGRAMS, *LINES],
)
def test_a_provoked_failure_gets_its_cause(line: str, cause: str, folder: Path) -> None:
    ended = subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    assert ended.returncode != 0
    code = f"{ended.returncode}:0" if ended.returncode > 0 else f"0:{-ended.returncode}"
    row = SlurmRow({"JobID": "7", "State": "FAILED", "ExitCode": code})
    log = tuple((ended.stdout + ended.stderr).splitlines())
    assert judge(Evidence((row,), None, log, ())).cause == cause
