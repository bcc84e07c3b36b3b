"""A cluster's waiting line: which jobs are ahead of one that waits."""

from __future__ import annotations

import pandas as pd

from importstats.names import JOB_KEY

_DIGITS = 40
_WAITING = ("pending", "importpending")
_OVER = ("completed", "failed", "importcompleted", "importfailed")


def jobs_ahead(listed: pd.DataFrame, job_id: str, *, source_uri: str | None = None) -> pd.DataFrame:
    """The jobs in a list that were created before a job and have not ended.

    Servers assign ids in the order in which jobs are created, and make the tasks of earlier jobs
    first, so a pending job waits for these. If ids are not numbers (Zilliz Cloud), the order is not
    known and no job is ahead.

    Parameters
    ----------
    listed : DataFrame
        One row per job: ``job_id``, ``state``, and ``source_uri`` if there are several servers;
        other columns are kept.
    job_id : str
        The job that waits.
    source_uri : str, optional
        Its server.

    Returns
    -------
    DataFrame
        The rows of `listed` that are ahead, the oldest job first.

    Examples
    --------
    >>> listed = pd.DataFrame({"job_id": ["30", "9", "20", "40"],
    ...                        "state": ["Pending", "Importing", "Completed", "Pending"]})
    >>> jobs_ahead(listed, "30")["job_id"].tolist()
    ['9']
    """
    mine = listed
    if source_uri is not None and "source_uri" in listed:
        mine = listed[listed["source_uri"].astype("str").eq(source_uri)]
    # They have more digits than a float, so they are compared as texts of equal length.
    ids = mine["job_id"].astype("str")
    place = ids.str.zfill(_DIGITS)
    over = mine["state"].astype("str").str.lower().isin(_OVER)
    earlier = ids.str.isdigit() & place.lt(job_id.zfill(_DIGITS)) & job_id.isdigit()
    order = place[earlier.fillna(False).to_numpy() & ~over.to_numpy()].sort_values(kind="stable")
    return mine.loc[order.index].reset_index(drop=True)


def counts_ahead(listed: pd.DataFrame) -> pd.Series[int]:
    """The number of jobs ahead of each pending job in one server's list, see :func:`jobs_ahead`.

    Returns
    -------
    Series of Int64
        With the index of `listed`; missing for a job that does not wait or whose order is not
        known.

    Examples
    --------
    >>> listed = pd.DataFrame({"job_id": ["30", "9", "20", "40"],
    ...                        "state": ["Pending", "Importing", "Completed", "Pending"]})
    >>> counts_ahead(listed).tolist()
    [1, <NA>, <NA>, 2]
    """
    ids, state = listed["job_id"].astype("str"), listed["state"].astype("str").str.lower()
    is_known = ids.str.isdigit().fillna(False).astype("bool")
    is_open = is_known & ~state.isin(_OVER)
    ordered = ids.str.zfill(_DIGITS)[is_open].sort_values(kind="stable")
    place = pd.Series(range(len(ordered)), ordered.index, dtype="Int64")
    return place.reindex(listed.index).where(state.isin(_WAITING))


def latest_states(jobs: pd.DataFrame) -> pd.DataFrame:
    """Each job's last answered snapshot in a jobs frame."""
    seen = jobs[jobs["error"].isna()] if "error" in jobs else jobs
    ordered = seen.sort_values("observed_at", kind="stable")
    return ordered.drop_duplicates(JOB_KEY, keep="last").reset_index(drop=True)
