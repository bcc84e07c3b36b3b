"""Pieces: the snapshots of a store of any size as frames of some jobs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from importstats.store import SnapshotStore
from importstats.store.ahead import map_ahead
from importstats.store.frames import details_frame, jobs_frame
from importstats.store.parquet import JOBS_RESULT_SCHEMA, result_schema

_T = TypeVar("_T")

# Enough for an analysis to work on many jobs in one go.
_SNAPSHOTS_AT_ONCE: Final = 50_000
# So many that their columns stay in the fast memory of a core, and all cores have a part early.
_RUNS_AT_ONCE: Final = 20_000


def over_details(
    store: SnapshotStore,
    analysis: Callable[[pd.DataFrame], _T],
    *,
    source_uri: str | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[_T]:
    """What an analysis makes of the files of some jobs at a time, for stores of any size.

    The frames are those of :func:`~importstats.load_details` with ``runs``, in pieces of whole
    jobs; there is none of an empty store. The analysis runs on a thread for each core while the
    next piece is read: it must be a pure function, as all in :mod:`importstats.analysis` are.
    Memory holds a few pieces of some ten thousand runs, or of the longest job.

    Parameters
    ----------
    store : SnapshotStore
    analysis : function
        Takes a details frame.
    source_uri, columns
        As for :func:`~importstats.load_details`.
    """

    def analysed(tables: list[pa.Table]) -> _T:
        return analysis(details_frame(pa.concat_tables(tables)))

    tables = store.iter_details(source_uri=source_uri, columns=columns, runs=True)
    return map_ahead(analysed, _several_jobs(tables, _RUNS_AT_ONCE), pa.cpu_count())


def _several_jobs(tables: Iterator[pa.Table], most_rows: int) -> Iterator[list[pa.Table]]:
    """The tables in lots of about so many rows."""
    lot: list[pa.Table] = []
    rows = 0
    for table in tables:
        lot.append(table)
        rows += table.num_rows
        if rows >= most_rows:
            yield lot
            lot, rows = [], 0
    if lot:
        yield lot


def jobs_frames(
    store: SnapshotStore, *, source_uri: str | None = None, columns: Sequence[str] | None = None
) -> Iterator[pd.DataFrame]:
    """The frames of :func:`~importstats.load_jobs` in pieces of whole jobs, for stores of any size.

    There is at least one, and the jobs come in no certain order. Memory holds some ten thousand
    snapshots, and those of the longest job.
    """
    wanted = columns if columns is None else list(dict.fromkeys([*columns, "error"]))
    gathered: list[pa.Table] = []
    rows = pieces = 0
    for table, _ in store.iter_jobs(source_uri=source_uri, columns=wanted, details_columns=()):
        gathered.append(table)
        rows += table.num_rows - _count_gaps(table)
        if rows >= _SNAPSHOTS_AT_ONCE:
            yield _answered_frame(gathered, columns)
            gathered, rows = [], 0
            pieces += 1
    if gathered or not pieces:
        nothing = result_schema("jobs", wanted or JOBS_RESULT_SCHEMA.names).empty_table()
        yield _answered_frame([nothing, *gathered], columns)


def _count_gaps(table: pa.Table) -> int:
    """How many rows record why there is no snapshot."""
    return int(table.num_rows - table["error"].null_count)


def _answered_frame(tables: Sequence[pa.Table], columns: Sequence[str] | None) -> pd.DataFrame:
    table = pa.concat_tables(tables)
    if _count_gaps(table):
        table = table.filter(pc.is_null(table["error"]))
    return jobs_frame(table if columns is None else table.select(list(columns)))
