"""The store: snapshots as Parquet files in a folder or a bucket, readable by anything.

Layout::

    STORE/_importstats.json                                       format version
    STORE/jobs/cluster=CLUSTER/job=JOB/SEGMENT.parquet            one row per snapshot
    STORE/details/cluster=CLUSTER/job=JOB/SEGMENT.parquet         one row per run
    STORE/_tmp/                                                   files being written (disk only)
    STORE/_corrupt/                                               files set aside, never deleted

``CLUSTER`` and ``JOB`` are made from ``source_uri`` and ``job_id`` (see :func:`slug`), which stand
unchanged in the files' own columns. A *segment* holds whole snapshots of one job and has the same
name in both tables: ``FIRST-LAST-LEVEL-RANDOM``, the UTC times of its first and last snapshot,
``L0`` as appended or ``L1`` and up as compacted, and 48 random bits.

Rules that every reader and writer keeps, and that need no lock:

* The jobs file is the commit: the details file is written before it and deleted after it. Each
  appears whole (a rename on disk, one put in a bucket), durable before ``append`` returns.
* A details file is complete in itself with its jobs file: a row is a *run*, which says that a file
  had these values in every snapshot of its segment from ``snapshot_id`` to ``last_snapshot_id``.
* Compaction writes the merged segment, one level above its inputs, then deletes the inputs. Where
  segments share a snapshot, the one of the highest level (then name) counts. So a reader sees each
  snapshot exactly once at any moment, with any number of writers and compactors, one of which may
  have been killed half way.

A reader that knows nothing of this and globs ``STORE/jobs/**/*.parquet`` never misses a row, but
may see the inputs of a compaction beside its result for as long as the swap lasts (after a crash:
until the next compaction). :meth:`SnapshotStore.files` lists the files to read instead.
"""

from __future__ import annotations

from importstats.store.compaction import CompactionResult
from importstats.store.marker import FORMAT_VERSION
from importstats.store.parquet import DETAILS_RESULT_SCHEMA, JOBS_RESULT_SCHEMA
from importstats.store.reading import CorruptSegmentWarning
from importstats.store.segments import TableName, slug
from importstats.store.store import SnapshotStore

__all__ = [
    "DETAILS_RESULT_SCHEMA",
    "FORMAT_VERSION",
    "JOBS_RESULT_SCHEMA",
    "CompactionResult",
    "CorruptSegmentWarning",
    "SnapshotStore",
    "TableName",
    "slug",
]
