"""A ModernBERT of a few thousand weights, and the files that a trainer would leave of it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.torch_version import TorchVersion
from transformers import ModernBertConfig, ModernBertForMaskedLM

STEPS, TOKENS = 4, 512
PREFIX = "encoder."


def tiny_model(seed: int = 0, vocabulary: int = 97) -> ModernBertForMaskedLM:
    torch.manual_seed(seed)
    config = ModernBertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=256,
        local_attention=16,
        pad_token_id=0,
        bos_token_id=1,
        cls_token_id=1,
        eos_token_id=2,
        sep_token_id=2,
    )
    return ModernBertForMaskedLM(config).eval()


def trained(model: ModernBertForMaskedLM, steps: int = STEPS) -> torch.optim.Optimizer:
    """A few steps of AdamW along random gradients, so that there are moments to keep."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    for _ in range(steps):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    optimizer.zero_grad()
    return optimizer


def composer_state(model: ModernBertForMaskedLM, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Laid out as Composer 0.32.1 does, with every kind of value that its checkpoints hold."""
    names = {id(parameter): PREFIX + name for name, parameter in model.named_parameters()}
    saved = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    groups = [
        {**group, "params": [names[id(parameters[index])] for index in group["params"]]}
        for group in saved["param_groups"]
    ]
    return {
        "state": {
            "model": {PREFIX + name: tensor for name, tensor in model.state_dict().items()},
            "optimizers": {
                "DecoupledAdamW": {
                    "state": {names[id(parameters[index])]: moments for index, moments in saved["state"].items()},
                    "param_groups": groups,
                }
            },
            "timestamp": {"Timestamp": {"batch": STEPS, "token": TOKENS, "total_wct": datetime.timedelta(seconds=1.5)}},
            "metadata": {"torch_version": TorchVersion(torch.__version__)},
        },
        "rng": [{"numpy": np.random.RandomState(0).get_state(), "torch": torch.get_rng_state()}],
    }


def pretrain_output(folder: Path, model: ModernBertForMaskedLM, state: dict[str, Any] | None = None) -> Path:
    """What a pretrain stage leaves: checkpoint.pt and config.json."""
    folder.mkdir(parents=True)
    torch.save(state or composer_state(model, trained(model)), folder / "checkpoint.pt")
    model.config.save_pretrained(folder)
    return folder
