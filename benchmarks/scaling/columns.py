"""The columns that each task needs, whichever engine reads them."""

KEY = ["source_uri", "job_id"]
TIMES = ["observed_at", "last_observed_at"]
FILE = ["file_index", "file_name", "file_size_bytes"]
THROUGHPUT_COLUMNS = [
    *KEY,
    *TIMES,
    *FILE,
    "state",
    "progress_pct",
    "imported_rows",
    "total_rows",
]
STRAGGLERS_COLUMNS = [*THROUGHPUT_COLUMNS, "complete_time"]
PHASES_COLUMNS = [
    *KEY,
    "observed_at",
    "state",
    "progress_pct",
    "imported_rows",
    "total_rows",
    "detail_count",
    "file_size_bytes",
    "collection_name",
]


# As many as `phases` can make use of.
OUR_PHASES_COLUMNS = [
    *(name for name in PHASES_COLUMNS if name not in ("file_size_bytes", "collection_name")),
    *("snapshot_id", "reason", "complete_time", "create_time", "extra", "status"),
    "server_version",
]

TIMED_PHASES = (
    "Pending",
    "PreImporting",
    "Importing",
    "Sorting",
    "IndexBuilding",
    "Uncommitted",
    "Committing",
)
