"""The import task and node of each file, as far as the data show them.

The server does not report them. But a task and its files are in the same state and end in the same
second.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

from importstats.names import JOB_KEY

_MARK: Final = ["state", "ended"]


def tasks_of_files(details: pd.DataFrame, tasks: pd.DataFrame) -> pd.DataFrame:
    """Each file's task and node if only one is possible, and how certain that is.

    Parameters
    ----------
    details : DataFrame
        A details frame of any number of jobs, see :mod:`importstats.store.frames`.
    tasks : DataFrame
        The :func:`~importstats.load_tasks` for the same time.

    Returns
    -------
    DataFrame
        One row per file, by job and place in the list: ``source_uri``, ``job_id`` (str),
        ``file_index`` (int64), ``state`` (str), ``task_id`` (str, missing unless one task alone is
        possible), ``node_id`` (str, the node that this task, or all possible tasks, were last seen
        on), ``candidates`` (Int64, how many tasks are possible, missing if none is known) and
        ``certainty`` (float64, 1 / ``candidates``).

    Examples
    --------
    >>> same = {"source_uri": "http://localhost:19530", "job_id": "7",
    ...     "observed_at": pd.Timestamp("2026-05-18", tz="UTC")}
    >>> time = pd.to_datetime(["2026-05-18T00:01Z", "2026-05-18T00:02Z", None])
    >>> details = pd.DataFrame({**same, "file_index": [0, 1, 2], "complete_time": time,
    ...     "state": ["Completed", "Completed", "InProgress"]})
    >>> tasks = pd.DataFrame({**same, "task_id": ["a", "b", "c"], "kind": "ImportTask",
    ...     "state": details["state"], "complete_time": time, "node_id": ["11", "12", "11"]})
    >>> tasks_of_files(details, tasks)[["file_index", "task_id", "node_id", "certainty"]]
       file_index task_id node_id  certainty
    0           0       a      11        1.0
    1           1       b      12        1.0
    2           2       c      11        1.0
    """
    files = _with_state(_last_entry_rows(details, "file_index"))
    imports = tasks[tasks["kind"].astype("str").eq("ImportTask")]
    known = _with_state(_last_entry_rows(imports, "task_id"))
    # The server forgets a task's node when it ends, so this takes the last known one.
    nodes = imports[imports["node_id"].notna()].drop_duplicates([*JOB_KEY, "task_id"], keep="last")
    known = known.drop(columns="node_id").merge(
        _with_job_key(nodes)[[*JOB_KEY, "task_id", "node_id"]], on=[*JOB_KEY, "task_id"], how="left"
    )
    by_mark = known.groupby([*JOB_KEY, *_MARK], dropna=False)
    possible = by_mark.agg(
        candidates=("task_id", "size"),
        task_id=("task_id", "first"),
        nodes=("node_id", lambda own: own.nunique(dropna=False)),
        node_id=("node_id", "first"),
    ).reset_index()
    found = files.merge(possible, on=[*JOB_KEY, *_MARK], how="left")
    found["candidates"] = found["candidates"].astype("Int64")
    found["task_id"] = found["task_id"].where(found["candidates"].eq(1).fillna(False))
    found["node_id"] = found["node_id"].where(found["nodes"].eq(1))
    found["certainty"] = 1 / found["candidates"].astype("float64")
    found = found.sort_values([*JOB_KEY, "file_index"], ignore_index=True)
    columns = ["file_index", "state", "task_id", "node_id", "candidates", "certainty"]
    return found[[*JOB_KEY, *columns]]


def _last_entry_rows(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """The last row of each entry."""
    last = "last_observed_at" if "last_observed_at" in rows else "observed_at"
    by_time = rows.sort_values(last, kind="stable")
    return _with_job_key(by_time.drop_duplicates([*JOB_KEY, key], keep="last"))


def _with_job_key(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.astype(dict.fromkeys([*JOB_KEY, "state"], "str"))


def _with_state(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what a task and its files have in common: the state and the second of the end."""
    ended = rows["complete_time"].dt.floor("s").where(rows["state"].eq("Completed"))
    return rows.assign(ended=ended.astype("datetime64[us, UTC]"))
