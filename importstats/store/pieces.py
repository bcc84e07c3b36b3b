"""Pieces: the snapshots of a store of any size as frames of some jobs at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from importstats.store import SnapshotStore
from importstats.store.frames import jobs_frame
from importstats.store.parquet import JOBS_RESULT_SCHEMA, result_schema

# Enough for an analysis to work on many jobs in one go.
_SNAPSHOTS_AT_ONCE: Final = 50_000


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
        table = table.filter(pc.is_null(table["error"]))
        gathered.append(table if columns is None else table.select(list(columns)))
        rows += table.num_rows
        if rows >= _SNAPSHOTS_AT_ONCE:
            yield jobs_frame(pa.concat_tables(gathered))
            gathered, rows = [], 0
            pieces += 1
    if gathered or not pieces:
        nothing = result_schema("jobs", columns or JOBS_RESULT_SCHEMA.names).empty_table()
        yield jobs_frame(pa.concat_tables([nothing, *gathered]))
