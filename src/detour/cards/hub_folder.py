"""The folder to push to the hub: the exported files, the card, and a record of how the card was made."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from detour.accounting.energy import Method
from detour.cards.about_file import About
from detour.cards.content import Content
from detour.cards.exported import CARD
from detour.cards.rendering import TEMPLATE, render
from detour.checkpoints.manifest import read_manifest, verify_manifest
from detour.errors import UserError
from detour.files import fsync_directory, naming, write_atomic
from detour.ledger.folders import refuse_links
from detour.ledger.workspace import MANIFEST, Workspace

RECORD = "card.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Record:
    """How a card was made, so that it can be made again and compared."""

    chain: str
    workspace: str
    about: About
    method: Method | None = None
    cluster: str | None = None
    template: str | None = None
    export: str | None = None
    """The version described; unknown in records of earlier versions of detour."""

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "chain": self.chain,
            "workspace": self.workspace,
            "about": self.about.as_json,
            "method": self.method and self.method.value,
            "cluster": self.cluster,
            "template": self.template,
            "export": self.export,
        }

    @classmethod
    def read(cls, folder: Path) -> Record | None:
        """Read a folder's record, None if there is none. Raises UserError if it cannot be read."""
        path = folder / RECORD
        try:
            data = orjson.loads(path.read_bytes())
            if data["schema"] != SCHEMA:
                raise ValueError(f"schema {data['schema']}")
            method = data["method"] and Method(data["method"])
            about = About.model_validate(data["about"])
            return cls(
                data["chain"], data["workspace"], about, method, data["cluster"], data["template"], data.get("export")
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: not written by detour ({error}); make the card again with `detour card`"
            ) from error


def default_folder(workspace: Workspace, chain: str) -> Path:
    return workspace.root / "hub" / chain


def write_hub_folder(
    workspace: Workspace, folder: Path, content: Content, record: Record, template_name: str = TEMPLATE
) -> None:
    """Write the folder, replacing an earlier one that detour made.

    A link to a folder is followed, except in the workspace, where others may have made it. Raises UserError for such a
    link, a damaged export, or a path that holds anything else.
    """
    assert content.lineage is not None
    export = workspace.output(content.lineage.export)
    if problems := verify_manifest(export):
        raise UserError(f"{problems[0]}; make it again with `{workspace.command('retry', record.chain)}`")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; give another with --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise UserError(f"{folder}: has other content; choose another folder with --out")
    if folder.is_relative_to(workspace.root):
        refuse_links(workspace.root, folder)
    folder = folder.resolve()
    text = render(content, record.template, template_name)
    aside, old = (folder.with_name(f".{folder.name}.{os.getpid()}{suffix}") for suffix in ("", ".old"))
    shutil.rmtree(aside, ignore_errors=True)
    with naming(folder, aside):
        aside.mkdir(parents=True)
    try:
        for name in read_manifest(export)["files"]:
            if name not in (CARD, MANIFEST):
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(export / name, aside / name)
        write_atomic(aside / CARD, text)
        made = replace(record, export=content.lineage.export)
        write_atomic(aside / RECORD, orjson.dumps(made.to_json(), option=orjson.OPT_INDENT_2))
        _put_in_place(aside, folder, old)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    fsync_directory(folder.parent)


def _put_in_place(aside: Path, folder: Path, old: Path) -> None:
    """Rename a folder into place, then remove the previous one."""
    if folder.exists():
        folder.rename(old)
    try:
        aside.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
