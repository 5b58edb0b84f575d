"""Decode logits to the spans of a window: (first word, last word, label, probability)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
Found = tuple[int, int, int, float]


def nested_spans(logits: Logits, threshold: float) -> list[Found]:
    """Every (span, label) with at least the probability `threshold`; `logits` is (words, widths, labels)."""
    words, widths, _ = logits.shape
    inside = np.arange(words)[:, None] + np.arange(widths)[None, :] < words
    passing = (logits >= math.log(threshold / (1 - threshold))) & inside[:, :, None]
    return [
        (int(word), int(word + width), int(label), _sigmoid(float(logits[word, width, label])))
        for word, width, label in np.argwhere(passing)
    ]


def flat_spans(logits: Logits) -> list[Found]:
    """The spans of the most probable tag sequence in which every `I-X` follows a `B-X` or an `I-X`.

    `logits` is (words, 1 + 2 * labels), with tags numbered as in `tag_of`. A span's probability is its tags' mean.
    """
    scores = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    tags = _best_legal(scores)
    spans: list[tuple[int, int, int]] = []
    for word, tag in enumerate(tags):
        if tag % 2 == 1:
            spans.append((word, word, (tag - 1) // 2))
        elif tag:
            first, _, label = spans[-1]
            spans[-1] = (first, word, label)
    return [(a, z, label, _mean_probability(scores, tags, a, z)) for a, z, label in spans]


def tag_of(label: int, *, is_first: bool) -> int:
    """0 is outside; odd tags begin an entity, the following even tag continues it."""
    return 1 + 2 * label + (0 if is_first else 1)


def _best_legal(scores: Logits) -> list[int]:
    """Viterbi: the legal path with the highest sum of log-probabilities."""
    words, tags = scores.shape
    allowed = np.zeros((tags, tags))
    for further in range(2, tags, 2):
        allowed[:, further] = -np.inf
        allowed[[further - 1, further], further] = 0.0
    best = scores[0].astype(np.float64)
    best[2::2] = -np.inf
    back = np.zeros((words, tags), dtype=np.int64)
    for word in range(1, words):
        through = best[:, None] + allowed
        back[word] = through.argmax(axis=0)
        best = through.max(axis=0) + scores[word]
    path = [int(best.argmax())]
    for word in range(words - 1, 0, -1):
        path.append(int(back[word, path[-1]]))
    return path[::-1]


def _mean_probability(scores: Logits, tags: list[int], first: int, last: int) -> float:
    return float(np.exp([scores[word, tags[word]] for word in range(first, last + 1)]).mean())


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))
