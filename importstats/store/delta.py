"""A Delta Lake log over the store's own files, for tools that do not know the store's rules.

The log of a table is its folder ``_delta_log``, by the `Delta transaction log protocol
<https://github.com/delta-io/delta/blob/master/PROTOCOL.md>`_ (reader version 1, writer version 2).
It is metadata only: it names files and copies none. :meth:`SnapshotStore.publish` begins it; from
then on each compaction adds to it.

A commit is one file that must not exist yet, made from the log as it was read; if another
writer commits in between, it starts over. In a bucket, where a file can be replaced, the later of
two commits made at once stands, and the next one adds what it lacks.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from importstats.errors import StoreError
from importstats.store.files import Files
from importstats.store.parquet import STORED_SCHEMAS
from importstats.store.segments import TableName

_LOG: Final = "_delta_log"
#: A checkpoint after this many commits spares readers the commits before it.
_CHECKPOINT_EVERY: Final = 20
_TYPES: Final = {pa.int64(): "long", pa.float64(): "double", pa.string(): "string"}
_ATTEMPTS: Final = 50
#: How long commits and checkpoints stay after a newer checkpoint makes them needless.
_LOG_KEPT_S: Final = 86_400

_CHECKPOINT_SCHEMA: Final = pa.schema(
    {
        "protocol": pa.struct({"minReaderVersion": pa.int32(), "minWriterVersion": pa.int32()}),
        "metaData": pa.struct(
            {
                "id": pa.string(),
                "format": pa.struct(
                    {"provider": pa.string(), "options": pa.map_(pa.string(), pa.string())}
                ),
                "schemaString": pa.string(),
                "partitionColumns": pa.list_(pa.string()),
                "configuration": pa.map_(pa.string(), pa.string()),
                "createdTime": pa.int64(),
            }
        ),
        "add": pa.struct(
            {
                "path": pa.string(),
                "partitionValues": pa.map_(pa.string(), pa.string()),
                "size": pa.int64(),
                "modificationTime": pa.int64(),
                "dataChange": pa.bool_(),
            }
        ),
        "remove": pa.struct(
            {"path": pa.string(), "deletionTimestamp": pa.int64(), "dataChange": pa.bool_()}
        ),
    }
)


class DataFile(NamedTuple):
    """A table's file as its log describes it; times in milliseconds since 1970."""

    size: int
    modified_ms: int


