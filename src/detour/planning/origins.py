"""Origins of documents, tokenizers and weights. Their content enters a stage's key; their location does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from detour.config.fields import File
from detour.config.models import Source

AnyFile = TypeVar("AnyFile", bound=File)
Head = Literal["pretrained", "new"]
"""Where the masked-LM head of published weights comes from, as in `detour.config.models.Model`."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """The content of a file, independent of its location."""

    name: str
    fingerprint: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "fingerprint": self.fingerprint}


@dataclass(frozen=True, slots=True)
class Published:
    """Weights or a tokenizer identified by a hub id."""

    pretrained: str
    revision: str | None
    head: Head = "pretrained"

    def to_json(self) -> dict[str, Any]:
        return {"pretrained": self.pretrained, "revision": self.revision, **_head_json(self.head)}


@dataclass(frozen=True, slots=True)
class Folder:
    """Weights or a tokenizer identified by the content of a local folder."""

    files: tuple[FileContent, ...]
    head: Head = "pretrained"

    def to_json(self) -> dict[str, Any]:
        return {"files": files_json(self.files), **_head_json(self.head)}


@dataclass(frozen=True, slots=True)
class RandomWeights:
    config: Mapping[str, Any]
    """Fields of ModernBertConfig."""

    def to_json(self) -> dict[str, Any]:
        return {"config": self.config}


class SourceSettings(NamedTuple):
    source: Source
    """The source, without its location (`without_place`)."""
    files: tuple[FileContent, ...]

    def to_json(self) -> dict[str, Any]:
        return {**placeless_json(self.source.as_json), "files": files_json(self.files)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SourceSettings:
        written = {key: value for key, value in data.items() if key != "files"}
        return cls(Source.model_validate({**written, "path": ""}), files_of(data["files"]))


@dataclass(frozen=True, slots=True)
class Content:
    """The files behind one entry of a recipe: their paths on this machine and their content."""

    paths: tuple[Path, ...]
    fingerprints: tuple[str, ...]
    size_bytes: int | None = None
    """Total size of the files; None if they are not on this machine."""
    missing: str | None = None
    """Why they cannot be inspected on this machine; keys that depend on them are then provisional."""
    root: Path | None = None
    """Common folder of the files, if names of folders below it matter too because they give the split."""

    @property
    def files(self) -> tuple[FileContent, ...]:
        names = [path.relative_to(self.root).as_posix() if self.root else path.name for path in self.paths]
        return tuple(FileContent(name, print_) for name, print_ in zip(names, self.fingerprints, strict=True))


def without_place(file: AnyFile) -> AnyFile:
    """Return a file's entry without its location, since only the content counts."""
    nowhere = {"path": "", "package": None, "hub": None, "revision": None}
    return file.model_copy(update={key: value for key, value in nowhere.items() if key in type(file).model_fields})


def placeless_json(file: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in file.items() if key not in ("path", "package", "hub", "revision")}


def origin_of(data: Mapping[str, Any]) -> Any:
    """Read what `to_json` of `Published`, `Folder` or `RandomWeights` wrote. Raises KeyError for anything else."""
    if "config" in data:
        return RandomWeights(data["config"])
    head = data.get("head", "pretrained")
    if "files" in data:
        return Folder(files_of(data["files"]), head)
    return Published(data["pretrained"], data.get("revision"), head)


def files_of(data: Iterable[Mapping[str, Any]]) -> tuple[FileContent, ...]:
    return tuple(FileContent(file["name"], file["fingerprint"]) for file in data)


def files_json(files: Iterable[FileContent]) -> list[dict[str, str]]:
    return [file.to_json() for file in files]


def _head_json(head: Head) -> dict[str, str]:
    """Write nothing for the default, so that earlier stages keep their keys."""
    return {} if head == "pretrained" else {"head": head}
