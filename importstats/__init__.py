"""Collect, analyse and show the progress of Milvus and Zilliz Cloud bulk imports.

>>> import importstats
>>> jobs = importstats.load_jobs("importstats-demo/store")  # doctest: +SKIP
>>> importstats.eta(jobs)  # doctest: +SKIP

The way of the data, each step a folder: :mod:`~importstats.sources` ask a server and type its
answers, :mod:`~importstats.store` keeps them and makes DataFrames of them,
:mod:`~importstats.analysis` computes phases, rates, an ETA, stragglers and findings from these,
:mod:`~importstats.plots`, :mod:`~importstats.show` and :mod:`~importstats.reports` show the result.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from importstats.analysis.cut import until
from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import phases, with_phase
from importstats.analysis.rates import throughput
from importstats.analysis.row_counts import check_rows
from importstats.analysis.tasks import infer_tasks
from importstats.analysis.totals import compare, summary
from importstats.collect.collector import Collector, PollPolicy
from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    MissingExtraError,
    PrivilegeError,
    ServerError,
    StoreError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.sources.answers import parse_response
from importstats.sources.file_names import parse_file_name
from importstats.sources.messages import (
    GetImportProgressResponse,
    ImportProgressData,
    ImportProgressDetail,
)
from importstats.sources.rest import ImportClient
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.frames import flatten_details, flatten_jobs, load_details, load_jobs
from importstats.store.inputs import at_the_door
from importstats.store.recorder import Recorder
from importstats.version import __version__ as __version__

if TYPE_CHECKING:
    from importstats.fleets import fleet
    from importstats.reports import report
    from importstats.show.job import ImportJob

# Silent unless the program that uses us sets logging up.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# Whatever frames a caller brings are made those that an analysis expects; inside the package the
# functions are called as they are.
check_rows = at_the_door(check_rows)
compare = at_the_door(compare)
diagnose = at_the_door(diagnose)
eta = at_the_door(eta)
infer_tasks = at_the_door(infer_tasks)
phases = at_the_door(phases)
stragglers = at_the_door(stragglers)
summary = at_the_door(summary)
throughput = at_the_door(throughput)
until = at_the_door(until)
with_phase = at_the_door(with_phase)

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
    "infer_tasks",
    "load_details",
    "load_jobs",
    "parse_file_name",
    "parse_response",
    "phases",
    "report",
    "stragglers",
    "summary",
    "throughput",
    "until",
    "with_phase",
]


# What draws or starts workers is imported when it is asked for: matplotlib alone would double the
# start of a command.
_LAZY: Final = {
    "ImportJob": "importstats.show.job",
    "fleet": "importstats.fleets",
    "report": "importstats.reports",
}
_LAZY_MODULES: Final = {
    "datasets": "importstats.store.datasets",
    "plots": "importstats.plots",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        found = getattr(import_module(_LAZY[name]), name)
        return at_the_door(found) if name == "report" else found
    if name in _LAZY_MODULES:
        return import_module(_LAZY_MODULES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_LAZY_MODULES, "__version__"])
