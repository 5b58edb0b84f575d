"""Retry writes while the disk is full, so that nothing is lost once space is freed."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from detour.errors import NoRoom

T = TypeVar("T")

ROOM_PATIENCE_S = 900.0
"""Maximum time to wait for space; half of the time that ranks wait for each other."""
ROOM_POLL_S = 10.0
OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT)
_SAID = re.compile(rf"\(os error ({errno.ENOSPC}|{errno.EDQUOT})\)|\d+ requested and \d+ written")
"""Messages of safetensors, and of numpy, which drops the reason of a short write."""


def is_out_of_room(error: BaseException | None) -> bool:
    """Whether a full disk or quota caused the error, which libraries wrap in errors of their own."""
    while error is not None:
        if getattr(error, "errno", None) in OUT_OF_ROOM or _SAID.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def with_room(write: Callable[[], T], report: Callable[[str], None], give_up: Callable[[], bool] = lambda: False) -> T:
    """Return the result of `write`, retrying while the disk is full; a failed `write` must leave nothing behind.

    Raises NoRoom after ROOM_PATIENCE_S or if `give_up` returns true; other errors are passed on.
    """
    deadline_s = monotonic() + ROOM_PATIENCE_S
    is_reported = False
    while True:
        try:
            return write()
        except NoRoom:
            raise
        except Exception as error:
            if not is_out_of_room(error):
                raise
            if give_up() or monotonic() >= deadline_s:
                raise NoRoom(f"no room left on the disk ({error}): free some space, or raise the quota") from error
            if not is_reported:
                is_reported = True
                report(f"no room left on the disk ({error}): trying again for {ROOM_PATIENCE_S / 60:g} minutes")
        sleep(ROOM_POLL_S)
