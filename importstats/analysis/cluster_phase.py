"""The exact phase of a job whose cluster was watched, from its tasks and sorts."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.cluster_state import Cluster
from importstats.arrays import Ints, microseconds
from importstats.names import PHASE_DTYPE

#: The column that :func:`~importstats.with_phase` trusts wherever it is not missing.
KNOWN_PHASE: Final = "known_phase"

#: Phases that progress alone can confuse. The server names all others itself, or (Import V3) the
#: tasks do not show them.
_IN_DOUBT: Final = ("PreImporting", "Importing", "Sorting", "SortingOrIndexing", "IndexBuilding")
_ENDED: Final = ("Completed", "Failed", "completed", "failed", "timeout", "cleaned")


def with_known_phase(jobs: pd.DataFrame, cluster: Cluster) -> pd.DataFrame:
    """The jobs frame with each job's phase as the cluster's tasks show it, if they do.

    PreImporting until import tasks are listed; Importing while one of them is not done; Sorting
    while a compaction that sorts the collection's segments is not; IndexBuilding after. Each
    snapshot is judged by what had been listed by then. If sorts are not listed (2.5), the phase
    after Importing is not known from them.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame.
    cluster : ClusterFrames
        See :func:`~importstats.store.cluster_frames.load_cluster`.

    Returns
    -------
    DataFrame
        `jobs` with ``known_phase`` (str, missing if it is not known), which
        :func:`~importstats.with_phase` and everything built on it trust.
    """
    found = pd.Series(pd.NA, index=jobs.index, dtype="object")
    keys = jobs[["source_uri", "job_id"]].astype("str")
    for (uri, job_id), rows in keys.groupby(["source_uri", "job_id"], observed=True):
        tasks = cluster.tasks[cluster.tasks["source_uri"].astype("str").eq(str(uri))]
        own = tasks[tasks["job_id"].eq(str(job_id))]
        if len(own):
            seen, _ = microseconds(jobs.loc[rows.index], "observed_at")
            known = _phases_at(seen, own, _sorts_since_import(cluster, str(uri), own))
            found.loc[rows.index] = known.to_numpy()
    return jobs.assign(**{KNOWN_PHASE: found.astype("str").where(found.notna())})


def _sorts_since_import(cluster: Cluster, source_uri: str, tasks: pd.DataFrame) -> pd.DataFrame:
    """The sorts in the tasks' collection since their import began."""
    plans = cluster.compactions
    begun = tasks.loc[tasks["kind"].astype("str").eq("ImportTask"), "observed_at"].min()
    return plans.loc[
        plans["collection_id"].isin(tasks["collection_id"].dropna())
        & plans["kind"].astype("str").eq("SortCompaction")
        & plans["source_uri"].astype("str").eq(source_uri)
        & plans["observed_at"].ge(begun)
    ]


def _phases_at(seen: Ints, tasks: pd.DataFrame, sorts: pd.DataFrame) -> pd.Series[str]:
    """The phase at each time, missing if the lists do not show it."""
    imports = tasks[tasks["kind"].astype("str").eq("ImportTask")]
    listed, done = _listed_and_ended(seen, imports, "task_id")
    any_task, _ = _listed_and_ended(seen, tasks, "task_id")
    sorts_listed, sorts_done = _listed_and_ended(seen, sorts, "plan_id")
    phase = np.select(
        [any_task == 0, listed == 0, done < listed, sorts_done < sorts_listed, sorts_listed > 0],
        ["", "PreImporting", "Importing", "Sorting", "IndexBuilding"],
        "",
    )
    return pd.Series(phase, dtype="object").replace("", pd.NA)


def _listed_and_ended(seen: Ints, runs: pd.DataFrame, key: str) -> tuple[Ints, Ints]:
    """The number of entries that had been listed, and of those that had ended, by each time."""
    counts = []
    for rows in (runs, runs[runs["state"].astype("str").isin(_ENDED)]):
        first = rows.sort_values("observed_at", kind="stable").drop_duplicates(key)
        times, _ = microseconds(first, "observed_at")
        counts.append(np.searchsorted(np.sort(times), seen, side="right"))
    return counts[0], counts[1]


def by_known_phase(jobs: pd.DataFrame) -> pd.DataFrame:
    """The frame with known phases in place of guessed ones, and each one's ``phase_source``.

    ``phase_source`` (str) is ``cluster`` or ``progress``. The fraction of a phase that was guessed
    wrong is not known.
    """
    guessed = jobs["phase"].astype("str")
    known = jobs[KNOWN_PHASE]
    believed = known.notna() & guessed.isin(_IN_DOUBT)
    phase = guessed.where(~believed, known)
    return jobs.assign(
        phase=pd.Categorical(phase, dtype=PHASE_DTYPE),
        phase_fraction=jobs["phase_fraction"].where(phase.eq(guessed)),
        phase_source=np.where(believed, "cluster", "progress"),
    )
