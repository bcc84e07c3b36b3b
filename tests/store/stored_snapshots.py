"""Snapshots to store, and what a store has to hold of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from importstats.sources.messages import (
    GetImportProgressResponse,
    ImportProgressData,
    ImportProgressDetail,
)
from importstats.sources.snapshot import Snapshot
from importstats.store import (
    DETAILS_RESULT_SCHEMA,
    JOBS_RESULT_SCHEMA,
    SnapshotStore,
)
from importstats.store.schema import (
    DETAILS_SCHEMA,
    JOBS_SCHEMA,
    details_table,
    jobs_table,
)

START = datetime(2026, 5, 18, tzinfo=UTC)
SERVER = "https://milvus.example:19530"
JOB = "449839014328146740"


def snapshot(
    second: float, files: Sequence[int] = (), *, job: str = JOB, server: str = SERVER
) -> Snapshot:
    """A poll at which file i had ``files[i]`` rows."""
    details = [
        ImportProgressDetail(file_name=f"[in/{i}.parquet]", state="InProgress", imported_rows=rows)
        for i, rows in enumerate(files)
    ]
    data = ImportProgressData(state="Importing", imported_rows=sum(files), details=details)
    when = START + timedelta(seconds=second)
    return Snapshot(when, job, server, GetImportProgressResponse(data=data))


def numbered(
    number: int,
    *,
    job: str = "7",
    files: int = 5,
    server: str = "https://milvus",
    all_change: bool = False,
) -> Snapshot:
    """Snapshot `number` of a job, at that second; what it holds follows from its number.

    File i has a row more every i + 1 seconds, or with `all_change` every file every second.
    """
    details = [
        ImportProgressDetail(
            file_name=f"[{i}.parquet]",
            imported_rows=number + i if all_change else number // (i + 1),
        )
        for i in range(files)
    ]
    data = ImportProgressData(state="Importing", progress=40, details=details)
    when = START + timedelta(seconds=number)
    return Snapshot(when, job, server, GetImportProgressResponse(data=data), snapshot_id=number)


def by_key(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    return sorted(snapshots, key=lambda s: (s.source_uri, s.job_id, s.snapshot_id))


def assert_holds(store: SnapshotStore, snapshots: Sequence[Snapshot]) -> None:
    """The store has exactly these snapshots."""
    jobs, details = store.jobs(), store.details()
    assert jobs.schema.equals(JOBS_RESULT_SCHEMA)
    assert details.schema.equals(DETAILS_RESULT_SCHEMA)
    assert jobs.cast(JOBS_SCHEMA).equals(jobs_table(by_key(snapshots)))
    assert details.cast(DETAILS_SCHEMA).equals(details_table(by_key(snapshots)))


def parquet_files(store: SnapshotStore) -> list[Path]:
    return sorted(Path(store.uri).rglob("*.parquet"))


# Many small stores: in memory where that can be had, since none of this is about the disk.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
