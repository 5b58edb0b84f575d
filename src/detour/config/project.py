"""The project that reports are about, with its released models: `configs/project.yaml` or the file of `--project`.

name: Causal detours for biomedical encoders
grant: A0170000000
institution: A university
people: [A. Researcher, B. Engineer]
released: [moderncamembert-bio-base]
time_zone: Europe/Paris
equivalents:
  - {name: km by an average new car, grams: 106.8, source: "who says so, when"}
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from detour.config.fields import Positive, TimeZone, Written
from detour.config.roots import config_roots
from detour.config.validation import read_model


class EquivalentUnit(Written):
    """A unit worth a number of grams of CO2eq. None is shipped: the authors of a report must be able to justify it."""

    name: str = Field(min_length=1)
    grams: Positive
    source: str = Field(min_length=1)


class Project(Written):
    name: str = Field(min_length=1)
    grant: str | None = None
    """Number or name of the grant, as the funder writes it."""
    institution: str | None = None
    people: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    """Chains whose model was published. By default those in production, otherwise all with an exported model."""
    equivalents: tuple[EquivalentUnit, ...] = ()
    time_zone: TimeZone = "UTC"
    """Time zone in which the days, months and years of reports begin."""


def load_project(path: Path | None = None) -> Project | None:
    """Load a project file, by default `project.yaml` in the nearest `configs`; None if there is none.

    Raises RecipeError.
    """
    path = path or next((file for root in config_roots() if (file := root / "project.yaml").is_file()), None)
    return None if path is None else read_model(Project, path)
