"""Runs of what a cluster lists: equal values that follow each other become one row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from importstats.store.cluster_schema import CLUSTER_SCHEMAS, KEYS, ClusterTable
from importstats.store.schema import extra_json

Row = Mapping[str, Any]


class OpenRuns:
    """The entries that one table listed last, and the runs that are not yet written.

    Examples
    --------
    >>> from datetime import UTC, timedelta
    >>> at = datetime(2026, 5, 18, tzinfo=UTC)
    >>> runs = OpenRuns("settings", "http://milvus:19530")
    >>> for minute in range(3):
    ...     row = {"name": "dataCoord.taskCheckInterval", "value": "60", "origin": "FileSource"}
    ...     runs.add([row], at + timedelta(minutes=minute))
    >>> runs.take(everything=True).num_rows
    1
    """

    def __init__(self, table: ClusterTable, source_uri: str) -> None:
        self._table = table
        self._source_uri = source_uri
        self._names = CLUSTER_SCHEMAS[table].names[3:]
        self._key = KEYS[table]
        self._open: dict[tuple[Any, ...], list[Any]] = {}
        self._ended: list[list[Any]] = []
        self._changed: set[tuple[Any, ...]] = set()
        self._still_listed: set[tuple[Any, ...]] = set()

    def add(self, rows: Sequence[Row], at: datetime) -> None:
        """Take the entries that are listed at a time."""
        for row in rows:
            stored = {name: _stored(name, row.get(name)) for name in self._names}
            values = tuple(stored.values())
            key = tuple(stored[name] for name in self._key)
            run = self._open.get(key)
            # NaN is a value that does not change, although it is not equal to itself.
            if run is not None and (run[2] == values or repr(run[2]) == repr(values)):
                run[1] = at
                self._still_listed.add(key)
                continue
            # A run that was written and went on is written again, with the time of its last look.
            if run is not None and (key in self._changed or run[1] > run[0]):
                self._ended.append(run)
            self._open[key] = [at, at, values]
            self._changed.add(key)

    def last(self) -> list[dict[str, Any]]:
        """Each entry's last values, by column."""
        return [dict(zip(self._names, run[2], strict=True)) for run in self._open.values()]

    def take(self, *, everything: bool, still_listed: bool = False) -> pa.Table:
        """The runs that are new since :meth:`written`, also those that went on, or all."""
        keys = self._changed | self._still_listed if still_listed else self._changed
        runs = [*self._ended]
        runs += self._open.values() if everything else (self._open[key] for key in keys)
        schema = CLUSTER_SCHEMAS[self._table]
        columns: list[list[Any]] = [
            [run[0] for run in runs],
            [run[1] for run in runs],
            [self._source_uri] * len(runs),
            *([run[2][place] for run in runs] for place in range(len(self._names))),
        ]
        return pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)],
            schema=schema,
        )

    def written(self) -> None:
        """Note that the store has what was taken."""
        self._ended.clear()
        self._changed.clear()
        self._still_listed.clear()

    def forget(self, before: datetime) -> None:
        """Forget entries that were last listed before a time: a server lists none for ever."""
        for key in [key for key, run in self._open.items() if run[1] < before]:
            if key not in self._changed:
                del self._open[key]


def _stored(name: str, value: Any) -> Any:
    if name == "extra":
        return extra_json(value or {})
    if name == "labels":
        return json.dumps(value or {}, sort_keys=True)
    if isinstance(value, list):
        return " ".join(value) or None
    return value


def join_runs(table: ClusterTable, rows: pa.Table) -> pa.Table:
    """The rows with runs of equal values, which may overlap, as one, by (source_uri, key, time)."""
    if rows.num_rows < 2:
        return rows
    key = ["source_uri", *KEYS[table]]
    codes = {
        name: pd.factorize(column.to_pandas(), sort=name in key)[0]
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    }
    first = rows["observed_at"].cast(pa.int64()).to_numpy()
    last = rows["last_observed_at"].cast(pa.int64()).to_numpy()
    order = np.lexsort((last, first, *(codes[name] for name in reversed(key))))
    is_new = np.ones(len(order), bool)
    is_new[1:] = False
    for name, code in codes.items():
        if name not in ("observed_at", "last_observed_at"):
            is_new[1:] |= np.diff(code[order]) != 0
    heads = np.flatnonzero(is_new)
    found = rows.take(order[heads])
    reaches = pa.array(np.maximum.reduceat(last[order], heads)).cast(rows["observed_at"].type)
    place = rows.schema.get_field_index("last_observed_at")
    return found.set_column(place, rows.schema.field(place), reaches)
