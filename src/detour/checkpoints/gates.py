"""Gates of a promotion: pure verdicts on figures that `promotion` obtains.

The gates `tokens`, `finite` and `model` check that the checkpoint is what was planned. They cannot be overridden,
because later stages would not match their keys. The others judge its quality, and a user may override them with a
reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from detour.config.training import Band, Baseline, Gate, GradientNorms
from detour.errors import PermanentFailure

OVERRIDABLE = ("gradient_norm", "validation_loss", "baseline", "perplexity", "probe")


@dataclass(frozen=True, slots=True)
class Expected:
    """What the plan and the recipe require of the checkpoint."""

    steps: int
    tokens: int
    gate: Gate


@dataclass(frozen=True, slots=True)
class Found:
    """Figures measured so far; gates whose figures are None are not judged yet."""

    step: int
    tokens: int
    not_finite: str | None
    """Name of the first tensor with NaN or infinity, if any."""
    gradient_norms: Sequence[float | None] | None = None
    """Norms before clipping, one per step, None for a skipped step; None if the training recorded none."""
    validation_loss: float | None = None
    parent_validation_loss: float | None = None
    """Validation loss of the phase's initial weights. Both losses are None until they are measured."""
    probe: float | None = None
    """Validation score on the probe's task, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    passed: bool
    arithmetic: str
    """One sentence with the figures that decide it."""
    short_by: float | None = None
    """Distance from passing, in the gate's own unit; None if it is not a finite number or the gate passed."""
    overridden: str | None = None
    """Reason for which a user overrode the gate."""

    @property
    def passes(self) -> bool:
        return self.passed or self.overridden is not None


@dataclass(slots=True)
class Gatekeeper:
    """Records each verdict as it is reached, and stops if a gate is neither passed nor overridden."""

    refusal: str = "not promoted"
    accepted: Mapping[str, str] = field(default_factory=dict)
    """Gate -> reason for which a user overrides it."""
    record: Callable[[Verdict], None] | None = None
    verdicts: list[Verdict] = field(default_factory=list)

    def require(self, verdicts: Iterable[Verdict]) -> None:
        """Raise PermanentFailure if any gate fails, naming every failed gate and by how much it was missed."""
        judged = [self._with_override(verdict) for verdict in verdicts]
        if self.record is not None:
            for verdict in judged:
                self.record(verdict)
        self.verdicts += judged
        if refused := [verdict for verdict in judged if not verdict.passes]:
            raise PermanentFailure(f"{self.refusal}: {'; '.join(map(_in_words, refused))}")

    def _with_override(self, verdict: Verdict) -> Verdict:
        accepted = None if verdict.passed or verdict.name not in OVERRIDABLE else self.accepted.get(verdict.name)
        return replace(verdict, overridden=accepted)


def _in_words(verdict: Verdict) -> str:
    missed = "" if verdict.short_by is None else f", missed by {verdict.short_by:.4g}"
    return f"{verdict.arithmetic} (gate {verdict.name}{missed})"


def identity_gates(found: Found, expected: Expected) -> list[Verdict]:
    return [
        Verdict(
            "tokens",
            (found.step, found.tokens) == (expected.steps, expected.tokens),
            f"trained on {found.tokens:,} tokens in {found.step:,} steps, "
            f"planned are {expected.tokens:,} in {expected.steps:,}",
            abs(expected.tokens - found.tokens) or None,
        ),
        Verdict(
            "finite",
            found.not_finite is None,
            f"NaN or infinity in {found.not_finite}"
            if found.not_finite
            else "no NaN or infinity in weights and optimizer",
        ),
    ]


def history_gates(found: Found, gate: Gate) -> list[Verdict]:
    return [] if gate.gradient_norm is None else [_gradient(found, gate.gradient_norm)]


def loss_gates(found: Found, gate: Gate) -> list[Verdict]:
    loss, parent = found.validation_loss, found.parent_validation_loss
    return [] if loss is None or parent is None else list(_losses(loss, parent, gate))


def probe_gates(found: Found, gate: Gate) -> list[Verdict]:
    probe, score = gate.probe, found.probe
    if probe is None or score is None:
        return []
    passed = score >= probe.least
    sentence = (
        f"probe {probe.task}, seed {probe.seed}: {score:.4f} on validation "
        f"{'reaches' if passed else 'is below'} the gate's minimum of {probe.least:g}"
    )
    return [Verdict("probe", passed, sentence, _finite(probe.least - score))]


def _losses(loss: float, parent: float, gate: Gate) -> Iterator[Verdict]:
    drop = parent - loss
    passed = math.isfinite(loss) and drop > gate.validation_loss_drop
    yield Verdict(
        "validation_loss",
        passed,
        f"validation loss {parent:.4f} - {loss:.4f} = a drop of {drop:.4f} nats, "
        f"{'above' if passed else 'not above'} the gate's minimum of {gate.validation_loss_drop:g}",
        _finite(gate.validation_loss_drop - drop),
    )
    if gate.baseline is not None:
        yield _baseline(loss, gate.baseline)
    if gate.perplexity is not None:
        yield _perplexity(loss, gate.perplexity)


def _baseline(loss: float, baseline: Baseline) -> Verdict:
    limit = baseline.validation_loss - baseline.margin
    passed = math.isfinite(loss) and loss < limit
    margin = f": {baseline.validation_loss:g} - {baseline.margin:g}" if baseline.margin else ""
    return Verdict(
        "baseline",
        passed,
        f"validation loss {loss:.4f}, {'below' if passed else 'not below'} the gate's limit of "
        f"{limit:g} ({baseline.source}{margin})",
        _finite(loss - limit),
    )


def _perplexity(loss: float, band: Band) -> Verdict:
    perplexity = math.exp(min(loss, 700.0))
    low, high = band.least or 0.0, band.most or math.inf
    limits = " and ".join(
        words
        for limit, words in ((band.least, f"at least {low:g}"), (band.most, f"at most {high:g}"))
        if limit is not None
    )
    passed = low <= perplexity <= high
    return Verdict(
        "perplexity",
        passed,
        f"perplexity e^{loss:.4f} = {perplexity:.4g}, {'within' if passed else 'outside'} the gate's range, {limits}",
        _finite(max(low - perplexity, perplexity - high)),
    )


def _gradient(found: Found, asked: GradientNorms) -> Verdict:
    norms = found.gradient_norms
    if norms is None or len(norms) < found.step:
        known = 0 if norms is None else len(norms)
        sentence = f"gradient norms of {known:,} of {found.step:,} steps were kept, and all are needed to judge them"
        return Verdict("gradient_norm", False, sentence)
    looked_at = norms[-(asked.last or len(norms)) :]
    skipped = sum(norm is None for norm in looked_at)
    largest = max((norm for norm in looked_at if norm is not None), default=math.nan)
    few_skipped = asked.skipped is None or skipped <= asked.skipped
    allowed = "" if asked.skipped is None else f", {asked.skipped} allowed"
    return Verdict(
        "gradient_norm",
        few_skipped and largest <= asked.most,
        f"largest gradient norm of the last {len(looked_at):,} steps {largest:.4g}, "
        f"{'within' if largest <= asked.most else 'not within'} the gate's limit of {asked.most:g}; "
        f"{skipped} of them without a finite gradient{allowed}",
        _finite(largest - asked.most) if few_skipped else float(skipped - (asked.skipped or 0)),
    )


def _finite(short_by: float) -> float | None:
    """Return the distance from passing, None if the gate is passed or the distance is not finite."""
    return short_by if math.isfinite(short_by) and short_by > 0 else None
