"""Check the tensors of a local folder against the ModernBERT that its config.json describes, by file headers only.

Also used on login nodes: no torch. Anything refused here would be refused by `load_masked_lm` in the job, in the same
words. Only the job can check whether values are finite and whether tied weights are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from detour.checkpoints.weights import safetensors_shapes

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
HEAD = ("head.", "decoder.")
"""Prefixes of the masked-LM head's parameters; the rest is the encoder."""
ENCODER = "model."
"""Prefix of the encoder's parameters, unless it was saved on its own."""
EMBEDDINGS = f"{ENCODER}embeddings.tok_embeddings.weight"
TIED = frozenset({EMBEDDINGS, "decoder.weight"})
MOST_NAMED = 5
MOST_LAYERS = 10_000
"""Maximum number of layers; a config with more is wrong."""
DEFAULTS: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 1152,
    "num_hidden_layers": 22,
    "vocab_size": 50368,
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "decoder_bias": True,
    "classifier_bias": False,
    "tie_word_embeddings": True,
}
"""Defaults of ModernBertConfig, for keys that a config.json leaves out."""
Shapes = Mapping[str, Sequence[int]]


def tensors_problem(folder: Path, *, with_head: bool) -> str | None:
    """Return why a folder of complete files cannot be trained from, or None; also None for weights in another format.

    Without `with_head` the masked-LM head may be missing.
    """
    try:
        config = config_of(folder)
        kind = config.get("model_type")
    except FileNotFoundError:
        return f"{folder}: has no {CONFIG}"
    except (orjson.JSONDecodeError, TypeError) as error:
        return f"{folder / CONFIG}: is not a model's config ({error})"
    if kind != "modernbert":
        return f"{folder}: is a {kind}, only ModernBERT models can be trained"
    try:
        found = _found(folder)
        if found is None:
            return None
        problems = shape_problems(
            found, expected_shapes(config), tied=config["tie_word_embeddings"], with_head=with_head
        )
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        return f"{folder}: cannot be loaded ({error})"
    return f"{folder}: its weights cannot be used: {'; '.join(problems)}" if problems else None


def config_of(folder: Path) -> dict[str, Any]:
    """Return config.json with the defaults of the fields above. Raises TypeError if it is no mapping."""
    return {**DEFAULTS, **orjson.loads((folder / CONFIG).read_bytes())}


def expected_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a masked-LM model's tensors, under the names that transformers gives them.

    Raises ValueError for an absurd number of layers.
    """
    if config["num_hidden_layers"] > MOST_LAYERS:
        raise ValueError(f"{config['num_hidden_layers']:,} layers")
    hidden, inner, words = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    shapes: dict[str, tuple[int, ...]] = {EMBEDDINGS: (words, hidden)}

    def add(name: str, rows: int, columns: int | None, bias: object) -> None:
        shapes[f"{name}.weight"] = (rows,) if columns is None else (rows, columns)
        if bias:
            shapes[f"{name}.bias"] = (rows,)

    norm, attention, mlp = config["norm_bias"], config["attention_bias"], config["mlp_bias"]
    add(f"{ENCODER}embeddings.norm", hidden, None, norm)
    for number in range(config["num_hidden_layers"]):
        layer = f"{ENCODER}layers.{number}"
        if number:  # the input of the first layer is already normalised
            add(f"{layer}.attn_norm", hidden, None, norm)
        add(f"{layer}.attn.Wqkv", 3 * hidden, hidden, attention)
        add(f"{layer}.attn.Wo", hidden, hidden, attention)
        add(f"{layer}.mlp_norm", hidden, None, norm)
        add(f"{layer}.mlp.Wi", 2 * inner, hidden, mlp)
        add(f"{layer}.mlp.Wo", hidden, inner, mlp)
    add(f"{ENCODER}final_norm", hidden, None, norm)
    add("head.dense", hidden, hidden, config["classifier_bias"])
    add("head.norm", hidden, None, norm)
    add("decoder", words, hidden, config["decoder_bias"])
    return shapes


def shape_problems(found: Shapes, wanted: Shapes, *, tied: bool, with_head: bool) -> list[str]:
    """Return the problems of the shapes found; if embeddings and decoder are `tied`, one of them is enough."""
    named = {_in_model(name, wanted): list(shape) for name, shape in found.items()}
    missing = wanted.keys() - named.keys()
    if tied and not missing.issuperset(TIED):
        missing -= TIED
    problems = key_problems(missing, named.keys() - wanted.keys(), with_head=with_head)
    return problems + shape_clauses((name, named[name], shape) for name, shape in wanted.items() if name in named)


def _in_model(name: str, wanted: Shapes) -> str:
    return ENCODER + name if name not in wanted and ENCODER + name in wanted else name


def _found(folder: Path) -> Shapes | None:
    """Return the shapes of the folder's tensors, None if the weights are not safetensors."""
    if (folder / WEIGHTS).exists():
        return safetensors_shapes(folder / WEIGHTS)
    if not (folder / INDEX).exists():
        return None
    files = sorted(set(orjson.loads((folder / INDEX).read_bytes())["weight_map"].values()))
    return {name: shape for file in files for name, shape in safetensors_shapes(folder / file).items()}


def key_problems(missing: Iterable[str], unexpected: Iterable[str], *, with_head: bool) -> list[str]:
    """Return clauses that name the keys and, if known, what to do about them."""
    absent = sorted(key for key in missing if with_head or not key.startswith(HEAD))
    extra = sorted(unexpected)
    problems = clauses(absent, "missing") + clauses(extra, "unexpected")
    prefix = _common_prefix(extra)
    if prefix and {key.removeprefix(prefix) for key in extra} & set(absent):
        problems.append(f"save them without the prefix `{prefix}`")
    elif absent and not extra and all(key.startswith(HEAD) for key in absent):
        problems.append("these are an encoder's weights: `model.head: new` draws a new head")
    return problems


def shape_clauses(shapes: Iterable[tuple[str, Sequence[int], Sequence[int]]]) -> list[str]:
    """Return a clause for mismatches among (name, shape found, shape wanted)."""
    wrong = [f"{key} is {list(found)}, not {list(wanted)}" for key, found, wanted in shapes if [*found] != [*wanted]]
    return clauses(wrong, "of another shape")


def clauses(keys: Sequence[str], what: str) -> list[str]:
    """Return one clause that lists the keys, or none if there are no keys."""
    if not keys:
        return []
    more = f" and {len(keys) - MOST_NAMED:,} more" if len(keys) > MOST_NAMED else ""
    return [f"{what}: {', '.join(keys[:MOST_NAMED])}{more}"]


def _common_prefix(keys: Sequence[str]) -> str | None:
    """Return the first component that all keys share, such as `module.`, or None."""
    first = {key.partition(".")[0] for key in keys}
    return f"{first.pop()}." if len(first) == 1 else None
