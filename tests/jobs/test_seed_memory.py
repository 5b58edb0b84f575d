"""How many fine-tunings fit into the memory of a machine without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detour.config.models import Task
from detour.jobs import seed_memory
from detour.jobs.seed_memory import free_bytes, seed_bytes, seeds_that_fit

SLURM = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "2048"}
BASE = {"hidden_size": 768, "intermediate_size": 1152, "num_hidden_layers": 22}


def task(**changes: int) -> Task:
    return Task.model_validate({"name": "t", "type": "single_label", "epochs": 1, "max_length": 512, **changes})


def machine(root: Path, available_kb: int, limits: dict[str, str]) -> Path:
    files = {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable:  {available_kb} kB\n"}
    files |= {f"sys/fs/cgroup/{name}": text for name, text in limits.items()}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("limits", "free"),
    [
        ({}, 8e6 * 1024),
        ({"memory.max": "max\n"}, 8e6 * 1024),
        ({"memory.max": "1000000\n"}, 1e6),
        ({"memory/memory.limit_in_bytes": "2000000\n"}, 2e6),
    ],
)
def test_available_memory_is_the_free_memory_up_to_the_limit_of_the_container(
    tmp_path: Path, limits: dict[str, str], free: float
) -> None:
    assert free_bytes(machine(tmp_path, 8_000_000, limits), {"SLURM_JOB_ID": "1"}) == free


def test_available_memory_is_at_most_that_of_the_job(tmp_path: Path) -> None:
    assert free_bytes(machine(tmp_path, 8_000_000, {}), SLURM) == 2 * 2**30
    assert free_bytes(tmp_path / "nothing", {"SLURM_JOB_ID": "1"}) is None


def test_a_fine_tuning_needs_five_copies_of_its_weights_and_its_activations() -> None:
    weights = seed_bytes(BASE, 300_000_000, task(batch_sequences=1, max_length=1))
    assert weights == pytest.approx(5 * 2 * 300_000_000, rel=0.01)
    long = seed_bytes(BASE, 0, task(batch_sequences=32))
    assert long == 4 * 32 * 512 * 22 * (32 * 768 + 8 * 1152)


@pytest.mark.parametrize("config", [{}, {**BASE, "hidden_size": None}, {**BASE, "num_hidden_layers": "many"}])
def test_an_export_of_unknown_size_allows_one_seed(
    config: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_memory, "free_bytes", lambda: 2**50)
    assert seeds_that_fit(task(), tmp_path) == 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert seeds_that_fit(task(), tmp_path) == 1


@pytest.mark.parametrize(("free", "fitting"), [(None, 1), (10**9, 1), (10**11, 4), (10**12, 41)])
def test_half_of_the_memory_is_for_seeds(
    free: int | None, fitting: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_memory, "free_bytes", lambda: free)
    (tmp_path / "config.json").write_text(json.dumps(BASE))
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    assert seeds_that_fit(task(batch_sequences=8), tmp_path) == fitting
