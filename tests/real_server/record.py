"""Record a real bulk insert: 12 numpy file sets of 5,000 to 400,000 rows, one of them bad.

    python tests/real_server/record.py STORE

starts a server, inserts the files, polls every 0.25 s until the job has ended and appends the
snapshots to STORE. Takes one to two minutes and 3 GB of temporary files.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bulk_insert import BulkInsert, FileSet, watch
from serve import TOKEN, real_server

from importstats.sources.grpc import GrpcImportClient
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore

POLL_S = 0.25
FILE_SETS = [
    FileSet("part-00", 60_000),
    FileSet("part-01", 150_000),
    FileSet("part-02", 5_000),
    FileSet("part-03", 400_000),
    FileSet("part-04", 100_000),
    FileSet("part-05", 20_000),
    FileSet("part-06", 80_000, dimension=96),
    FileSet("part-07", 250_000),
    FileSet("part-08", 40_000),
    FileSet("part-09", 300_000),
    FileSet("part-10", 100_000),
    FileSet("part-11", 200_000),
]


def record(file_sets: list[FileSet], directory: Path) -> list[Snapshot]:
    """All snapshots of one bulk insert of these files, on a server of its own."""
    with (
        real_server(directory) as server,
        GrpcImportClient(server.uri, token=TOKEN) as client,
    ):
        job_id = BulkInsert(server).insert(file_sets)
        return list(watch(client, job_id, POLL_S))


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/real_server/record.py STORE")
    with tempfile.TemporaryDirectory() as directory:
        snapshots = record(FILE_SETS, Path(directory))
    SnapshotStore(Path(sys.argv[1])).append(snapshots)
    print(f"{len(snapshots)} snapshots of {len(FILE_SETS)} files in {sys.argv[1]}")


if __name__ == "__main__":
    main()
