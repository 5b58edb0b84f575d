"""Measure the training of a recipe on this machine's device; prints each figure as a JSON line when it is ready.

Started by `detour bench` with a file that contains the stages. Its own process, because the command itself does not
import torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TextIO

from detour.planning.stage import PretrainStage, Stage
from detour.speed.measure import measure, this_device
from detour.speed.result import BenchSettings


def main(request_file: str) -> None:
    request = json.loads(Path(request_file).read_text())
    output, sys.stdout = sys.stdout, sys.stderr  # libraries print too
    _write(output, {"device": this_device().to_json()})
    for entry in request["stages"]:
        stage = Stage.from_json(entry)
        assert isinstance(stage, PretrainStage)
        for speed in measure(stage, BenchSettings(**request["asked"])):
            _write(output, {"speed": speed.to_json()})


def _write(output: TextIO, line: dict[str, Any]) -> None:
    output.write(json.dumps(line) + "\n")
    output.flush()


if __name__ == "__main__":
    main(sys.argv[1])
