"""What a bundle for a support ticket must not contain."""

from __future__ import annotations

import time

import pytest

from detour.diagnosis.redaction import HIDDEN, redacted, redacted_json
from tests.diagnosis.cases import cases


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz0123", "HF_TOKEN=[hidden]"),
        ("export WANDB_API_KEY='0123456789abcdef0123'", "export WANDB_API_KEY='[hidden]'"),
        ('{"password": "hunter22", "user": "ada"}', '{"password": "[hidden]", "user": "ada"}'),
        ("Authorization: Bearer abcdefgh.ijklmnop-qr", "Authorization: Bearer [hidden]"),
        ("cloning https://ada:s3cr3t@git.example/x", "cloning https://[hidden]@git.example/x"),
        ("token hf_abcdefghijklmnopqrstuvwxyz0123 refused", "token [hidden] refused"),
    ],
)
def test_secrets_are_hidden(line: str, written: str) -> None:
    assert redacted(line) == written


@pytest.mark.parametrize(
    "line",
    [
        "tokens: 83886080000",
        "tokens_per_sec: 811203.1",
        "Train time/token: 86419636224",
        "max_tokens=1_000_000",
        "NoCredentialsError: Unable to locate them",
        "jwt.InvalidTokenException: expired",
        "bash: /work/prj/hf_token: Permission denied",
        "or by passing `token=<your_token>`",
        "Tokenising:  20%|██        | 20/100",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert redacted(line) == line


def test_a_long_line_is_redacted_in_no_time() -> None:
    began_s = time.process_time()
    assert redacted(f"{'token' * 40_000} TOKEN=abcdefgh").endswith(f" TOKEN={HIDDEN}")
    assert time.process_time() - began_s < 5


def test_nothing_of_the_corpus_is_hidden() -> None:
    bundles = [case["bundle"] for case in cases()]
    assert redacted_json(bundles) == bundles
