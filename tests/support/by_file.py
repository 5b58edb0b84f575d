"""Which tests pytest-xdist runs in one worker."""

from __future__ import annotations

from xdist.scheduler import LoadGroupScheduling


class ByFile(LoadGroupScheduling):  # type: ignore[misc]
    """Tests of a file run in one worker, which makes once what they share. Those on Slurm wait, so each runs alone."""

    def _split_scope(self, nodeid: str) -> str:
        scope = str(super()._split_scope(nodeid))
        return scope if scope != nodeid or nodeid.startswith("tests/slurm/") else nodeid.partition("::")[0]
