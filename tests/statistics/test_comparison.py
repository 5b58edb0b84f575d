"""The statements of a comparison of made-up models, and what it refuses to state."""

from __future__ import annotations

import pytest

from detour.errors import UserError
from detour.statistics.comparing import compare
from detour.statistics.comparison import AVERAGE, Comparison
from detour.statistics.scores import Score, ScoreTable, merged
from detour.statistics.tables import csv_text, latex, markdown
from detour.statistics.verdicts import p_is, sentences, verdict

TASKS = ("cases", "drugs", "dialogues", "codes", "genes", "notes")
NOISE = (0.3, -0.2, 0.1, -0.4, 0.2)


def scores(gain: float, tasks: tuple[str, ...] = TASKS, seeds: int = 5) -> list[Score]:
    """`ours` is better by `gain` on each task, up to the noise of its seeds."""
    return [
        score
        for number, task in enumerate(tasks)
        for seed, noise in enumerate(NOISE[:seeds])
        for score in (
            Score("ours", task, seed, 60 + 5 * number + gain + noise),
            Score("theirs", task, seed, 60 + 5 * number),
        )
    ]


def compared(values: list[Score], against: str | None = None) -> Comparison:
    return compare(ScoreTable.of(values), against)


def test_a_clear_difference_is_tested_over_seeds_and_over_tasks() -> None:
    (pair,) = compared(scores(2.0)).pairs
    assert pair.average.mean == pytest.approx(2.0)
    assert pair.over_tasks is not None
    assert (pair.over_tasks.signs.wins, pair.over_tasks.signs.p_two_sided) == (6, 2**-5)
    assert pair.average.over_seeds is not None
    assert pair.average.over_seeds.n == 5
    assert pair.distinguishable
    assert pair.untested == ()


def test_tasks_of_two_sources_are_the_same_if_their_names_have_equal_letters_and_digits() -> None:
    """A card writes FrACCO-30 and EMEA, the shipped benchmark fracco-30 and emea."""
    chain = ScoreTable.of([Score("ours", task, 1, 60.0) for task in ("fracco-30", "emea", "cantemist-fr")])
    notes = ["column Ctx left out: it describes the models"]
    card = ScoreTable.of([Score("card", task, None, 50.0) for task in ("FrACCO-30", "EMEA", "CANTEMIST")], notes=notes)
    table = merged([chain, card])
    assert table.tasks == ("fracco-30", "emea", "cantemist-fr", "CANTEMIST")
    assert table.cells["card", "emea"] == {None: 50.0}
    assert table.notes == (*notes, "FrACCO-30 is taken for fracco-30", "EMEA is taken for emea")
    assert [(gap.model, gap.task) for gap in table.gaps()] == [("ours", "CANTEMIST"), ("card", "cantemist-fr")]


def test_tasks_that_one_source_tells_apart_stay_apart() -> None:
    first = ScoreTable.of([Score("ours", task, 1, 60.0) for task in ("t1", "T-1")])
    second = ScoreTable.of([Score("theirs", task, 1, 50.0) for task in ("T1", "t-1")])
    assert merged([first, second]).tasks == ("t1", "T-1", "T1", "t-1")


def test_a_difference_within_the_noise_is_not_distinguishable() -> None:
    comparison = compared(scores(0.05))
    message = verdict(comparison, comparison.pairs[0])
    assert message.startswith("ours and theirs are not distinguishable on average over 6 tasks (+0.05 points): 5 seeds")


def test_equal_scores_are_called_equal() -> None:
    for seeds, rest in ((2, ", alike on every seed"), (1, "; nothing can be tested")):
        comparison = compared([Score(model, "t", seed, 50.0) for model in "AB" for seed in range(seeds)])
        assert verdict(comparison, comparison.pairs[0]) == f"A and B have equal scores on t{rest}"


def test_the_verdict_names_the_better_model_in_any_order() -> None:
    comparison = compared(scores(-2.0))
    assert verdict(comparison, comparison.pairs[0]).startswith("theirs is better than ours by 2.00 points on average")


def test_fewer_than_five_tasks_are_not_tested_and_it_says_so() -> None:
    (pair,) = compared(scores(2.0, TASKS[:4])).pairs
    assert pair.over_tasks is None
    assert pair.untested == ("no test over tasks: it takes 5 of them or more, there are 4",)


def test_a_missing_seed_is_named_and_nothing_is_averaged_over_it() -> None:
    comparison = compared([one for one in scores(2.0) if (one.model, one.task, one.seed) != ("theirs", "drugs", 3)])
    assert [str(gap) for gap in comparison.gaps] == ["theirs: drugs, seed 3"]
    assert comparison.cells["theirs"]["drugs"].mean is None
    assert comparison.averages["theirs"].mean is None
    assert comparison.averages["ours"].mean is not None
    (pair,) = comparison.pairs
    assert (pair.average.mean, pair.over_tasks) == (None, None)
    assert pair.untested[0].endswith("scores are missing: drugs")


