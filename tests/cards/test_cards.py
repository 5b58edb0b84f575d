"""The card of a chain: figures of the ledger, metadata that the hub can read, a replaceable template."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from detour.accounting.energy import Method
from detour.accounting.result_cost import Spent
from detour.cards.about_file import About, TaskAbout, load_about
from detour.cards.content import Content
from detour.cards.gathering import gather
from detour.cards.hub_folder import Record, default_folder, write_hub_folder
from detour.cards.metadata import card_data
from detour.cards.rendering import default_template, render, spent
from detour.checkpoints.acceptance import ACCEPTED, accept_gate
from detour.config.problems import RecipeError
from detour.errors import UserError
from detour.ledger.workspace import Workspace
from tests.cards.made_up import CONFIG, TASKS, run_chain, stages
from tests.reporting.fabricate import EPOCH_S, HELD, Clock, Made

ABOUT = About(
    title="Made-up-base",
    languages=("fr",),
    license="apache-2.0",
    datasets=("someone/corpus",),
    base_model="someone/base",
    tasks={
        "cases-30": TaskAbout(name="Cases-30", dataset="someone/cases"),
        "cases-100": TaskAbout(name="Cases-100", dataset="someone/cases"),
        "talks": TaskAbout(name="Talks", dataset="talks", type="token-classification"),
    },
    compare_with=("baseline",),
    citation="@misc{made2026up}",
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = run_chain(Workspace(tmp_path_factory.mktemp("workspace")), "made-up")
    return run_chain(workspace, "baseline", "masked", gain=-2.0)


@pytest.fixture(scope="module")
def content(workspace: Workspace) -> Content:
    return gather(workspace, "made-up", ABOUT, method=Method.CARD)


def metadata(content: Content) -> Any:
    """Return the metadata as the library of the hub reads them from the text."""
    return ModelCard(render(content), ignore_metadata_errors=False).data


def test_16_gpu_hours_are_457_grams_by_the_card_convention(content: Content) -> None:
    assert metadata(content).co2_eq_emissions == {
        "emissions": 456.96,
        "source": "detour, card convention: 16 GPU-h x 0.7 kW x PUE 1.2 x 34 g/kWh = 456.96 g",
        "training_type": "pre-training",
        "geographical_location": "FR",
        "hardware_used": "4 x h100",
    }


def test_emissions_of_a_part_of_the_time_are_stated_as_such(workspace: Workspace) -> None:
    content = gather(workspace, "made-up", ABOUT, method=Method.ESTIMATED)
    assert content.compute is not None
    assert content.compute.quoted is not None
    row = content.compute.quoted.row
    half = replace(content.compute.quoted, row=row._replace(covered_s=row.allocated_s / 2))
    stated = card_data(replace(content, compute=replace(content.compute, quoted=half))).co2_eq_emissions
    assert stated["source"].startswith("detour, M2 estimated, 50 % of the time: ")


def test_the_card_convention_has_no_band_and_the_estimate_has_one(content: Content) -> None:
    rows = {line.split(" | ")[0].strip("| "): line for line in render(content).splitlines()}
    assert "| 457 g |  |" in rows["card convention"]
    assert " to " in rows["M2 estimated"]


def test_every_result_survives_the_library_of_the_hub_even_with_a_shared_data_set(content: Content) -> None:
    data = metadata(content)
    found = {(one.dataset_name, one.task_type, one.dataset_type): one.metric_value for one in data.eval_results}
    assert found == {
        ("Cases-30", "text-classification", "someone/cases"): 74.8,
        ("Cases-100", "text-classification", "someone/cases"): 60.1,
        ("drugs", "text-classification", "drugs"): 71.0,
        ("leaflets", "text-classification", "leaflets"): 25.5,
        ("Talks", "token-classification", "talks"): 63.6,
    }
    again: Any = ModelCard(f"---\n{data.to_yaml()}\n---\n").data
    assert again.eval_results == data.eval_results == card_data(content).eval_results


def test_metadata_has_language_licence_base_and_corpora(content: Content) -> None:
    data = metadata(content)
    assert (data.language, data.license, data.base_model) == (["fr"], "apache-2.0", "someone/base")
    assert (data.datasets, data.pipeline_tag, data.model_name) == (["someone/corpus"], "fill-mask", "Made-up-base")


def test_results_are_shown_next_to_the_baseline_with_what_they_show(content: Content) -> None:
    text = render(content)
    assert "| Model | Cases-30 | Cases-100 | drugs | leaflets | Talks | **Avg** |" in text
    assert "| baseline | 72.8 | 58.1 | 69.0 | 23.5 | 61.6 | 57.0 |" in text
    assert (
        "Made-up-base is better on 5 of 5 tasks: sign test p = 0.031 one-sided (Made-up-base better), 0.062 two" in text
    )


def test_a_model_with_more_seeds_hides_no_result_of_the_chain(workspace: Workspace, tmp_path: Path) -> None:
    """Without a score of seed 45, the chain has no mean beside the other model, but its own results are complete."""
    more = tmp_path / "more.csv"
    more.write_text("model,task,seed,value\n" + "".join(f"other,drugs,{seed},70\n" for seed in (42, 43, 44, 45)))
    alone = gather(workspace, "made-up", About(), method=Method.CARD)
    beside = gather(workspace, "made-up", About(title="Ours", compare_with=(str(more),)), method=Method.CARD)
    assert (beside.scores, beside.seeds) == (alone.scores, 3)
    assert "missing: Ours: drugs, seed 45" in beside.findings


def test_one_seed_is_not_called_seeds(content: Content) -> None:
    single = replace(content, seeds=1, scores=tuple(replace(score, seeds=1) for score in content.scores))
    text = render(single)
    assert "Mean test scores in points over 1 seed, each task" in text
    assert "1 seeds" not in text


def test_a_task_that_the_benchmark_lacks_is_refused(workspace: Workspace) -> None:
    with pytest.raises(
        UserError, match=r"the task 'case-30', which is not in the chain's benchmark; its tasks: cases-30,"
    ):
        gather(workspace, "made-up", About(tasks={"case-30": TaskAbout(name="Cases")}))


def test_a_name_that_two_tasks_would_have_is_not_shown_in_the_table(workspace: Workspace) -> None:
    shared = {name: TaskAbout(name="Cases") for name in ("cases-30", "cases-100")}
    found = gather(workspace, "made-up", About(tasks=shared)).results_table
    assert found is not None
    assert found.startswith("| Model | cases-30 | cases-100 | drugs |")


def test_every_score_has_the_cost_of_its_three_seeds(content: Content) -> None:
    """3 min of 2 cores at 7.3 W and 24 GB at 0.3725 W, x PUE 1.2 = 1.4124 Wh, x 34 g/kWh."""
    for score in content.scores:
        assert (score.spent.allocated_s, score.spent.energy_method) == (180.0, "M2 estimated")
        assert score.spent.facility_energy_kwh == pytest.approx(0.0014124)
        assert score.spent.co2_g == pytest.approx(0.0480216)
    assert "3 seeds; fine-tuned in 3m00s, 1.41 Wh with PUE, 48 mg CO2eq (M2 estimated)" in render(content)


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        (
            Spent(2700.0, 0.75, 0.94536, 32.14224, "M2 estimated"),
            "45m00s, 0.75 GPU-h, 945 Wh with PUE, 32.1 g CO2eq (M2 estimated)",
        ),
        (Spent(60.0, 0.0, 0.001, None, "M1 measured"), "1m00s, 1 Wh with PUE, unknown CO2eq (M1 measured)"),
        (Spent(60.0), "1m00s, energy unknown"),
        (Spent(), "unknown, energy unknown"),
    ],
)
def test_the_cost_of_a_score_is_stated_with_its_method_and_unknowns_are_never_zero(known: Spent, shown: str) -> None:
    assert spent(known) == shown


def test_all_attempts_count_and_wasted_hours_are_stated(content: Content) -> None:
    assert content.compute is not None
    assert content.compute.gpu_hours == pytest.approx(16.0)
    assert content.compute.attempts == 6 + 3 * len(TASKS) + 1
    assert "| GPU-hours | 16 |" in render(content)


def test_a_card_states_what_it_does_not_know_rather_than_0(content: Content) -> None:
    assert content.compute is not None
    compute = replace(content.compute, gpu_hours=12_345.6, unknown_gpus=2)
    phases = tuple(replace(phase, masking_rate=None) for phase in content.phases)
    text = render(replace(content, compute=compute, phases=phases))
    assert "| GPU-hours | 12,346, without 2 attempts of unknown size |" in text
    assert "| masked tokens, bidirectional attention |" in text


def test_the_arithmetic_of_every_method_gives_its_figure(content: Content) -> None:
    assert content.compute is not None
    stated = [one.arithmetic for one in content.compute.energy if one.arithmetic]
    assert len(stated) > 1
    for product, grams in (one.split(" = ") for one in stated):
        factors = [float(factor) for factor in re.findall(r"[\d.]+", product.replace(",", ""))]
        assert prod(factors) == pytest.approx(float(grams.removesuffix(" g").replace(",", "")), rel=1e-4)


def test_an_overridden_gate_is_stated(workspace: Workspace) -> None:
    promotion = next(stage for stage in stages() if stage.kind == "promote")
    accept_gate(workspace.stage(promotion.id), "baseline", "a known | plateau", "someone")
    text = render(gather(workspace, "made-up", About()))
    (workspace.stage(promotion.id) / ACCEPTED).unlink()
    assert "| Overridden | promote one, gate baseline: a known \\| plateau |" in text


def test_the_default_method_is_the_best_one_with_enough_coverage(workspace: Workspace) -> None:
    compute = gather(workspace, "made-up", About()).compute
    assert compute is not None
    assert compute.quoted is not None
    assert compute.quoted.row.method in (Method.CODECARBON.value, Method.ESTIMATED.value)


def test_the_figure_of_one_of_two_sites_is_not_stated_as_that_of_the_chain(tmp_path: Path) -> None:
    workspace = run_chain(Workspace(tmp_path), "moved")
    made = Made(workspace, Clock(EPOCH_S + 86_400))
    with made.attempt(stages()[0], 2, HELD | {"cluster": "elsewhere"}):
        made.clock.now_s += 3600
    compute = gather(workspace, "moved", About()).compute
    assert compute is not None
    assert {one.row.site.name for one in compute.energy if one.row.co2_g} == {"jean-zay"}
    assert compute.quoted is None
    with pytest.raises(UserError, match="M2 estimated: no power per core is known for elsewhere"):
        gather(workspace, "moved", About(), method=Method.ESTIMATED)


def test_a_method_without_a_figure_is_refused_with_its_reason(workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"M3 Slurm: it has no figure; leave --method out|M3 Slurm: "):
        gather(workspace, "made-up", About(), method=Method.SLURM)


def test_a_group_can_replace_the_template(content: Content) -> None:
    assert (
        render(content, "{{ card.name }}: {{ card.compute.gpu_hours | hours }} GPU-h\n") == "Made-up-base: 16 GPU-h\n"
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("\n{% if %}", r"ours.md:2: "),
        ("{{ card.name }}\n\n{{ card.nothing }}", "ours.md:3: the template does not render"),
        ("{{ card.__class__.__mro__ }}", "ours.md:1: the template does not render"),
        ("{{ 1 / 0 }}", "ours.md:1: the template does not render"),
        ("{{ card.name | points }}", "ours.md:1: the template does not render"),
    ],
)
def test_a_template_with_a_mistake_is_named_with_its_line(content: Content, template: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        render(content, template, "ours.md")


def test_names_from_files_stay_inside_their_cells(workspace: Workspace) -> None:
    text = render(gather(workspace, "made-up", About(title="a | b\n# c")))
    assert "# a \\| b # c\n" in text
    assert "| a \\| b # c | 74.8 |" in text


def test_the_hub_folder_contains_the_export_and_is_replaced_as_a_whole(workspace: Workspace, tmp_path: Path) -> None:
    folder, record = tmp_path / "hub", Record("made-up", "id", ABOUT, Method.CARD, None, default_template())
    content = gather(workspace, "made-up", ABOUT)
    for _ in range(2):
        write_hub_folder(workspace, folder, content, record)
        assert sorted(path.name for path in folder.iterdir()) == [
            "README.md",
            "card.json",
            "config.json",
            "export.json",
        ]
        assert content.lineage is not None
        assert Record.read(folder) == replace(record, export=content.lineage.export)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_with_other_content_is_left_alone(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="has other content"):
        write_hub_folder(workspace, tmp_path, gather(workspace, "made-up", ABOUT), Record("made-up", "id", ABOUT))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_link_to_a_folder_stays_one_and_a_file_is_left_alone(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "notes.txt").write_text("years of work")
    content, record = gather(workspace, "made-up", ABOUT), Record("made-up", "id", ABOUT)
    write_hub_folder(workspace, tmp_path / "link", content, record)
    assert (tmp_path / "link").is_symlink()
    assert content.lineage is not None
    assert Record.read(tmp_path / "folder") == replace(record, export=content.lineage.export)
    for place in (tmp_path / "notes.txt", Path("/dev/null")):
        with pytest.raises(UserError, match="is not a folder"):
            write_hub_folder(workspace, place, content, record)
    assert (tmp_path / "notes.txt").read_text() == "years of work"
    assert Path("/dev/null").is_char_device()


def test_a_link_in_the_workspace_that_others_may_have_made_is_not_followed(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    folder = default_folder(workspace, "linked")
    folder.parent.mkdir(exist_ok=True)
    folder.symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="hub/linked: a link"):
        write_hub_folder(workspace, folder, gather(workspace, "made-up", ABOUT), Record("made-up", "id", ABOUT))
    assert (tmp_path / "mine").is_dir()


def test_a_chain_without_an_export_has_no_card(tmp_path: Path) -> None:
    from tests.reporting.fabricate import write_chain

    workspace = Workspace(tmp_path)
    workspace.create()
    write_chain(workspace, "planned", stages())
    with pytest.raises(UserError, match="planned: its export is not done"):
        gather(workspace, "planned", About())


def test_a_mistake_in_the_about_file_is_named_with_line_and_key(tmp_path: Path) -> None:
    path = tmp_path / "about.yaml"
    path.write_text("languages: [fr]\nlicence: mit\n")
    with pytest.raises(RecipeError, match=r"about.yaml:2.*licence.*license"):
        load_about(path)


def test_an_export_with_a_malformed_config_has_a_card_without_its_sizes(tmp_path: Path) -> None:
    workspace = run_chain(Workspace(tmp_path / "w"), "made-up")
    (config,) = workspace.root.glob("stages/export-*/output/config.json")
    for changes in ({"hidden_size": "x"}, {"num_hidden_layers": 1e308}, {"architectures": 5}):
        config.write_text(json.dumps(CONFIG | changes))
        assert gather(workspace, "made-up", ABOUT).architecture is None
