"""A store's tables about its clusters: their columns, types and units.

They come from the management port and the metrics of self-hosted Milvus; a store can lack them. A
row is a run: an entry had these values from ``observed_at`` to ``last_observed_at``. If it is
listed no longer, that means nothing, because the server forgets.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import pyarrow as pa

from importstats.sources.management_lists import KIND_OF_SEGMENT
from importstats.store.schema import TIMESTAMP, table_schema

ClusterTable = Literal["tasks", "builds", "compactions", "segments", "nodes", "gauges", "settings"]
CLUSTER_TABLES: Final[tuple[ClusterTable, ...]] = get_args(ClusterTable)

#: A time in the coordinator's zone, which it does not say.
_LOCAL: Final = pa.timestamp("us")
_TEXT: Final = pa.string()
_COUNT: Final = pa.int64()
_Column = tuple[str, pa.DataType, str]

_FIRST: Final[tuple[_Column, ...]] = (
    ("observed_at", TIMESTAMP, "when these values were first seen, UTC"),
    ("last_observed_at", TIMESTAMP, "when they were last seen, UTC"),
    ("source_uri", _TEXT, "the server, as in the table jobs"),
)
_EXTRA: Final[_Column] = ("extra", _TEXT, "JSON of unknown fields; null if none")
_NODE: Final[_Column] = ("node_id", _TEXT, "the node at work on it; null if none is known")
_COLLECTION: Final[_Column] = ("collection_id", _TEXT, "collection it belongs to")

_COLUMNS: Final[dict[ClusterTable, tuple[_Column, ...]]] = {
    "tasks": (
        ("task_id", _TEXT, "id of the task"),
        ("job_id", _TEXT, "the job it belongs to, as in the table jobs"),
        _COLLECTION,
        ("kind", _TEXT, "PreImportTask or ImportTask"),
        ("state", _TEXT, "Pending, InProgress, Completed, Failed, Retry"),
        _NODE,
        ("reason", _TEXT, "why it failed; of a failed job the job's reason"),
        ("create_time", TIMESTAMP, "when it was created, by the server's clock"),
        ("complete_time", TIMESTAMP, "when it was done, by the server's clock; of imports only"),
        _EXTRA,
    ),
    "builds": (
        ("build_id", _TEXT, "id of the index build: one for each segment and index"),
        ("segment_id", _TEXT, "the segment"),
        ("index_id", _TEXT, "the index"),
        _COLLECTION,
        ("state", _TEXT, "Unissued (waits), InProgress, Finished, Failed, Retry"),
        _NODE,
        ("reason", _TEXT, "why it failed"),
        ("tries", _COUNT, "how often it was given to a node"),
        ("index_size_bytes", _COUNT, "size of the index in memory; 0 until it is built"),
        ("create_time_local", _LOCAL, "when it was created, in the coordinator's zone"),
        ("finish_time_local", _LOCAL, "when it ended, in the coordinator's zone"),
        _EXTRA,
    ),
    "compactions": (
        ("plan_id", _TEXT, "id of the compaction"),
        _COLLECTION,
        ("kind", _TEXT, "SortCompaction (of an import, from 2.6 on), MixCompaction, ..."),
        ("state", _TEXT, "pipelining (waits), executing, completed, failed, ..."),
        _NODE,
        ("reason", _TEXT, "why it failed"),
        ("total_rows", _COUNT, "rows of its segments"),
        ("input_segments", _TEXT, "segments it reads, blanks between"),
        ("result_segments", _TEXT, "segments it wrote, blanks between"),
        ("start_time_local", _LOCAL, "when it began, in the coordinator's zone"),
        ("end_time_local", _LOCAL, "when it ended, in the coordinator's zone"),
        _EXTRA,
    ),
    "segments": (
        ("segment_id", _TEXT, "id of the segment; null for many of a kind, counted together"),
        _COLLECTION,
        ("partition_id", _TEXT, "partition it belongs to"),
        ("shard", _TEXT, "virtual channel it belongs to"),
        ("state", _TEXT, "Importing, Flushed, Growing, ..."),
        ("is_importing", pa.bool_(), "whether it is of a running import"),
        ("is_sorted", pa.bool_(), "whether it is sorted"),
        ("is_indexed", pa.bool_(), "whether it has all indexes of its collection"),
        ("segments", _COUNT, "how many segments the row stands for: 1 if it has an id"),
        ("rows", _COUNT, "rows in them so far"),
        ("size_bytes", _COUNT, "their size"),
        _EXTRA,
    ),
    "nodes": (
        ("node_id", _TEXT, "id of the process, as in the other tables"),
        ("name", _TEXT, "its name"),
        ("kind", _TEXT, "proxy, datanode, indexnode, ..."),
        ("has_error", pa.bool_(), "whether it could not be asked"),
        ("reason", _TEXT, "why not"),
        ("address", _TEXT, "host and port"),
        ("cpu_cores", pa.float64(), "cores it has"),
        ("cpu_pct", pa.float64(), "use of its cores, percent"),
        ("memory_bytes", _COUNT, "memory it has"),
        ("memory_used_bytes", _COUNT, "memory it uses"),
        ("disk_bytes", _COUNT, "disk it has"),
        ("disk_used_bytes", _COUNT, "disk it uses"),
        ("io_wait_pct", pa.float64(), "time it waits for disks, percent; from 2.5 on"),
        ("server_version", _TEXT, "its release"),
        ("deploy_mode", _TEXT, "STANDALONE or DISTRIBUTED"),
    ),
    "gauges": (
        ("process", _TEXT, "URI of the management port it was read from"),
        ("name", _TEXT, "name of the metric without milvus_; of histograms _sum and _count"),
        ("labels", _TEXT, "its labels as JSON with sorted keys"),
        ("value", pa.float64(), "its value, in the unit of the metric"),
    ),
    "settings": (
        ("name", _TEXT, "the setting, as the documentation spells it"),
        ("value", _TEXT, "its value when the proxy started"),
        ("origin", _TEXT, "where it is set: FileSource, EnvironmentSource, EtcdSource, ..."),
    ),
}

#: The columns that name the entry whose run a row is.
KEYS: Final[dict[ClusterTable, tuple[str, ...]]] = {
    "tasks": ("task_id",),
    "builds": ("build_id",),
    "compactions": ("plan_id",),
    "segments": ("segment_id", *KIND_OF_SEGMENT),
    "nodes": ("node_id", "kind"),
    "gauges": ("process", "name", "labels"),
    "settings": ("name",),
}

CLUSTER_SCHEMAS: Final[dict[ClusterTable, pa.Schema]] = {
    table: table_schema(table, (*_FIRST, *_COLUMNS[table])) for table in CLUSTER_TABLES
}