def test_a_score_that_is_not_finite_is_missing() -> None:
    table = ScoreTable.of([Score("a", "t", 1, float("nan")), Score("a", "t", 2, 1.0), Score("b", "t", 1, 1.0)])
    assert [str(gap) for gap in table.gaps()] == ["a: t, seed 1", "b: t, seed 2"]


def test_the_comparison_can_be_limited_to_common_tasks() -> None:
    values = [one for one in scores(2.0) if (one.model, one.task, one.seed) != ("theirs", "drugs", 3)]
    comparison = compare(ScoreTable.of(values).common())
    assert comparison.cells["ours"]["drugs"].n == 4
    assert comparison.gaps == ()
    assert comparison.notes == ("left out, because not all models have it: drugs (seeds: 3)",)


def test_p_values_are_adjusted_for_all_pairs() -> None:
    others = [Score(f"m{n}", one.task, one.seed, (one.value or 0) - n) for n in (1, 2) for one in scores(0.0)[1::2]]
    all_pairs, few = compared(scores(1.0) + others), compared(scores(1.0) + others, "theirs")
    assert (len(all_pairs.pairs), len(few.pairs)) == (6, 3)
    assert all_pairs.pairs[0].p_tasks_adjusted == pytest.approx(6 / 32)
    assert few.pairs[0].p_tasks_adjusted == pytest.approx(3 / 32)


def test_single_figures_are_tested_over_tasks_only() -> None:
    values = [Score(m, t, None, 60.0 + n + (m == "ours")) for n, t in enumerate(TASKS) for m in ("ours", "theirs")]
    (pair,) = compared(values).pairs
    assert pair.over_tasks is not None
    assert pair.average.over_seeds is None
    assert pair.untested == ("no test over seeds: the scores of the same seeds of both models are needed",)


def test_a_single_seed_is_tested_over_tasks_as_single_figures_are() -> None:
    comparison = compared(scores(2.0, seeds=1))
    assert (
        verdict(comparison, comparison.pairs[0]) == "ours is better than theirs by 2.30 points on average over 6 tasks"
    )
    assert comparison.bold(AVERAGE) == "ours"


def test_a_better_average_is_not_confirmed_by_a_test_that_the_other_model_wins() -> None:
    """`ours` is far better on one task, and worse on the other nine."""
    gains = [40.0] + [-0.5] * 9
    values = [Score("ours", f"t{n}", None, 50 + gain) for n, gain in enumerate(gains)]
    comparison = compared(values + [Score("theirs", f"t{n}", None, 50.0) for n in range(10)])
    assert comparison.pairs[0].p_tasks_adjusted == pytest.approx(22 / 1024)
    assert verdict(comparison, comparison.pairs[0]) == (
        "ours and theirs are not distinguishable on average over 10 tasks (+3.55 points)"
    )
    assert comparison.bold(AVERAGE) is None


def test_only_a_distinguishable_best_score_is_bold() -> None:
    assert compared(scores(2.0)).bold(AVERAGE) == "ours"
    assert compared(scores(0.05)).bold(AVERAGE) is None
    assert "**62.0**" in markdown(compared(scores(2.0)))
    assert r"\textbf{62.0}" in latex(compared(scores(2.0)))


def test_the_csv_has_a_row_for_each_cell_with_its_interval() -> None:
    lines = csv_text(compared(scores(2.0))).splitlines()
    assert lines[0] == "model,task,seeds,mean,standard_deviation,low,high,best_and_distinguishable"
    assert len(lines) == 1 + 2 * 7
    assert lines[1].startswith("ours,cases,5,62.0,")


def test_names_cannot_break_a_table() -> None:
    values = [Score(model, "a|b_c", seed, 1.0 + seed) for model in ("x | y", "z_&") for seed in (1, 2)]
    assert r"| x \| y |" in markdown(compared(values))
    assert r"a|b\_c" in latex(compared(values))
    assert r"z\_\& &" in latex(compared(values))


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(UserError, match="neither is none of the models compared: ours, theirs"):
        compared(scores(1.0), "neither")


def test_each_sentence_about_a_pair_states_its_figure() -> None:
    comparison = compared(scores(2.0))
    message = list(sentences(comparison, comparison.pairs[0]))
    assert message[2].startswith(
        "ours is better on 6 of 6 tasks: sign test p = 0.016 one-sided (ours better), 0.031 two"
    )
    assert any(
        sentence.startswith("drugs: +2.00 (95 % interval +1.64 to +2.36; 5 of 5 seeds better;") for sentence in message
    )


def test_a_single_seed_and_equal_scores_are_reported_without_a_test() -> None:
    single = compared(scores(2.0, seeds=1))
    assert "drugs: +2.30 (a single seed)" in list(sentences(single, single.pairs[0]))
    equal = compared([Score(model, task, None, 60.0) for model in ("ours", "theirs") for task in TASKS])
    message = "ours is better on 0 of 6 tasks, 6 equal: nothing to test"
    assert message in list(sentences(equal, equal.pairs[0]))


def test_tiny_p_values_are_bounds() -> None:
    assert (p_is(None), p_is(0.00009), p_is(0.0039)) == ("p unknown", "p < 0.0001", "p = 0.0039")
