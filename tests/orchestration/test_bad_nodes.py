"""Nodes that new jobs avoid."""

from __future__ import annotations

from pathlib import Path

from detour.config.loading import load_cluster
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.bad_nodes import AVOIDED_S, bad_nodes
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
    found = bad_nodes(LedgerView(workspace).state, "jean-zay", NOW_S)
    assert [(node.name, node.why) for node in found] == [("n1", "broken GPU")]


def test_jobs_exclude_these_nodes() -> None:
    cluster, stages = load_cluster("jean-zay"), tiny(1)
    plain = requests_of(stages, cluster)
    assert not any("exclude" in option for request in plain for option in request.resources.options)
    avoiding = requests_of(stages, cluster, avoid=["n1", "n7"])
    assert all("exclude=n1,n7" in request.resources.options for request in avoiding)
