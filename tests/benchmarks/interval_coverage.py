"""How often 95 % intervals over seeds contain the truth: Student's, the studentised bootstrap, and plain percentiles.

Simulated differences of two models are normal; each row is one number of seeds.
"""

from __future__ import annotations

import random
import statistics

from scipy.stats import bootstrap

from detour.statistics.paired import Interval, paired

SEEDS = (3, 5, 9, 20)
TRIALS = 1000
TRUTH, SPREAD = 1.0, 2.0


def holds(interval: Interval | None) -> bool:
    return interval is not None and interval.low <= TRUTH <= interval.high


def percentiles(values: list[float]) -> Interval:
    found = bootstrap((values,), statistics.fmean, vectorized=False, n_resamples=499, method="percentile", rng=0)
    return Interval(*found.confidence_interval)


def main() -> None:
    draw = random.Random(1)
    print(f"{'seeds':>6}{'Student':>10}{'bootstrap':>11}{'percentiles':>13}")
    for n in SEEDS:
        samples = [[draw.gauss(TRUTH, SPREAD) for _ in range(n)] for _ in range(TRIALS)]
        found = [paired(values) for values in samples]
        student = statistics.fmean(holds(one.interval) for one in found)
        studentised = [holds(one.bootstrap) for one in found if one.bootstrap is not None]
        plain = statistics.fmean(holds(percentiles(values)) for values in samples[: TRIALS // 4])
        shown = f"{statistics.fmean(studentised):.1%}" if studentised else "none"
        print(f"{n:>6}{student:>10.1%}{shown:>11}{plain:>13.1%}")


if __name__ == "__main__":
    main()
