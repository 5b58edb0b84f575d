"""Messages of the system in other languages become the rules' English; a quotation is unchanged."""

from __future__ import annotations

import pytest

from detour.diagnosis.evidence import Evidence, LedgerEvent
from detour.diagnosis.judge import judge
from detour.diagnosis.languages import in_english


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("cd: /w: Aucun fichier ou dossier de ce type", "cd: /w: No such file or directory"),
        ("cp: Débordement du quota d’espace disque", "cp: Disk quota exceeded"),
        ("l'entrée du réseau", "l'entrée du réseau"),
        ("dd: Erreur d'entrée/sortie sur l'hôte cible", "dd: Remote I/O error"),
        ("script: riga 12: 44112 Ucciso   python", "script: riga 12: 44112 Killed   python"),
        ("脚本：行 9: ./run.sh: 权限不够", "脚本：行 9: ./run.sh: Permission denied"),
    ],
)
def test_only_known_messages_are_translated(text: str, english: str) -> None:
    assert in_english(text) == english


def test_the_line_is_quoted_as_it_stands() -> None:
    line = "cp: erreur d’écriture: Aucun espace disponible sur le périphérique"
    verdict = judge(Evidence(log=(line,)))
    assert (verdict.cause, verdict.first.quote) == ("disk_full", line)


def test_the_reason_of_an_event_is_read_alike() -> None:
    failed = LedgerEvent("stage.failed", data={"reason": "OSError: [Errno 122] Débordement du quota d'espace disque"})
    assert judge(Evidence(events=(failed,))).cause == "disk_quota"
