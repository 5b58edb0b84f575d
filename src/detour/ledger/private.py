"""Where this user's caches are on this node: <temporary folder>/detour-cache-<uid>/.

With strings and cheap imports only: a previous `status` is found here and shown at once.
"""

from __future__ import annotations

import os
from stat import S_ISDIR
from zlib import crc32


def private_file(root: str, what: str) -> str:
    """The path of one file for the workspace at `root`. Raises OSError if others could have written it."""
    folder = f"{os.environ.get('TMPDIR') or '/tmp'}/detour-cache-{os.getuid()}"
    try:
        os.mkdir(folder, 0o700)  # noqa: PTH102
    except FileExistsError:
        status = os.lstat(folder)
        if not S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise OSError(f"{folder} is not private") from None
    return f"{folder}/{crc32(root.encode()):08x}.{what}"
