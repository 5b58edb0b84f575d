"""A local folder with a model or a tokenizer has to be the one that the chain was planned with."""

from __future__ import annotations

from pathlib import Path

from detour.corpus.files import check_folder_unchanged
from detour.planning.origins import Folder


def require_unchanged(place: str | None, origin: object) -> None:
    """Raises SourceError if the origin is a folder and `place`, where it is, does not have its content anymore."""
    if isinstance(origin, Folder):
        check_folder_unchanged(Path(str(place)), [(file.name, file.fingerprint) for file in origin.files])
