"""Fixtures that several files share."""

from __future__ import annotations

from pathlib import Path

import pytest

from importstats.store import (
    SnapshotStore,
)


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "store")
