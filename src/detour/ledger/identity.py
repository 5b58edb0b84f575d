"""A workspace's id, the same under any path, by which its jobs in Slurm are found.

<workspace>/workspace.json holds the id and the path under which it was last established. A workspace that is moved, or
seen under a second mount, keeps its id and so its jobs. A copy next to the original gets its own id, since the jobs are
the original's. A workspace older than these ids keeps the id derived from its path, which its jobs carry.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from detour.errors import UserError
from detour.files import write_atomic, write_new

FILE = "workspace.json"
_ID = re.compile(r"[0-9a-f]{12}")
_TAG = re.compile(rb"detour:1:([0-9a-f]{12}):")
_MADE_BY_EARLIER_VERSIONS = ("ledger", "stages", "submissions")


@dataclass(frozen=True, slots=True)
class Identity:
    id: str
    path: str


def workspace_id(root: Path) -> str:
    """The id, equal for all who see the workspace, so that they see each other's jobs. Nothing is written.

    Raises UserError for an invalid identity file.
    """
    known = _read(root)
    return known.id if known else _id_by_path(root)


def establish(root: Path) -> None:
    """Give the workspace an id if it has none, and a copy its own; to be called before writing to it.

    Two users who do this at once end up with the same id.
    """
    here = str(root.resolve())
    known = _read(root)
    if known is None:
        is_older = any((root / name).exists() for name in _MADE_BY_EARLIER_VERSIONS)
        _create(root, Identity(_id_by_path(root) if is_older else secrets.token_hex(6), here))
    elif known.path != here:
        _write(root, Identity(_id_under(root, known, here), here))


def _id_under(root: Path, known: Identity, here: str) -> str:
    """The known id, unless the workspace it was made for is still in place and is another folder."""
    original = Path(known.path)
    with suppress(OSError, UserError, ValueError):  # the last for a NUL in the path
        there = _read(original)
        if there is not None and there.id == known.id and not is_same_folder(root, original):
            return hashlib.sha256(f"{known.id} {here}".encode()).hexdigest()[:12]
    return known.id


def is_same_folder(one: Path, other: Path) -> bool:
    """Whether what is written through one path is seen through the other: two mounts may number devices differently."""
    probe = f".same-{secrets.token_hex(8)}"
    try:
        (one / probe).touch(exist_ok=False)
        return (other / probe).exists()
    finally:
        (one / probe).unlink(missing_ok=True)


def _id_by_path(root: Path) -> str:
    """The id that earlier versions derived from the path, or the one in the newest script if there is any.

    The script takes precedence because the workspace may have moved since.
    """
    scripts = (root / "submissions").glob("*/*.sh")
    for script in sorted(scripts, key=lambda path: path.stat().st_mtime, reverse=True):
        if found := _TAG.search(script.read_bytes()):
            return found[1].decode()
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]


def _read(root: Path) -> Identity | None:
    path = root / FILE
    try:
        content = orjson.loads(path.read_bytes())
        identity = Identity(str(content["id"]), str(content["path"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not written by detour ({error}); {_WAY_OUT}") from error
    if not _ID.fullmatch(identity.id):
        raise UserError(f"{path}: id is {identity.id!r}, 12 hexadecimal digits are expected; {_WAY_OUT}")
    return identity


_WAY_OUT = "its jobs' names hold the id, as in `detour:1:<id>:...`: write it back, or delete the file if there are none"


def _write(root: Path, identity: Identity) -> None:
    write_atomic(root / FILE, orjson.dumps(asdict(identity)))


def _create(root: Path, identity: Identity) -> None:
    """Create the identity file; the first process to do so wins."""
    with suppress(FileExistsError):
        write_new(root / FILE, orjson.dumps(asdict(identity)))
