"""The management port's lists as rows: tasks, index builds, compactions, segments, nodes.

The server omits zero and empty fields and sends whole numbers as texts; so an omitted count is 0,
while an omitted id, name or time is missing. ``extra`` keeps unknown fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

Row = dict[str, Any]
Rows = tuple[list[Row], tuple[str, ...]]

#: The most rows of one list; a longer list is refused.
MOST_ROWS: Final = 100_000
#: The most segments of a collection that are kept one by one; more are counted by kind.
MOST_SEGMENTS: Final = 2_000
#: The most entries of the list of segments, most of which are not kept.
MOST_LISTED: Final = 1_000_000
_LONGEST_TEXT: Final = 1_000


def parse_tasks(answer: Any) -> Rows:
    """The import tasks of ``/_dc/tasks/import``.

    Examples
    --------
    >>> rows, unknown = parse_tasks([{"job_id": "7", "task_id": "8", "node_id": "-1",
    ...     "state": "Pending", "task_type": "ImportTask", "slots": 4}])
    >>> rows[0]["task_id"], rows[0]["node_id"], rows[0]["extra"], unknown
    ('8', None, {'slots': 4}, ('slots',))
    """
    return _rows_by_key(answer, _TASK, key="task_id")


def parse_builds(answer: Any) -> Rows:
    """The index builds of ``/_dc/tasks/build_index``: one for each segment and index."""
    return _rows_by_key(answer, _BUILD, key="build_id")


def parse_compactions(answer: Any) -> Rows:
    """The compactions of ``/_dc/tasks/compaction``."""
    return _rows_by_key(answer, _COMPACTION, key="plan_id")


def parse_segments(answer: Any) -> Rows:
    """The segments of ``/_dc/segments`` that an import wrote or that wait for an index."""
    found = Segments()
    for entry in _checked_entries(answer):
        found.take(entry)
    return found.rows()


class Segments:
    """The segments of ``/_dc/segments`` that an import wrote or that wait for an index.

    Segments that are deleted, or are indexed and belong to no running import, are left out. More
    than :data:`MOST_SEGMENTS` are counted by kind.

    Parameters
    ----------
    masked : callable, optional
        Returns its argument without secrets.
    """

    def __init__(self, masked: Callable[[Any], Any] = lambda value: value) -> None:
        self._masked = masked
        self._listed = 0
        self._rows: dict[str, Row] = {}
        self._kinds: dict[tuple[Any, ...], Row] = {}
        self._unknown: set[str] = set()

    def take(self, entry: Any) -> None:
        """Take an entry of the list; anything but an object is left out.

        Raises
        ------
        ValueError
            There are more segments, or kinds of them, than a server has.
        """
        self._listed += 1
        if self._listed > MOST_LISTED:
            raise ValueError(f"a list of more than {MOST_LISTED:,} entries; refused")
        if not isinstance(entry, Mapping) or _identifier(entry.get("segment_id")) is None:
            return
        row = _read_entry(entry, _SEGMENT)
        extra = {name: entry[name] for name in entry if name not in _SEGMENT_KNOWN}
        if extra:
            self._unknown.update(self._masked(extra))
        if row["state"] == "Dropped" or not (row["is_importing"] or not row["is_indexed"]):
            return
        row = self._masked({**row, "extra": extra})
        if self._kinds:
            self._count(row)
            return
        self._rows[row["segment_id"]] = row
        if len(self._rows) > MOST_SEGMENTS:
            for each in self._rows.values():
                self._count(each)
            self._rows = {}

    def _count(self, row: Row) -> None:
        kind = tuple(row[name] for name in KIND_OF_SEGMENT)
        alike = self._kinds.get(kind)
        if alike is None:
            if len(self._kinds) == MOST_SEGMENTS:
                raise ValueError(f"more than {MOST_SEGMENTS:,} kinds of segments; refused")
            alike = {
                "segment_id": None,
                "partition_id": None,
                **dict(zip(KIND_OF_SEGMENT, kind, strict=True)),
                **dict.fromkeys(("rows", "size_bytes", "segments"), 0),
                "extra": {},
            }
            self._kinds[kind] = alike
        alike["rows"] += row["rows"]
        alike["size_bytes"] += row["size_bytes"]
        alike["segments"] += 1

    def rows(self) -> Rows:
        """The rows, and the names of unknown fields."""
        found = list(self._kinds.values()) or [
            {**row, "segments": 1} for row in self._rows.values()
        ]
        return found, tuple(sorted(self._unknown))


def parse_nodes(answer: Any) -> Rows:
    """The processes of ``/_cluster/info`` with their load."""
    listed = answer.get("nodes_info") if isinstance(answer, Mapping) else answer
    rows = []
    for entry in _checked_entries(listed):
        infos = entry.get("infos")
        if not isinstance(infos, Mapping) or _identifier(infos.get("id")) is None:
            continue
        hardware = infos.get("hardware_infos")
        system = infos.get("system_info")
        row = _read_entry(infos, _NODE)
        row |= _read_entry(hardware if isinstance(hardware, Mapping) else {}, _HARDWARE)
        row |= _read_entry(system if isinstance(system, Mapping) else {}, _SYSTEM)
        rows.append(row)
    return rows, ()


def parse_settings(answer: Any) -> Rows:
    """The settings of ``/_cluster/configs`` that affect the pace of imports, and no others.

    Examples
    --------
    >>> rows, _ = parse_settings({"datacoordimportwaitforindex": "true[FileSource]",
    ...     "minio.secretAccessKey": "minioadmin[FileSource]"})
    >>> rows
    [{'name': 'dataCoord.import.waitForIndex', 'value': 'true', 'origin': 'FileSource'}]
    """
    if not isinstance(answer, Mapping):
        raise ValueError("the settings are not an object")
    found: dict[str, Row] = {}
    for key, printed in answer.items():
        name = _SETTINGS.get(re.sub(r"[._/]", "", str(key)).lower())
        match = _SETTING.fullmatch(str(printed)) if name else None
        if name and match:
            found[name] = {"name": name, "value": match["value"], "origin": match["origin"]}
    return [found[name] for name in sorted(found)], ()


#: Each value is a switch or a quantity. Anything else is left out.
_SETTING: Final = re.compile(
    r"(?P<value>true|false|-?[0-9]+(?:\.[0-9]+)?(?:[a-zA-Z]{0,5}))\[(?P<origin>[A-Za-z]{1,40})\]"
)

#: Settings that affect the pace of imports, as the documentation spells them.
SETTINGS: Final = (
    "dataCoord.import.waitForIndex",
    "dataCoord.import.filesPerPreImportTask",
    "dataCoord.import.maxSizeInMBPerImportTask",
    "dataCoord.import.scheduleInterval",
    "dataCoord.import.checkIntervalHigh",
    "dataCoord.import.checkIntervalLow",
    "dataCoord.import.taskRetention",
    "dataCoord.import.maxImportJobNum",
    "dataCoord.import.maxImportFileNumPerReq",
    "dataCoord.import.fileNumPerSlot",
    "dataCoord.import.memoryLimitPerSlot",
    "dataNode.import.maxConcurrentTaskNum",
    "dataNode.import.concurrencyPerCPUCore",
    "dataNode.import.memoryLimitPercentage",
    "dataNode.import.readBufferSizeInMB",
    "dataNode.import.maxImportFileSizeInGB",
    "dataCoord.statsTask.enable",
    "dataCoord.sortCompaction.enable",
    "indexNode.scheduler.buildParallel",
    "indexNode.workerSlotUnit",
    "dataNode.workerSlotUnit",
    "indexNode.standaloneSlotFactor",
    "dataNode.standaloneSlotFactor",
    "dataCoord.slot.indexTaskSlotUsage",
    "dataCoord.slot.statsTaskSlotUsage",
    "dataCoord.slot.mixCompactionUsage",
    "dataCoord.slot.l0DeleteCompactionUsage",
    "dataCoord.slot.clusteringCompactionUsage",
    "dataCoord.segment.maxSize",
    "dataCoord.segment.diskSegmentMaxSize",
    "indexCoord.segment.minSegmentNumRowsToEnableIndex",
    "dataCoord.taskCheckInterval",
    "quotaAndLimits.limitWriting.diskProtection.diskQuota",
    "quotaAndLimits.limitWriting.diskProtection.diskQuotaPerDB",
    "quotaAndLimits.limitWriting.diskProtection.diskQuotaPerCollection",
    "quotaAndLimits.limitWriting.diskProtection.diskQuotaPerPartition",
)
_SETTINGS: Final = {name.replace(".", "").lower(): name for name in SETTINGS}


# --- Reading one field ---


def _reason_text(value: Any) -> str | None:
    """A text that is not empty, cut to the length of a reason."""
    is_text = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value)[:_LONGEST_TEXT] if is_text and str(value) else None


def _identifier(value: Any) -> str | None:
    """An id as text; None for -1 and 0, which stand for nobody."""
    text = _reason_text(value)
    return None if text in (None, "-1", "0") else text


def _count_or_zero(value: Any) -> int:
    """A whole number from 0 on; 0 if it is omitted or unusable."""
    try:
        number = int(value or 0)
    except (TypeError, ValueError, OverflowError):
        return 0
    return number if 0 <= number < 2**63 else 0


def _amount(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < 2**63 else None


def _switch(value: Any) -> bool:
    return value is True


def _instant(value: Any) -> datetime | None:
    """A time with its offset, in UTC."""
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def _local(value: Any) -> datetime | None:
    """A time in the coordinator's zone, which is unknown."""
    try:
        return datetime.strptime(value, "%Y-%m-%d %H:%M:%S")
    except (TypeError, ValueError):
        return None


