"""Fleet: the analysis of every job in a store, on one machine or on a Dask cluster.

Jobs can be analysed independently until they are counted. So :func:`analyse` turns a batch of jobs
into a *part*, wherever their files are best read, and :func:`combine` makes the fleet's tables from
the parts. A job's rows never leave the process that read them: a part has only a few rows for each
job. Only the ETA needs other, earlier jobs; :func:`eta_batches` picks those that count, and a
second round of Dask tasks reads them.

Both rounds are maps without a shuffle; a Dask task whose worker dies is run again on another.
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
