"""What a submission requests beyond its recipe, as options of the verbs that submit."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from detour.launch.options import Seconds
from detour.orchestration.requests import JobOptions


def job_options(gpus: str, others: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Pass `options` to the verb. The arguments describe the defaults of GPUs, and of QOS and account."""
    options = (
        click.option("--qos", help=f"QOS of GPU jobs.  [default: {others}]"),
        click.option("--account", help=f"Account of GPU jobs.  [default: {others}]"),
        click.option("--gpus", type=click.IntRange(1), help=f"GPUs per training.  [default: {gpus}]"),
        click.option("--time", "wall_s", type=Seconds(), help="Time limit of a training's segment, such as 20h."),
        click.option("--segments", type=click.IntRange(1), help="Segments per training.  [default: by its price]"),
        click.option("--parallel", "parallelism", type=click.IntRange(1), help="Evaluations that may run at once."),
    )

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @wraps(verb)
        def taking(**given: Any) -> None:
            asked = {name: given.pop(name) for name in JobOptions.__dataclass_fields__}
            verb(options=JobOptions(**asked), **given)

        decorated: Callable[..., None] = taking
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate
