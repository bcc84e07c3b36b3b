"""Storing and reading what a cluster does: tables beside ``jobs`` and ``details``.

``STORE/TABLE/cluster=CLUSTER/SEGMENT.parquet``. Files appear whole. Rows are runs, and a row that
is there twice counts once, so files can be merged while others read and write.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from importstats.errors import StoreError
from importstats.store.cluster_runs import join_runs
from importstats.store.cluster_schema import CLUSTER_SCHEMAS, CLUSTER_TABLES, ClusterTable
from importstats.store.segments import SUFFIX, slug
from importstats.store.store import SnapshotStore
from importstats.text import excerpt

_TRIES: Final = 5
#: Files of one table and cluster from which on they are merged.
_MANY_FILES: Final = 16


class ClusterTables:
    """Appends, reads and merges the tables about a store's clusters."""

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        self._files = store.sidecar_files

    def append(self, table: ClusterTable, source_uri: str, rows: pa.Table) -> None:
        """Store one cluster's rows durably, or raise StoreError. No rows write no file."""
        if rows.num_rows:
            self._files.put(_path(self._folder(table, source_uri), rows), _parquet_bytes(rows))

    def read(
        self,
        table: ClusterTable,
        *,
        source_uri: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> pa.Table:
        """The runs of a table, joined over files, by (source_uri, key, observed_at).

        `since` and `until` leave out runs that lie outside of them.

        Raises
        ------
        StoreError
            A file cannot be read.
        """
        paths = partial(self._paths, self._folder(table, source_uri), since, until)
        found = join_runs(table, self._read(table, paths))
        if source_uri is not None:
            found = found.filter(pc.field("source_uri") == source_uri)
        if since is not None:
            found = found.filter(pc.field("last_observed_at") >= since.astimezone(UTC))
        if until is not None:
            found = found.filter(pc.field("observed_at") <= until.astimezone(UTC))
        return found

    def compact(self, table: ClusterTable, source_uri: str, *, final: bool = False) -> None:
        """Merge the files of a table and cluster if there are many, or if this is the `final` time.

        A reader that comes meanwhile, or after a crash halfway, sees some rows twice and counts
        them once. Raises StoreError if the store cannot be read or written; nothing is lost.
        """
        folder = self._folder(table, source_uri)
        paths = self._paths(folder)
        if len(paths) >= (2 if final else _MANY_FILES):
            self._merge(table, folder, paths)

    def compact_all(self) -> tuple[int, int]:
        """Merge the files of each table and cluster; returns how many there were, and are."""
        before = after = 0
        for table in CLUSTER_TABLES:
            folders: dict[str, list[str]] = {}
            for path in self._paths(table):
                folders.setdefault(path.rpartition("/")[0], []).append(path)
            for folder, paths in folders.items():
                if len(paths) > 1:
                    self._merge(table, folder, paths)
                before, after = before + len(paths), after + 1
        return before, after

    def _merge(self, table: ClusterTable, folder: str, paths: Sequence[str]) -> None:
        tables = [self._read_file(table, path) for path in paths]
        merged = join_runs(table, pa.concat_tables(tables))
        self._files.put(_path(folder, merged), _parquet_bytes(merged))
        for path in paths:
            self._files.delete(path)

    @staticmethod
    def _folder(table: ClusterTable, source_uri: str | None) -> str:
        return table if source_uri is None else f"{table}/cluster={slug(source_uri)}"

    def _paths(
        self, folder: str, since: datetime | None = None, until: datetime | None = None
    ) -> list[str]:
        """The sorted files of a folder that can hold rows of a time, by their names."""
        paths = [
            self._files.relative(entry)
            for entry in self._files.entries(folder, recursive=True)
            if entry.path.endswith(SUFFIX) and not self._files.is_not_yet_whole(entry)
        ]
        return sorted(path for path in paths if _may_hold(path, since, until))

    def _read(self, table: ClusterTable, paths: Callable[[], list[str]]) -> pa.Table:
        for _ in range(_TRIES):
            try:
                tables = [self._read_file(table, path) for path in paths()]
                return pa.concat_tables([CLUSTER_SCHEMAS[table].empty_table(), *tables])
            except FileNotFoundError:
                continue  # A merge deleted it, and has written its rows to another file.
        raise StoreError(
            f"cannot read {self._store.uri}/{table}: its files change all the time; try again"
        )

    def _read_file(self, table: ClusterTable, path: str) -> pa.Table:
        content = self._files.read(path)
        try:
            return _to_schema(pq.read_table(pa.BufferReader(content)), CLUSTER_SCHEMAS[table])
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"cannot read {self._store.uri}/{path}: {excerpt(str(error))}; move it away, the "
                "rest can be read without it"
            ) from error


def _path(folder: str, rows: pa.Table) -> str:
    first, last = pc.min(rows["observed_at"]), pc.max(rows["last_observed_at"])
    times = "-".join(_sortable_time(time.as_py()) for time in (first, last))
    return f"{folder}/{times}-{secrets.token_hex(6)}{SUFFIX}"


def _may_hold(path: str, since: datetime | None, until: datetime | None) -> bool:
    first, last, *_ = path.rpartition("/")[2].split("-")
    return (since is None or last >= _sortable_time(since)) and (
        until is None or first <= _sortable_time(until)
    )


def _sortable_time(time: datetime) -> str:
    """The time as a text that sorts by time and can stand in a file name."""
    return f"{time.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"


def _parquet_bytes(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", compression_level=3, store_schema=False)
    return sink.getvalue()


def _to_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows by the schema; a column that the file lacks is null."""
    columns: Sequence[pa.ChunkedArray] = [
        rows[field.name].cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
