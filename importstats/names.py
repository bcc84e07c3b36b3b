"""Names that every layer shares: the key of a job, the phases and the states of files."""

from __future__ import annotations

from typing import Final

import pandas as pd

#: The columns that together name one job. A job id alone may occur on two clusters.
JOB_KEY: Final = ["source_uri", "job_id"]


#: The phases in the order in which a job goes through them, ``Unknown`` last. Only Import V3 has
#: Resharding and Planning. Where the server's release is not known, ``SortingOrIndexing`` is one of
#: the two: 2.4 from 13 on builds indexes at 70 to 80, where 2.5 and later sort.
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

#: Phases from which a job goes nowhere.
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
