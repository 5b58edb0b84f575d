"""The time limit that is requested for a stage, from its price."""

from __future__ import annotations

from detour.planning.stage import PromoteStage, Stage
from detour.pricing.price import Price

MARGIN = 1.25
"""Factor on the highest estimate, so that a slow day does not cost a segment."""
LEAST_WALL_S = 600
UNPRICED_WALL_S = {
    "prepare": 4 * 3600,
    "pretrain": 20 * 3600,
    "promote": 1800,
    "export": 1800,
    "evaluate": 4 * 3600,
    "summarize": 600,
}
"""Time limits of stages of unknown duration, by kind."""


def stage_limit_s(stage: Stage, price: Price) -> int:
    """Return a stage's time limit without spare segments: above its highest estimate, or a default if it has none."""
    if price.wall_s is None:
        is_probed = isinstance(stage, PromoteStage) and stage.settings.probe is not None
        return UNPRICED_WALL_S[stage.kind] + (UNPRICED_WALL_S["evaluate"] if is_probed else 0)
    return max(LEAST_WALL_S, round(price.wall_s.high * MARGIN))
