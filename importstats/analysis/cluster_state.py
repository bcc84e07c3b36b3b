"""The state of a cluster at a time, as far as its management port shows it.

The port forgets entries, so a missing entry means nothing. Each task, build and compaction keeps
the state in which it was last listed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import pandas as pd

from importstats.arrays import Floats

#: States in which an entry waits, and in which it is at work.
WAITS: Final = frozenset({"Pending", "Unissued", "Retry", "pipelining", "None"})
AT_WORK: Final = frozenset({"InProgress", "executing"})

#: Entries of others that were not listed for longer do not count: they may have ended unseen.
_LISTED_LATELY: Final = pd.Timedelta(hours=2)
#: A poll longer than this after a job's end may show other jobs' work.
_LAST_LOOK: Final = pd.Timedelta(minutes=1)


class Cluster(Protocol):
    """Frames of what clusters do, see :mod:`importstats.store.cluster_frames`."""

    @property
    def tasks(self) -> pd.DataFrame:
        """Runs of import tasks; as in all these frames, a row per run of equal values."""

    @property
    def builds(self) -> pd.DataFrame:
        """Runs of index builds."""

    @property
    def compactions(self) -> pd.DataFrame:
        """Runs of compactions, including those that sort segments."""

    @property
    def segments(self) -> pd.DataFrame:
        """Runs of segments, with their state and rows."""

    @property
    def nodes(self) -> pd.DataFrame:
        """Runs of a cluster's processes: coordinators and nodes."""

    @property
    def gauges(self) -> pd.DataFrame:
        """Values of metrics, with their labels as JSON."""

    @property
    def settings(self) -> pd.DataFrame:
        """Settings that the cluster reports, by name."""


@dataclass(frozen=True)
class ClusterState:
    """The state of one cluster at a time.

    Attributes
    ----------
    at : Timestamp
    tasks, builds, compactions : DataFrame
        The last row of each entry, with ``since`` (datetime64[us, UTC]), when it was first listed
        in this state, and ``first_seen``, when it was first listed at all.
    task_runs, build_runs, compaction_runs : DataFrame
        All of their rows up to that time.
    segments, nodes : DataFrame
        The last row of each segment, and the nodes that the last poll listed.
    gauges : DataFrame
        The rows of metrics up to that time, with their labels as ``labels`` (dict).
    settings : dict
        Values by their names.
    """

    at: pd.Timestamp
    tasks: pd.DataFrame
    builds: pd.DataFrame
    compactions: pd.DataFrame
    task_runs: pd.DataFrame
    build_runs: pd.DataFrame
    compaction_runs: pd.DataFrame
    segments: pd.DataFrame
    nodes: pd.DataFrame
    gauges: pd.DataFrame
    settings: dict[str, str]

    @classmethod
    def from_cluster(cls, cluster: Cluster, source_uri: str, at: pd.Timestamp) -> ClusterState:
        """The state of a server's cluster at a time."""

        def cut(name: str) -> pd.DataFrame:
            frame: pd.DataFrame = getattr(cluster, name)
            own = frame[frame["source_uri"].astype("str").eq(source_uri)]
            return own[own["observed_at"] <= at].sort_values("observed_at", kind="stable")

        tasks, builds, plans = cut("tasks"), cut("builds"), cut("compactions")
        segments, nodes, gauges = cut("segments"), cut("nodes"), cut("gauges")
        settings = cut("settings").drop_duplicates("name", keep="last")
        return cls(
            at,
            _last_rows(tasks, "task_id"),
            _last_rows(builds, "build_id"),
            _last_rows(plans, "plan_id"),
            tasks,
            builds,
            plans,
            _last_segments(segments),
            _last_nodes(nodes, at),
            gauges.assign(labels=[json.loads(text) for text in gauges["labels"]]),
            dict(zip(settings["name"], settings["value"], strict=True)),
        )

    @property
    def known(self) -> bool:
        """Whether the management port has shown anything about the cluster."""
        return any(map(len, (self.tasks, self.builds, self.nodes, self.gauges)))

    @cached_property
    def workers(self) -> pd.DataFrame:
        """The nodes that run imports."""
        return self._nodes("datanode")

    @property
    def is_standalone(self) -> bool:
        """Whether one process has all roles."""
        return bool(self.nodes["deploy_mode"].eq("STANDALONE").any())

    @property
    def merges_roles(self) -> bool:
        """Whether data nodes also build indexes, as they do from 2.6 on, without index nodes."""
        return bool(len(self.workers)) and not len(self._nodes("indexnode"))

    def _nodes(self, kind: str) -> pd.DataFrame:
        return self.nodes.loc[self.nodes["kind"].astype("str").eq(kind)]

    def index_workers(self) -> int:
        """The number of nodes that build indexes; 0 if it is not known."""
        return len(self.workers if self.merges_roles else self._nodes("indexnode"))

    def of_job(self, job_id: str) -> pd.DataFrame:
        """The import tasks of a job."""
        return self.tasks.loc[self.tasks["job_id"].eq(job_id)]

    def collection_of(self, job_id: str) -> str | None:
        """The id of the collection that a job writes to."""
        named = self.of_job(job_id)["collection_id"].dropna()
        return str(named.iloc[-1]) if len(named) else None

    def builds_of(self, job_id: str) -> pd.DataFrame:
        """The index builds of a job's segments; exact if no other job shares its collection.

        These are the collection's builds that were listed since the job's import began. The server
        does not say which segments belong to a job, so two jobs of one collection get the builds of
        both.
        """
        collection = self.collection_of(job_id)
        tasks = self.of_job(job_id)
        begun = tasks.loc[tasks["kind"].astype("str").eq("ImportTask"), "first_seen"].min()
        if collection is None or pd.isna(begun):
            return self.builds.iloc[:0]
        own = self.builds["collection_id"].eq(collection) & self.builds["first_seen"].ge(begun)
        return self.builds.loc[own]

    def sorts_of(self, job_id: str) -> pd.DataFrame:
        """The compactions that sort a job's segments; as exact as :meth:`builds_of`."""
        collection = self.collection_of(job_id)
        plans = self.compactions
        sorts = plans["kind"].astype("str").eq("SortCompaction")
        return plans.loc[plans["collection_id"].eq(collection or "") & sorts]

    def recent(self, entries: pd.DataFrame) -> pd.DataFrame:
        """Entries that were listed recently; older ones may have ended unseen."""
        return entries.loc[entries["last_observed_at"].ge(self.at - _LISTED_LATELY)]

    def ages_s(self, entries: pd.DataFrame) -> Floats:
        """For how many seconds each entry has been in its state."""
        ages: Floats = (self.at - entries["since"]).dt.total_seconds().to_numpy(np.float64)
        return np.asarray(np.maximum(ages, 0.0), np.float64)

    def gauge(self, name: str, **labels: str) -> float | None:
        """The sum of a metric's latest values over all other labels; None if there is none."""
        rows = self.gauges[self.gauges["name"].eq(name)]
        matches = [
            all(own.get(label) == value for label, value in labels.items())
            for own in rows["labels"]
        ]
        rows = rows[matches]
        if not len(rows):
            return None
        key = rows["process"] + rows["labels"].map(lambda own: json.dumps(own, sort_keys=True))
        return float(rows.loc[~key.duplicated(keep="last"), "value"].sum())

    def mean(self, name: str, **labels: str) -> float | None:
        """The mean of all values that a histogram has counted; None if it has counted none."""
        total, count = self.gauge(f"{name}_sum", **labels), self.gauge(f"{name}_count", **labels)
        return total / count if total is not None and count else None


