"""Cluster profiles: a table of all, or one in full, with every value that is set and the source of each figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill, wrap

from detour.config.cluster import Cluster, Figure, GridFactor, GridHours, Partition, Site
from detour.config.loading import Profile
from detour.config.problems import shown
from detour.config.quantities import write_duration
from detour.config.roots import config_roots
from detour.text import aligned, cut, format_count, plain

HEADINGS = ("name", "GPUs", "longest", "account", "")
LABEL = 22
"""Width of the column of names."""
Row = tuple[str, str]


def page(cluster: Cluster, path: str, width: int) -> str:
    """Sections of `name  value`; long values are wrapped at `width`."""
    sections: list[tuple[str, list[Row]]] = [
        (f"{cluster.name}: {cluster.description}", [("file", path), *(("source", one) for one in cluster.sources)]),
        ("Nodes", list(_nodes(cluster))),
        ("Partitions", list(_partitions(cluster))),
        ("Qualities of service", list(_qos(cluster))),
        ("Jobs", list(_jobs(cluster))),
        ("Costs", list(_costs(cluster))),
        ("Throughput, tokens/s per GPU", list(_throughput(cluster))),
        ("Evaluations in one job on one GPU", list(_seeds(cluster))),
    ]
    texts = ["\n".join([*_wrapped(title, width, ""), *_lines(rows, width)]) for title, rows in sections if rows]
    return "\n\n".join(texts)


def _lines(rows: Sequence[Row], width: int) -> Iterator[str]:
    for name, value in rows:
        indent = " " * (LABEL + 2)
        values = _wrapped(value, width, indent) or [indent]
        if len(name) > LABEL - 2:
            yield from [*_wrapped(name, width, "  "), *values]
        else:
            yield f"  {plain(name):<{LABEL}}{values[0].removeprefix(indent)}"
            yield from values[1:]


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return wrap(plain(text), width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _nodes(cluster: Cluster) -> Iterator[Row]:
    gpu = cluster.gpu
    if gpu is not None:
        memory = f", {gpu.memory_gb:g} GB each" if gpu.memory_gb else ""
        yield "GPUs", f"{gpu.per_node} x {gpu.type} per node{memory}"
        typed = f":{gpu.type}" if gpu.type_in_request else ""
        forms = {"gres": f"--gres=gpu{typed}:N", "none": "nothing: the site allocates whole nodes"}
        yield "requested with", forms.get(gpu.selector, f"--{gpu.selector}=N")
        if gpu.gcd_per_gpu > 1:
            yield "GCDs per GPU", f"{gpu.gcd_per_gpu}; Slurm counts each GCD as one GPU"
        if gpu.simulated:
            yield "simulated", "nodes are this machine, GPUs exist in name only"
        yield "power limit", _figure(gpu.board_power_w, "W")
        yield "bf16 peak", _figure(gpu.peak_tflops_bf16, "TFLOP/s")
        yield "GPUs of a training", f"{cluster.training_gpus or gpu.per_node}"
    if cluster.nodes:
        yield "GPU nodes", f"{cluster.nodes}"
    parts = [(cluster.cores_per_node, "per node"), (cluster.cores_per_gpu, "per GPU")]
    words = [f"{count} {of}" for count, of in parts if count]
    yield "cores", ", ".join([*words, f"{cluster.cpu_only_cores} for a stage without GPU"])


def _partitions(cluster: Cluster) -> Iterator[Row]:
    if cluster.scheduler == "local":
        return
    parts: list[tuple[str, Partition | None, str | None]] = [
        ("GPU jobs", cluster.gpu_partition if cluster.gpu else None, cluster.full_account("gpu")),
        ("CPU jobs", cluster.cpu_partition, cluster.full_account("cpu")),
        ("with network", cluster.network_partition, None),
    ]
    for name, partition, account in parts:
        if partition is None:
            continue
        words = [
            partition.name or "chosen by the site",
            f"account {account}" if account else "",
            f"constraint {partition.constraint}" if partition.constraint else "",
            f"{partition.cores_per_node} cores per node" if partition.cores_per_node else "",
            f"time limit {write_duration(partition.wall)}" if partition.wall else "",
            f"{write_duration(partition.default_wall)} by default" if partition.default_wall else "",
        ]
        yield name, _sourced(", ".join(filter(None, words)), partition.source)


def _qos(cluster: Cluster) -> Iterator[Row]:
    for qos in cluster.qos:
        words = [
            " and ".join(use.upper() for use in qos.use),
            f"time limit {write_duration(qos.wall)}" if qos.wall else "time limit unknown",
            f"{format_count(qos.gpus)} GPUs" if qos.gpus else "",
            f"{qos.submitted_jobs:,} jobs submitted" if qos.submitted_jobs else "",
            "the default" if qos.default else "",
        ]
        yield qos.name, _sourced(", ".join(filter(None, words)), qos.source)
    if cluster.qos and not cluster.qos_required:
        yield "without --qos", "the site uses its own default"


def _jobs(cluster: Cluster) -> Iterator[Row]:
    if options := " ".join((*cluster.header, *(f"{option} (GPU jobs)" for option in cluster.gpu_header))):
        yield "sbatch options", options
    if cluster.preamble:
        yield "preamble", "; ".join(cluster.preamble)
    if cluster.environment:
        yield "environment", ", ".join(f"{name}={value}" for name, value in cluster.environment.items())
    shell = [
        "login shell" if cluster.login_shell else "",
        "SRUN_CPUS_PER_TASK exported" if cluster.export_srun_cpus_per_task else "",
        "no network: hub caches must be filled before" if cluster.offline else "",
    ]
    if any(shell):
        yield "shell", ", ".join(filter(None, shell))
    if cluster.scheduler == "slurm":
        yield "grace", f"{write_duration(cluster.grace)} before its time limit a job saves and stops"
        yield "requeue", "yes" if cluster.requeue else "no"
        yield "jobs may submit", "yes" if cluster.compute_nodes_submit else "no"
        yield "MaxArraySize", str(cluster.max_array_size or "unknown")
    yield "poll interval", write_duration(cluster.poll_seconds)
    if cluster.scratch_days:
        yield "scratch", f"files not read for {cluster.scratch_days} days are deleted"


def _costs(cluster: Cluster) -> Iterator[Row]:
    billing, power = cluster.billing, cluster.cpu_power
    whole = ", whole nodes for multi-node jobs" if billing.multi_node_bills_whole_nodes else ""
    yield "billing", _sourced(f"{billing.rule}{whole}", billing.source)
    if billing.blocked_at:
        yield "jobs stop at", _figure(billing.blocked_at, "of the allocation")
    if cluster.budget_command:
        yield "budget", f"`{cluster.budget_command}` shows what is left"
    yield "country", cluster.site.country or "unknown"
    yield from _site(cluster.site)
    yield "per core", _figure(power.watt_per_core, "W")
    yield "per GB of memory", _figure(power.watt_per_gb_memory, "W")
    if power.memory_gb_per_node:
        yield "memory per node", f"{power.memory_gb_per_node:g} GB"


def _site(site: Site) -> Iterator[Row]:
    yield "PUE", _figure(site.pue, "")
    yield "grid", _grid(site.grid_gco2_per_kwh)
    for name, month in site.months.items():
        if month.pue:
            yield f"PUE in {name}", _figure(month.pue, "")
        if month.grid_gco2_per_kwh:
            yield f"grid in {name}", _grid(month.grid_gco2_per_kwh)
    if hours := site.grid_hourly:
        yield "grid by the hour", _sourced(f"{hours.path}{_kind(hours)}", hours.source)
    if site.embodied_gco2_per_gpu_hour:
        yield "embodied carbon", _figure(site.embodied_gco2_per_gpu_hour, "gCO2eq per GPU-h, never added to energy's")
    if site.idle_kwh_per_kwh:
        yield "idle nodes", _figure(site.idle_kwh_per_kwh, "kWh per kWh of jobs, never added to theirs")


def _grid(factor: GridFactor | None) -> str:
    return _figure(factor, f"gCO2eq/kWh{_kind(factor)}" if factor else "")


def _kind(grid: GridFactor | GridHours) -> str:
    """For example `, lifecycle, FR`."""
    return "".join(f", {note}" for note in (grid.kind, grid.zone) if note)


def _throughput(cluster: Cluster) -> Iterator[Row]:
    for row in cluster.throughput:
        size = f" ({format_count(row.parameters)})" if row.parameters else ""
        what = f"{row.model}{size}, {row.objective or 'a whole chain'}, {row.sequence_length:,}-token rows"
        yield what, _figure(row.tokens_per_s_per_gpu, "")


def _seeds(cluster: Cluster) -> Iterator[Row]:
    for row in cluster.seeds_per_job:
        what = f"{row.seeds} seeds in {row.memory_gb:g} GB, batches of {row.batch_sequences}"
        yield f"{row.max_length:,} tokens", _sourced(what, row.source)


def _figure(figure: Figure | None, unit: str) -> str:
    """For example `700 W (400 to 1,000): data sheet, 2023`."""
    if figure is None:
        return "unknown"
    bounds = [f"{bound:,g}" if bound is not None else None for bound in (figure.low, figure.high)]
    band = {
        (True, True): f" ({bounds[0]} to {bounds[1]})",
        (True, False): f" (at least {bounds[0]})",
        (False, True): f" (at most {bounds[1]})",
    }.get((figure.low is not None, figure.high is not None), "")
    value = f"{figure.value:,g} {unit}".strip()
    return _sourced(f"{value}{band}", ", ".join(filter(None, [figure.source, str(figure.year or "")])))


def _sourced(text: str, source: str | None) -> str:
    return f"{text}  [{source}]" if source else text


def table(profiles: list[Profile], width: int) -> str:
    """The profiles by folder, since one in `./configs/clusters` hides a shipped one of the same name."""
    heading, *rows = (cut(f"  {line}", width) for line in aligned([HEADINGS, *map(_table_row, profiles)]))
    lines = []
    for folder in (root / "clusters" for root in config_roots()):
        if here := [row for profile, row in zip(profiles, rows, strict=True) if profile.path.parent == folder]:
            lines += [cut(f"{shown(folder)}:", width), heading, *here, ""]
    lines += [fill(f"not readable: {plain(profile.problem)}", width) for profile in profiles if profile.problem]
    return "\n".join([*lines, "`detour clusters NAME` shows one, `detour doctor --cluster NAME` checks it"])


def _table_row(profile: Profile) -> tuple[str, ...]:
    cluster = profile.cluster
    if cluster is None:
        return (profile.name, "", "", "", "not readable, see below")
    gpus = f"{cluster.gpu.per_node} x {plain(cluster.gpu.type)}" if cluster.gpu else "none"
    account = cluster.full_account("gpu" if cluster.gpu else "cpu") or "none"
    return (profile.name, gpus, longest_run(cluster), plain(account), plain(cluster.description))


def cluster_json(cluster: Cluster, path: Path) -> dict[str, object]:
    return {"file": str(path), **cluster.model_dump(mode="json")}


def longest_run(cluster: Cluster) -> str:
    """The longest run of a GPU job, as far as the profile knows."""
    if cluster.scheduler == "local":
        return "no limit"
    walls = [qos.wall for qos in cluster.qos if "gpu" in qos.use] + [cluster.gpu_partition.wall]
    known = [wall for wall in walls if wall is not None]
    return write_duration(max(known)) if known else "unknown"


def profile_json(profile: Profile) -> dict[str, object]:
    if profile.cluster is None:
        return {"name": profile.name, "file": str(profile.path), "problem": profile.problem}
    kept = profile.cluster.model_dump(mode="json", include={"description", "scheduler", "account", "sources"})
    return {"name": profile.name, "file": str(profile.path), **kept, "problem": None}
