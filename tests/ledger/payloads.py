"""Payloads of every kind of event: drawn by hypothesis from its types, and as commit a411181 wrote them."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from hypothesis import strategies as st

from detour.ledger.events import KINDS, Event, is_band, is_speed
from detour.times import LATEST_S, LONGEST_S, is_duration, is_instant

INTEGERS, FLOATS = st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False)
BOUNDED = {
    is_instant: st.floats(0.0, LATEST_S, exclude_max=True),
    is_duration: st.floats(0.0, LONGEST_S, exclude_max=True),
    is_speed: st.floats(1e-3, 1e12),
}
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3),
    max_leaves=6,
)
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["done", "tokens", "pretrain-1", "detour:1:w:pretrain-1:1:s1", "detour:1:w:evaluate-2:٣:s2", "7", "afterok:7"]
)

WRITTEN_BEFORE: dict[str, dict[str, Any]] = {
    "journal.opened": {"host": "n1", "pid": 7, "user": "ada", "boot": "b pid:[1]", "start_ticks": 77},
    "journal.closed": {},
    "journal.compacted": {"bad_lines": 1, "journals": ["command-7.20300101T000000.00ff.jsonl"]},
    "attempt.diagnosed": {
        "cause": "gpu_fault",
        "evidence": "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "retry": "yes",
        "advice": "Retry on another node.",
        "nodes": ["n1"],
    },
    "job.accounted": {
        "source": "sacct",
        "submit_s": 1772323200.0,
        "start_s": 1772326800.0,
        "elapsed_s": 7200.0,
        "state": "COMPLETED",
        "gpus": 4,
        "cpus": 96,
        "nodes": 1,
        "cluster": "jz",
        "job_id": 17,
        "billing": 4.0,
        "energy_j": 1500.0,
        "profile": "jean-zay",
        "stages": ["pretrain-1"],
    },
    "attempt.started": {
        "node": "n1",
        "pid": 7,
        "world_size": 4,
        "gpus": 4,
        "cpus": 96,
        "ram_gb": 512.0,
        "nodes": 1,
        "cluster": "jean-zay",
    },
    "attempt.heartbeat": {},
    "speed.measured": {
        "cluster": "jean-zay",
        "signature": "pretrain 22x768x32768 causal 8192 auto 0 frozen",
        "tokens_per_s": 2e5,
        "device": "H100",
        "versions": {"torch": "2.13.0"},
        "mfu": 0.2,
    },
    "attention.chosen": {"backend": "varlen", "layer_ms": {"varlen": 1.5}, "refused": {"flash_attention_3": "absent"}},
    "attempt.ended": {"outcome": "interrupted", "exit_code": 85, "reason": "signal SIGUSR2", "elapsed_s": 7.5},
    "progress": {"done": 10, "total": 20, "unit": "tokens", "figures": {"loss": 2.5, "lr": 1e-3, "tokens_per_s": None}},
    "energy": {
        "energy_kwh": 0.5,
        "cpu_kwh": 0.1,
        "gpu_kwh": 0.3,
        "ram_kwh": 0.1,
        "duration_s": 60.0,
        "method": "codecarbon",
        "scope": "this machine",
        "detail": "CPU by RAPL counter, RAM by codecarbon's model, 4 GPU by NVML counter",
        "cpu_model": "Some CPU",
        "gpus": [0, 1, 2, 3],
        "gpu_model": "4 x Some GPU",
        "tool": "codecarbon",
        "version": "3.3.2",
        "reason": None,
    },
    "energy.read": {
        "why": "interval",
        "node": "n1",
        "began_s": 1.7e9,
        "elapsed_s": 60.0,
        "gpus": {
            "GPU-1": {
                "counter_j": 5e8,
                "power_w": 640.0,
                "energy_j": 36000.0,
                "sampled_j": 0.0,
                "seen_s": 60.0,
                "resets": 0,
                "share": 1.0,
            }
        },
        "cpu_j": 18000.0,
        "ram_j": None,
        "host_s": 60.0,
        "host_share": 1.0,
        "reason": None,
        "version": "580.95",
    },
    "checkpoint.saved": {"step": 10, "tokens": 5120},
    "checkpoint.resumed": {"step": 10, "tokens": 5120},
    "checkpoint.skipped": {"path": "/w/step-20", "step": 20, "reason": "state.pt is missing"},
    "gradient.skipped": {"step": 11, "in_a_row": 2},
    "gate.judged": {
        "gate": "validation_loss",
        "passed": False,
        "arithmetic": "a drop of 0.05 nats, not above the gate's minimum of 0.1",
        "short_by": 0.05,
        "overridden": "a known plateau",
    },
    "gate.overridden": {"gate": "validation_loss", "why": "a known plateau", "user": "someone"},
    "stage.done": {"result": {"tokens": 5120, "final_loss": 2.5}},
    "stage.failed": {"reason": "the loss fell too little"},
    "submit.stage": {},
    "cancel.stage": {},
    "submit.intent": {
        "tasks": [["a"], ["b"]],
        "dependency": "afterok:7",
        "gate": "/w/1-s1.go",
        "tags": ["detour:1:w:a:1:s1"],
    },
    "submit.accepted": {"job_id": "17", "tags": ["detour:1:w:a:1:s1"]},
    "submit.relinked": {"dependency": "afterok:8", "tags": ["detour:1:w:a:1:s1"]},
    "submit.committed": {"tags": ["detour:1:w:a:1:s1"]},
    "submit.dropped": {"why": "withdrawn", "tags": ["detour:1:w:a:1:s1"]},
    "submit.kept": {"tags": ["detour:1:w:a:1:s1"], "at_s": 1.7e9},
    "submit.let_go": {"tags": ["detour:1:w:a:1:s1"], "at_s": 1.8e9},
    "chain.planned": {"cluster": "jean-zay", "stages": ["prepare-1", "pretrain-1"]},
    "chain.priced": {
        "name": "base",
        "cluster": "jean-zay",
        "prices": [
            {
                "kind": "pretrain",
                "gpus": 4,
                "cores": 96,
                "wall_s": [90.0, 100.0, 110.0],
                "gpu_hours": None,
                "source": "measured",
                "stages": ["pretrain-1"],
            }
        ],
    },
    "chain.submitted": {"cluster": "jean-zay"},
    "chain.retried": {"cleared": {"promote clm": "the loss fell too little"}},
    "cancel.chain": {"jobs": ["17", "18_3"]},
    "hold.chain": {"jobs": ["17"]},
    "release.chain": {"jobs": []},
    "model.aliased": {
        "model": "base",
        "alias": "production",
        "before": "export-1",
        "after": "export-2",
        "why": "better on 8 of 8 tasks",
        "user": "someone",
        "rolled_back": False,
    },
    "budget.reserved": {
        "submission": "00ff",
        "facts": {"project": "abc", "account": "abc@h100", "sweep": None},
        "stages": [{"ids": ["pretrain-1"], "amounts": {"gpu_hours": 30.0, "co2_kg": None}}],
        "over": ["abc"],
        "why": "a deadline",
    },
    "budget.committed": {"submission": "00ff"},
    "budget.released": {"submission": "00ff", "stages": None, "why": "cancelled"},
    "forecast.made": {
        "method": "history",
        "begun_s": 1.9e9,
        "start_p50_s": 1.9e9,
        "start_p90_s": 1.9e9,
        "end_p50_s": None,
        "end_p90_s": None,
        "slurm_start_s": None,
        "bursts": 40,
    },
    "forecast.scored": {
        "of": "start",
        "made_s": 1.9e9,
        "p50_s": 1.9e9,
        "p90_s": 1.9e9,
        "actual_s": 1.9e9,
        "pinball_s": 0.0,
        "method": "history",
        "slurm_start_s": None,
    },
}
"""`submit.intent` has no gate if the job is held; `energy` has only 8 fields before the first figure."""


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Draw JSON values of a field's type."""
    if annotation is Any:
        return JSON
    if annotation is str:
        return TEXTS
    if annotation is int:
        return INTEGERS
    if annotation is float:
        return FLOATS
    if annotation is bool:
        return st.booleans()
    if annotation is NoneType:
        return st.none()
    if get_origin(annotation) is Annotated:
        plain, within = annotation.__origin__, annotation.__metadata__[0]
        return st.lists(values(get_args(plain)[0]), min_size=3, max_size=3) if within is is_band else BOUNDED[within]
    if get_origin(annotation) in (Union, UnionType):
        return st.one_of(*map(values, get_args(annotation)))
    if get_origin(annotation) is list:
        return st.lists(values(get_args(annotation)[0]), max_size=3)
    if get_origin(annotation) is dict:
        return st.dictionaries(TEXTS, values(get_args(annotation)[1]), max_size=3)
    assert is_typeddict(annotation), annotation
    return st.fixed_dictionaries({name: values(hint) for name, hint in hints_of(annotation).items()})


