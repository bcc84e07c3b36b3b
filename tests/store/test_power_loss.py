"""Power loss: what a disk may hold after a cut at any moment, replayed in thousands of states.

Random histories of appends, compactions and deliveries run on a real folder while every change of
it is recorded. A crash state is then made as a disk may leave it: what was not synced is there, or
lost, or torn, in any combination and whatever the order, as in ALICE (Pillai et al., "All file
systems are not created equal", OSDI 2014). In each, all that was acknowledged must be there once.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest
from losing_power import Disk, Recording, recorded, write_out
from stored_snapshots import numbered

from importstats.errors import StoreError
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore

START = datetime(2026, 5, 18, tzinfo=UTC)
STATES_PER_HISTORY = 100
HISTORIES = int(os.environ.get("IMPORTSTATS_POWER_LOSS_HISTORIES", "20"))
GROUPS = 4


def snapshot(number: int) -> Snapshot:
    return numbered(number, job=str(number % 2), files=3, server="u")


def history(root: Path, rng: random.Random) -> Recording:
    """A random life of a store, with what it acknowledged among the operations."""
    with recorded(root) as recording:
        root.mkdir()
        recording.note("sync folder", ".")
        store = SnapshotStore(root)
        numbers = iter(range(1000))
        for event in range(rng.randint(6, 12)):
            action = rng.random()
            if action < 0.6 or event == 0:
                some = [next(numbers) for _ in range(rng.choice([1, 1, 1, 3]))]
                for each in some:
                    # Each job's part is acknowledged by itself only if it is appended by itself.
                    store.append(snapshot(each))
                    recording.note("stored", each)
            elif action < 0.85:
                store.compact(min_segments=2, final=rng.random() < 0.5)
            else:
                files = store.sidecar_files
                files.put(f"_outbox/pending/{event}", b"pending")
                recording.note("to deliver", event)
                if rng.random() < 0.7:
                    files.put(f"_outbox/pending/{event}", b"tried")
                    files.put(f"_outbox/delivered/{event}", b"done")
                    files.delete(f"_outbox/pending/{event}")
    return recording


def check(root: Path, stored: list[int], to_deliver: list[int], *, goes_on: bool) -> None:
    """All that was acknowledged is there once and whole, and nothing that was not begun."""
    store = SnapshotStore(root)
    try:
        ids = store.jobs(columns=["snapshot_id"])["snapshot_id"].to_pylist()
    except StoreError as error:
        if stored:
            raise AssertionError("lost") from error
        return
    assert len(ids) == len(set(ids)), "twice"
    assert set(stored) <= set(ids), "lost"
    assert len(set(ids) - set(stored)) <= 1, "more than the one that was being stored"
    details = store.details(columns=["snapshot_id", "file_name", "imported_rows"])
    found = sorted(zip(*(column.to_pylist() for column in details.columns), strict=True))
    assert found == sorted((n, f"[{i}.parquet]", n // (i + 1)) for n in ids for i in range(3))
    for event in to_deliver:
        places = [root / "_outbox" / place / str(event) for place in ("pending", "delivered")]
        assert any(place.exists() and place.read_bytes() for place in places), "undelivered"
    if goes_on:
        store.append(snapshot(1000))
        store.compact(final=True)
        assert sorted(store.jobs()["snapshot_id"].to_pylist()) == sorted([*ids, 1000])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("group", range(GROUPS))
def test_nothing_acknowledged_is_lost_in_any_crash_state(group: int) -> None:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    states = 0
    with tempfile.TemporaryDirectory(dir=memory) as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(group, HISTORIES, GROUPS):
            root = Path(folder, "history")
            recording = history(root, random.Random(seed))
            shutil.rmtree(root)
            for crash in range(STATES_PER_HISTORY):
                rng = random.Random(f"{seed}.{crash}")
                disk = Disk()
                for operation in recording.operations[: rng.randint(0, len(recording.operations))]:
                    disk.apply(*operation)
                crashed = Path(folder, "crashed")
                write_out(disk.after_the_cut(rng), crashed)
                try:
                    check(crashed, disk.stored, disk.to_deliver, goes_on=crash % 20 == 0)
                except Exception as error:
                    raise AssertionError(f"seed {seed}, crash {crash}: {error}") from error
                shutil.rmtree(crashed)
                states += 1
    assert states == len(range(group, HISTORIES, GROUPS)) * STATES_PER_HISTORY


@pytest.mark.parametrize("forgotten", ["sync", "sync folder"])
def test_the_replay_finds_what_is_not_synced(forgotten: str) -> None:
    """The same with a disk that never syncs: the replay must notice."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "history")
        operations = [
            each for each in history(root, random.Random(1)).operations if each[0] != forgotten
        ]
        lost = 0
        for crash in range(60):
            rng = random.Random(crash)
            disk = Disk()
            for operation in operations:
                disk.apply(*operation)
            crashed = Path(folder, "crashed")
            write_out(disk.after_the_cut(rng), crashed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    check(crashed, disk.stored, disk.to_deliver, goes_on=False)
                except Exception:  # noqa: BLE001 - any failure is a finding
                    lost += 1
            shutil.rmtree(crashed)
        assert lost > 0


def test_a_folder_that_another_writer_has_just_made_is_synced_before_an_append_counts(
    tmp_path: Path,
) -> None:
    """It may not have come to that yet, and what is in a lost folder is lost."""
    root = tmp_path / "store"
    SnapshotStore(root).append(snapshot(0))
    with recorded(root) as recording:
        SnapshotStore(root).append(snapshot(2))
    cluster = "cluster=u"
    synced = {operation[1] for operation in recording.operations if operation[0] == "sync folder"}
    assert {
        ".",
        *(f"{table}{part}" for table in ("jobs", "details") for part in ("", f"/{cluster}")),
    } <= synced
