"""The saved state of a fine-tuning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from detour.evaluation.finetune_state import FineTuningState, UnusableState, read_state, write_state

STATE = FineTuningState(
    progress={"step": 3, "losses": [0.5]},
    model={"weight": torch.arange(6.0).reshape(2, 3), "half": torch.ones(3, dtype=torch.bfloat16)},
    best={"weight": torch.zeros(2, 3)},
    optimizer={0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 3)}},
)


def test_a_saved_state_restores_tied_and_transposed_weights_and_exact_losses(tmp_path: Path) -> None:
    weight = torch.randn(2, 3)
    progress = {"step": 3, "losses": [0.1 + 0.2, 1e-300], "history": [{"validation": {"macro_f1": 1 / 3}}]}
    moments = {0: {"step": torch.tensor(3.0), "exp_avg": weight.T}, 11: {"step": torch.tensor(3.0)}}
    write_state(tmp_path / "state", FineTuningState(progress, {"a.b": weight, "tied": weight}, {}, moments))
    state = read_state(tmp_path / "state")
    assert (state.progress, state.best, state.optimizer.keys()) == (progress, {}, moments.keys())
    assert all(torch.equal(state.model[name], weight) for name in ("a.b", "tied"))
    assert torch.equal(state.optimizer[0]["exp_avg"], weight.T)
    assert state.optimizer[11]["step"] == 3.0


def test_a_bit_that_changes_on_disk_is_found_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, STATE)
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    places = [content.index(b"0.5"), begin, (begin + len(content)) // 2, len(content) - 1]
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UnusableState, match="does not have the SHA-256"):
            read_state(path)


def test_equal_states_are_equal_files(tmp_path: Path) -> None:
    def written() -> bytes:
        write_state(tmp_path / "state", STATE)
        return (tmp_path / "state").read_bytes()

    assert len({written() for _ in range(10)}) == 1


def test_a_state_without_a_digest_is_not_trusted(tmp_path: Path) -> None:
    content = save({"model/weight": torch.ones(2)}, {"progress": '{"step": 3}'})
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(UnusableState, match="has no 'sha256' in its header"):
        read_state(tmp_path / "state")
