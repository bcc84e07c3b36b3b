"""Fleet: the analysis of every job in a store, on one machine or on a Dask cluster.

Jobs have nothing to do with each other until they are counted, so a *part* is the analysis of a
batch of jobs, made by :func:`analyse` wherever their files are best read, and :func:`combine` makes
the tables of the fleet out of the parts. No job's rows ever leave the process that read them: a
part is a few rows for each of its jobs. Only the ETA needs other jobs, the earlier ones;
:func:`eta_batches` picks those that count, and a second round of tasks reads them.

Both rounds are maps without a shuffle; a task whose worker dies is run again on another.
"""

from __future__ import annotations

from importstats.fleets.parts import STATUSES, Part, analyse, eta_batches, rows_by_day
from importstats.fleets.run import fleet
from importstats.fleets.tables import Fleet, combine
from importstats.fleets.totals import summarise

__all__ = [
    "STATUSES",
    "Fleet",
    "Part",
    "analyse",
    "combine",
    "eta_batches",
    "fleet",
    "rows_by_day",
    "summarise",
]
