from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import ModernBertForMaskedLM

from detour.checkpoints.gates import (
    Expected,
    Found,
    Gatekeeper,
    Verdict,
    history_gates,
    identity_gates,
    loss_gates,
    probe_gates,
)
from detour.checkpoints.promoted import OPTIMIZER, read_moments
from detour.checkpoints.promotion import promote
from detour.config.training import Gate
from detour.errors import PermanentFailure
from tests.checkpoints.tiny import STEPS, TOKENS, pretrain_output, tiny_model, trained, trainer_state

EXPECTED = Expected(STEPS, TOKENS, Gate(validation_loss_drop=0.1))
GOOD = Found(STEPS, TOKENS, None, validation_loss=2.0, parent_validation_loss=3.0)


def judged(found: Found, expected: Expected = EXPECTED) -> list[Verdict]:
    gate = expected.gate
    by_gate = (history_gates(found, gate), loss_gates(found, gate), probe_gates(found, gate))
    return [*identity_gates(found, expected), *(verdict for verdicts in by_gate for verdict in verdicts)]


def failed(found: Found, expected: Expected = EXPECTED) -> list[str]:
    return [verdict.name for verdict in judged(found, expected) if not verdict.passed]


def test_a_good_checkpoint_passes_all_gates() -> None:
    assert [verdict.name for verdict in judged(GOOD)] == ["tokens", "finite", "validation_loss"]
    assert failed(GOOD) == []


@pytest.mark.parametrize(
    ("step", "tokens"), [(STEPS - 1, TOKENS - 128), (STEPS + 1, TOKENS + 128), (STEPS, TOKENS - 1)]
)
def test_fewer_or_more_tokens_than_planned_are_refused(step: int, tokens: int) -> None:
    assert failed(Found(step, tokens, None, validation_loss=2.0, parent_validation_loss=3.0)) == ["tokens"]


def test_a_weight_that_is_not_finite_is_refused() -> None:
    assert failed(Found(STEPS, TOKENS, "head.dense.weight", validation_loss=2.0, parent_validation_loss=3.0)) == [
        "finite"
    ]


@pytest.mark.parametrize(
    ("loss", "parent", "asked", "passes"),
    [
        (2.8, 3.0, 0.1, True),
        (2.95, 3.0, 0.1, False),
        (3.0, 3.0, 0.0, False),
        (3.2, 3.0, 0.0, False),
        (3.05, 3.0, -0.1, True),
        (math.nan, 3.0, 0.0, False),
        (-math.inf, 3.0, 0.0, False),
        (2.0, math.nan, 0.0, False),
    ],
)
def test_the_validation_loss_must_fall_by_more_than_the_recipe_requires(
    loss: float, parent: float, asked: float, passes: bool
) -> None:
    found = Found(STEPS, TOKENS, None, validation_loss=loss, parent_validation_loss=parent)
    assert (failed(found, Expected(STEPS, TOKENS, Gate(validation_loss_drop=asked))) == []) is passes


def test_the_arithmetic_is_one_sentence() -> None:
    sentence = judged(GOOD)[2].arithmetic
    assert sentence == "validation loss 3.0000 - 2.0000 = a drop of 1.0000 nats, above the gate's minimum of 0.1"


@pytest.mark.parametrize(
    ("gate", "found", "sentence"),
    [
        ({"validation_loss_drop": 9}, {}, "a drop of 1.0000 nats, not above the gate's minimum of 9"),
        (
            {"baseline": {"validation_loss": 1.9, "source": "twin"}},
            {},
            "validation loss 2.0000, not below the gate's limit of 1.9 (twin)",
        ),
        ({"perplexity": {"most": 7}}, {}, "perplexity e^2.0000 = 7.389, outside the gate's range, at most 7"),
        ({"perplexity": {"most": 7}}, {"validation_loss": math.nan}, "= nan, outside the gate's range, at most 7"),
        ({"perplexity": {"least": 7, "most": 8}}, {}, "within the gate's range, at least 7 and at most 8"),
        (
            {"gradient_norm": {"most": 2, "last": 1}},
            {"gradient_norms": [3.0] * STEPS},
            "largest gradient norm of the last 1 steps 3, not within the gate's limit of 2",
        ),
        (
            {"probe": {"task": "ner", "least": 0.9}},
            {"probe": 0.5},
            "0.5000 on validation is below the gate's minimum of 0.9",
        ),
        ({"probe": {"task": "ner", "least": 0.5}}, {"probe": 0.5}, "on validation reaches the gate's minimum of 0.5"),
    ],
)
def test_a_verdict_says_how_the_figure_compares_with_the_gates_limit(
    gate: dict[str, Any], found: dict[str, Any], sentence: str
) -> None:
    expected = replace(EXPECTED, gate=Gate.model_validate(gate))
    assert any(sentence in verdict.arithmetic for verdict in judged(replace(GOOD, **found), expected))


