"""Pieces: a store of any size as frames that hold some jobs each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final, TypeVar

import pandas as pd
import pyarrow as pa

from importstats.store import SnapshotStore
from importstats.store.ahead import in_lots, map_ahead
from importstats.store.frames import answers_frame, details_frame
from importstats.store.parquet import JOBS_RESULT_SCHEMA, result_schema

_T = TypeVar("_T")

# Enough for an analysis to work on many jobs at once.
_SNAPSHOTS_AT_ONCE: Final = 50_000
# Few enough for a core's cache to hold the columns, and for all cores to get a piece early.
_RUNS_AT_ONCE: Final = 20_000


def over_details(
    store: SnapshotStore,
    analysis: Callable[[pd.DataFrame], _T],
    *,
    source_uri: str | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[_T]:
    """An analysis's results for some jobs' files at a time, for stores of any size.

    The frames are those of :func:`~importstats.load_details` with ``runs``, in pieces of whole
    jobs; an empty store has none. The analysis runs on a thread for each core while the next piece
    is read, so it must be a pure function, as all in :mod:`importstats.analysis` are. Memory holds
    a few pieces of some ten thousand runs each, or the longest job.

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
    lots = in_lots(tables, lambda table: table.num_rows, _RUNS_AT_ONCE)
    return map_ahead(analysed, lots, pa.cpu_count())


def jobs_frames(
    store: SnapshotStore, *, source_uri: str | None = None, columns: Sequence[str] | None = None
) -> Iterator[pd.DataFrame]:
    """The frames of :func:`~importstats.load_jobs` in pieces of whole jobs, for stores of any size.

    There is at least one, and the jobs come in no certain order. Memory holds some ten thousand
    snapshots and those of the longest job.
    """
    wanted = columns if columns is None else list(dict.fromkeys([*columns, "error"]))
    read = store.iter_jobs(source_uri=source_uri, columns=wanted, details_columns=())
    # A row without an error is an answer, and no gap.
    lots = in_lots(
        (table for table, _ in read), lambda table: table["error"].null_count, _SNAPSHOTS_AT_ONCE
    )
    nothing = result_schema("jobs", wanted or JOBS_RESULT_SCHEMA.names).empty_table()
    for lot in chain([next(lots, [nothing])], lots):
        yield answers_frame(pa.concat_tables(lot), columns)
