"""Render a card from a Jinja template, which users can replace."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from traceback import extract_tb
from typing import Any

from detour.accounting.result_cost import Spent
from detour.cards.content import Content, Phase
from detour.cards.metadata import front_matter
from detour.errors import UserError
from detour.statistics.tables import rounded
from detour.text import ENERGY_UNITS, MASS_UNITS, counted, exact, format_count, format_duration, plain, scaled

TEMPLATE = "card.md"


def default_template() -> str:
    return (files("detour.cards") / TEMPLATE).read_text(encoding="utf-8")


def read_template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the template cannot be read ({error}); give a file in UTF-8") from error


def render(content: Content, template: str | None = None, template_name: str = TEMPLATE) -> str:
    """Return the whole README. `template` has access to `card` (a `Content`), `metadata` (YAML) and the filters below.

    It runs in Jinja's sandbox. Raises UserError, with its name and line, if the template does not render.
    """
    from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters.update(FILTERS)
    try:
        made = environment.from_string(template or default_template())
        text: str = made.render(card=content, metadata=front_matter(content))
    except TemplateSyntaxError as error:
        said = (error.message or "").rstrip(".")
        raise UserError(f"{template_name}:{error.lineno}: {said}; see docs/models.md") from error
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        # Jinja gives its frames the template's lines.
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == "<template>"]
        place = ":".join(map(str, [template_name, *lines[-1:]]))
        raise UserError(f"{place}: the template does not render ({error}); see docs/models.md") from error
    return text


def objective(phase: Phase) -> str:
    frozen = f", {phase.frozen} frozen" if phase.frozen else ""
    if phase.objective == "causal":
        return f"next token, causal attention{frozen}"
    if phase.objective == "masked":
        rate = "" if phase.masking_rate is None else f" ({100 * phase.masking_rate:g}%)"
        return f"masked tokens{rate}, bidirectional attention{frozen}"
    return "unknown"


def cell(text: Any) -> str:
    """Escape text from recipes and files for a table cell."""
    return plain(str(text)).replace("\\", "\\\\").replace("|", r"\|")


def number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}"


def loss(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def hours(value: float | None) -> str:
    return "unknown" if value is None else exact(value, 4)


def without(attempts: int) -> str:
    """`, without 1 attempt of unknown size`; empty if there is none."""
    return f", without {counted(attempts, 'attempt')} of unknown size" if attempts else ""


def spent(of: Spent) -> str:
    """`45m00s, 0.75 GPU-h, 945 Wh with PUE, 32.1 g CO2eq (M2 estimated)`; GPU-hours are left out if there were none."""
    known = [format_duration(of.allocated_s)]
    if of.gpu_hours:
        known.append(f"{hours(of.gpu_hours)} GPU-h")
    if of.facility_energy_kwh is None:
        return ", ".join([*known, "energy unknown"])
    grams = "unknown" if of.co2_g is None else scaled(of.co2_g, MASS_UNITS)
    return ", ".join(
        [*known, f"{scaled(of.facility_energy_kwh, ENERGY_UNITS)} with PUE", f"{grams} CO2eq ({of.energy_method})"]
    )


FILTERS: dict[str, Callable[..., Any]] = {
    "cell": cell,
    "count": format_count,
    "counted": counted,
    "number": number,
    "loss": loss,
    "hours": hours,
    "objective": objective,
    "points": rounded,
    "energy": lambda kwh: scaled(kwh, ENERGY_UNITS),
    "mass": lambda grams: scaled(grams, MASS_UNITS),
    "spent": spent,
    "without": without,
    "percent": lambda share: "unknown" if share is None else f"{share:.0%}",
}