class Losses:
    """Replaces the measurement: answers for the trained model, then for its parent, and records what it was asked."""

    def __init__(self, trained: float, parent: float) -> None:
        self.answers = [trained, parent]
        self.asked: list[ModernBertForMaskedLM] = []

    def __call__(self, model: ModernBertForMaskedLM) -> float:
        self.asked.append(model)
        return self.answers[len(self.asked) - 1]


def run(tmp_path: Path, pretrained: Path, losses: Losses) -> dict[str, Any]:
    output = tmp_path / "output"
    output.mkdir()
    return promote(pretrained, output, EXPECTED, losses, lambda: tiny_model(seed=1))


def test_a_promotion_holds_the_trained_weights_and_the_optimizer(tmp_path: Path) -> None:
    model = tiny_model()
    optimizer = trained(model)
    state = trainer_state(model, optimizer)
    losses = Losses(2.0, 3.0)
    figures = run(tmp_path, pretrain_output(tmp_path / "pretrain", model, state), losses)

    assert (figures["validation_loss"], figures["parent_validation_loss"]) == (2.0, 3.0)
    assert losses.asked[1].state_dict()["head.dense.weight"].equal(tiny_model(seed=1).state_dict()["head.dense.weight"])

    promoted = ModernBertForMaskedLM.from_pretrained(tmp_path / "output" / "model", dtype=torch.float32)
    for name, tensor in model.state_dict().items():
        assert promoted.state_dict()[name].equal(tensor), name

    with safe_open(tmp_path / "output" / OPTIMIZER, framework="pt") as file:
        (group,) = json.loads(file.metadata()["param_groups"])
    assert (group["betas"], group["lr"]) == ([0.9, 0.98], 1e-3)
    assert group["params"] == [name for name, _ in model.named_parameters()]
    kept = read_moments(tmp_path / "output")
    assert kept is not None
    for name, parameter in model.named_parameters():
        for moment in ("exp_avg", "exp_avg_sq", "step"):
            assert kept[name][moment].equal(optimizer.state[parameter][moment]), (name, moment)

    assert [gate["passed"] for gate in figures["gates"]] == [True] * 4


def refused(tmp_path: Path, pretrained: Path, losses: Losses) -> str:
    with pytest.raises(PermanentFailure) as error:
        run(tmp_path, pretrained, losses)
    assert list((tmp_path / "output").iterdir()) == []
    return str(error.value)


def test_a_loss_that_did_not_fall_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    pretrained = pretrain_output(tmp_path / "pretrain", tiny_model())
    assert "3.0000 - 2.9500 = a drop of 0.0500" in refused(tmp_path, pretrained, Losses(2.95, 3.0))


def test_too_few_tokens_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    model = tiny_model()
    state = replace(trainer_state(model, trained(model)), tokens=384)
    losses = Losses(2.0, 3.0)
    message = refused(tmp_path, pretrain_output(tmp_path / "pretrain", model, state), losses)
    assert "trained on 384 tokens in 4 steps, planned are 512 in 4" in message
    assert losses.asked == []


