"""A cluster's work as pandas frames: tasks, builds, compactions, segments, nodes and gauges.

Each row is a run of equal values, by the columns of :mod:`importstats.store.cluster_schema`: times
``datetime64[us, UTC]``, those in the coordinator's zone ``datetime64[us]``, counts ``Int64``,
shares and amounts ``float64``, kinds and states ``category``, all else ``str``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd
import pyarrow as pa

from importstats.store.cluster_schema import CLUSTER_SCHEMAS, CLUSTER_TABLES, ClusterTable
from importstats.store.cluster_tables import ClusterTables
from importstats.store.store import SnapshotStore

_CATEGORIES: Final = ("source_uri", "kind", "state")
#: Work is read from this long before a job was first seen.
_BEFORE: Final = timedelta(hours=1)


class ClusterFrames(NamedTuple):
    """All that a store knows about clusters besides the progress of jobs; a frame may be empty."""

    tasks: pd.DataFrame
    builds: pd.DataFrame
    compactions: pd.DataFrame
    segments: pd.DataFrame
    nodes: pd.DataFrame
    gauges: pd.DataFrame
    settings: pd.DataFrame


def load_tasks(
    store: SnapshotStore | str | Path,
    *,
    job_id: str | None = None,
    source_uri: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> pd.DataFrame:
    """The import tasks of jobs with their states and nodes, as runs.

    Parameters
    ----------
    store : SnapshotStore, str or Path
        The store, its folder or its URI. One that was collected without ``--management-uri`` has
        none, and the frame is empty.
    job_id, source_uri : str, optional
        Only this job's tasks, or this server's.
    since, until : datetime, optional
        Only runs that reach into this time, which has a time zone.

    Returns
    -------
    DataFrame
        See :mod:`importstats.store.cluster_frames`.

    Raises
    ------
    StoreError
        The store cannot be read.
    """
    tasks = load_cluster_table("tasks", store, source_uri=source_uri, since=since, until=until)
    return tasks if job_id is None else tasks[tasks["job_id"] == job_id].reset_index(drop=True)


def load_builds(
    store: SnapshotStore | str | Path,
    *,
    source_uri: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> pd.DataFrame:
    """The index builds of segments with their states and nodes; see :func:`load_tasks`."""
    return load_cluster_table("builds", store, source_uri=source_uri, since=since, until=until)


def load_segments(
    store: SnapshotStore | str | Path,
    *,
    source_uri: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> pd.DataFrame:
    """The segments that imports wrote or that wait for an index; see :func:`load_tasks`."""
    return load_cluster_table("segments", store, source_uri=source_uri, since=since, until=until)


def load_nodes(
    store: SnapshotStore | str | Path,
    *,
    source_uri: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> pd.DataFrame:
    """The processes of clusters with their load; see :func:`load_tasks`."""
    return load_cluster_table("nodes", store, source_uri=source_uri, since=since, until=until)


def load_cluster(
    store: SnapshotStore | str | Path,
    *,
    source_uri: str | None = None,
    since: datetime | None = None,
) -> ClusterFrames:
    """All tables of what clusters do; see :func:`load_tasks`."""
    return ClusterFrames(
        *(
            load_cluster_table(table, store, source_uri=source_uri, since=since)
            for table in CLUSTER_TABLES
        )
    )


def load_cluster_of(store: SnapshotStore | str | Path, jobs: pd.DataFrame) -> ClusterFrames:
    """The work of a jobs frame's clusters from an hour before the first job was first seen."""
    servers = jobs["source_uri"].astype("str").unique()
    since = _earliest_interest(jobs)
    if since is None:
        return no_cluster()
    return load_cluster(store, source_uri=servers[0] if len(servers) == 1 else None, since=since)


def _earliest_interest(jobs: pd.DataFrame) -> datetime | None:
    """The time from which on a cluster matters to some jobs; None if they were never seen."""
    seen = jobs["observed_at"].dropna()
    return seen.min().to_pydatetime() - _BEFORE if len(seen) else None


class ClusterOfJobs:
    """One cluster's work for several jobs of the server `source_uri`, read from the store once.

    It is read again only if a job was first seen before all those asked for so far; ask for the
    oldest first.
    """

    def __init__(self, store: SnapshotStore | str | Path, source_uri: str) -> None:
        self._store = store
        self._source_uri = source_uri
        self._since: datetime | None = None
        self._frames = no_cluster()

    def frames_for(self, jobs: pd.DataFrame) -> ClusterFrames:
        """The frames that :func:`load_cluster_of` returns for these jobs of the server.

        A run may begin earlier if more was read for other jobs. Raises StoreError if the store
        cannot be read.
        """
        since = _earliest_interest(jobs)
        if since is None:
            return no_cluster()
        if self._since is None or since < self._since:
            self._frames = load_cluster(self._store, source_uri=self._source_uri, since=since)
            self._since = since
        return ClusterFrames(
            *(
                frame[frame["last_observed_at"] >= since].reset_index(drop=True)
                for frame in self._frames
            )
        )


def load_cluster_table(
    table: ClusterTable,
    store: SnapshotStore | str | Path,
    *,
    source_uri: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> pd.DataFrame:
    """The runs of one table; see :func:`load_tasks`."""
    opened = store if isinstance(store, SnapshotStore) else SnapshotStore(store)
    rows = ClusterTables(opened).read(table, source_uri=source_uri, since=since, until=until)
    return cluster_frame(rows)


def cluster_frame(rows: pa.Table) -> pd.DataFrame:
    """A table's rows as a frame with the dtypes above."""
    frame: pd.DataFrame = rows.to_pandas(
        types_mapper={
            pa.int64(): pd.Int64Dtype(),
            pa.string(): pd.StringDtype(na_value=float("nan")),
        }.get,
        ignore_metadata=True,
    )
    return frame.astype({name: "category" for name in _CATEGORIES if name in frame})


def no_cluster() -> ClusterFrames:
    """The frames of a store that knows nothing about its clusters: they have no rows."""
    return ClusterFrames(
        *(cluster_frame(CLUSTER_SCHEMAS[table].empty_table()) for table in CLUSTER_TABLES)
    )
