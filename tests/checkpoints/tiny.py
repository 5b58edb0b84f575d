"""A ModernBERT of a few thousand weights, and the files that a trainer writes of it."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import ModernBertConfig, ModernBertForMaskedLM

from detour.checkpoints.trainer_state import TrainerState, write_trainer_state

STEPS, TOKENS = 4, 512


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
    """Take a few steps of AdamW along random gradients, so that there are moments."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, betas=(0.9, 0.98))
    for _ in range(steps):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
        optimizer.step()
    optimizer.zero_grad()
    return optimizer


def trainer_state(model: ModernBertForMaskedLM, optimizer: torch.optim.Optimizer) -> TrainerState:
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    saved = optimizer.state_dict()
    moments = {names[index]: values for index, values in saved["state"].items()}
    groups = [{**group, "params": [names[index] for index in group["params"]]} for group in saved["param_groups"]]
    return TrainerState(model.state_dict(), {"state": moments, "param_groups": groups}, STEPS, TOKENS)


def pretrain_output(folder: Path, model: ModernBertForMaskedLM, state: TrainerState | None = None) -> Path:
    """Write the output of a pretrain stage: its state and config.json."""
    folder.mkdir(parents=True)
    write_trainer_state(folder / "checkpoint.safetensors", state or trainer_state(model, trained(model)))
    model.config.save_pretrained(folder)
    return folder
