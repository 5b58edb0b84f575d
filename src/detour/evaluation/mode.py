"""Choose how an encoder is computed on a device, and configure a model accordingly.

Pretraining's layers import torch's compiler (half a second of CPU time or more), so this module and `sequences` import
them only where they are used, which is never on a CPU.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from transformers import ModernBertModel

from detour.errors import PermanentFailure
from detour.evaluation.graphs import EncoderGraphs, cuda_recorder
from detour.evaluation.sequences import KERNEL, PLAIN, Mode, as_language_model
from detour.evaluation.workload import TaskModel
from detour.pretraining.kernel_choice import BrokenDevice, Heads, problem
from detour.pretraining.kernels import LOCAL

LOGGER = logging.getLogger("detour.evaluation")
VARIABLE, PADDED = "DETOUR_FINE_TUNING", "padded"
"""Environment variable and value that select padded sequences on a GPU too, in case another mode fails there."""


def mode_for(model: TaskModel, device: torch.device, environment: Mapping[str, str] = os.environ) -> Mode:
    """The fastest mode on a GPU if a kernel computes this encoder correctly; padded otherwise, and on request.

    Raises PermanentFailure for an invalid request, and if a kernel makes the device unusable.
    """
    encoder, asked = model.encoder, environment.get(VARIABLE)
    if asked not in (None, PADDED):
        raise PermanentFailure(f"{VARIABLE} is {asked!r}: write `{PADDED}`, or unset it")
    if asked == PADDED or device.type != "cuda" or not isinstance(encoder, ModernBertModel):
        return PLAIN
    if encoder.config.attention_dropout:
        LOGGER.warning("documents are padded: the encoder has dropout in its attention, and joined ones have none")
        return PLAIN
    kernel = _right_kernel(Heads.of(encoder.config, causal=False), device)
    if kernel is None:
        return PLAIN
    from detour.pretraining.layers import can_be_compiled

    is_known = can_be_compiled(as_language_model(encoder))
    return Mode(joined=True, compiled=not is_known, fused=is_known, graphed=is_known, kernel=kernel)


def _right_kernel(heads: Heads, device: torch.device) -> str | None:
    for kernel in (KERNEL + LOCAL, KERNEL):
        try:
            why = problem(kernel, device, torch.bfloat16, heads)
        except BrokenDevice as error:
            raise PermanentFailure(f"{error}: set {VARIABLE}={PADDED} in the profile's `environment`") from error
        if why is None:
            return kernel
    LOGGER.warning("documents are padded, since torch's variable-length kernel cannot be used: %s", why)
    return None


def use(mode: Mode, model: TaskModel) -> None:
    """Configure `model` for `mode`; call it once the model is on its device."""
    model.mode = mode
    if mode.joined:
        from detour.pretraining.attention import PACKED

        model.encoder.set_attn_implementation(PACKED[mode.kernel])
    else:
        # On Hopper and Blackwell torch prefers cuDNN's attention, which needs a second to plan each new shape.
        torch.backends.cuda.enable_cudnn_sdp(False)
    if mode.fused:
        from detour.pretraining.layers import keep_all_graphs

        keep_all_graphs()
    if mode.graphed:
        model.graphs = EncoderGraphs(list(model.encoder.parameters()), cuda_recorder())
    if mode.compiled:
        for layer in model.encoder.layers:
            layer.compile(dynamic=True)


@contextmanager
def predicting() -> Iterator[None]:
    """Disable the compiler, which would compile separate graphs for passes without gradients."""
    torch.compiler.set_stance("force_eager")
    try:
        yield
    finally:
        torch.compiler.set_stance("default")
