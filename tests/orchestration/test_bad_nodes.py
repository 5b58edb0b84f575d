"""Nodes that new jobs avoid."""

from __future__ import annotations

from pathlib import Path

import pytest

from detour.config.loading import load_cluster
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.bad_nodes import AVOIDED_S, avoiding, bad_nodes
from tests.orchestration.test_requests import requests_of, tiny
from tests.support.past import Past

NOW_S = 1.8e9


def test_a_faulty_node_is_avoided_for_some_days_on_its_cluster(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.create()
    past = Past(workspace)
    for number, (node, cluster, age_s) in enumerate(
        [
            ("n1", "jean-zay", 60.0),
            ("n2", "jean-zay", AVOIDED_S + 60),
            ("n3", "adastra", 60.0),
            ("n4;rm", "jean-zay", 1),
        ]
    ):
        past.attempt(f"pretrain-{number}", NOW_S - age_s - 100, 50.0, outcome="failed", cluster=cluster)
        verdict = {"cause": "gpu_fault", "evidence": "ECC", "retry": "yes", "nodes": [node]}
        past.add("attempt.diagnosed", NOW_S - age_s, verdict, f"pretrain-{number}", 1)
    past.write()
    found = bad_nodes(LedgerView(workspace).state, load_cluster("jean-zay"), NOW_S)
    assert [(node.name, node.why) for node in found] == [("n1", "broken GPU")]


def test_jobs_exclude_these_nodes() -> None:
    cluster, stages = load_cluster("jean-zay"), tiny(1)
    plain = requests_of(stages, cluster)
    assert not any("exclude" in option for request in plain for option in request.resources.options)
    assert all("--exclude=n1,n7" in request.resources.options for request in avoiding(plain, ["n1", "n7"]))


def test_jobs_exclude_the_nodes_of_the_profile_too() -> None:
    excluding = {"header": ("--exclude=n[10-12]", "--hint=nomultithread"), "gpu_header": ("--exclude=n13",)}
    cluster = load_cluster("jean-zay").model_copy(update=excluding)
    requests = avoiding(requests_of(tiny(1), cluster), ["n1"])
    training = next(request for request in requests if request.segments > 1)
    assert training.resources.options == ("--hint=nomultithread", "--exclude=n13,n1")


@pytest.mark.parametrize(
    ("nodes", "needed", "avoided"),
    [(1, 1, []), (2, 1, ["n3"]), (2, 2, []), (4, 1, ["n3", "n2"]), (4, 3, ["n3"]), (None, 9, ["n3", "n2", "n1"])],
)
def test_half_of_the_nodes_and_as_many_as_a_job_needs_are_not_avoided(
    tmp_path: Path, nodes: int | None, needed: int, avoided: list[str]
) -> None:
    workspace = Workspace(tmp_path)
    workspace.create()
    past = Past(workspace)
    for number, age_s in ((1, 3600.0), (2, 1800.0), (3, 60.0)):
        past.attempt(f"pretrain-{number}", NOW_S - age_s - 100, 50.0, outcome="failed", cluster="jean-zay")
        verdict = {"cause": "gpu_fault", "evidence": "ECC", "retry": "yes", "nodes": [f"n{number}"]}
        past.add("attempt.diagnosed", NOW_S - age_s, verdict, f"pretrain-{number}", 1)
    past.write()
    cluster = load_cluster("jean-zay").model_copy(update={"nodes": nodes})
    assert [node.name for node in bad_nodes(LedgerView(workspace).state, cluster, NOW_S, needed)] == avoided
