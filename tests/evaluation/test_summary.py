from __future__ import annotations

import statistics
from typing import Any

import pytest

from detour.evaluation.summary import as_text, summarize


def result(macro: float, micro: float, primary: str = "macro_f1") -> dict[str, Any]:
    return {"primary_metric": primary, "test": {"macro_f1": macro, "micro_f1": micro, "accuracy": 0.5}}


COMPLETE = {
    ("a", 1): result(0.6, 0.7),
    ("a", 2): result(0.8, 0.9),
    ("b", 1): result(0.1, 0.5, "micro_f1"),
    ("b", 2): result(0.2, 0.3, "micro_f1"),
}


def test_a_complete_benchmark_is_summarized() -> None:
    summary = summarize(["a", "b"], [1, 2], COMPLETE)
    figures = summary["tasks"]["a"]["metrics"]["macro_f1"]
    assert figures["by_seed"] == {"1": 0.6, "2": 0.8}
    assert figures["n"] == 2
    assert figures["mean"] == pytest.approx(0.7)
    assert figures["standard_deviation"] == pytest.approx(statistics.stdev([0.6, 0.8]))
    assert (figures["min"], figures["max"]) == (0.6, 0.8)
    average = summary["average"]["primary"]
    assert average["by_seed"] == pytest.approx({"1": (0.6 + 0.5) / 2, "2": (0.8 + 0.3) / 2})
    assert average["mean"] == pytest.approx(0.55)
    assert summary["average"]["macro_f1"]["mean"] == pytest.approx((0.7 + 0.15) / 2)
    assert summary["missing"] == []


def test_a_missing_seed_is_listed_and_makes_every_figure_over_it_unknown() -> None:
    results = {key: value for key, value in COMPLETE.items() if key != ("b", 2)}
    summary = summarize(["a", "b"], [1, 2], results)
    assert summary["missing"] == [{"task": "b", "seed": 2}]
    assert summary["tasks"]["b"]["missing_seeds"] == [2]
    figures = summary["tasks"]["b"]["metrics"]["micro_f1"]
    assert figures == {
        "by_seed": {"1": 0.5, "2": None},
        "n": 1,
        "mean": None,
        "standard_deviation": None,
        "min": None,
        "max": None,
    }
    assert summary["tasks"]["a"]["metrics"]["macro_f1"]["mean"] == pytest.approx(0.7)
    assert summary["average"]["primary"]["mean"] is None
    assert summary["average"]["primary"]["by_seed"]["1"] == pytest.approx(0.55)


def test_a_task_without_results_and_one_with_a_single_seed_are_summarized() -> None:
    summary = summarize(["a", "c"], [1], COMPLETE)
    assert summary["tasks"]["c"]["primary_metric"] is None
    assert summary["tasks"]["a"]["metrics"]["macro_f1"]["mean"] == 0.6
    assert summary["tasks"]["a"]["metrics"]["macro_f1"]["standard_deviation"] is None


def test_the_text_shows_percentages_and_what_is_missing() -> None:
    text = as_text(summarize(["a", "b"], [1, 2, 3], COMPLETE))
    assert "missing: a, seed 3" in text
    assert "unknown" in text
    lines = as_text(summarize(["a", "b"], [1, 2], COMPLETE)).splitlines()
    assert " ".join(lines[2].split()) == "task primary metric macro F1 micro F1 accuracy seeds"
    assert " ".join(lines[3].split()) == "a macro_f1 70.0 ± 14.1 80.0 ± 14.1 50.0 ± 0.0 2 of 2"
    assert lines[5].startswith("average  55.0 ± 0.0")


def test_an_entity_task_has_no_accuracy_and_keeps_its_own_metrics() -> None:
    scores = {"micro_f1": 0.7, "macro_f1": 0.6, "exact_micro_f1": 0.65}
    summary = summarize(["a", "n"], [1], {**COMPLETE, ("n", 1): {"primary_metric": "micro_f1", "test": scores}})
    assert summary["tasks"]["n"]["metrics"]["exact_micro_f1"]["mean"] == 0.65
    assert summary["tasks"]["n"]["metrics"]["accuracy"]["mean"] is None
    assert summary["average"]["primary"]["mean"] == pytest.approx(0.65)
    assert "n        micro_f1" in (text := as_text(summary))
    assert next(line for line in text.splitlines() if line.startswith("n ")).split()[-4:] == ["-", "1", "of", "1"]


def test_notes_on_the_data_are_below_the_scores() -> None:
    noted = {("a", 1): {**result(0.6, 0.7), "notes": ["3 of 40 test documents are in training too"]}}
    assert "a: 3 of 40 test documents are in training too" in as_text(summarize(["a"], [1], noted)).splitlines()
