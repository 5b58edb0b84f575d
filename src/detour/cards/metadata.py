"""A card's metadata, written and read back with huggingface_hub, which follows the hub's rules."""

from __future__ import annotations

from collections import Counter
from typing import Any

from detour.accounting.energy import EnergyFigure, Method, card_grams
from detour.cards.content import Compute, Content, Score
from detour.errors import UserError
from detour.statistics.tables import rounded

TAGS = ("modernbert", "fill-mask")


def front_matter(content: Content) -> str:
    """Return the YAML without its fences. Raises UserError if the hub's library does not read it back unchanged."""
    from huggingface_hub import ModelCard

    data = card_data(content)
    text: str = data.to_yaml()
    read: Any = ModelCard(f"---\n{text}\n---\n", ignore_metadata_errors=False).data
    if dict(read.to_dict()) != dict(data.to_dict()):
        raise UserError(
            "the card's metadata do not survive huggingface_hub: give tasks of one data set different names"
        )
    return text


def card_data(content: Content) -> Any:
    """Return the `huggingface_hub.ModelCardData`. Emissions are a number of grams, as on the hub."""
    from huggingface_hub import ModelCardData

    about = content.about
    results = _results(content.scores)
    more: dict[str, Any] = (
        {"co2_eq_emissions": _emissions(content.compute)} if content.compute and content.compute.quoted else {}
    )
    return ModelCardData(
        language=list(about.languages) or None,
        license=about.license,
        library_name="transformers",
        tags=list(dict.fromkeys((*TAGS, *about.tags))),
        datasets=list(about.datasets) or None,
        base_model=about.base_model or content.start,
        pipeline_tag="fill-mask",
        model_name=content.name if results else None,
        eval_results=results or None,
        **more,
    )


def _results(scores: tuple[Score, ...]) -> list[Any]:
    """Return the results, with distinct configs where needed.

    The hub's library merges results of the same task type and data set, whatever their names, unless configs differ.
    """
    from huggingface_hub import EvalResult

    alike = Counter((score.type, score.dataset_type) for score in scores)
    return [
        EvalResult(
            task_type=score.type,
            task_name=score.type_name,
            dataset_type=score.dataset_type,
            dataset_name=score.dataset,
            dataset_config=score.task if alike[score.type, score.dataset_type] > 1 else None,
            metric_type=score.metric,
            metric_name=score.metric_name,
            metric_value=float(rounded(score.mean)),
        )
        for score in scores
    ]


def _emissions(compute: Compute) -> dict[str, Any]:
    quoted = compute.quoted
    assert quoted is not None
    co2 = quoted.row.co2_g
    said = {
        "emissions": co2 and card_grams(co2),
        "source": f"detour, {quoted.row.method}{_partly(quoted.row)}"
        + (f": {quoted.arithmetic}" if quoted.arithmetic else ""),
        "training_type": "pre-training",
        "geographical_location": ", ".join(compute.countries),
        "hardware_used": ", ".join(compute.hardware),
    }
    return {key: value for key, value in said.items() if value not in (None, "")}


def _partly(row: EnergyFigure) -> str:
    """Return which share of the time a figure includes, empty if all of it; the card's convention counts GPUs only."""
    if not row.uncounted_s or row.method == Method.CARD:
        return ""
    return f", {1 - row.uncounted_s / row.allocated_s:.0%} of the time".replace("%", " %")
