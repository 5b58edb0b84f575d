"""What only people know of a model: the file that `detour card --about` reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from detour.config.fields import Filled, Written
from detour.config.layers import keep, read_layers
from detour.config.roots import find_named
from detour.config.validation import validate


class TaskAbout(Written):
    """How the hub names a task of the benchmark."""

    name: Filled | None = None
    """Of the data set, as readers know it."""
    dataset: Filled | None = None
    """Its hub id; several tasks may share one."""
    type: Literal["text-classification", "token-classification"] | None = None
    """By default what the task's type in the recipe says."""
    type_name: Filled | None = None


class About(Written):
    title: Filled | None = None
    """The model's name; by default the chain's."""
    repository: Filled | None = None
    """Hub id that the snippets load and that a push goes to."""
    summary: str = ""
    """First paragraph; by default one that the facts give."""
    languages: tuple[Filled, ...] = ()
    """ISO 639-1 codes, as `fr`."""
    license: Filled | None = None
    """As the hub calls it: `apache-2.0`."""
    base_model: Filled | None = None
    """Hub id; by default the recipe's."""
    datasets: tuple[Filled, ...] = ()
    """Hub ids of the training corpora."""
    tags: tuple[Filled, ...] = ()
    """Beside those that every card has."""
    metric: Filled | None = None
    """Of the results, as `macro_f1`; by default each task's primary one."""
    tasks: dict[str, TaskAbout] = Field(default={})
    """Task of the benchmark -> how the hub names it."""
    compare_with: tuple[Filled, ...] = ()
    """Chains, or files of scores, that stand in the table of results."""
    intended_use: str = ""
    limitations: str = ""
    citation: str = ""
    """BibTeX."""
    acknowledgements: str = ""


def load_about(path: Path) -> About:
    """Raises RecipeError, which names file, line and key of every mistake."""
    tree, problems = read_layers(path, keep, os.environ)
    return validate(About, tree, problems)


def about_chain(chain: str) -> About:
    """What `configs/cards/CHAIN.yaml` says, if there is one."""
    found, _ = find_named("cards", chain)
    return About() if found is None else load_about(found)