def _identifiers(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else []
    return [text for each in listed[:MOST_ROWS] if (text := _identifier(each)) is not None]


_Fields = Mapping[str, tuple[str, Callable[[Any], Any]]]

_TASK: Final[_Fields] = {
    "task_id": ("task_id", _identifier),
    "job_id": ("job_id", _identifier),
    "collection_id": ("collection_id", _identifier),
    "node_id": ("node_id", _identifier),
    "kind": ("task_type", _reason_text),
    "state": ("state", _reason_text),
    "reason": ("reason", _reason_text),
    "create_time": ("created_time", _instant),
    "complete_time": ("complete_time", _instant),
}
_BUILD: Final[_Fields] = {
    "build_id": ("build_id", _identifier),
    "segment_id": ("segment_id", _identifier),
    "index_id": ("index_id", _identifier),
    "collection_id": ("collection_id", _identifier),
    "node_id": ("node_id", _identifier),
    "state": ("index_state", _reason_text),
    "reason": ("fail_reason", _reason_text),
    "tries": ("index_version", _count_or_zero),
    "index_size_bytes": ("index_size", _count_or_zero),
    "create_time_local": ("create_time", _local),
    "finish_time_local": ("finished_time", _local),
}
_COMPACTION: Final[_Fields] = {
    "plan_id": ("plan_id", _identifier),
    "collection_id": ("collection_id", _identifier),
    "node_id": ("node_id", _identifier),
    "kind": ("type", _reason_text),
    "state": ("state", _reason_text),
    "reason": ("fail_reason", _reason_text),
    "total_rows": ("total_rows", _count_or_zero),
    "input_segments": ("input_segments", _identifiers),
    "result_segments": ("result_segments", _identifiers),
    "start_time_local": ("start_time", _local),
    "end_time_local": ("end_time", _local),
}
_SEGMENT: Final[_Fields] = {
    "segment_id": ("segment_id", _identifier),
    "collection_id": ("collection_id", _identifier),
    "partition_id": ("partition_id", _identifier),
    "shard": ("channel", _reason_text),
    "state": ("state", _reason_text),
    "rows": ("num_of_rows", _count_or_zero),
    "size_bytes": ("mem_size", _count_or_zero),
    "is_importing": ("is_importing", _switch),
    "is_sorted": ("is_sorted", _switch),
    "is_indexed": ("is_indexed", _switch),
}
#: A segment's fields that are known but not used.
_SEGMENT_OTHER: Final = frozenset({"node_id", "level", "compacted", "index_fields"}) | {
    f"{name}_num_of_rows" for name in ("delta", "loaded")
}
_SEGMENT_KNOWN: Final = _SEGMENT_OTHER | {sent for sent, _ in _SEGMENT.values()}
_NODE: Final[_Fields] = {
    "node_id": ("id", _identifier),
    "name": ("name", _reason_text),
    "kind": ("type", _reason_text),
    "has_error": ("has_error", _switch),
    "reason": ("error_reason", _reason_text),
}
_HARDWARE: Final[_Fields] = {
    "address": ("ip", _reason_text),
    "cpu_cores": ("cpu_core_count", _amount),
    "cpu_pct": ("cpu_core_usage", _amount),
    "memory_bytes": ("memory", _count_or_zero),
    "memory_used_bytes": ("memory_usage", _count_or_zero),
    "disk_bytes": ("disk", _count_or_zero),
    "disk_used_bytes": ("disk_usage", _count_or_zero),
    "io_wait_pct": ("io_wait_percentage", _amount),
}
_SYSTEM: Final[_Fields] = {
    "server_version": ("build_version", _reason_text),
    "deploy_mode": ("deploy_mode", _reason_text),
}


def _checked_entries(listed: Any) -> Iterable[Mapping[str, Any]]:
    if listed is None:
        return
    if not isinstance(listed, list):
        raise ValueError("not a list where one should be")
    if len(listed) > MOST_ROWS:
        raise ValueError(f"a list of {len(listed):,} entries; refused")
    for entry in listed:
        if isinstance(entry, Mapping):
            yield entry


def _read_entry(entry: Mapping[str, Any], fields: _Fields) -> Row:
    return {name: read(entry.get(sent)) for name, (sent, read) in fields.items()}


def _rows_by_key(answer: Any, fields: _Fields, *, key: str) -> Rows:
    """A row for each entry that has a key; of two entries with one key, the last."""
    known = {sent for sent, _ in fields.values()}
    rows: dict[str, Row] = {}
    unknown: set[str] = set()
    for entry in _checked_entries(answer):
        row = _read_entry(entry, fields)
        if row[key] is None:
            continue
        row["extra"] = {name: entry[name] for name in entry if name not in known}
        unknown.update(row["extra"])
        rows[row[key]] = row
    return list(rows.values()), tuple(sorted(unknown))


#: The columns in which segments agree that are counted together.
KIND_OF_SEGMENT: Final = (
    "collection_id",
    "shard",
    "state",
    "is_importing",
    "is_sorted",
    "is_indexed",
)
