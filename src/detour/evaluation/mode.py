"""Which way of computing suits a device, and how a model is set to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import ModernBertModel

from detour.evaluation.graphs import EncoderGraphs, cuda_recorder
from detour.evaluation.sequences import KERNEL, PLAIN, Mode, as_language_model
from detour.evaluation.workload import TaskModel
from detour.pretraining.attention import PACKED
from detour.pretraining.kernel_choice import Heads, problem
from detour.pretraining.kernels import LOCAL
from detour.pretraining.layers import can_be_compiled, keep_all_graphs

LOGGER = logging.getLogger("detour.evaluation")


def fastest(model: TaskModel, device: torch.device) -> Mode:
    """On a GPU, where the encoder is one that a kernel computes right."""
    encoder = model.encoder
    if device.type != "cuda" or not isinstance(encoder, ModernBertModel):
        return PLAIN
    if encoder.config.attention_dropout:
        LOGGER.warning("documents are padded: the encoder has dropout in its attention, and joined ones have none")
        return PLAIN
    heads, problems = Heads.of(encoder.config, causal=False), {}
    for kernel in (KERNEL + LOCAL, KERNEL):
        problems[kernel] = problem(kernel, device, torch.bfloat16, heads)
        if problems[kernel] is None:
            is_known = can_be_compiled(as_language_model(encoder))
            return Mode(joined=True, compiled=not is_known, fused=is_known, graphed=is_known, kernel=kernel)
    LOGGER.warning("documents are padded, since torch's variable-length kernel cannot be used: %s", problems[KERNEL])
    return PLAIN


def use(mode: Mode, model: TaskModel) -> None:
    """To be called once the model is on its device, with weights that will be trained."""
    model.mode = mode
    if mode.joined:
        model.encoder.set_attn_implementation(PACKED[mode.kernel])
    else:
        # On Hopper and Blackwell torch prefers cuDNN's attention, which takes a second to plan for every new shape.
        torch.backends.cuda.enable_cudnn_sdp(False)
    if mode.fused:
        keep_all_graphs()
    if mode.graphed:
        model.graphs = EncoderGraphs(list(model.encoder.parameters()), cuda_recorder())
    if mode.compiled:
        for layer in model.encoder.layers:
            layer.compile(dynamic=True)


@contextmanager
def predicting() -> Iterator[None]:
    """Without the compiler, which would make graphs of its own for passes without gradients."""
    torch.compiler.set_stance("force_eager")
    try:
        yield
    finally:
        torch.compiler.set_stance("default")
