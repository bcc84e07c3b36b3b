"""Collect, analyse and show the progress of Milvus and Zilliz Cloud bulk imports.

>>> import importstats
>>> jobs = importstats.load_jobs("importstats-demo/store")  # doctest: +SKIP
>>> importstats.eta(jobs)  # doctest: +SKIP

The way of the data, each step a module: :mod:`~importstats.client` asks a server,
:mod:`~importstats.response` types the answer, :mod:`~importstats.store` keeps it,
:mod:`~importstats.frames` makes DataFrames of it, :mod:`~importstats.phases`,
:mod:`~importstats.throughput`, :mod:`~importstats.eta`, :mod:`~importstats.stragglers`,
:mod:`~importstats.diagnosis` and :mod:`~importstats.summary` analyse these, and
:mod:`~importstats.plots` and :mod:`~importstats.report` show the result.
"""

import logging
from typing import TYPE_CHECKING, Any

from importstats.client import ImportClient
from importstats.collector import Collector, PollPolicy
from importstats.diagnosis import diagnose
from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    MissingExtraError,
    ServerError,
    StoreError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.eta import eta
from importstats.frames import flatten_details, flatten_jobs, load_details, load_jobs
from importstats.phases import phases, with_phase
from importstats.response import (
    GetImportProgressResponse,
    ImportProgressData,
    ImportProgressDetail,
    parse_file_name,
    parse_response,
)
from importstats.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.stragglers import stragglers
from importstats.summary import compare, summary
from importstats.throughput import throughput

if TYPE_CHECKING:
    from importstats.job import ImportJob

__version__ = "0.1.0"

# Silent unless the program that uses us sets logging up.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "BadResponseError",
    "Collector",
    "GetImportProgressResponse",
    "ImportClient",
    "ImportJob",
    "ImportProgressData",
    "ImportProgressDetail",
    "ImportStatsError",
    "JobNotFoundError",
    "MissingExtraError",
    "PollPolicy",
    "ServerError",
    "Snapshot",
    "SnapshotStore",
    "StoreError",
    "UnauthorizedError",
    "UnreachableError",
    "compare",
    "diagnose",
    "eta",
    "flatten_details",
    "flatten_jobs",
    "load_details",
    "load_jobs",
    "parse_file_name",
    "parse_response",
    "phases",
    "stragglers",
    "summary",
    "throughput",
    "with_phase",
]


def __getattr__(name: str) -> Any:
    # What draws is imported when it is asked for: matplotlib would double the start of a command.
    if name == "ImportJob":
        from importstats.job import ImportJob

        return ImportJob
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
