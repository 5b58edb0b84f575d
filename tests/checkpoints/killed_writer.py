"""Run by test_store: saves checkpoints, pruned to two, until it is killed."""

import sys
from pathlib import Path

from detour.checkpoints.store import CheckpointStore


def write(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(64):
            file.write(b"x" * 16384)
            file.flush()


def main() -> None:
    store = CheckpointStore(Path(sys.argv[1]))
    newest, _ = store.newest_good(lambda _: None)
    step = newest.step if newest else 0
    print("started", flush=True)
    while True:
        step += 1
        store.save(step, step, write, {})
        print(step, flush=True)
        store.prune(2)


main()
