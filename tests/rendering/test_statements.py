"""Statements to paste: their content, and that programs can read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from huggingface_hub import ModelCardData

from detour.accounting.fates import Known
from detour.config.project import Project
from detour.ledger.workspace import Workspace
from detour.rendering.boamps import boamps
from detour.rendering.formats import json_report
from detour.rendering.statements import annex_xi, card, methods_sentence, neurips, statements, training_flops
from detour.reporting.build import Question, build_report
from detour.reporting.period import Period
from detour.reporting.report import Report
from tests.reporting.fabricate import stages_of, write_chain
from tests.reporting.worked import EVENING_S, NOW_S, RELEASED, make_worked, site_of

TEXT, NUMBER = {"type": "string"}, {"type": "number"}


def fields(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def several(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": of}


BOAMPS = fields(
    ("task", "measures", "infrastructure"),
    header=fields(
        ("reportDatetime",),
        reportId=TEXT,
        reportDatetime={"type": "string", "pattern": r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$"},
        reportStatus={"enum": ["draft", "final", "corrective", "other"]},
        publisher=fields(
            ("confidentialityLevel",),
            name=TEXT,
            projectName=TEXT,
            confidentialityLevel={"enum": ["public", "internal", "confidential", "secret"]},
        ),
    ),
    task=fields(
        ("taskStage", "taskFamily", "algorithms", "dataset"),
        taskStage=TEXT,
        taskFamily=TEXT,
        algorithms=several(
            fields(
                (),
                trainingType=TEXT,
                algorithmType=TEXT,
                algorithmName=TEXT,
                parametersNumber=NUMBER,
                framework=TEXT,
                frameworkVersion=TEXT,
            )
        ),
        dataset=several(
            fields(
                ("dataUsage", "dataType"),
                dataUsage={"enum": ["input", "output"]},
                dataType={"enum": ["text", "token", "word", "other"]},
                dataQuantity=NUMBER,
            )
        ),
    ),
    measures=several(
        fields(
            ("measurementMethod", "powerConsumption"),
            measurementMethod=TEXT,
            powerConsumption=NUMBER,
            version=TEXT,
            measurementDuration=NUMBER,
            measurementDateTime=TEXT,
        )
    ),
    system=fields(("os",), os=TEXT),
    software=fields(("language",), language=TEXT, version=TEXT),
    infrastructure=fields(
        ("infraType", "components"),
        infraType={"enum": ["publicCloud", "privateCloud", "onPremise", "other"]},
        components=several(
            fields(
                ("componentType", "nbComponent"),
                componentType=TEXT,
                componentName=TEXT,
                nbComponent={"type": "integer"},
                memorySize={"type": "integer"},
                share={"type": "number", "minimum": 0, "maximum": 1},
            )
        ),
    ),
    environment=fields(("country",), country=TEXT, powerSourceCarbonIntensity=NUMBER),
    quality={"enum": ["high", "medium", "low"]},
)
"""The written fields of the public schema, with its requirements."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    workspace = Workspace(tmp_path_factory.mktemp("worked"))
    make_worked(workspace)
    project = Project(name="Detours", institution="A university", released=(RELEASED,))
    return build_report(workspace, Question(project=project), site_of, NOW_S)


def test_the_compute_paragraph_has_workers_memory_a_run_the_total_and_failed_or_preliminary_runs(
    report: Report,
) -> None:
    assert neurips(report) == (
        "We ran jobs of up to 4 x H100 (80 GB) on jean-zay. The longest single training took 3h30m in 2 attempts. The "
        "released model took 15.75 GPU-hours, work repeated after interruptions included. Preliminary and development "
        "runs, from which no released model descends, took 2.50 GPU-hours. Attempts that ended in an error took 0.25 "
        "GPU-hours. In total: 18.50 GPU-hours in 10 attempts, 2026-06-30 to 2026-07-01."
    )


def test_several_released_models_are_stated_each_and_together(report: Report) -> None:
    all_of_them = replace(report, released=[chain.name for chain in report.chains])
    assert "Each released model took 16.00 to 16.50 GPU-hours, failed attempts and stages that" in neurips(all_of_them)
    assert " Together, the released models took " in neurips(all_of_them)


def test_released_models_are_not_called_all_of_them_if_the_hours_of_one_are_unknown_or_incomplete(
    report: Report,
) -> None:
    first, second = report.chains
    for hours in (Known(None, 2), Known(7.0, 1)):
        chains = [first, replace(second, cost=second.cost._replace(gpu_hours=hours))]
        assert "Each released model" not in neurips(replace(report, chains=chains, released=[first.name, second.name]))
    assert "Each released model" not in neurips(replace(report, released=[first.name, second.name, "elsewhere"]))


