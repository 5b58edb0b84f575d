"""The loss of a forecast quantile, once the value is known."""

from __future__ import annotations


def pinball_s(actual_s: float, quantile_s: float, share: float) -> float:
    """Minimal in expectation for the true quantile (Koenker & Bassett 1978)."""
    return max(share * (actual_s - quantile_s), (share - 1) * (actual_s - quantile_s))


def pair_loss_s(p50_s: float, p90_s: float, actual_s: float) -> float:
    """Mean of the losses of both quantiles."""
    return (pinball_s(actual_s, p50_s, 0.5) + pinball_s(actual_s, p90_s, 0.9)) / 2
