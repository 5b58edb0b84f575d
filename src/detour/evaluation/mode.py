"""How an encoder computes on a device. No setting of a task: the modes agree, on a GPU up to its rounding."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import ModernBertModel

from detour.evaluation.sequences import KERNEL, as_language_model
from detour.evaluation.workload import TaskModel
from detour.pretraining.attention import PACKED
from detour.pretraining.kernel_choice import Heads, problem
from detour.pretraining.layers import can_be_compiled, keep_all_graphs

LOGGER = logging.getLogger("detour.evaluation")


@dataclass(frozen=True, slots=True)
class Mode:
    joined: bool = False
    """Sequences one after the other through a variable-length kernel, in place of padded ones under a mask."""
    compiled: bool = False
    """Each layer: its first step is slow. Asks for joined sequences."""
    static: bool = False
    """Compiled anew for every number of tokens, in place of once for all."""
    fused: bool = False
    """Pretraining's compiled layers in place of the encoder's own: fewer kernels. Asks for joined sequences."""


PLAIN = Mode()


def fastest(model: TaskModel, device: torch.device) -> Mode:
    """On a GPU, where the encoder is one that the kernel computes right."""
    encoder = model.encoder
    if device.type != "cuda" or not isinstance(encoder, ModernBertModel):
        return PLAIN
    dropout = "it has no dropout" if encoder.config.attention_dropout else None
    if why := dropout or problem(KERNEL, device, torch.bfloat16, Heads.of(encoder.config, causal=False)):
        LOGGER.warning("documents are padded, since torch's variable-length kernel cannot be used: %s", why)
        return PLAIN
    if can_be_compiled(as_language_model(encoder)):
        return Mode(joined=True, fused=True)
    return Mode(joined=True, compiled=True)


def use(mode: Mode, model: TaskModel) -> None:
    """To be called once the model is on its device."""
    if mode.joined:
        model.encoder.set_attn_implementation(PACKED[KERNEL])
        model.joins, model.fused = True, mode.fused
    else:
        # On Hopper and Blackwell torch prefers cuDNN's attention, which takes a second to plan for every new shape.
        torch.backends.cuda.enable_cudnn_sdp(False)
    if mode.fused:
        keep_all_graphs()
    if mode.compiled:
        for layer in model.encoder.layers:
            layer.compile(dynamic=not mode.static)


@contextmanager
def predicting() -> Iterator[None]:
    """Without the compiler, which would make graphs of its own for passes without gradients."""
    torch.compiler.set_stance("force_eager")
    try:
        yield
    finally:
        torch.compiler.set_stance("default")
