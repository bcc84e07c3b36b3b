"""Collect, analyse and show the progress of Milvus and Zilliz Cloud bulk imports.

>>> import importstats
>>> jobs = importstats.load_jobs("importstats-demo/store")  # doctest: +SKIP
>>> importstats.eta(jobs)  # doctest: +SKIP

Data flows through the folders in one direction: :mod:`~importstats.sources` asks a server and types
its answers, :mod:`~importstats.store` keeps them and makes DataFrames of them,
:mod:`~importstats.analysis` computes phases, rates, an ETA, stragglers and findings from these, and
:mod:`~importstats.plots`, :mod:`~importstats.show` and :mod:`~importstats.reports` show the result.
"""

import logging
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from importstats.version import __version__ as __version__

if TYPE_CHECKING:
    from importstats.analysis.cut import rewind
    from importstats.analysis.cut import rewind as until  # noqa: F401 -- see _OTHER_NAMES
    from importstats.analysis.findings import diagnose
    from importstats.analysis.forecast import eta
    from importstats.analysis.grouped import GroupProgress, group_progress
    from importstats.analysis.lateness import stragglers
    from importstats.analysis.phase import phases, with_phase
    from importstats.analysis.rates import throughput
    from importstats.analysis.row_counts import check_rows
    from importstats.analysis.tasks import infer_tasks
    from importstats.analysis.totals import compare, summary
    from importstats.analysis.waiting_line import jobs_ahead
    from importstats.collect.collector import Collector, PollPolicy
    from importstats.errors import (
        BadResponseError,
        FinishedWorkError,
        ImportStatsError,
        JobNotFoundError,
        MissingExtraError,
        PrivilegeError,
        ServerError,
        StoreError,
        UnauthorizedError,
        UnreachableError,
    )
    from importstats.fleets import fleet
    from importstats.reports import report
    from importstats.show.job import ImportJob
    from importstats.show.notebook import live
    from importstats.sources.answers import parse_response
    from importstats.sources.file_names import parse_file_name
    from importstats.sources.management import ManagementClient
    from importstats.sources.messages import (
        GetImportProgressResponse,
        ImportProgressData,
        ImportProgressDetail,
    )
    from importstats.sources.rest import ImportClient
    from importstats.sources.snapshot import Snapshot
    from importstats.store import SnapshotStore
    from importstats.store.cluster_frames import load_builds, load_nodes, load_segments, load_tasks
    from importstats.store.frames import flatten_details, flatten_jobs, load_details, load_jobs
    from importstats.store.recorder import Recorder

# Silent unless the program that uses us sets logging up.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "BadResponseError",
    "Collector",
    "FinishedWorkError",
    "GetImportProgressResponse",
    "GroupProgress",
    "ImportClient",
    "ImportJob",
    "ImportProgressData",
    "ImportProgressDetail",
    "ImportStatsError",
    "JobNotFoundError",
    "ManagementClient",
    "MissingExtraError",
    "PollPolicy",
    "PrivilegeError",
    "Recorder",
    "ServerError",
    "Snapshot",
    "SnapshotStore",
    "StoreError",
    "UnauthorizedError",
    "UnreachableError",
    "check_rows",
    "compare",
    "diagnose",
    "eta",
    "flatten_details",
    "flatten_jobs",
    "fleet",
    "group_progress",
    "infer_tasks",
    "jobs_ahead",
    "live",
    "load_builds",
    "load_details",
    "load_jobs",
    "load_nodes",
    "load_segments",
    "load_tasks",
    "parse_file_name",
    "parse_response",
    "phases",
    "report",
    "rewind",
    "stragglers",
    "summary",
    "throughput",
    "with_phase",
]

# The public names by module. Each is imported when it is first used: pandas, pyarrow, requests and
# matplotlib together take a second, which `importstats --help` need not spend.
_NAMES: Final = {
    "analysis.cut": "rewind",
    "analysis.findings": "diagnose",
    "analysis.forecast": "eta",
    "analysis.grouped": "GroupProgress group_progress",
    "analysis.lateness": "stragglers",
    "analysis.phase": "phases with_phase",
    "analysis.rates": "throughput",
    "analysis.row_counts": "check_rows",
    "analysis.tasks": "infer_tasks",
    "analysis.totals": "compare summary",
    "analysis.waiting_line": "jobs_ahead",
    "collect.collector": "Collector PollPolicy",
    "errors": (
        "BadResponseError FinishedWorkError ImportStatsError JobNotFoundError "
        "MissingExtraError PrivilegeError ServerError StoreError UnauthorizedError "
        "UnreachableError"
    ),
    "fleets": "fleet",
    "reports": "report",
    "show.job": "ImportJob",
    "show.notebook": "live",
    "sources.answers": "parse_response",
    "sources.file_names": "parse_file_name",
    "sources.management": "ManagementClient",
    "sources.messages": "GetImportProgressResponse ImportProgressData ImportProgressDetail",
    "sources.rest": "ImportClient",
    "sources.snapshot": "Snapshot",
    "store": "SnapshotStore",
    "store.cluster_frames": "load_builds load_nodes load_segments load_tasks",
    "store.frames": "flatten_details flatten_jobs load_details load_jobs",
    "store.recorder": "Recorder",
}
_PLACES: Final = {
    name: f"importstats.{module}" for module, names in _NAMES.items() for name in names.split()
}
_MODULES: Final = {"datasets": "importstats.store.datasets", "plots": "importstats.plots"}

# Functions of frames. Whatever frame a caller brings is made what an analysis expects; inside the
# package they are called as they are.
_WITH_A_DOOR: Final = frozenset(
    {
        "check_rows",
        "compare",
        "diagnose",
        "eta",
        "group_progress",
        "infer_tasks",
        "phases",
        "report",
        "stragglers",
        "summary",
        "throughput",
        "rewind",
        "with_phase",
    }
)


#: ``importstats.until(frame, at)`` reads as English; inside the package a parameter has that name.
_OTHER_NAMES: Final = {"until": "rewind"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    name = _OTHER_NAMES.get(name, name)
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _public(name)


@cache
def _public(name: str) -> Any:
    """A public name's object, always the same one."""
    found = getattr(import_module(_PLACES[name]), name)
    if name in _WITH_A_DOOR:
        from importstats.store.inputs import at_the_door

        found = at_the_door(found)
        # pickle looks a function up by module and name, and must find this one.
        found.__module__ = __name__
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])
