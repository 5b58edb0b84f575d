"""Information about a model that only people can give: the file read by `detour card --about`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from detour.config.fields import Filled, Written
from detour.config.roots import find_named
from detour.config.validation import read_model


class TaskAbout(Written):
    """How the hub names a task of the benchmark."""

    name: Filled | None = None
    """Display name of the data set."""
    dataset: Filled | None = None
    """Hub id of the data set; several tasks may share one."""
    type: Literal["text-classification", "token-classification"] | None = None
    """By default derived from the task's type in the recipe."""
    type_name: Filled | None = None


class About(Written):
    title: Filled | None = None
    """The model's name; by default the chain's."""
    repository: Filled | None = None
    """Hub id that the code snippets load and that `push` uploads to."""
    summary: str = ""
    """First paragraph; by default generated from the facts."""
    languages: tuple[Filled, ...] = ()
    """ISO 639-1 codes, such as `fr`."""
    license: Filled | None = None
    """Identifier on the hub: `apache-2.0`."""
    base_model: Filled | None = None
    """Hub id; by default that of the recipe."""
    datasets: tuple[Filled, ...] = ()
    """Hub ids of the training corpora."""
    tags: tuple[Filled, ...] = ()
    """Tags in addition to those of every card."""
    metric: Filled | None = None
    """Metric of the results, such as `macro_f1`; by default each task's primary metric."""
    tasks: dict[str, TaskAbout] = Field(default={})
    """Task of the benchmark -> how the hub names it."""
    compare_with: tuple[Filled, ...] = ()
    """Chains or files of scores to include in the table of results."""
    intended_use: str = ""
    limitations: str = ""
    citation: str = ""
    """BibTeX."""
    acknowledgements: str = ""


def load_about(path: Path) -> About:
    """Load an about file. Raises RecipeError, which names file, line and key of every mistake."""
    return read_model(About, path)


def about_chain(chain: str) -> About:
    """Load `configs/cards/CHAIN.yaml`, if it exists."""
    found = find_named("cards", chain)
    return About() if found is None else load_about(found)
