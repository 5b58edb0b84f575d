"""Forward and backward pass of a document task as one CUDA graph: what is left when nothing waits for Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from detour.evaluation.batches import Indices
from detour.evaluation.finetune import FineTuning
from detour.evaluation.sequences import Joined
from tests.gpu.made_up_tasks import MadeDocuments

WARM_UPS = 3


def graphed_steps(tuning: FineTuning, example: Indices) -> Callable[[Indices], Tensor]:
    """A step for batches that join to as many tokens as `example`'s. Without CUDA the passes run as they are."""
    model, workload = tuning.model, tuning.workload
    assert isinstance(workload, MadeDocuments)

    def inputs(batch: Indices) -> tuple[Joined, Tensor]:
        train, task = workload.data.train, workload.task
        token_ids = [train.token_ids[index] for index in batch]
        longest = workload.data.max_length
        documents = model.sequences(token_ids, workload.data.padding_id, most=task.batch_sequences, longest=longest)
        assert isinstance(documents, Joined)
        return documents, torch.from_numpy(train.truth[batch]).float().to(tuning.device)

    documents, truth = inputs(example)

    def passes() -> Tensor:
        half = tuning.device.type == "cuda"
        with torch.autocast(tuning.device.type, dtype=torch.bfloat16, enabled=half, cache_enabled=False):
            logits = model(documents)
        loss: Tensor = tuning.loss(logits.float(), truth)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    model.train()
    replay, loss = _captured(tuning, passes)

    def step(batch: Indices) -> Tensor:
        fresh, fresh_truth = inputs(batch)
        for field in fields(Joined):
            if isinstance(tensor := getattr(documents, field.name), Tensor):
                tensor.copy_(getattr(fresh, field.name))
        truth.copy_(fresh_truth)
        replay()
        if tuning.task.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), tuning.task.gradient_clip)
        tuning.optimizer.step()
        return loss

    return step


def _captured(tuning: FineTuning, passes: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
    if tuning.device.type != "cuda":

        def again() -> None:
            tuning.optimizer.zero_grad()
            passes()

        return again, passes().detach()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            tuning.optimizer.zero_grad()
            passes()
    torch.cuda.current_stream().wait_stream(side)
    tuning.optimizer.zero_grad()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = passes()
    return graph.replay, loss
