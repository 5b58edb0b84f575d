"""The log of a stage without problems."""

from __future__ import annotations

from pathlib import Path

from detour.jobs.attempt_log import Narrator, begin_line, end_line
from detour.jobs.rank import Rank
from detour.ledger.events import AttemptHeartbeat, CheckpointSaved, ProgressMade


def progress(done: int, **figures: float | None) -> ProgressMade:
    return ProgressMade(done=done, total=1000, unit="tokens", figures=figures)


def test_progress_is_logged_with_its_figures_but_not_too_often() -> None:
    message: list[str] = []
    now_s = [0.0]
    narrator = Narrator(message.append, lambda: now_s[0])
    for second in range(2000):
        now_s[0] = float(second)
        narrator.heard(progress(second // 2, loss=2.5, tokens_per_s=12_345.6, validation_loss=None))
        narrator.heard(AttemptHeartbeat())
    narrator.heard(progress(1000))
    narrator.heard(progress(1000))
    assert message[0] == "0 of 1k tokens (0%), loss 2.5, tokens per s 12,346, validation loss unknown"
    assert message[-1] == "1k of 1k tokens (100%)"
    assert 80 < len(message) < 120


def test_a_validation_is_logged_at_once() -> None:
    message: list[str] = []
    narrator = Narrator(message.append, lambda: 0.0)
    for event in (
        progress(1, loss=2.5),
        progress(2, loss=2.0),
        progress(2, validation_f1=0.5, validation_micro_f1=0.5),
    ):
        narrator.heard(event)
    assert message == ["1 of 1k tokens (0%), loss 2.5", "2 of 1k tokens (0%), validation f1 0.5"]


def test_a_checkpoint_is_logged_at_once() -> None:
    message: list[str] = []
    Narrator(message.append).heard(CheckpointSaved(step=1200, tokens=9_000_000))
    assert message == ["checkpoint saved at step 1,200, 9M tokens"]


def test_an_attempt_logs_first_where_it_runs_and_last_what_it_wrote(tmp_path: Path) -> None:
    first = begin_line("pretrain-1", "pretrain clm", Rank(1, 8, 1, 4, 0, "n1", 1), "7", 2)
    assert first.startswith("begins: pretrain-1 (pretrain clm): attempt 2, rank 1 of 8, host ")
    assert ", job 7, process " in first
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(bytes(2500))
    (tmp_path / "manifest.json").write_text("{}")
    last = end_line("pretrain clm", 169.0, {"final_loss": 2.5, "precision": "bf16"}, tmp_path)
    assert last == (
        f"pretrain clm done in 2m49s: final_loss 2.5; {tmp_path}: weights/model.safetensors 2.5kB, manifest.json 2 B"
    )
