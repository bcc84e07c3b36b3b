"""A cluster's frames, cut to the time of one job."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from importstats.analysis.cluster_state import Cluster


@dataclass(frozen=True)
class ClusterPart:
    """A cluster's frames for a part of the time, with the attributes of a store's."""

    tasks: pd.DataFrame
    builds: pd.DataFrame
    compactions: pd.DataFrame
    segments: pd.DataFrame
    nodes: pd.DataFrame
    gauges: pd.DataFrame
    settings: pd.DataFrame


def cluster_between(
    cluster: Cluster, source_uri: str, start: pd.Timestamp, end: pd.Timestamp
) -> ClusterPart:
    """A server's cluster between two times; runs that go on beyond the end are cut there.

    Parameters
    ----------
    cluster : ClusterFrames
        See :func:`~importstats.store.cluster_frames.load_cluster`.
    source_uri : str
    start, end : Timestamp

    Examples
    --------
    >>> from importstats.store.cluster_frames import no_cluster
    >>> at = pd.date_range("2026-05-18", periods=3, freq="60s", tz="UTC")
    >>> nodes = pd.DataFrame({"source_uri": "http://milvus", "node_id": ["1", "2"],
    ...     "observed_at": at[[0, 2]], "last_observed_at": at[2]})
    >>> part = cluster_between(no_cluster()._replace(nodes=nodes), "http://milvus", at[1], at[1])
    >>> part.nodes["node_id"].tolist(), part.nodes["last_observed_at"].tolist() == [at[1]]
    (['1'], True)
    """

    def cut(rows: pd.DataFrame) -> pd.DataFrame:
        own = rows["source_uri"].astype("str").eq(source_uri)
        own &= (rows["last_observed_at"] >= start) & (rows["observed_at"] <= end)
        found = rows[own]
        first, last = found["observed_at"], found["last_observed_at"]
        cut_off = found.assign(
            observed_at=first.where(first >= start, start),
            last_observed_at=last.where(last <= end, end),
        )
        return cut_off.reset_index(drop=True)

    names = ClusterPart.__dataclass_fields__
    return ClusterPart(**{name: cut(getattr(cluster, name)) for name in names})