def test_an_unknown_number_of_gpus_is_stated_as_unknown(report: Report) -> None:
    rows = [replace(row, gpu_hours=Known(None, 1)) if row.purpose == "failed" else row for row in report.purposes]
    assert "Attempts that ended in an error took an unknown number of GPU-hours." in neurips(
        replace(report, purposes=rows)
    )


def test_an_unknown_number_of_gpus_does_not_make_a_cpu_job(report: Report) -> None:
    unknown = [replace(one, most_gpus=None, most_cpus=None) for one in report.hardware]
    assert neurips(replace(report, hardware=unknown)).startswith(
        "We ran jobs of an unknown number of GPUs on jean-zay."
    )
    assert "boamps" not in {one.name for one in statements(replace(report, hardware=unknown))}


def test_a_paragraph_without_failures_says_so(report: Report) -> None:
    rows = [row for row in report.purposes if row.purpose == "final"]
    assert "There were no preliminary runs, and no attempt ended in an error." in neurips(
        replace(report, purposes=rows)
    )


def test_the_methods_sentences_have_method_range_constants_and_scope(report: Report) -> None:
    assert methods_sentence(report) == (
        "The work took 18.50 GPU-hours in 10 attempts, failed and interrupted ones included, in jobs of up to 4 x H100 "
        "(80 GB) on jean-zay. It used 19.7 kWh (12.8 to 26.6 kWh, estimated from the hardware's nominal power), a PUE "
        "of 1.2 (by hand) included. At 34 gCO2eq/kWh (by hand), this is 670 g CO2eq (436 to 905 g, embodied carbon not "
        "included)."
    )


def test_a_model_card_says_which_part_of_the_time_its_emissions_cover(report: Report) -> None:
    (chain,) = (chain for chain in report.chains if chain.name == RELEASED)
    figures = [one._replace(covered_s=one.allocated_s / 2) for one in chain.cost.energy]
    stated = yaml.safe_load(card(report, replace(chain, cost=chain.cost._replace(energy=figures))))
    source = "detour 0.1.0, estimated from the hardware's nominal power, 50 % of the time: PUE 1.2"
    assert stated["co2_eq_emissions"]["source"].startswith(source)


def test_many_released_chains_are_counted_instead_of_named(report: Report) -> None:
    (one,) = (chain for chain in report.chains if chain.name == RELEASED)
    names = [f"chain-{number}" for number in range(10)]
    many = replace(report, chains=[replace(one, name=name) for name in names], released=names)
    titles = [statement.title for statement in statements(many) if statement.language == "yaml"]
    assert len(titles) == 8
    assert titles[-1] == "Model card of chain-7; for 2 more released chains: detour report CHAIN"
    assert annex_xi(many).splitlines()[0].endswith("chain-7 and 2 more")


def test_the_emissions_of_a_card_are_in_grams_as_the_hub_expects(report: Report) -> None:
    (chain,) = (chain for chain in report.chains if chain.name == RELEASED)
    metadata = yaml.safe_load(card(report, chain))
    emissions = metadata["co2_eq_emissions"]
    # (16 x 0.7 + 404 x 0.0073) kWh x 1.2 x 34 g/kWh
    assert emissions["emissions"] == 577.29
    assert emissions["hardware_used"] == "jobs of up to 4 x H100 (80 GB) on jean-zay"
    assert yaml.safe_load(ModelCardData(**metadata).to_yaml())["co2_eq_emissions"] == emissions


def test_training_compute_covers_the_trainings_that_released_models_descend_from(report: Report) -> None:
    phases = {phase.stage: phase for chain in report.chains if chain.name == RELEASED for phase in chain.phases}
    per_token = {phase.name: phase.flops_per_token or 0.0 for phase in phases.values()}
    assert training_flops(report) == pytest.approx(300_000 * per_token["clm"] + 60_000 * per_token["mlm"])
    lines = annex_xi(report).splitlines()
    assert lines[0] == f"Models: {RELEASED}"
    assert lines[1].startswith("Computation used for training: ")
    assert "FLOP, estimated" in lines[1]
    # phase 1 from 21:00, phase 2 until 01:18:45: 4.3125 h; 4 x 3.8125 GPU-hours
    assert "0.18 days from first start to last end; 0.64 GPU days of hardware" in lines[2]
    # 15.25 x 0.7 kWh for the boards, 96 x 3.8125 x 0.0073 for the cores, x 1.2
    assert lines[3] == "Energy used for training: 0.016 MWh, PUE included, estimated from the hardware's nominal power"