class DeltaLog:
    """The log of one table of a store.

    ``active`` has the files that count, ``removed`` the times in milliseconds since 1970 at which
    others ceased to; both by path below the table's folder, and as of the last :meth:`refresh`.
    """

    def __init__(self, files: Files, table: TableName) -> None:
        self._files, self._table = files, table
        self._version = -1
        self._meta: dict[str, Any] | None = None
        self.active: dict[str, DataFile] = {}
        self.removed: dict[str, int] = {}

    def exists(self) -> bool:
        """Whether the table has a log."""
        return self._version >= 0 or self._files.exists(self._commit_path(0)) or self.refresh()

    def refresh(self) -> bool:
        """Read what was committed since the last time; returns whether there is a log."""
        names = {info.base_name for info in self._files.entries(f"{self._table}/{_LOG}")}
        checkpoints = [
            int(name.split(".")[0]) for name in names if name.endswith(".checkpoint.parquet")
        ]
        if checkpoints and max(checkpoints) > self._version:
            self._read_checkpoint(max(checkpoints))
        while f"{self._version + 1:020}.json" in names:
            content = self._files.read(self._commit_path(self._version + 1)).to_pybytes()
            self._apply(map(json.loads, content.splitlines()))
            self._version += 1
        return self._version >= 0

    def is_unread(self, path: str, grace_s: float) -> bool:
        """Whether a file left the log more than `grace_s` ago, so that no query can need it."""
        self.refresh()
        if path in self.active:
            return False
        since_ms = self.removed.get(path)
        if since_ms is None:
            if self._files.is_local:
                return True
            # In a bucket a commit that names it may be under way, or be replaced.
            since_ms = self._files.modified_ms(f"{self._table}/{path}")
        return since_ms / 1e3 < time.time() - grace_s

    def publish(self, find: Callable[[], Mapping[str, DataFile]], within: str = "") -> None:
        """Commit that, among files whose path begins with `within`, just those found count.

        `find` runs after the log was read, so it finds no file that a commit read has replaced. A
        log begins without files: from then on compactions delete nothing at once, and a second
        look notices one that had begun before.
        """
        is_first = not self.refresh()
        for _ in range(_ATTEMPTS):
            self.refresh()
            actions = self._changes(find() if self._version >= 0 else {}, within)
            if not actions:
                return
            content = "".join(json.dumps(action) + "\n" for action in actions).encode()
            if self._files.put_new(self._commit_path(self._version + 1), content):
                self._apply(actions)
                self._version += 1
                if self._version and self._version % _CHECKPOINT_EVERY == 0:
                    self._write_checkpoint()
                if not is_first or (self._version > 1 and not any("remove" in a for a in actions)):
                    return
            time.sleep(0.01)
        raise StoreError(
            f"{self._files.uri}/{self._table}/{_LOG} changed during each of {_ATTEMPTS} attempts "
            "to add to it; compact less often, or try again"
        )

    def _changes(self, wanted: Mapping[str, DataFile], within: str) -> list[dict[str, Any]]:
        """The actions after which just the wanted files count; none if they do already."""
        now_ms = int(time.time() * 1000)
        actions: list[dict[str, Any]] = []
        if self._version < 0:
            actions.append({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}})
        described = _schema_string(self._table)
        if self._meta is None or self._meta["schemaString"] != described:
            actions.append({"metaData": _metadata(self._meta, described, now_ms)})
        for path in self.active:
            if path.startswith(within) and path not in wanted:
                remove = {"path": path, "deletionTimestamp": now_ms, "dataChange": True}
                actions.append({"remove": remove})
        for path, file in wanted.items():
            if path not in self.active:
                actions.append({"add": _add(path, file)})
        return actions

    def _apply(self, actions: Iterable[Mapping[str, Any]]) -> None:
        for action in actions:
            if add := action.get("add"):
                self.active[add["path"]] = DataFile(add["size"], add["modificationTime"])
                self.removed.pop(add["path"], None)
            elif remove := action.get("remove"):
                self.active.pop(remove["path"], None)
                self.removed[remove["path"]] = remove["deletionTimestamp"]
            elif meta := action.get("metaData"):
                self._meta = dict(meta)

    def _read_checkpoint(self, version: int) -> None:
        content = self._files.read(self._checkpoint_path(version))
        self.active, self.removed = {}, {}
        rows = pq.read_table(pa.BufferReader(content)).to_pylist()
        self._apply({name: value for name, value in row.items() if value} for row in rows)
        self._version = version

    def _write_checkpoint(self) -> None:
        plain = {"format": {"provider": "parquet", "options": []}, "configuration": []}
        rows: list[dict[str, Any]] = [
            {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
            {"metaData": {**(self._meta or {}), **plain}},
        ]
        rows += [
            {"add": {**_add(path, file), "partitionValues": []}}
            for path, file in self.active.items()
        ]
        rows += [
            {"remove": {"path": path, "deletionTimestamp": when, "dataChange": True}}
            for path, when in self.removed.items()
        ]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema=_CHECKPOINT_SCHEMA), sink)
        self._files.put(self._checkpoint_path(self._version), sink.getvalue())
        last = {"version": self._version, "size": len(rows)}
        self._files.put(f"{self._table}/{_LOG}/_last_checkpoint", json.dumps(last).encode())
        for info in self._files.entries(f"{self._table}/{_LOG}"):
            version = info.base_name.split(".")[0]
            is_needed = not version.isdigit() or int(version) > self._version - _CHECKPOINT_EVERY
            if not is_needed and info.mtime_ns / 1e9 < time.time() - _LOG_KEPT_S:
                self._files.delete(self._files.relative(info))

    def _commit_path(self, version: int) -> str:
        return f"{self._table}/{_LOG}/{version:020}.json"

    def _checkpoint_path(self, version: int) -> str:
        return f"{self._table}/{_LOG}/{version:020}.checkpoint.parquet"


def _add(path: str, file: DataFile) -> dict[str, Any]:
    return {
        "path": path,
        "partitionValues": {},
        "size": file.size,
        "modificationTime": file.modified_ms,
        "dataChange": True,
    }


def _metadata(before: Mapping[str, Any] | None, schema: str, now_ms: int) -> dict[str, Any]:
    return {
        "id": before["id"] if before else str(uuid.uuid4()),
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema,
        "partitionColumns": [],
        "configuration": {},
        "createdTime": before["createdTime"] if before else now_ms,
    }


def _schema_string(table: TableName) -> str:
    fields = [
        {
            "name": field.name,
            "type": _TYPES.get(field.type, "timestamp"),
            "nullable": True,
            "metadata": {"comment": (field.metadata or {}).get(b"description", b"").decode()},
        }
        for field in STORED_SCHEMAS[table]
    ]
    return json.dumps({"type": "struct", "fields": fields})
