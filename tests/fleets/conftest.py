"""The store, and its fleet as one process makes it."""

from __future__ import annotations

import pytest
from fleet_stores import COUNT, NOW, fill

from importstats.fleets import (
    Fleet,
    fleet,
)
from importstats.store import SnapshotStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SnapshotStore:
    made = SnapshotStore(tmp_path_factory.mktemp("fleet"))
    fill(made, COUNT)
    return made


@pytest.fixture(scope="module")
def alone(store: SnapshotStore) -> Fleet:
    return fleet(store, at=NOW, scheduler="synchronous")