def test_the_boamps_record_follows_its_public_schema(report: Report) -> None:
    record = boamps(report)
    jsonschema.validate(record, BOAMPS)
    assert [measure["measurementMethod"] for measure in record["measures"]] == [
        "estimation by nominal power (jean-zay)",
        "GPU-hours x board power limit (jean-zay)",
    ]
    # IT energy of all attempts: 18.5 x 0.7 + 476 x 0.0073
    assert record["measures"][0]["powerConsumption"] == pytest.approx(16.4248)
    assert record["infrastructure"]["components"][0] == {
        "componentType": "gpu",
        "nbComponent": 4,
        "componentName": "h100",
        "memorySize": 80,
    }
    assert record["environment"] == {"country": "FR", "powerSourceCarbonIntensity": 34.0}


@pytest.mark.parametrize(("held", "boards", "share"), [(3 / 7, 1, 3 / 7), (10 / 7, 2, 5 / 7), (2.0, 2, None)])
def test_slices_are_stated_as_shares_of_boards(report: Report, held: float, boards: int, share: float | None) -> None:
    hardware = [replace(one, most_gpus=held) for one in report.hardware]
    record = boamps(replace(report, hardware=hardware))
    jsonschema.validate(record, BOAMPS)
    gpu = record["infrastructure"]["components"][0]
    assert gpu["nbComponent"] == boards
    assert gpu.get("share") == (None if share is None else pytest.approx(share))


def test_simulated_gpus_are_labelled_in_the_boamps_record(report: Report) -> None:
    record = boamps(replace(report, hardware=[replace(one, simulated=True) for one in report.hardware]))
    assert record["infrastructure"]["components"][0]["componentName"] == "h100 (simulated)"


def test_in_a_period_that_cuts_a_chain_no_figure_is_called_a_total(tmp_path: Path) -> None:
    """The night of the worked chains, from midnight on: 4 and more of the 18.5 GPU-hours are before."""
    workspace = Workspace(tmp_path)
    make_worked(workspace)
    july = Question(period=Period(EVENING_S + 4 * 3600, None), project=Project(name="Detours", released=(RELEASED,)))
    cut = build_report(workspace, july, site_of, NOW_S)
    found = {one.name: one.text for one in statements(cut)}
    assert found[f"card-{RELEASED}"].startswith("# no CO2 figure: part of this work is outside the report's period")
    assert found["annex-xi"].startswith("No figures: part of this work is outside the report's period")
    assert "Each released model" not in found["neurips"]
    assert {row["phase"] for row in json.loads(json_report(cut))["tables"]["tokens-per-kwh"]} == {"mlm"}
    assert "cost-per-point" not in json.loads(json_report(cut))["tables"]
    assert any("part of the work on decay-60k, decay-120k lies outside of the period" in one for one in cut.warnings)
    june = Question(period=Period(EVENING_S - 3600, NOW_S))
    assert not build_report(workspace, june, site_of, NOW_S).cut


def test_without_energy_there_is_no_boamps_record(report: Report) -> None:
    unmeasured = replace(report, total=report.total._replace(energy=[]))
    assert "boamps" not in [one.name for one in statements(unmeasured)]


def test_the_boamps_record_has_the_tokens_of_trainings_that_ran(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    make_worked(workspace)
    write_chain(workspace, "planned", stages_of("causal"))
    whole, july = (
        build_report(workspace, Question(period=period), site_of, NOW_S)
        for period in (Period(), Period(EVENING_S + 4 * 3600))
    )
    assert boamps(whole)["task"]["dataset"][0]["dataQuantity"] == 300_000 + 60_000 + 120_000
    assert "dataQuantity" not in boamps(july)["task"]["dataset"][0]


def test_each_statement_is_in_its_language(report: Report) -> None:
    found = {one.name: one for one in statements(report)}
    assert list(found) == ["neurips", "methods", f"card-{RELEASED}", "annex-xi", "boamps"]
    assert json.loads(found["boamps"].text)["header"]["publisher"]["name"] == "A university"
    assert set(yaml.safe_load(found[f"card-{RELEASED}"].text)) == {"co2_eq_emissions"}


def test_nothing_is_stated_before_anything_ran(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.create()
    write_chain(workspace, "planned", stages_of("causal"))
    assert statements(build_report(workspace, Question(), site_of, 0.0)) == []
