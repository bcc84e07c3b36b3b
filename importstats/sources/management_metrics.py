"""Milvus' metrics about imports, from the text of ``/metrics``.

A process sends thousands of lines. Lines with other names are dropped before they are parsed, and a
histogram keeps only its sum and count: from their differences follows the mean in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from importstats.errors import MissingExtraError

Row = dict[str, Any]

#: The most lines to parse. A cluster of a hundred nodes and collections has some thousands.
MOST_LINES: Final = 20_000

#: The names of the metrics that are kept, without the prefix ``milvus_``.
METRICS: Final = (
    "datacoord_import_jobs",
    "datacoord_import_tasks",
    "datacoord_import_job_latency",
    "datacoord_import_task_latency",
    "datacoord_bulk_insert_vectors_count",
    "datacoord_index_task_count",
    "datacoord_task_count",
    "datacoord_task_num_in_scheduler",
    "datacoord_task_execute_max_latency",
    "datacoord_task_version",
    "datanode_slot",
    "datacoord_compaction_task_num",
    "datacoord_segment_num",
    "datacoord_stored_rows_num",
    "datacoord_stored_binlog_size",
    "datacoord_stored_index_files_size",
    "datanode_flushed_data_rows",
    "datanode_flushed_data_size",
    "datanode_write_data_count",
    "indexnode_index_task_count",
    "indexnode_build_index_latency",
    "indexnode_knowhere_build_index_latency",
    "indexnode_encode_index_latency",
    "indexnode_save_index_latency",
    "indexnode_load_field_latency",
    "indexnode_index_task_latency_in_queue",
    "datacoord_index_node_num",
    "datacoord_datanode_num",
    "rootcoord_quota_states",
    "rootcoord_disk_quota",
    "rootcoord_force_deny_writing_counter",
    "rootcoord_rate_limit_ratio",
    "num_node",
    "build_info",
)
_PREFIX: Final = "milvus_"
_HISTOGRAMS: Final = ("_latency", "_latency_in_queue", "_max_latency", "_version")
_WANTED: Final = frozenset(METRICS)
_LINE: Final = re.compile(rf"^{_PREFIX}[^\n]*".encode(), re.MULTILINE)
_NAME: Final = re.compile(rf"{_PREFIX}([a-z0-9_]+?)(_sum|_count|_total)?(?=[{{ ])")


class MissingParserError(MissingExtraError):
    """The library that parses metrics is not installed."""


def parse_samples(content: bytes) -> list[Row]:
    r"""The samples of the metrics about imports.

    Returns
    -------
    list of dict
        ``name`` (str, without ``milvus_``; a histogram's ends in ``_sum`` or ``_count``),
        ``labels`` (dict of str), ``value`` (float).

    Raises
    ------
    MissingParserError
        The extra ``prometheus`` is not installed.
    ValueError
        The text does not consist of metrics.

    Examples
    --------
    >>> text = b'go_threads 9\nmilvus_datacoord_index_task_count{index_task_status="unissued"} 7\n'
    >>> sample, = parse_samples(text)
    >>> sample["name"], sample["labels"], sample["value"]
    ('datacoord_index_task_count', {'index_task_status': 'unissued'}, 7.0)
    """
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError as error:
        raise MissingParserError("reading metrics", error.name, "prometheus") from None
    text = "\n".join(_wanted_lines(content)) + "\n"
    # Without their # TYPE lines all samples have an unknown type, and keep their names.
    return [
        {
            "name": sample.name.removeprefix(_PREFIX),
            "labels": dict(sample.labels),
            "value": float(sample.value),
        }
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def _wanted_lines(content: bytes) -> Iterator[str]:
    kept = 0
    for found in _LINE.finditer(content):
        line = found[0].decode("utf-8", "replace")
        match = _NAME.match(line)
        if match is None or not _is_wanted(match[1], match[2] or ""):
            continue
        # Milvus 2.3 has a line for each segment: there may be a hundred thousand.
        if "segment_id=" in line:
            continue
        kept += 1
        if kept > MOST_LINES:
            raise ValueError(f"more than {MOST_LINES:,} lines of metrics of imports; refused")
        yield line


def _is_wanted(name: str, suffix: str) -> bool:
    if name.endswith("_bucket"):
        return False
    if suffix in ("_sum", "_count") and name.endswith(_HISTOGRAMS):
        return name in _WANTED
    return f"{name}{suffix}" in _WANTED or (suffix == "_total" and name in _WANTED)
