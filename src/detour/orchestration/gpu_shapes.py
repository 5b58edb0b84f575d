"""Whether the GPUs requested for a training exist on a cluster and divide its batch, checked before it is priced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from detour.config.cluster import Cluster
from detour.errors import UserError
from detour.orchestration.requests import require_whole
from detour.planning.stage import PretrainStage, Stage
from detour.pricing.price import training_gpus


def check_gpus(stages: Iterable[Stage], cluster: Cluster, gpus: int | None = None, qos: str | None = None) -> None:
    """Raises UserError, with counts that would work, if a training among `stages` could not run with these GPUs.

    `gpus` and `qos` are those of the command line, or None for the profile's.
    """
    require_whole(gpus, "GPUs")
    if gpus is not None and gpus < 1:
        raise UserError(f"--gpus {gpus}: expected 1 or more")
    trainings = [stage for stage in stages if isinstance(stage, PretrainStage)]
    count = training_gpus(cluster, gpus)
    if trainings and count and (problem := next(_problems(trainings, cluster, count, qos), None)):
        asked = f"--gpus {count}" if gpus is not None else f"{count} GPUs per training, as in {cluster.name}"
        raise UserError(f"{asked}: {problem}")


def _problems(trainings: Iterable[PretrainStage], cluster: Cluster, count: int, qos: str | None) -> Iterator[str]:
    if cluster.gpu is None:
        yield f"the profile {cluster.name} has no GPU"
        return
    per_node = cluster.gpu.per_node
    nodes = -(-count // per_node)
    if count > per_node and count % per_node:
        down = count - count % per_node
        yield f"{cluster.name} has nodes of {per_node}, and several nodes are taken whole: {down} or {down + per_node}"
    if cluster.nodes is not None and nodes > cluster.nodes:
        yield f"{nodes} nodes of {per_node}, and {cluster.name} has {cluster.nodes:,}"
    chosen = next((one for one in cluster.qos if one.name == qos), None) or cluster.default_qos("gpu")
    if chosen is not None and chosen.gpus is not None and count > chosen.gpus:
        yield f"the QOS {chosen.name} of {cluster.name} allows a user {chosen.gpus:,} GPUs at most"
    for stage in trainings:
        rows = stage.settings.batch_sequences
        if rows % count:
            fitting = [n for n in range(1, rows + 1) if rows % n == 0 and (n <= per_node or n % per_node == 0)]
            below = max(n for n in fitting if n < count)
            above = next((n for n in fitting if n > count), None)
            yield (
                f"the {rows:,} sequences of a batch (batch.sequences) of {stage.label} cannot be shared equally: "
                f"take {below}{f' or {above}' if above else ''}"
            )
