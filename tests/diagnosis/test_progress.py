"""The step and the loss in lines of metrics, as trainers print them."""

from __future__ import annotations

import pytest

from detour.diagnosis.evidence import Evidence
from detour.diagnosis.judge import judge
from detour.diagnosis.progress import gives_loss, step_in

SURVIVED = "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB"
LAST = "KeyError: 'labels'"


@pytest.mark.parametrize(
    "line",
    [
        "[batch=1200/98000]: Train loss/train/total: 2.2",
        "Epoch 3 [1200/5000] loss 2.2",
        " 12%|#1   | 1200/10000 [10:00<1:00:00, 2.00it/s, loss=2.1]",
        " iteration 1200/ 98000 | elapsed time per iteration (ms): 1234.5 | lm loss: 2.2E+00 |",
        '{"epoch": 1, "update": 0.12, "loss": "8.1", "num_updates": "1200"}',
        "| epoch   1 | 1200/ 2928 batches | lr 5.00 | ms/batch 30.4 | loss 8.11",
        "Iter [1200/6000]  lr: 8.428e-03, loss: 2.2",
        "step 1200: train loss 2.2, val loss 2.3",
        "ba 1200 | loss 2.2",
    ],
)
def test_the_step_is_read_from_every_form(line: str) -> None:
    assert step_in(line) == 1200


@pytest.mark.parametrize("line", ["[1/4] Building CXX object", "saved step 1200", "srun: error: step 1200", "loss nan"])
def test_other_figures_are_no_steps(line: str) -> None:
    assert step_in(line) is None
    assert not gives_loss(line)


@pytest.mark.parametrize("rank", ["", "[rank0]: "])
def test_an_error_before_three_further_losses_was_survived(rank: str) -> None:
    losses = [f"{rank}{{'loss': 2.{n}, 'epoch': 0.1{n}}}" for n in range(3)]
    assert judge(Evidence(log=(SURVIVED, *losses, LAST))).cause == "code_error"


def test_one_loss_of_each_of_many_ranks_does_not_show_that_the_work_went_on() -> None:
    losses = [f"[rank{rank}]: loss: 2.{rank}" for rank in range(1, 8)]
    assert judge(Evidence(log=(SURVIVED, *losses, LAST))).cause == "cuda_oom"