def test_a_nan_is_refused(tmp_path: Path) -> None:
    model = tiny_model()
    state = trainer_state(model, trained(model))
    state.model["head.dense.weight"][0, 0] = math.nan
    pretrained = pretrain_output(tmp_path / "pretrain", model, state)
    assert "NaN or infinity in head.dense.weight" in refused(tmp_path, pretrained, Losses(2.0, 3.0))


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    pretrained = pretrain_output(tmp_path / "pretrain", tiny_model())
    whole = (pretrained / "checkpoint.safetensors").read_bytes()
    (pretrained / "checkpoint.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "does not load" in refused(tmp_path, pretrained, Losses(2.0, 3.0))


def test_a_config_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    pretrained = pretrain_output(tmp_path / "pretrain", tiny_model())
    tiny_model(vocabulary=50).config.save_pretrained(pretrained)
    assert "vocab_size = 50, the phase started with 97" in refused(tmp_path, pretrained, Losses(2.0, 3.0))


ASKED: dict[str, tuple[dict[str, Any], dict[str, Any], float | None]] = {
    "baseline": ({"baseline": {"validation_loss": 1.9, "source": "twin"}}, {}, 0.1),
    "perplexity": ({"perplexity": {"most": 7.0}}, {}, 0.389),
    "gradient_norm": ({"gradient_norm": {"most": 2.0, "last": 2}}, {"gradient_norms": [9.0, 9.0, 1.0, 2.5]}, 0.5),
    "probe": ({"probe": {"task": "chapters", "least": 0.5}}, {"probe": 0.4}, 0.1),
}


@pytest.mark.parametrize(("gate", "measured", "short_by"), ASKED.values(), ids=ASKED)
def test_a_missed_gate_of_the_recipe_says_by_how_much(
    gate: dict[str, Any], measured: dict[str, Any], short_by: float
) -> None:
    expected = replace(EXPECTED, gate=Gate.model_validate(gate))
    (verdict,) = (verdict for verdict in judged(replace(GOOD, **measured), expected) if not verdict.passed)
    assert verdict.name == next(iter(gate))
    assert verdict.short_by == pytest.approx(short_by, abs=1e-3)


@pytest.mark.parametrize(
    ("gate", "measured"),
    [
        ({"baseline": {"validation_loss": 1.9, "source": "twin", "margin": -0.2}}, {}),
        ({"perplexity": {"least": 7.0, "most": 8.0}}, {}),
        ({"gradient_norm": {"most": 2.0, "last": 2}}, {"gradient_norms": [9.0, 9.0, 1.0, 2.0]}),
        ({"gradient_norm": {"most": 2.0, "skipped": 1}}, {"gradient_norms": [None, 1.0, 1.0, 1.0]}),
        ({"probe": {"task": "chapters", "least": 0.4}}, {"probe": 0.4}),
    ],
)
def test_a_gate_of_the_recipe_can_be_passed(gate: dict[str, Any], measured: dict[str, Any]) -> None:
    assert failed(replace(GOOD, **measured), replace(EXPECTED, gate=Gate.model_validate(gate))) == []


@pytest.mark.parametrize("perplexity", [{"least": 8.0}, {"most": 7.0}])
@pytest.mark.parametrize("loss", [2.0, math.nan])
def test_a_perplexity_outside_its_range_is_refused(perplexity: dict[str, float], loss: float) -> None:
    expected = replace(EXPECTED, gate=Gate.model_validate({"perplexity": perplexity}))
    assert "perplexity" in failed(replace(GOOD, validation_loss=loss), expected)


@pytest.mark.parametrize("norms", [None, [1.0]])
def test_a_missing_history_does_not_pass(norms: list[float | None] | None) -> None:
    expected = replace(EXPECTED, gate=Gate.model_validate({"gradient_norm": {"most": 2.0}}))
    (verdict,) = (one for one in judged(replace(GOOD, gradient_norms=norms), expected) if not one.passed)
    assert verdict.arithmetic.endswith("of 4 steps were kept, and all are needed to judge them")


def test_skipped_steps_are_limited() -> None:
    expected = replace(EXPECTED, gate=Gate.model_validate({"gradient_norm": {"most": 2.0, "skipped": 0}}))
    (verdict,) = (one for one in judged(replace(GOOD, gradient_norms=[1, None, 1, 1]), expected) if not one.passed)
    assert verdict.short_by == 1.0


def test_a_person_can_accept_a_poor_checkpoint_and_never_a_wrong_one() -> None:
    text: list[Verdict] = []
    gatekeeper = Gatekeeper(accepted={"baseline": "a known plateau", "tokens": "close enough"}, record=text.append)
    gatekeeper.require([Verdict("baseline", False, "too high", 0.1)])
    assert text[0].overridden == "a known plateau"
    with pytest.raises(PermanentFailure, match=r"not promoted: too few \(gate tokens, missed by 5\)"):
        gatekeeper.require([Verdict("tokens", False, "too few", 5)])
    assert [verdict.passes for verdict in text] == [True, False]


def test_all_missed_gates_are_named_together() -> None:
    with pytest.raises(PermanentFailure, match=r"first \(gate a, missed by 1\); second \(gate b\)"):
        Gatekeeper().require(
            [Verdict("a", False, "first", 1.0), Verdict("c", True, "fine"), Verdict("b", False, "second")]
        )
