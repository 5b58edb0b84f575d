"""The saved state of a fine-tuning."""

from __future__ import annotations

from pathlib import Path

import torch

from detour.evaluation.finetune_state import FineTuningState, read_state, write_state


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
