"""Simulated lives of a collector: what was acknowledged is there once, and nothing else."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from simulation import simulate

SEEDS = int(os.environ.get("IMPORTSTATS_SIMULATED_SEEDS", "12"))
GROUPS = 4


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("group", range(GROUPS))
def test_what_was_acknowledged_is_there_once_whatever_happens_when(group: int) -> None:
    acknowledged = 0
    for seed in range(group, SEEDS, GROUPS):
        with tempfile.TemporaryDirectory(dir=memory()) as folder:
            try:
                acknowledged += simulate(seed, Path(folder))["acknowledged"]
            except BaseException as error:
                raise AssertionError(f"seed {seed}: {error}") from error
    assert acknowledged > 0


def memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
