"""What the store costs: bytes per file row, time of an append, compaction and reading.

    python benchmarks/store.py [--files 10000] [--poll-every 10] [--folder /tmp]

A simulated job is appended poll by poll, compacted as a collector would, and read back. The first
table is what the store does; the second is why it stores runs, and encodes columns as it does.
"""

import argparse
import gzip
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from importstats.simulator import simulate_job
from importstats.simulator.wire import describe_answer, encode
from importstats.store import SnapshotStore, parquet
from importstats.store.schema import DETAILS_SCHEMA

DELTA = "DELTA_BINARY_PACKED"
COUNTS = ("file_index", "file_size_bytes", "imported_rows", "total_rows")


def timed(work):
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def best(work, repeats=5):
    """The shortest of some runs: the one least disturbed by the machine."""
    runs = [timed(work) for _ in range(repeats)]
    return min(seconds for seconds, _ in runs), runs[-1][1]


def folder_bytes(folder, pattern="details/**/*.parquet"):
    return sum(path.stat().st_size for path in Path(folder).glob(pattern))


def written(table, **options):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().size


def encodings(rows):
    """Sizes of a table under the encodings that were considered."""

    def mixed(level=3, **chosen):
        options = {"compression": "zstd", "compression_level": level, "store_schema": False}
        plain = [name for name in DETAILS_SCHEMA.names if name not in chosen]
        encoded = {name: encoding for name, encoding in chosen.items() if encoding}
        return written(rows, use_dictionary=plain, column_encoding=encoded, **options)

    deltas = dict.fromkeys(COUNTS, DELTA)
    split = dict.fromkeys(COUNTS[1:], "BYTE_STREAM_SPLIT")
    ids = dict.fromkeys(("snapshot_id", "last_snapshot_id"), DELTA)
    return {
        "Parquet defaults (snappy, dictionaries)": written(rows),
        "zstd 3, dictionaries": written(rows, compression="zstd", compression_level=3),
        "the same without Arrow's schema": mixed(),
        "counts as deltas": mixed(**deltas),
        "counts as deltas, file_name plain (chosen)": parquet.encode(rows, is_fresh=False).size,
        "the same with zstd 1": mixed(1, **deltas, file_name=None),
        "the same with zstd 9": mixed(9, **deltas, file_name=None),
        "chosen, file_name DELTA_BYTE_ARRAY": mixed(**deltas, file_name="DELTA_BYTE_ARRAY"),
        "chosen, snapshot ids as deltas": mixed(**deltas, **ids, file_name=None),
        "chosen, progress BYTE_STREAM_SPLIT": mixed(
            **deltas, file_name=None, progress_pct="BYTE_STREAM_SPLIT"
        ),
        "chosen, row counts BYTE_STREAM_SPLIT": mixed(**split, file_index=DELTA, file_name=None),
    }


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--files", type=int, default=10_000)
    options.add_argument("--poll-every", type=float, default=10.0)
    options.add_argument("--folder", help="where the store is to be; its disk is what is measured")
    options.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    options = options.parse_args()
    if options.smoke:
        options.files, options.poll_every = 50, 120.0
    simulation = simulate_job(
        "many_small_files", files=options.files, seed=1, poll_every_s=options.poll_every
    )
    _, rows = simulation.tables()
    answers = [
        gzip.compress(encode(describe_answer(poll.state, simulation.dialect)))
        for poll in simulation.polls
        if poll.state is not None
    ]
    json_bytes = sum(map(len, answers)) / rows.num_rows
    print(
        f"{options.files:,} files, {len(simulation.polls)} polls, {rows.num_rows:,} file rows\n\n"
        "| what | measured |\n|---|---|"
    )
    print(f"| gzip'd JSON of the answers | {json_bytes:.2f} B per file row |")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        store = SnapshotStore(folder)
        appends = []
        for snapshot in simulation.snapshots():
            seconds, _ = timed(lambda snapshot=snapshot: store.append(snapshot))
            if snapshot.response.data.details:
                appends.append(seconds)
        fresh = folder_bytes(folder) / rows.num_rows
        print(f"| fresh segments | {fresh:.2f} B per file row |")
        print(f"| append of a poll, median | {1000 * sorted(appends)[len(appends) // 2]:.1f} ms |")
        seconds, table = best(store.details)
        assert table.num_rows == rows.num_rows
        print(f"| read all rows, fresh | {rows.num_rows / seconds / 1e6:.1f} M rows/s |")
        seconds, _ = timed(lambda: store.compact(final=True))
        compacted = folder_bytes(folder)
        print(f"| compaction | {rows.num_rows / seconds / 1e6:.2f} M rows/s |")
        print(f"| compacted | {compacted / rows.num_rows:.2f} B per file row sent |")
        seconds, table = best(store.details)
        assert table.num_rows == rows.num_rows
        print(f"| read all rows, compacted | {rows.num_rows / seconds / 1e6:.1f} M rows/s |")
        seconds, runs = best(lambda: store.details(runs=True))
        print(f"| read runs | {1000 * seconds:.1f} ms for {runs.num_rows:,} |")
        one = pc.field("file_name") == runs["file_name"][-1].as_py()
        columns = ["observed_at", "imported_rows"]
        seconds, _ = best(lambda: store.details(columns=columns, filter=one))
        print(f"| read two columns of one file | {1000 * seconds:.1f} ms |")
        seconds, _ = best(store.jobs)
        print(f"| read the jobs table | {1000 * seconds:.1f} ms |")

    stored = runs.cast(DETAILS_SCHEMA)
    middle = rows["snapshot_id"][rows.num_rows // 2]
    poll = rows.filter(pc.equal(rows["snapshot_id"], middle))
    full = rows.sort_by([("file_index", "ascending"), ("snapshot_id", "ascending")])
    as_runs = parquet.encode(stored, is_fresh=False).size
    as_rows = parquet.encode(full, is_fresh=False).size
    print(
        f"\nRuns against rows: {as_runs:,} B as {stored.num_rows:,} runs, "
        f"{as_rows:,} B as {rows.num_rows:,} rows in the same order and "
        "encoding\n\n| encoding | one poll, B | runs of the job, B |\n|---|---|---|"
    )
    for (name, fresh), runs_bytes in zip(
        encodings(poll).items(), encodings(stored).values(), strict=True
    ):
        print(f"| {name} | {fresh:,} | {runs_bytes:,} |")


if __name__ == "__main__":
    main()
