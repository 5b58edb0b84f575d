"""Published or promoted weights into ModernBERT, key for key.

`from_pretrained` starts whatever does not fit from random weights, unseeded, and says so in a log only. Here a tensor
that is missing, left over, of another shape or not finite is refused by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, ModernBertForMaskedLM, PretrainedConfig

from detour.checkpoints.weights import folder_problem
from detour.errors import PermanentFailure

HEAD = ("head.", "decoder.")
"""Where the parameters of the masked-LM head begin; the rest is the encoder."""
MOST_NAMED = 5


def load_masked_lm(
    name: str | Path, revision: str | None = None, *, context: int = 0, new_head_seed: int | None = None
) -> ModernBertForMaskedLM:
    """In full precision, on the CPU, with a context of `context` tokens at least.

    `new_head_seed` draws the masked-LM head anew where the weights are an encoder's alone; without it such weights are
    refused. Raises PermanentFailure, saying what to do, when the weights cannot be had or do not fit. The global random
    state is left as it was found.
    """
    if Path(name).is_dir() and (problem := folder_problem(Path(name))):
        raise PermanentFailure(f"model {problem}")
    try:
        config = AutoConfig.from_pretrained(name, revision=revision)
        if config.model_type != "modernbert":
            raise PermanentFailure(f"model {name}: is a {config.model_type}, only ModernBERT models can be trained")
        config.max_position_embeddings = max(config.max_position_embeddings, context)
        return _loaded(name, revision, config, new_head_seed)
    except OSError as error:
        raise PermanentFailure(
            f"model {name}: cannot be loaded ({_first_line(error)}); compute nodes are often offline: "
            f"download it first where there is a network (`hf download {name}`), or give a local folder"
        ) from error
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise PermanentFailure(f"model {name}: cannot be loaded: {_first_line(error)}") from error


def _loaded(
    name: str | Path, revision: str | None, config: PretrainedConfig, new_head_seed: int | None
) -> ModernBertForMaskedLM:
    with torch.random.fork_rng():
        torch.manual_seed(new_head_seed or 0)
        model, report = ModernBertForMaskedLM.from_pretrained(
            name,
            revision=revision,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are in the report, by name
        )
    shapes = [f"{key} is {list(found)}, not {list(wanted)}" for key, found, wanted in report["mismatched_keys"]]
    problems = key_problems(report["missing_keys"], report["unexpected_keys"], with_head=new_head_seed is None)
    problems += _named(shapes, "of another shape")
    embeddings, output = model.model.embeddings.tok_embeddings.weight, model.decoder.weight
    if config.tie_word_embeddings and output is not embeddings:
        problems.append("decoder.weight differs from the embeddings that its config.json ties it to")
    problems += _named([key for key, p in model.named_parameters() if not torch.isfinite(p).all()], "not finite")
    if problems:
        raise PermanentFailure(f"model {name}: its weights cannot be used: {'; '.join(problems)}")
    return model


def key_problems(missing: Iterable[str], unexpected: Iterable[str], *, with_head: bool) -> list[str]:
    """Clauses that name the keys and, where it is known, what to do about them."""
    absent = sorted(key for key in missing if with_head or not key.startswith(HEAD))
    extra = sorted(unexpected)
    problems = _named(absent, "missing") + _named(extra, "unexpected")
    prefix = _common_prefix(extra)
    if prefix and {key.removeprefix(prefix) for key in extra} & set(absent):
        problems.append(f"save them without the prefix `{prefix}`")
    elif absent and not extra and all(key.startswith(HEAD) for key in absent):
        problems.append("these are an encoder's weights: `model.head: new` draws a new head")
    return problems


def _named(keys: Sequence[str], what: str) -> list[str]:
    """One clause, or none without a key."""
    if not keys:
        return []
    more = f" and {len(keys) - MOST_NAMED:,} more" if len(keys) > MOST_NAMED else ""
    return [f"{what}: {', '.join(keys[:MOST_NAMED])}{more}"]


def _common_prefix(keys: Sequence[str]) -> str | None:
    """`module.` where every key begins with it."""
    first = {key.partition(".")[0] for key in keys}
    return f"{first.pop()}." if len(first) == 1 else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
