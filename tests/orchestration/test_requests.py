"""From plans to jobs: arrays across chains, their limits, and what each task waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from detour.config.cluster import Cluster
from detour.config.loading import load_cluster, load_recipe
from detour.config.models import Recipe
from detour.errors import UserError
from detour.orchestration.requests import JobOptions, job_requests
from detour.planning.build import Planner
from detour.planning.sharing import SharedPlan
from detour.planning.stage import Stage
from detour.pricing.price import prices_of
from detour.scheduler.reconciliation import dependency_of
from detour.scheduler.requests import JobRequest
from detour.scheduler.sent_jobs import Places, Sent
from detour.scheduler.tags import Tag
from tests.support.no_history import NoHistory
from tests.support.recipes import make_recipe
from tests.support.stages import assumed_file

RECIPES = Path(__file__).parents[2] / "configs" / "recipes"


def stages_of(recipes: Sequence[Recipe]) -> list[Stage]:
    planner = Planner(assumed_file)
    return list(SharedPlan.of(planner.plan(recipe) for recipe in recipes).stages.values())


def tiny(count: int, changes: Mapping[str, Any] | None = None) -> list[Stage]:
    """Return chains that differ in the training seed."""
    return stages_of(
        [make_recipe({"name": f"c{seed}", "seeds.training": seed, **(changes or {})}) for seed in range(count)]
    )


def requests_of(
    stages: Sequence[Stage],
    cluster: Cluster | None = None,
    options: JobOptions | None = None,
    done: Sequence[str] = (),
) -> list[JobRequest]:
    profile = cluster or load_cluster("jean-zay")
    prices = prices_of(stages, profile, NoHistory())
    return job_requests(stages, prices, profile, options or JobOptions(), done)


def sent_all(requests: Sequence[JobRequest]) -> Places:
    """Return the jobs as if each had been accepted, with ids in their order."""
    places, job_id = Places(), 100
    for request in requests:
        for segment in range(1, request.segments + 1):
            job_id += 1
            tag = Tag("w", request.unit, segment, "s")
            places.add(Sent(tag, request.tasks, job_id=str(job_id)))
    return places


def dependencies(requests: Sequence[JobRequest]) -> dict[str, list[str]]:
    filled = sent_all(requests)
    return {
        f"{request.title}": [str(dependency_of(request, n, filled) or "") for n in range(1, request.segments + 1)]
        for request in requests
    }


def test_a_chain_has_a_job_for_each_stage_and_one_array_of_evaluations() -> None:
    requests = requests_of(stages_of([load_recipe(RECIPES / "moderncamembert-bio-base.yaml")]))
    assert [request.title for request in requests] == [
        *["prepare", "pretrain clm", "promote clm", "pretrain mlm", "promote mlm", "export"],
        *["evaluate x72", "summarize"],
    ]
    evaluations = requests[6]
    assert evaluations.after_each == ()
    assert len(evaluations.tasks) == 1 + 5 * 2 + 2 * 9, "by the seeds of one job in the profile"


def test_chains_of_one_shape_are_sent_as_corresponding_arrays() -> None:
    requests = requests_of(tiny(12))
    assert [(request.title, len(request.tasks), request.segments) for request in requests] == [
        ("prepare", 1, 1),
        ("pretrain clm x12", 12, 2),
        ("promote clm x12", 12, 1),
        ("pretrain mlm x12", 12, 2),
        ("promote mlm x12", 12, 1),
        ("export x12", 12, 1),
        ("evaluate chapter x24", 12, 1),
        ("summarize x12", 12, 1),
    ]
    assert dependencies(requests) == {
        "prepare": [""],
        "pretrain clm x12": ["afterok:101", "afterok:101,afternotok:102"],
        "promote clm x12": ["aftercorr:102?aftercorr:103"],
        "pretrain mlm x12": ["aftercorr:104", "aftercorr:104,afternotok:105"],
        "promote mlm x12": ["aftercorr:105?aftercorr:106"],
        "export x12": ["aftercorr:107"],
        "evaluate chapter x24": ["aftercorr:108"],
        "summarize x12": ["aftercorr:109"],
    }


def test_sbatch_calls_grow_with_shapes_and_not_with_chains() -> None:
    few, many = (sum(request.segments for request in requests_of(tiny(count))) for count in (12, 60))
    assert few == many == 10


def test_done_stages_are_left_out_and_the_rest_still_corresponds() -> None:
    stages = tiny(6)
    promoted = [stage.id for stage in stages if stage.kind in ("prepare", "pretrain", "promote")]
    done = {*promoted, next(stage.id for stage in stages if stage.kind == "export")}
    requests = requests_of(stages, done=sorted(done))
    shown = dependencies(requests)
    assert shown["export x5"] == [""]
    assert sorted((request.title, len(request.tasks)) for request in requests) == [
        ("evaluate chapter x10", 5),
        ("evaluate chapter x2", 1),
        ("export x5", 5),
        ("summarize", 1),
        ("summarize x5", 5),
    ]
    assert shown["evaluate chapter x10"][0].startswith("aftercorr:")
    assert shown["summarize x5"][0].startswith("aftercorr:")
    assert shown["summarize"][0].startswith("afterok:")


def test_a_task_that_drops_out_later_is_waited_for_by_id_and_never_by_a_wrong_number() -> None:
    requests = requests_of(tiny(4))
    export = next(request for request in requests if request.title == "export x4")
    promoted = next(request for request in requests if request.title == "promote mlm x4")
    less = promoted.only([0, 1, 3])
    filled = sent_all([less, export])
    assert str(dependency_of(export, 1, filled)) == "afterok:101"
    matching = export.only([0, 1, 3])
    assert str(dependency_of(matching, 1, sent_all([less, matching]))) == "aftercorr:101"
    swapped = export.only([1, 0, 3])
    assert str(dependency_of(swapped, 1, sent_all([less, swapped]))) == "afterok:101"


def test_long_and_short_trainings_share_no_array() -> None:
    stages = stages_of(
        [make_recipe({"name": f"c{tokens}", "phases.mlm.tokens": tokens}) for tokens in (2048, 10**8, 2 * 10**12)]
    )
    labels = [request.title for request in requests_of(stages) if request.title.startswith("pretrain mlm")]
    assert labels == ["pretrain mlm x2", "pretrain mlm"]


@pytest.mark.parametrize(("limit", "length"), [(10, 5), (1000, 12), (1, 1)])
def test_arrays_stay_within_the_limits_of_the_site(limit: int, length: int) -> None:
    cluster = load_cluster("jean-zay")
    qos = tuple(one.model_copy(update={"submitted_jobs": limit}) if one.default else one for one in cluster.qos)
    requests = requests_of(tiny(12), cluster.model_copy(update={"qos": qos}))
    assert max(len(request.tasks) for request in requests) == length
    assert all(request.jobs <= max(limit, 2) for request in requests)
    if length == 5:
        exports = [request for request in requests if request.title.startswith("export")]
        assert [len(request.tasks) for request in exports] == [5, 5, 2]
        shown = sent_all(requests)
        assert all(str(dependency_of(export, 1, shown)).startswith("aftercorr:") for export in exports)


@pytest.mark.parametrize(("asked_s", "limit_s"), [(None, 600), (300, 300), (7200, 7200), (100 * 3600, 20 * 3600)])
def test_a_requested_time_limit_counts_instead_of_the_estimate_within_the_sites(
    asked_s: int | None, limit_s: int
) -> None:
    requests = requests_of(tiny(1), options=JobOptions(wall_s=asked_s))
    limits_s = {request.title: request.wall_s for request in requests}
    assert limits_s["pretrain clm"] == limit_s
    assert limits_s["export"] == 600, "it concerns trainings only"


def test_an_estimate_of_more_segments_than_a_training_can_have_is_refused_unless_some_are_requested() -> None:
    stages = tiny(1, {"phases.mlm.tokens": 10**15})
    with pytest.raises(
        UserError, match=r"pretrain mlm: an estimate of up to \d+d\d\dh takes [\d,]+ segments of 20h00m"
    ):
        requests_of(stages)
    some = {request.title: request.segments for request in requests_of(stages, options=JobOptions(segments=9))}
    assert some["pretrain mlm"] == 9


@pytest.mark.parametrize("qos", ["qos_cpu-t3", "unknown"])
def test_a_qos_that_takes_no_gpu_jobs_is_refused_with_those_that_do(qos: str) -> None:
    with pytest.raises(
        UserError, match=rf"--qos {qos}: slurm-local has no such QOS for GPU jobs; it has qos_gpu_h100-t3"
    ):
        requests_of(tiny(1), load_cluster("slurm-local"), JobOptions(qos=qos))


def test_a_time_limit_of_exactly_the_grace_period_is_refused() -> None:
    with pytest.raises(UserError, match=r"a time limit of 2m00s less the 2m00s for saving .* leaves no time to work"):
        requests_of(tiny(1), options=JobOptions(wall_s=120))


@pytest.mark.parametrize(("site", "option"), [("perlmutter", "gpus=8"), ("lumi-g", "gpus-per-node=4")])
def test_a_training_on_two_nodes_requests_all_of_its_gpus(site: str, option: str) -> None:
    profile = load_cluster(site)
    cluster = profile.model_copy(update={"gpu": profile.gpu and profile.gpu.model_copy(update={"per_node": 4})})
    stages = tiny(1, {"batch.sequences": 8})
    requests = job_requests(stages, prices_of(stages, cluster, NoHistory(), 8), cluster, JobOptions(gpus=8), ())
    asked = {request.title: request.resources for request in requests}
    assert (asked["pretrain clm"].nodes, asked["pretrain clm"].tasks_per_node) == (2, 4)
    assert asked["pretrain clm"].gpu_option == option
    assert asked["promote clm"].gpu_option == option.replace("8", "1").replace("4", "1")


def test_a_limit_on_concurrent_tasks_applies_to_evaluations() -> None:
    by_label = {
        request.title: request.parallelism for request in requests_of(tiny(3), options=JobOptions(parallelism=2))
    }
    assert by_label["evaluate chapter x6"] == 2
    assert by_label["pretrain clm x3"] is None


@pytest.mark.parametrize(("at_once", "shares"), [(7, [3, 4]), (1, [1, 1]), (None, [None, None])])
def test_arrays_of_evaluations_share_a_limit_on_concurrent_tasks(at_once: int | None, shares: list[int | None]) -> None:
    cluster = load_cluster("jean-zay").model_copy(update={"max_array_size": 2})
    requests = requests_of(tiny(3), cluster, JobOptions(parallelism=at_once))
    assert [one.parallelism for one in requests if one.stages[0].startswith("evaluate")] == shares


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"wall_s": 1.5 * 3600}, "5400.0 seconds per segment: expected a whole number, found float"),
        ({"segments": "2"}, "'2' segments: expected a whole number, found str"),
        ({"parallelism": True}, "True evaluations at once: expected a whole number, found bool"),
    ],
)
def test_what_is_no_whole_number_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        JobOptions(**asked)


@pytest.mark.parametrize("segments", [0, 101])
def test_impossible_numbers_of_jobs_are_refused(segments: int) -> None:
    with pytest.raises(UserError, match=f"{segments} segments: expected 1 to 100"):
        JobOptions(segments=segments)
    with pytest.raises(UserError, match="0 seconds per segment: expected 1 to 31,622,400"):
        JobOptions(wall_s=0)
    with pytest.raises(UserError, match="20000 evaluations at once: expected 1 to 10,000"):
        JobOptions(parallelism=20_000)
