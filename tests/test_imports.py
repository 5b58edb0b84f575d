from __future__ import annotations

import gc

import pytest

from detour.imports import uncollected


def test_the_garbage_collector_is_off_during_imports() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_imported_objects_are_frozen_for_the_collector() -> None:
    before = gc.get_freeze_count()
    with uncollected():
        kept: list[list[int]] = [[] for _ in range(1000)]
    assert gc.get_freeze_count() >= before + len(kept)


def test_a_failed_import_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()
