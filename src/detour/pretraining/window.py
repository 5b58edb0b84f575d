"""The window of tokens that a token may attend to within its document."""

from __future__ import annotations

Window = tuple[int, int]
"""Tokens to the left and to the right of the query; right is 0 in causal mode."""
UNBOUNDED = -1
"""A side without a limit, in the convention of the flash kernels."""
