"""Totals: the summary of a store's jobs, in memory that does not grow with the details."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from importstats.analysis.totals import summary
from importstats.names import JOB_KEY
from importstats.store import SnapshotStore
from importstats.store.frames import flatten_jobs, jobs_frame
from importstats.store.schema import RUN_COLUMNS

_T = TypeVar("_T")


def summarise(store: SnapshotStore | str | Path) -> pd.DataFrame:
    """The summary of a store's jobs, in memory that does not grow with the details.

    As ``summary(load_jobs(store), load_details(store, runs=True))``, with the files of only a few
    jobs in memory at a time.

    Parameters
    ----------
    store : SnapshotStore, str or Path
        The store, its folder or its URI.

    Returns
    -------
    DataFrame
        See :func:`~importstats.summary`.

    Raises
    ------
    StoreError
        There is no store, or it cannot be read.
    """
    opened = store if isinstance(store, SnapshotStore) else SnapshotStore(store)
    pieces = opened.iter_jobs(columns=_SNAPSHOTS, details_columns=_FILES)
    found = [summary(jobs, details) for jobs, details in _read_ahead(_some_at_once(pieces))]
    if not found:
        return summary(flatten_jobs([]))
    return pd.concat(found, ignore_index=True).sort_values(JOB_KEY, ignore_index=True)


# Few enough for the next to be read meanwhile, and enough for an analysis to work on in one go.
_ROWS_AT_ONCE: Final = 120_000
# The columns of snapshots and of files that a summary needs.
_SNAPSHOTS: Final = (
    "snapshot_id",
    "observed_at",
    *JOB_KEY,
    "collection_name",
    "state",
    "progress_pct",
    "imported_rows",
    "total_rows",
    "file_size_bytes",
    "complete_time",
    "create_time",
    "detail_count",
    "reason",
    "server_version",
    "status",
    "extra",
    "error",
)
_FILES: Final = (
    *RUN_COLUMNS,
    *JOB_KEY,
    "file_index",
    "file_name",
    "file_size_bytes",
    "state",
    "progress_pct",
    "imported_rows",
    "total_rows",
    "complete_time",
)


def _some_at_once(
    pieces: Iterable[tuple[pa.Table, pa.Table]],
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Jobs and details frames of several jobs at a time, which is faster than one by one."""
    gathered: list[tuple[pa.Table, pa.Table]] = []
    rows = 0
    for piece in pieces:
        gathered.append(piece)
        rows += piece[0].num_rows + piece[1].num_rows
        if rows >= _ROWS_AT_ONCE:
            yield _frames(gathered)
            gathered, rows = [], 0
    if gathered:
        yield _frames(gathered)


def _frames(pieces: Sequence[tuple[pa.Table, pa.Table]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    jobs, details = (pa.concat_tables(tables) for tables in zip(*pieces, strict=True))
    if jobs["error"].null_count < jobs.num_rows:
        jobs = jobs.filter(pc.is_null(jobs["error"]))
    # Not details_frame: it would look for the files' display names, which a summary does not show.
    return jobs_frame(jobs), jobs_frame(details)


def _read_ahead(items: Iterable[_T]) -> Iterator[_T]:
    """The items; the next one is made in the background while the caller uses one."""
    source = iter(items)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(list, islice(source, 1))
        while found := coming.result():
            coming = reader.submit(list, islice(source, 1))
            yield found[0]
