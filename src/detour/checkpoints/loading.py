"""Load published or promoted weights into ModernBERT, key for key.

`from_pretrained` initialises tensors that do not fit at random, unseeded, and only logs it. Here any tensor that is
missing, unexpected, of another shape or not finite is an error that names it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, ModernBertForMaskedLM, PretrainedConfig

from detour.checkpoints.model_tensors import clauses, key_problems, shape_clauses
from detour.checkpoints.weights import folder_problem
from detour.errors import PermanentFailure


def load_masked_lm(
    name: str | Path, revision: str | None = None, *, context: int = 0, new_head_seed: int | None = None
) -> ModernBertForMaskedLM:
    """Load a model in full precision on the CPU, with a context of at least `context` tokens.

    If the weights are those of an encoder only, `new_head_seed` initialises the masked-LM head at random; without it
    they are refused. Raises PermanentFailure, saying what to do, if the weights cannot be loaded or do not fit. The
    global random state is preserved.
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
    problems = key_problems(report["missing_keys"], report["unexpected_keys"], with_head=new_head_seed is None)
    problems += shape_clauses(report["mismatched_keys"])
    embeddings, output = model.model.embeddings.tok_embeddings.weight, model.decoder.weight
    if config.tie_word_embeddings and output is not embeddings:
        problems.append("decoder.weight differs from the embeddings that its config.json ties it to")
    problems += clauses([key for key, p in model.named_parameters() if not torch.isfinite(p).all()], "not finite")
    if problems:
        raise PermanentFailure(f"model {name}: its weights cannot be used: {'; '.join(problems)}")
    return model


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
