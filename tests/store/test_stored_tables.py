"""The tables of a store: what is asked for by default, and what cannot be asked for."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from stored_snapshots import numbered

from importstats.store import SnapshotStore
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA

START_US = int(datetime(2026, 5, 18, tzinfo=UTC).timestamp()) * 10**6


def many_files(folder, snapshots: int, files: int) -> SnapshotStore:
    """A store of one job: in all its snapshots each file is the same, which is one run of each."""
    times = pa.array(START_US + np.arange(snapshots)).cast(pa.timestamp("us", "UTC"))

    def table(schema, rows, **columns):
        arrays = [columns.get(field.name, pa.nulls(rows, field.type)) for field in schema]
        return pa.table(arrays, schema=schema)

    def text(value, rows):
        return pa.array([value] * rows, pa.string())

    jobs = table(
        JOBS_SCHEMA,
        snapshots,
        snapshot_id=pa.array(range(snapshots), pa.int64()),
        observed_at=times,
        source_uri=text("http://here", snapshots),
        job_id=text("7", snapshots),
    )
    details = table(
        DETAILS_SCHEMA,
        files,
        snapshot_id=pa.array(np.zeros(files, np.int64)),
        last_snapshot_id=pa.array(np.full(files, snapshots - 1)),
        observed_at=times.take(pa.array(np.zeros(files, np.int64))),
        last_observed_at=times.take(pa.array(np.full(files, snapshots - 1))),
        source_uri=text("http://here", files),
        job_id=text("7", files),
        file_index=pa.array(np.arange(files)),
    )
    store = SnapshotStore(folder)
    store.append_tables(jobs, details)
    return store


@pytest.mark.parametrize(
    ("snapshots", "files", "pieces"),
    [(10, 25_000, [250_000]), (13, 19_231, [12 * 19_231, 19_231])],
)
def test_a_piece_has_at_most_250_000_rows(snapshots, files, pieces, tmp_path):
    store = many_files(tmp_path, snapshots, files)
    assert [piece.num_rows for piece in store.iter_details(columns=["snapshot_id"])] == pieces


@pytest.fixture
def store(tmp_path):
    store = SnapshotStore(tmp_path)
    store.append([numbered(number, files=1) for number in range(0, 30, 10)])
    return store


def test_there_is_a_row_for_each_snapshot_unless_runs_are_asked_for(store):
    columns = ["snapshot_id", "last_snapshot_id"]
    same = ["file_name", *columns]
    assert store.details(columns=same).num_rows == 3
    assert sum(piece.num_rows for piece in store.iter_details(columns=same)) == 3
    (run,) = store.details(columns=same, runs=True).to_pylist()
    assert (run["snapshot_id"], run["last_snapshot_id"]) == (0, 20)
    assert [piece.num_rows for piece in store.iter_details(columns=same, runs=True)] == [1]


@pytest.mark.parametrize("table", ["jobs", "details"])
def test_the_files_of_either_table_are_those_that_hold_it(table, store, tmp_path):
    store.append(numbered(40, job="8", files=0))
    folders = {path.rsplit("/", 2)[1] for path in store.files(table)}
    assert folders == ({"job=7", "job=8"} if table == "jobs" else {"job=7"})
    assert all(path.startswith(f"{tmp_path}/{table}/") for path in store.files(table))
    assert store.files(table, job_id="9") == []


def test_a_table_or_column_that_is_none_is_named(store):
    with pytest.raises(ValueError, match=r"^no table 'job'; there are 'jobs' and 'details'$"):
        store.files("job")
    with pytest.raises(ValueError, match=r"^no column 'rows' in jobs; it has snapshot_id, "):
        store.jobs(columns=["rows"])
    with pytest.raises(ValueError, match=r"^no column 'rows' in details; it has snapshot_id, "):
        next(store.iter_details(columns=["rows"]))


def test_a_store_is_called_by_where_it_is(store, tmp_path):
    assert repr(store) == f"SnapshotStore('{tmp_path}')"
    assert store.exists()
    assert not SnapshotStore(tmp_path / "other").exists()
