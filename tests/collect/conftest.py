"""A store, and a server with jobs, for the tests of the collector."""

import pytest

from importstats.simulator import SimulatorServer, make_shape
from importstats.store import SnapshotStore


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


@pytest.fixture
def server():
    """A server with one job, at work; its clock is moved by hand."""
    cluster, job = make_shape("small_and_quick", seed=4)
    with SimulatorServer(cluster, [job], acceleration=0) as server:
        server.advance(4)
        yield server
