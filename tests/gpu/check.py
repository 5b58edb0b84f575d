"""Check everything that needs a GPU, within minutes, on a bare machine: correctness, speed, fine-tuning and energy.

    python tests/gpu/check.py OUT [--wheels DIR] [--only PART ...] [--cpu-rehearsal]

Requires Python, torch and transformers; other packages are installed under OUT from wheels (`make wheels`), without a
network. Each part is a process with its own time limit and writes its output to OUT immediately, so that losing the
machine only loses the parts that have not run. `--cpu-rehearsal` runs small versions of all parts without a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Part:
    name: str
    command: tuple[str, ...]
    limit_s: int


def bench(recipe: str, phase: str, *options: str) -> tuple[str, ...]:
    return (
        "-c",
        "from detour.launch.cli import main; main()",
        "bench",
        recipe,
        "--phase",
        phase,
        "-w",
        "{out}/workspace",
        *options,
    )


TESTS = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/pretraining/test_attention.py")
TESTS_MORE = tuple(
    f"tests/pretraining/test_{name}.py"
    for name in ("kernel_choice", "cross_entropy", "layers", "local_attention", "joined_products")
)
COMPILED = ("training.compile=true", "batch.microbatch_sequences=auto")
PARTS = (
    Part("correctness", (*TESTS, *TESTS_MORE), 150),
    Part("base clm", bench("moderncamembert-bio-base", "clm", *COMPILED, "--rows", "32"), 150),
    Part("base mlm", bench("moderncamembert-bio-base", "mlm", *COMPILED, "--rows", "32"), 150),
    Part(
        "base clm, bf16 residual stream",
        bench("moderncamembert-bio-base", "clm", *COMPILED, "training.precision=bf16_residual", "--no-peers"),
        100,
    ),
    Part("loss curves", ("-m", "tests.gpu.loss_curves"), 120),
    Part("large clm", bench("moderncamembert-bio-large", "clm", *COMPILED, "--rows", "16", "--no-peers"), 150),
    Part("fine-tuning", ("-m", "tests.gpu.fine_tuning"), 170),
    Part("energy chain", ("-m", "tests.gpu.energy_chain", "{out}/energy"), 240),
)
REHEARSAL = (
    Part("correctness", TESTS, 600),
    Part("quickstart clm", bench("quickstart", "clm", "--rows", "2", "--steps", "1"), 600),
    Part("quickstart mlm", bench("quickstart", "mlm", "--rows", "2", "--steps", "1"), 600),
    Part("loss curves", ("-m", "tests.gpu.loss_curves", "--tiny"), 600),
    Part("fine-tuning", ("-m", "tests.gpu.fine_tuning", "--tiny"), 600),
    Part("energy chain", ("-m", "tests.gpu.energy_chain", "{out}/energy", "--rehearse", "--seconds", "500"), 600),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--wheels", type=Path, help="folder of wheels, as `make wheels` fills it")
    parser.add_argument("--only", nargs="+", metavar="PART", help="run only these parts")
    parser.add_argument("--cpu-rehearsal", action="store_true")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    environment = _environment(out, options.wheels)
    parts = REHEARSAL if options.cpu_rehearsal else PARTS
    failed = [
        part.name for part in parts if part.name in (options.only or [part.name]) and not _run(part, out, environment)
    ]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def _environment(out: Path, wheels: Path | None) -> dict[str, str]:
    """Put our code and the wheels on PYTHONPATH, so that nothing is installed in the machine's Python."""
    paths = [str(ROOT / "src"), str(ROOT)]
    if wheels is not None:
        site = out / "site"
        found = sorted(map(str, wheels.glob("*.whl")))
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(site)]
        if subprocess.run([*install, *found], check=False).returncode:
            sys.exit(f"{sys.executable} cannot install the wheels in {wheels}: they are for Python 3.12 on x86-64")
        paths.append(str(site))
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths + ([inherited] if inherited else []))}


def _run(part: Part, out: Path, environment: dict[str, str]) -> bool:
    log, started_s = out / f"{part.name.replace(' ', '-').replace(',', '')}.txt", time.monotonic()
    print(f"== {part.name}", flush=True)
    command = [sys.executable, *(word.replace("{out}", str(out)) for word in part.command)]
    with log.open("w") as file:
        code = _code(command, part.limit_s, file.fileno(), environment)
    said = log.read_text(errors="replace").splitlines()
    print("\n".join(said if code == 0 else said[-15:]), flush=True)
    _keep(out / "parts.jsonl", {"part": part.name, "exit": code, "seconds": round(time.monotonic() - started_s, 1)})
    return code == 0


def _code(command: Sequence[str], limit_s: int, output: int, environment: dict[str, str]) -> int | str:
    try:
        finished = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return f"stopped after {limit_s} s"
    return finished.returncode


def _keep(file: Path, line: dict[str, object]) -> None:
    with file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