def entries_at_work(entries: pd.DataFrame) -> pd.DataFrame:
    """The entries that a node is working on."""
    return entries.loc[entries["state"].astype("str").isin(AT_WORK)]


def waiting_entries(entries: pd.DataFrame) -> pd.DataFrame:
    """The entries that wait for a node."""
    return entries.loc[entries["state"].astype("str").isin(WAITS)]


def seconds_at_work(runs: pd.DataFrame, key: str, state: str, end_state: str) -> pd.Series[float]:
    """The durations, by id, of the work whose begin in a state and whose end were seen."""
    text = runs["state"].astype("str")
    began = runs[text.eq(state)].groupby(key)["observed_at"].max()
    ended = runs[text.eq(end_state)].groupby(key)["observed_at"].min()
    return (ended - began).dropna().dt.total_seconds()


def most_at_work(*runs: pd.DataFrame) -> int:
    """The largest number of entries of some tables at work at the same time; 1 if none was."""
    parts = [each[["state", "observed_at", "last_observed_at"]] for each in runs]
    spells = pd.concat([entries_at_work(each) for each in parts])
    begun = np.sort(spells["observed_at"].to_numpy(dtype="datetime64[us]"))
    ended = np.sort(spells["last_observed_at"].to_numpy(dtype="datetime64[us]"))
    there = np.arange(1, len(begun) + 1) - np.searchsorted(ended, begun, side="left")
    return int(there.max(initial=1))


def last_look(cluster: Cluster, source_uri: str, ended_at: pd.Timestamp) -> pd.Timestamp:
    """The last poll of a cluster if it was soon after a job's end; else that end.

    A collector polls the cluster once more after its last job has ended, for the work that follows.
    """
    gauges = cluster.gauges
    own = gauges.loc[gauges["source_uri"].astype("str").eq(source_uri), "last_observed_at"]
    soon = own[(own > ended_at) & (own <= ended_at + _LAST_LOOK)]
    return pd.Timestamp(soon.max()) if len(soon) else ended_at


def _last_rows(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """The last row of each entry, and since when it has been in that state."""
    if not len(rows):
        return rows.assign(since=rows["observed_at"], first_seen=rows["observed_at"])
    entry, state = rows[key], rows["state"].astype("str")
    # A change of a value other than the state begins a new row, but no new wait.
    spell = (entry.map(state.groupby(entry).agg(lambda own: own.iloc[-1])) != state).astype(int)
    ends_before = spell.groupby(entry).transform("cumsum")
    of_spell = ends_before.eq(ends_before.groupby(entry).transform("max"))
    since = rows["observed_at"].where(of_spell & spell.eq(0)).groupby(entry).transform("min")
    first = rows["observed_at"].groupby(entry).transform("min")
    timed = rows.assign(since=since, first_seen=first)
    return timed.drop_duplicates(key, keep="last")


def _last_segments(rows: pd.DataFrame) -> pd.DataFrame:
    named = rows[rows["segment_id"].notna()]
    by_end: pd.DataFrame = named.sort_values("last_observed_at", kind="stable")
    return by_end.drop_duplicates("segment_id", keep="last")


def _last_nodes(rows: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    """The nodes that the last poll listed: a node that is no longer listed is down."""
    times = pd.concat([rows["observed_at"], rows["last_observed_at"]])
    listed: pd.DataFrame = rows[rows["last_observed_at"] >= times[times <= at].max()]
    return listed.drop_duplicates(["node_id", "kind"], keep="last")
