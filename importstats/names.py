"""Names that every layer shares: the key of a job, the phases and the states of files."""

from __future__ import annotations

from typing import Final

import pandas as pd

#: The columns that together name one job. Two clusters may have the same job id.
JOB_KEY: Final = ["source_uri", "job_id"]


#: The phases in the order in which a job goes through them, ``Unknown`` last. Only Import V3 has
#: Resharding and Planning. ``SortingOrIndexing`` is one of the two if the server's release is not
#: known: at 70 to 80, 2.4 (from 13 on) builds indexes, and 2.5 and later sort.
PHASES: Final = (
    "Pending",
    "PreImporting",
    "Resharding",
    "Planning",
    "Importing",
    "Sorting",
    "SortingOrIndexing",
    "IndexBuilding",
    "Uncommitted",
    "Committing",
    "Completed",
    "Failed",
    "Unknown",
)

#: The dtype of every ``phase`` column.
PHASE_DTYPE: Final = pd.CategoricalDtype(list(PHASES), ordered=True)

#: The phases that a job does not leave.
END_PHASES: Final = ("Completed", "Failed")


#: The phases that take time, in their order. (A job in Uncommitted waits for its user.)
WORK_PHASES: Final = (
    "Pending",
    "PreImporting",
    "Importing",
    "Sorting",
    "IndexBuilding",
    "Committing",
)


#: States of files that have a time series of their own; any other counts as ``other``.
FILE_STATES: Final = ("Pending", "InProgress", "Completed", "Failed", "Retry")

#: How long a server remembers a job that ended, unless its ``dataCoord.import.taskRetention`` says
#: otherwise: three hours.
RETENTION_S: Final = 3 * 3600.0
