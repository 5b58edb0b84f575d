"""Cards of others are checked against their own arithmetic, ours against the ledger."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from detour.accounting.energy import Method
from detour.cards.about_file import About
from detour.cards.conventions import Convention
from detour.cards.gathering import gather
from detour.cards.hub_folder import Record, write_hub_folder
from detour.cards.reading import read_card
from detour.cards.rendering import render
from detour.cards.verifying import verify_card
from detour.config.loading import load_cluster
from detour.errors import UserError
from detour.ledger.identity import workspace_id
from detour.ledger.workspace import Workspace
from tests.cards.made_up import CARD, framed, run_chain

NOWHERE = Workspace(Path("/nowhere"))


def verified(folder: Path, card: str, given: Convention | None = None) -> dict[str, str]:
    """Return sentence -> verdict."""
    path = folder / "card.txt"
    path.write_text(card, encoding="utf-8")
    return {finding.sentence: finding.verdict for finding in verify_card(path, NOWHERE, given)}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return verified(tmp_path_factory.mktemp("card"), framed(CARD))


def test_averages_are_recomputed_and_a_wrong_one_is_named(found: dict[str, str]) -> None:
    assert found["average of Made-up-base: stated 57.5, its 6 scores give 57.50"] == "holds"
    assert found["average of Older: stated 61, its 6 scores give 60.00"] == "differs"


def test_wins_and_sign_tests_of_both_sides_are_computed_for_every_other_model(found: dict[str, str]) -> None:
    sentence = (
        "Made-up-base against Plain baseline (ours): +2.00 on average, better on 6 of 6 tasks, "
        "sign test p = 0.0156 one-sided, 0.0312 two-sided"
    )
    assert found[sentence] == "computed"


def test_a_p_value_needs_its_sidedness(found: dict[str, str]) -> None:
    (sentence,) = (one for one in found if one.startswith("p = 0.016"))
    assert sentence.startswith("p = 0.016 is the one-sided sign test of Made-up-base against Plain baseline (ours)")
    assert "two-sided it is 0.0312" in sentence
    assert found[sentence] == "holds"


def test_gpu_hours_and_grams_are_recomputed(found: dict[str, str]) -> None:
    assert found["16 GPU-h: 4 GPUs x 4 h = 16 GPU-h"] == "holds"
    (sentence,) = (one for one in found if one.startswith("0.46 kg"))
    assert "16 GPU-h x 0.7 kW x PUE 1.2 x 34 g/kWh = 456.96 g (constants of jean-zay)" in sentence
    assert found[sentence] == "holds"


def test_totals_and_metadata_are_compared_with_the_tables(found: dict[str, str]) -> None:
    assert found["total of Tokens: stated 7.5B, its 2 rows give 7.5B"] == "holds"
    assert found["metadata: 2 of 2 figures of the model-index are those of the table"] == "holds"
    assert found["metadata: Drugs, Leaflets, Talks, Notes of the table are not in the model-index"] == "differs"


def test_metadata_without_indentation_is_read(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text(CARD)
    card = read_card(path)
    assert card.restored
    assert [(entry.model, entry.dataset, entry.value) for entry in card.entries] == [
        ("Made-up-base", "Cases-30", 74.8),
        ("Made-up-base", "Cases-100", 60.1),
    ]


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            "p=0.016",
            "p=0.001",
            "p = 0.001: sign tests give (one-sided / two-sided) Plain baseline (ours) 0.0156 / 0.0312",
        ),
        ("(+2.0pp", "(+3.0pp", "+3.0: the averages differ by Plain baseline (ours) +2.00"),
        ("all 6 tasks", "all 8 tasks", "8 of 8 tasks against Plain baseline (ours): the table has 6 of 6"),
        ("value: 74.8", "value: 75.8", "metadata: Cases-30 is 75.8, the table has 74.8"),
        ("**7.5B**", "**9B**", "total of Tokens: stated 9B, its 2 rows give 7.5B"),
        ("(16 GPU-h", "(18 GPU-h", "18 GPU-h: 4 GPUs x 4 h = 16 GPU-h"),
    ],
)
def test_a_figure_that_contradicts_the_others_differs(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    assert verified(tmp_path, CARD.replace(before, after))[sentence] == "differs"


@pytest.mark.parametrize(
    ("claim", "sentence", "verdict"),
    [
        ("p < 0.05", "p < 0.05 is the one-sided sign test of Made-up-base against Plain baseline (ours)", "holds"),
        ("p<0.001", "p < 0.001: sign tests give", "differs"),
        ("P = 1.6e-2", "p = 1.6e-2 is the one-sided sign test of Made-up-base", "holds"),
        ("p = 1.6 × 10⁻²", "p = 1.6e⁻² is the one-sided sign test of Made-up-base", "holds"),
        ("p < 1e-400", "p < 1e-400: sign tests give", "differs"),
        ("two-sided p = 0.016", "p = 0.016 two-sided: sign tests give", "differs"),
        ("two-sided p = 0.031", "p = 0.031 is the two-sided sign test of Made-up-base", "holds"),
        ("p = 0.0156 one-sided, 0.031 two-sided", "p = 0.0156 is the one-sided sign test of Made-up-base", "holds"),
        ("p = 0.031 (1-tailed)", "p = 0.031 one-sided: sign tests give", "differs"),
        ("Wilcoxon p = 0.031", "p = 0.031 is the two-sided Wilcoxon test of Made-up-base", "holds"),
        ("Wilcoxon p = 0.04", "p = 0.04: Wilcoxon tests give", "differs"),
        ("paired t-test, p = 0.02", "p = 0.02: of a test over seeds or documents", "unknown"),
        ("all six tasks", "6 of 6 tasks against Plain baseline (ours): the table has 6 of 6", "holds"),
        ("+2.0 F1", "+2.0 against Plain baseline (ours): the averages differ by 2.00", "holds"),
        ("6/6 tasks", "6 of 6 tasks against Plain baseline (ours): the table has 6 of 6", "holds"),
        ("better by 2.0 points", "+2.0 against Plain baseline (ours): the averages differ by 2.00", "holds"),
        ("5 out of 6 tasks", "5 of 6 tasks against Plain baseline (ours): the table has 6 of 6", "differs"),
        ("5 tasks out of 6", "5 of 6 tasks against Plain baseline (ours): the table has 6 of 6", "differs"),
        ("each of the 6 tasks", "6 of 6 tasks against Plain baseline (ours): the table has 6 of 6", "holds"),
        ("an improvement of 3.0 points", "+3.0: the averages differ by Plain baseline (ours) +2.00", "differs"),
        ("3.0 points better", "+3.0: the averages differ by Plain baseline (ours) +2.00", "differs"),
        ("p-value of 0.04", "p = 0.04: sign tests give", "differs"),
        ("p > 0.05", "p > 0.05: sign tests give", "differs"),
        ("as good as a masked model (p = 0.04)", "p = 0.04: sign tests give", "differs"),
    ],
)
def test_claims_are_recognized_in_other_words(tmp_path: Path, claim: str, sentence: str, verdict: str) -> None:
    words = (
        f"Made-up-base beats the plain baseline on {claim}." if "tasks" in claim else f"The plain baseline: {claim}."
    )
    found = verified(tmp_path, f"{CARD}\n{words}\n")
    assert [judgement for one, judgement in found.items() if one.startswith(sentence)] == [verdict]


@pytest.mark.parametrize(
    ("claim", "sentence", "verdict"),
    [
        ("+14.8 points on Cases-30 over Older", "+14.8 on Cases-30 against Older: the scores differ by 14.80", "holds"),
        ("+15.8 points on Cases-30 over Older", "+15.8: the scores differ by Older +14.80 on Cases-30", "differs"),
        ("On Cases-30, 14.8 points better than Older", "+14.8 on Cases-30 against Older: the scores", "holds"),
        (
            "On Notes it is 10.0 points below Older",
            "+10.0 on Notes against Older: the scores differ by -10.00",
            "holds",
        ),
        (
            "14.8 points below Older on Cases-30",
            "+14.8: the scores differ by Older +14.80 on Cases-30; which",
            "unknown",
        ),
    ],
)
def test_a_difference_is_judged_on_the_task_that_it_names(
    tmp_path: Path, claim: str, sentence: str, verdict: str
) -> None:
    found = verified(tmp_path, f"{CARD}\n{claim}.\n")
    assert [judgement for one, judgement in found.items() if one.startswith(sentence)] == [verdict]


def test_what_rounded_scores_allow_is_not_called_wrong(tmp_path: Path) -> None:
    rows = "| X | 70.1 | 70.0 | 70.0 | 70.0 |\n| Y | 70.0 | 69.9 | 70.1 | {} |\n"
    table = f"| Model | A | B | C | Avg |\n|---|---|---|---|---|\n{rows}"
    text = "X gains {} points over Y (95 % interval, as larger ones are found less often)."
    found = verified(tmp_path, f"{table.format('69.9')}\n{text.format('+0.09')}\n")
    maybe = "before they were rounded, they may have given it"
    assert found[f"average of Y: stated 69.9, its 3 scores give 70.00; {maybe}"] == "unknown"
    assert found[f"+0.09 against Y: the averages differ by 0.03; {maybe}"] == "unknown"
    found = verified(tmp_path, f"{table.format('69.8')}\n{text.format('+0.19')}\n")
    assert found["average of Y: stated 69.8, its 3 scores give 70.00"] == "differs"
    assert found["+0.19: the averages differ by Y +0.03"] == "differs"


@pytest.mark.parametrize("words", ["Tokens are masked with p = 0.15.", "Dropout (p=0.1).", "Use top-p: 0.9, p: 0.3."])
def test_a_probability_that_is_no_p_value_is_not_judged(tmp_path: Path, words: str) -> None:
    assert verified(tmp_path, f"{CARD}\n{words}\n") == verified(tmp_path, CARD)


def test_a_claim_about_every_task_is_counted(tmp_path: Path) -> None:
    ours, theirs = "| Made-up-base | 70 | 60 | 50 |", "| Older | 69 | 61 | 49 |"
    table = f"| Model | A | B | C |\n|---|---|---|---|\n{ours}\n{theirs}\n"
    five = table.replace("| A |", "| A | D | E |").replace("|---|---", "|---|---|---|---", 1)
    five = five.replace("| 70 |", "| 70 | 70 | 70 |").replace("| 69 |", "| 69 | 69 | 69 |")
    found = verified(tmp_path, f"{five}\nIt beats Older on every task.\n")
    assert found["5 of 5 tasks against Older: the table has 4 of 5"] == "differs"


def test_a_card_of_two_sizes_compares_its_metadata_with_the_table_of_its_own(tmp_path: Path) -> None:
    def table(model: str, score: float) -> str:
        return f"| Model | T1 | Avg |\n|---|---|---|\n| {model} | {score} | {score} |\n| B | 70.0 | 70.0 |\n"

    index = (
        "---\nmodel-index:\n- name: Base\n  results:\n  - dataset: {name: T1}\n"
        "    metrics: [{type: f1, value: 74.8}, {type: accuracy, value: 80.1}]\n---\n"
    )
    found = verified(tmp_path, f"{index}{table('Base', 74.8)}\n{table('Large', 84.8)}")
    assert {one: verdict for one, verdict in found.items() if one.startswith("metadata")} == {
        "metadata: T1 accuracy is not the metric of the table": "unknown",
        "metadata: 1 of 1 figures of the model-index are those of the table": "holds",
    }


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ("16 H100 GPU hours", "0.46 kg CO2eq for 16 GPU-h: 16 GPU-h x 0.7 kW x PUE 1.2 x 34 g/kWh = 456.96 g"),
        ("16 GPU·h", "0.46 kg CO2eq for 16 GPU-h: 16 GPU-h x 0.7 kW x PUE 1.2 x 34 g/kWh = 456.96 g"),
        ("5 537 GPU-h", "0.46 kg CO2eq for 5 537 GPU-h: 0.08308 g per GPU-h, which no profile's"),
        ("5\u2019537.0 GPU-h", "0.46 kg CO2eq for 5\u2019537.0 GPU-h: 0.08308 g per GPU-h, which no profile's"),
    ],
)
def test_hours_are_read_whole(tmp_path: Path, stated: str, sentence: str) -> None:
    (found,) = verified(tmp_path, f"It took {stated} and 0.46 kg CO2eq.\n")
    assert found.startswith(sentence)


@pytest.mark.parametrize(("hours", "stated"), [("383", "10.94"), ("564", "16.1"), ("5,537", "158.1"), ("2", "0.06")])
def test_one_convention_fits_figures_of_other_runs_too(tmp_path: Path, hours: str, stated: str) -> None:
    (sentence,) = verified(tmp_path, f"It took {hours} H100-hours and {stated} kgCO2eq.\n").items()
    assert sentence[0].startswith(f"{stated} kg CO2eq for {hours} GPU-h: ")
    assert sentence[1] == "holds"


FOOTPRINTS = """\
| Model | H100-hours | CO2eq (kg) |
|---|---|---|
| base | **383** | ~10.94 |
| large | 5,537 | 158.1 |
| other | 16 | 0.64 |
"""
FACTS = """\
| | |
|---|---|
| GPU hours | 16 |
| Board power | 700 W |
| PUE | 1.2 |
| Grid | 34 gCO2eq/kWh |
| Emissions | 0.64 kg CO2eq |
"""


def test_hours_and_grams_in_tables_are_recomputed(tmp_path: Path) -> None:
    verdicts = [(one.partition(":")[0], verdict) for one, verdict in verified(tmp_path, FOOTPRINTS).items()]
    assert verdicts == [
        ("10.94 kg CO2eq for 383 GPU-h", "holds"),
        ("158.1 kg CO2eq for 5,537 GPU-h", "holds"),
        ("0.64 kg CO2eq for 16 GPU-h", "unknown"),
    ]
    ((sentence, verdict),) = verified(tmp_path, FACTS).items()
    assert (verdict, sentence.endswith("= 456.96 g (the card's own constants)")) == ("differs", True)


@pytest.mark.parametrize(("stated", "verdict"), [("456.96 g", "holds"), ("0.46 kg", "holds"), ("466.96 g", "differs")])
def test_a_written_out_multiplication_is_recomputed(tmp_path: Path, stated: str, verdict: str) -> None:
    found = verified(tmp_path, f"It took 16 GPU-h × 700 W × 1.2 (PUE) × 34 gCO2eq/kWh = {stated}.\n")
    assert list(found.values()) == [verdict]


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("2.5 hours on 8 A100 GPUs (20 GPU hours)", "holds"),
        ("2.5 hours on 8 NVIDIA A100 (22 GPU-h)", "differs"),
        ("2 h on 8 A100, then 3 h (40 GPU-h)", "unknown"),
        ("2.5 hours on 8 GPUs (22 A100 GPU hours)", "differs"),
        ("4 hours on 4 H100 (16 H100-hours)", "holds"),
    ],
)
def test_gpus_times_hours_are_gpu_hours(tmp_path: Path, statement: str, verdict: str) -> None:
    assert list(verified(tmp_path, f"Trained for {statement}.\n").values()) == [verdict]


def test_grams_of_the_metadata_are_compared_with_those_of_the_training_only(tmp_path: Path) -> None:
    def finding(emissions: str, text: str) -> str:
        card = f"---\nco2_eq_emissions: {{emissions: {emissions}}}\n---\n{text}\n"
        return next(verdict for one, verdict in verified(tmp_path, card).items() if one.startswith("metadata: "))

    tasks = "Task one: 48 mg CO2eq.\n\nTask two: 52 mg CO2eq."
    training = "| GPU-hours | CO2eq |\n|---|---|\n| 16 | 457 g |"
    assert finding("456.96", f"{tasks}\n\n{training}") == "holds"
    assert finding("457", "Trained for 16 GPU-h: 456.96 g CO2eq.") == "holds", "rounded in the metadata"
    assert finding("460", "Trained for 16 GPU-h: 0,46 kg CO2eq.") == "holds", "with a decimal comma"
    assert finding("46000", "Trained for 16 GPU-h: 0,46 kg CO2eq.") == "differs"
    assert finding("466.96", f"{tasks}\n\n{training}") == "differs"
    assert finding("456.96", tasks) == "unknown"


@pytest.mark.parametrize("value", ["74.83", "0.748", "'74.8'"])
def test_metadata_can_be_more_exact_than_the_table_a_fraction_or_text(tmp_path: Path, value: str) -> None:
    card = CARD.replace("value: 74.8", f"value: {value}")
    assert verified(tmp_path, card)["metadata: 2 of 2 figures of the model-index are those of the table"] == "holds"


def test_an_average_is_judged_with_its_decimals(tmp_path: Path) -> None:
    whole = CARD.replace("**57.5**", "**58**").replace("| 55.5 |", "| 56 |").replace("| 61.0 |", "| 60 |")
    averages = {one: judgement for one, judgement in verified(tmp_path, whole).items() if one.startswith("average of")}
    assert list(averages.values()) == ["holds"] * 3
    one_wrong = verified(tmp_path, CARD.replace("**57.5**", "**58.0**"))
    assert one_wrong["average of Made-up-base: stated 58, its 6 scores give 57.50"] == "differs"


def test_carbon_is_judged_by_the_stated_constants(tmp_path: Path) -> None:
    given = Convention.chosen(load_cluster("jean-zay"), None, None, 56.0)
    (sentence,) = (one for one in verified(tmp_path, CARD, given) if one.startswith("0.46 kg"))
    assert "= 752.64 g" in sentence
    assert verified(tmp_path, CARD, given)[sentence] == "differs"
    with pytest.raises(UserError, match="are needed together"):
        Convention.chosen(None, 0.7, None, 34.0)


def test_grams_that_no_known_constants_give_are_not_called_wrong(tmp_path: Path) -> None:
    (sentence,) = (one for one in verified(tmp_path, CARD.replace("0.46 kg", "9.99 kg")) if one.startswith("9.99 kg"))
    assert verified(tmp_path, CARD.replace("0.46 kg", "9.99 kg"))[sentence] == "unknown"
    assert "624.4 g per GPU-h" in sentence
    assert "the nearest gives 2,105.31 g (constants of marenostrum5)" in sentence


def test_constants_of_simulated_gpus_are_never_used(tmp_path: Path) -> None:
    """Those of the test cluster would give 0.63 kg."""
    found = verified(tmp_path, CARD.replace("0.46 kg", "0.63 kg"))
    (sentence,) = (one for one in found if one.startswith("0.63 kg"))
    assert found[sentence] == "unknown"
    assert "the nearest gives 456.96 g (constants of jean-zay)" in sentence


def test_metadata_in_kilograms_is_detected(tmp_path: Path) -> None:
    wrong = CARD.replace("license: apache-2.0", "license: apache-2.0\nco2_eq_emissions: 0.46")
    assert verified(tmp_path, wrong)[
        "metadata: 0.46 g CO2eq, the text has 0.46 kg (1000 times as much); the hub's unit is grams"
    ] == "differs"  # fmt: skip


def test_a_card_without_figures_says_that_it_cannot_be_checked(tmp_path: Path) -> None:
    assert list(verified(tmp_path, "# A model\n\nIt is good.\n").values()) == ["unknown"]


@pytest.mark.parametrize(
    "value",
    [
        "2026-02-30",
        "!!timestamp 1",
        "!!bool x",
        "!!int x",
        "!!float x",
        "!!binary é",
        "!!set [a]",
        "{[a]: b}",
        "[" * 999,
    ],
)
def test_a_value_that_does_not_fit_its_tag_is_one_message(tmp_path: Path, value: str) -> None:
    with pytest.raises(UserError, match=r"card.txt: its metadata are not YAML"):
        verified(tmp_path, f"---\nlicense: {value}\n---\n\n# A model\n")


def test_metadata_that_is_no_yaml_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"card.txt: its metadata are not YAML"):
        verified(tmp_path, "---\na: [1\n---\n")


@pytest.mark.parametrize(
    "metadata",
    [
        "model-index: {name: m}",
        "model-index: [m, {name: m, results: 7}, {name: m, results: [{metrics: 7}, 7]}]",
        "model-index: [{name: m, results: [{dataset: Cases-30, metrics: [{type: f1, value: 74.8}]}]}]",
        f"model-index: [{{name: m, results: [{{dataset: [a], metrics: [{{value: 1{'0' * 400}}}]}}]}}]",
        "co2_eq_emissions: .nan",
        "co2_eq_emissions: {emissions: .inf}",
        f"co2_eq_emissions: 1{'0' * 400}",
    ],
    ids=range(7),
)
def test_metadata_of_another_form_leave_the_rest_checked(tmp_path: Path, metadata: str) -> None:
    body = CARD.partition("\n---\n")[2]
    found = verified(tmp_path, f"---\n{metadata}\n---\n{body}")
    assert found["average of Older: stated 61, its 6 scores give 60.00"] == "differs"
    assert found["16 GPU-h: 4 GPUs x 4 h = 16 GPU-h"] == "holds"


@pytest.mark.parametrize(
    ("gpus", "sentence", "verdict"),
    [
        ("2 nodes of 2 GPUs", "16 GPU-h: 2 nodes x 2 GPUs x 4 h = 16 GPU-h", "holds"),
        ("4 GPUs on 2 nodes", "16 GPU-h: 4 GPUs x 4 h = 16 GPU-h", "holds"),
        ("3 nodes of 3 GPUs", "16 GPU-h: 3 GPUs x 4 h = 12 GPU-h", "differs"),
    ],
)
def test_gpus_may_be_those_of_each_node(tmp_path: Path, gpus: str, sentence: str, verdict: str) -> None:
    assert verified(tmp_path, f"It took 16 GPU-h, on {gpus} for 4 hours.\n")[sentence] == verdict


@pytest.mark.parametrize("digits", [400, 50_000])
def test_absurdly_long_figures_are_checked_like_others(tmp_path: Path, digits: int) -> None:
    many = "9" * digits
    card = f"{many} x H100 for 4 hours, 16 GPU-h and {many} kg CO2eq. It wins on {many} of 6 tasks.\n"
    assert any(sentence.startswith("16 GPU-h: 999") for sentence in verified(tmp_path, card))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path]:
    workspace = run_chain(Workspace(tmp_path_factory.mktemp("workspace")), "made-up")
    folder = workspace.root / "hub" / "made-up"
    record = Record("made-up", workspace_id(workspace.root), About(languages=("fr",)))
    write_hub_folder(workspace, folder, gather(workspace, "made-up", record.about), record)
    return workspace, folder


def test_every_number_of_our_own_card_agrees_with_the_ledger(hub: tuple[Workspace, Path]) -> None:
    workspace, folder = hub
    (finding,) = verify_card(folder, workspace)
    assert finding.verdict == "holds"
    assert int(finding.sentence.split()[0]) > 60


def test_a_number_changed_by_hand_is_found_with_its_line(hub: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, folder = hub
    card = (folder / "README.md").read_text()
    for name in ("README.md", "card.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "README.md").write_text(card.replace("4.3000", "3.3000", 1) + "\nIt won 12 prizes.\n")
    found = verify_card(tmp_path, workspace)
    assert any(
        one.verdict == "differs" and one.sentence.endswith("the ledger gives 4.3000") and one.line for one in found
    )
    assert any(one.verdict == "unknown" and "12 prizes" in one.sentence for one in found)


def test_names_that_say_what_a_number_is_are_compared_too(hub: tuple[Workspace, Path], tmp_path: Path) -> None:
    """Two tasks swapped in the header of a table or in the model-index change no number."""
    workspace, folder = hub
    card = (folder / "README.md").read_text()
    (tmp_path / "card.json").write_bytes((folder / "card.json").read_bytes())
    for before, after in (("| drugs | leaflets |", "| leaflets | drugs |"), ("name: drugs", "name: leaflets")):
        assert before in card
        (tmp_path / "README.md").write_text(card.replace(before, after))
        assert "differs" in {one.verdict for one in verify_card(tmp_path, workspace)}


def test_our_own_card_is_not_checked_against_another_workspace(hub: tuple[Workspace, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was made in a workspace other than"):
        verify_card(hub[1], Workspace(tmp_path))


def test_a_card_that_is_not_text_is_named(hub: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, folder = hub
    changed = shutil.copytree(folder, tmp_path / "hub")
    (changed / "README.md").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"hub/README.md: not UTF-8 text"):
        verify_card(changed, workspace)


def test_the_card_of_an_earlier_version_is_not_called_wrong(hub: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, folder = hub
    (tmp_path / "README.md").write_bytes((folder / "README.md").read_bytes())
    record = json.loads((folder / "card.json").read_text())
    assert record["export"].startswith("export-")
    (tmp_path / "card.json").write_text(json.dumps(record | {"export": "export-1a2b"}))
    with pytest.raises(UserError, match=r"describes export-1a2b, and the recipe of made-up now makes export-"):
        verify_card(tmp_path, workspace)
    del record["export"]  # written by an earlier version of detour
    (tmp_path / "card.json").write_text(json.dumps(record))
    assert [one.verdict for one in verify_card(tmp_path, workspace)] == ["holds"]


def test_without_its_ledger_our_own_card_is_checked_by_its_arithmetic(tmp_path: Path) -> None:
    """This includes its statements about the baseline; tests over seeds cannot be checked."""
    workspace = run_chain(Workspace(tmp_path / "workspace"), "made-up")
    run_chain(workspace, "baseline", "masked", gain=-2.0)
    about = About(title="Made-up-base", compare_with=("baseline",))
    found = verified(tmp_path, render(gather(workspace, "made-up", about, method=Method.CARD)))
    unknown = [one for one, verdict in found.items() if verdict not in ("holds", "computed")]
    assert all("of a test over seeds or documents" in one for one in unknown)
    assert any(one.startswith("p = 0.031 is the one-sided sign test of Made-up-base") for one in found)
    assert any(one.startswith("p = 0.062 is the two-sided Wilcoxon test of Made-up-base") for one in found)
    assert any("= 456.96 g" in sentence for sentence in found)
    assert found["metadata: 456.96 g CO2eq is the text's 456.96 g"] == "holds"
