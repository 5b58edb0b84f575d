"""A chain longer than a QOS's job limit, left alone: its own small jobs send wave after wave.

Plan, submission and waves are real; the profile's preamble replaces srun by a shell function that does each stage's
work at once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, Version
from tests.slurm.test_chain import environment
from tests.support.chains import ROOT, detour, small

Starter = Callable[[ClusterSettings], SlurmCluster]
PROFILE = """\
extends: {shipped}
name: waves
cpu_partition: {{name: gpu_p6, account: abc@h100}}
qos:
  qos_gpu_h100-t3: {{default: false}}
  qos_gpu_h100-dev: {{default: true, use: [cpu, gpu]}}
  qos_cpu-t3: null
preamble: |
  srun() {{
      case " $* " in *" -m detour.jobs "*) ;; *) command srun "$@"; return ;; esac
      while [ "$1" != --workspace ]; do shift; done
      local root=$2 stage; shift 2
      for stage; do
          echo "$SLURM_JOB_ID" >>"$root/stages/$stage/ran"
          mkdir "$root/stages/$stage/output" && echo "{{}}" >"$root/stages/$stage/output/manifest.json"
      done
  }}
"""


def user_folder(folder: Path) -> Path:
    profile = folder / "configs" / "clusters" / "waves.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text(PROFILE.format(shipped=ROOT / "configs" / "clusters" / "slurm-local.yaml"))
    return folder


def in_queue(cluster: SlurmCluster) -> list[str]:
    return [line for line in cluster.run("squeue", "-h", "-o", "%k").stdout.splitlines() if line.startswith("detour:")]


@pytest.mark.parametrize("version", VERSIONS)
def test_thirty_jobs_pass_through_a_qos_of_ten_unattended(own_slurm: Starter, version: Version, tmp_path: Path) -> None:
    cluster = own_slurm(ClusterSettings(version))
    workspace, home = tmp_path / "workspace", user_folder(tmp_path / "home")
    seeds = f"benchmark.seeds={list(range(1, 22))}"
    command = ["submit", *small(more=[seeds]), "-w", str(workspace), "--cluster", "waves", "--gpus", "1", "--json"]
    sent = json.loads(detour(*command, environment=environment(cluster), cwd=home).stdout)
    assert len(sent["jobs"]) + 1 <= 10
    assert sent["deferred"]
    assert sent["next_wave"]
    shutil.rmtree(home / "configs")
    (plan,) = (json.loads(path.read_text()) for path in workspace.glob("chains/*/plan.json"))
    stages = {stage["kind"] + "-" + stage["key"] for stage in plan["stages"]}
    assert len(stages) + 2 == 30, "two of them in two segments"

    def done() -> set[str]:
        return {path.parts[-3] for path in workspace.glob("stages/*/output/manifest.json")}

    wait_until(lambda: done() == stages, "all waves to end", 300, 0.5)
    assert all(len((workspace / "stages" / stage / "ran").read_text().split()) == 1 for stage in stages)
    wait_until(lambda: not in_queue(cluster), "the queue to drain", 60)
    orders = sorted(workspace.glob("submissions/continue-*/order.json"))
    assert len(orders) == 3
    logs = [log.read_text() for order in orders for log in order.parent.glob("*.out")]
    assert len(logs) == 3, "each ran once"
    assert not any("trying again" in log for log in logs)


def test_cancelled_jobs_are_not_sent_by_the_next_wave(own_slurm: Starter, tmp_path: Path) -> None:
    cluster = own_slurm(ClusterSettings("24.11", gpu_nodes=1))
    workspace, home = tmp_path / "workspace", user_folder(tmp_path / "home")
    seeds, where = f"benchmark.seeds={list(range(1, 22))}", ("-w", str(workspace))
    profile = home / "configs" / "clusters" / "waves.yaml"
    profile.write_text(f"{profile.read_text()}header: [--begin=now+1hour]\n")
    command = ["submit", *small(more=[seeds]), *where, "--cluster", "waves", "--gpus", "1", "--json"]
    sent = json.loads(detour(*command, environment=environment(cluster), cwd=home).stdout)
    again = detour(*command, environment=environment(cluster), cwd=home, check=False)
    assert again.returncode in (0, 5)
    assert len([tag for tag in in_queue(cluster) if ":continue-" in tag]) == 1
    shown = json.loads(detour("cancel", "quickstart", *where, "--json", environment=environment(cluster)).stdout)
    assert sent["next_wave"] in shown["cancelled"]["jobs"]
    wait_until(lambda: not in_queue(cluster), "the queue to drain", 60)
