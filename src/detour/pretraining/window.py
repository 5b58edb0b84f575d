"""What a token may attend to within its document."""

from __future__ import annotations

Window = tuple[int, int]
"""Tokens on the left and on the right of the query; right is 0 in causal mode."""
UNBOUNDED = -1
"""A side without limit, as flash kernels write it."""