def hints_of(annotated: type) -> dict[str, Any]:
    return get_type_hints(annotated, include_extras=True)


def payloads(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw payloads with and without the fields that can be missing."""
    event = KINDS[kind]
    hints = {name: hint for name, hint in hints_of(event).items() if name not in get_type_hints(Event)}
    required = {name: values(hint) for name, hint in hints.items() if not hasattr(event, name)}
    optional = {name: values(hint) for name, hint in hints.items() if hasattr(event, name)}
    return st.fixed_dictionaries(required, optional=optional)


@st.composite
def hostile_records(draw: st.DrawFn) -> object:
    """Draw a record of some kind with an error in its payload, in the fields around it, or in its whole form."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    data = draw(payloads(kind))
    for name in draw(st.lists(st.sampled_from(sorted({*data, "further"})), max_size=2)):
        data[name] = draw(JSON)
    for name in draw(st.lists(st.sampled_from(sorted({*data, "further"})), max_size=1)):
        data.pop(name, None)
    record: dict[str, Any] = {
        "schema": 1,
        "wall_s": draw(st.floats(0.0, 2e9)),
        "mono_s": draw(st.floats(0.0, 1e9)),
        "writer": draw(st.sampled_from(["v", "w"])),
        "sequence": draw(st.integers(0, 50)),
        "kind": kind,
        "chain": draw(st.sampled_from([None, "base"])),
        "stage": draw(st.sampled_from([None, "pretrain-1", "prepare-1"])),
        "job": draw(st.sampled_from([None, "7", "8_1", "x"])),
        "attempt": draw(st.sampled_from([None, 1, 2, -3])),
        "data": data,
    }
    for name in draw(st.lists(st.sampled_from(sorted(record)), max_size=1)):
        record[name] = draw(JSON)
    for name in draw(st.lists(st.sampled_from(sorted(record)), max_size=1)) if draw(st.integers(0, 9)) == 0 else ():
        del record[name]
    return draw(JSON) if draw(st.integers(0, 19)) == 0 else record
