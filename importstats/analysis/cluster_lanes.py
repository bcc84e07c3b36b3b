"""A cluster's work over time: each node's work, the queue, and the segments by stage.

A cluster's tables hold runs: times in which an entry was listed with the same values. This module
turns them into spans. An entry is assumed to stay as it was listed until the next poll, because it
changed at some time between the two. If the next poll came too late for that, the span ends at the
last poll that listed the entry.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from importstats.analysis.cluster_state import AT_WORK, WAITS, Cluster
from importstats.analysis.gaps import GAP_POLLS

#: The kinds of work, in the order in which an import needs them; other compactions come last.
WORK: Final = ("preimport", "import", "sort", "index build", "compaction")
#: The stages of segments, from the last to the first.
STAGES: Final = ("indexed", "sorted", "written", "being written", "other")

_FAILS: Final = frozenset({"Failed", "Retry", "failed", "timeout"})
_TASKS: Final = {"PreImportTask": "preimport", "ImportTask": "import"}
_WRITTEN_TO: Final = frozenset({"Importing", "Growing", "Sealed", "Flushing"})
_TABLES: Final = ("tasks", "builds", "compactions", "segments", "nodes")
_WORKERS: Final = frozenset({"datanode", "indexnode"})
# Coordinators are polled every 5 to 10 seconds; after a minute without a poll nothing is known.
_LEAST_GAP_S: Final = 60.0
#: How often, at least, a collector writes that an entry has not changed.
_UNWRITTEN: Final = pd.Timedelta(minutes=10)


def work_spans(cluster: Cluster) -> pd.DataFrame:
    """The work that ran, waited or failed on nodes, one row for each time in one state.

    Parameters
    ----------
    cluster : ClusterFrames
        The frames of one server, see :func:`~importstats.store.cluster_frames.load_cluster`.

    Returns
    -------
    DataFrame
        ``work`` (str, of :data:`WORK`), ``node_id`` (str, missing if none is known),
        ``is_waiting``, ``is_at_work`` and ``has_failed`` (bool), ``start`` and ``end``
        (datetime64[us, UTC]), ``is_open`` (bool, whether it was still so at the last poll) and
        ``count`` (int64, 1). Work that ended well has no row. A failure's node is the last one that
        the entry was on.

    Raises
    ------
    ValueError
        The frames are of several servers.

    Examples
    --------
    >>> from importstats.store.cluster_frames import no_cluster
    >>> at = pd.to_datetime(["2026-05-18T08:00:00Z", "2026-05-18T08:00:10Z"])
    >>> builds = pd.DataFrame({
    ...     "source_uri": "http://milvus", "build_id": "7", "state": ["InProgress", "Finished"],
    ...     "node_id": "101", "observed_at": at, "last_observed_at": at})
    >>> spans = work_spans(no_cluster()._replace(builds=builds))
    >>> spans[["work", "node_id", "is_at_work"]].values.tolist()
    [['index build', '101', True]]
    >>> (spans["end"] - spans["start"]).dt.total_seconds().tolist()
    [10.0]
    """
    last = _last_look(cluster)
    tasks, plans = cluster.tasks, cluster.compactions
    sorts = plans["kind"].astype("str").eq("SortCompaction")
    parts = [
        _entry_spans(tasks, "task_id", tasks["kind"].astype("str").map(_TASKS), last),
        _entry_spans(cluster.builds, "build_id", "index build", last),
        _entry_spans(plans, "plan_id", np.where(sorts, "sort", "compaction"), last),
    ]
    spans = pd.concat(parts)
    state = spans.pop("state")
    spans = spans.assign(
        is_waiting=state.isin(WAITS), is_at_work=state.isin(AT_WORK), has_failed=state.isin(_FAILS)
    )
    known = spans["is_waiting"] | spans["is_at_work"] | spans["has_failed"]
    return spans[known & spans["work"].notna()].reset_index(drop=True)


def segment_spans(cluster: Cluster) -> pd.DataFrame:
    """The segments and their stages, one row for each time in one stage.

    Parameters
    ----------
    cluster : ClusterFrames
        Of one server.

    Returns
    -------
    DataFrame
        ``stage`` (str, of :data:`STAGES`), ``start``, ``end``, ``is_open`` and ``count`` (int64,
        segments) as for :func:`work_spans`. Dropped segments have no row.

    Raises
    ------
    ValueError
        The frames are of several servers.
    """
    last = _last_look(cluster)
    rows = cluster.segments
    state = rows["state"].astype("str")
    stage = np.select(
        [
            _is_true(rows["is_indexed"]),
            _is_true(rows["is_sorted"]),
            state.isin(_WRITTEN_TO),
            state.eq("Flushed"),
        ],
        ["indexed", "sorted", "being written", "written"],
        "other",
    )
    spans = pd.DataFrame({"stage": stage.astype(str), "count": rows["segments"].fillna(1)})
    # Collections are polled one after the other, so each has its own times.
    times = [_begins_and_ends(own, last) for _, own in rows.groupby("collection_id", dropna=False)]
    spans = spans.join(pd.concat(times)) if times else spans.join(_begins_and_ends(rows, last))
    listed = spans[state.ne("Dropped")].astype({"count": "int64"})
    return listed.reset_index(drop=True)


def counts_over_time(spans: pd.DataFrame, by: str) -> pd.DataFrame:
    """The number of each kind, at each time at which it changed.

    Parameters
    ----------
    spans : DataFrame
        From :func:`work_spans` or :func:`segment_spans`.
    by : str
        The column with the kind.

    Returns
    -------
    DataFrame
        One column (int64) for each kind, indexed by time (datetime64[us, UTC]). Open spans have no
        end.

    Examples
    --------
    >>> at = pd.to_datetime(["2026-05-18T08:00Z", "2026-05-18T08:01Z", "2026-05-18T08:02Z"])
    >>> spans = pd.DataFrame({"work": "sort", "start": at[[0, 1]], "end": at[[2, 2]],
    ...     "is_open": [False, True], "count": 1})
    >>> counts_over_time(spans, "work")["sort"].tolist()
    [1, 2, 1]
    """
    ended = spans[~spans["is_open"]]
    begun = spans[[by, "start", "count"]].rename(columns={"start": "time"})
    gone = ended[[by, "end"]].rename(columns={"end": "time"}).assign(count=-ended["count"])
    changes = pd.concat([begun, gone]).groupby(["time", by])["count"].sum()
    counts: pd.DataFrame = changes.unstack(by, fill_value=0).sort_index().cumsum()  # noqa: PD010
    return counts.astype("int64")


def node_names(cluster: Cluster) -> pd.Series[Any]:
    """The names of all worker nodes by their ids, including those without work."""
    nodes = cluster.nodes
    own = nodes[nodes["kind"].astype("str").isin(_WORKERS)]
    latest = own.drop_duplicates("node_id", keep="last").set_index("node_id")
    names: pd.Series[Any] = latest["name"].astype("str")
    return names[names.notna()]


def looked_from_to(cluster: Cluster) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The first and the last poll of a cluster; NaT if there was none."""
    tables = [getattr(cluster, name) for name in _TABLES]
    first: pd.Timestamp = pd.concat([table["observed_at"] for table in tables]).min()
    last: pd.Timestamp = pd.concat([table["last_observed_at"] for table in tables]).max()
    return first, last


def busy_shares(spans: pd.DataFrame, start: pd.Timestamp, end: pd.Timestamp) -> pd.Series[Any]:
    """The share of the time in which each node had work, by its id; the busiest first.

    Parameters
    ----------
    spans : DataFrame
        From :func:`work_spans`.
    start, end : Timestamp
        The time.

    Examples
    --------
    >>> at = pd.to_datetime(["2026-05-18T08:00Z", "2026-05-18T08:01Z", "2026-05-18T08:04Z"])
    >>> spans = pd.DataFrame({"node_id": "101", "start": at[[0, 0]], "end": at[[1, 1]],
    ...     "is_open": False, "is_at_work": True, "count": 1})
    >>> busy_shares(spans, at[0], at[2]).to_dict()
    {'101': 0.25}
    """
    work = spans[spans["is_at_work"] & spans["node_id"].notna()]
    if not len(work) or not end > start:
        return pd.Series(dtype="float64")
    counts = counts_over_time(work, "node_id")
    lasted_s = pd.Series([*counts.index[1:], end], index=counts.index) - counts.index
    busy_s = counts.gt(0).mul(lasted_s.dt.total_seconds(), axis=0).sum()
    return (busy_s / (end - start).total_seconds()).sort_values(ascending=False, kind="stable")


def _entry_spans(rows: pd.DataFrame, key: str, work: Any, last: pd.Timestamp) -> pd.DataFrame:
    """The entries' runs as spans; a failure has the node that the entry was on before."""
    spans = pd.DataFrame(
        {
            "work": work,
            "node_id": rows["node_id"],
            "state": rows["state"].astype("str"),
            "count": 1,
            "entry": rows[key],
        }
    ).join(_begins_and_ends(rows, last))
    spans = spans.sort_values(["entry", "start"], kind="stable")
    # An entry that is no longer listed keeps the state it was last listed in, as in ClusterState.
    latest = ~spans["entry"].duplicated(keep="last")
    goes_on = latest & (rows["last_observed_at"].loc[spans.index] >= last - _UNWRITTEN)
    spans = spans.assign(is_open=goes_on, end=spans["end"].mask(goes_on, last))
    before = spans.groupby("entry")["node_id"].ffill()
    spans["node_id"] = spans["node_id"].where(~spans["state"].isin(_FAILS), before)
    return spans.drop(columns="entry").astype({"node_id": "str", "work": "str"})


def _begins_and_ends(rows: pd.DataFrame, last: pd.Timestamp) -> pd.DataFrame:
    """The start and end of each run, and whether it went on at the last poll."""
    seen = rows["last_observed_at"]
    looks = pd.concat([rows["observed_at"], seen]).drop_duplicates().sort_values()
    start = rows["observed_at"]
    if len(looks) < 2:
        return pd.DataFrame({"start": start, "end": seen, "is_open": seen.notna()})
    pause_s = looks.diff().dt.total_seconds().iloc[1:]
    # Polls at which nothing changed are not recorded, so only a few pauses show their true length.
    usual_s = float(pause_s.quantile(0.25, interpolation="lower"))
    gap = pd.Timedelta(seconds=max(GAP_POLLS * usual_s, _LEAST_GAP_S))
    place = np.searchsorted(looks.to_numpy(), seen.to_numpy(), side="right")
    following = looks.iloc[np.minimum(place, len(looks) - 1)].set_axis(rows.index)
    end = following.where(following - seen <= gap, seen)
    is_open = seen.eq(looks.iloc[-1]) & (seen >= last - gap)
    return pd.DataFrame({"start": start, "end": end.mask(is_open, last), "is_open": is_open})


def _last_look(cluster: Cluster) -> pd.Timestamp:
    servers = {
        server
        for name in _TABLES
        for server in getattr(cluster, name)["source_uri"].astype("str").unique()
    }
    if len(servers) > 1:
        raise ValueError(
            f"the frames have {len(servers)} servers, and this takes one: give source_uri to "
            "load_cluster"
        )
    return looked_from_to(cluster)[1]


def _is_true(flags: pd.Series[Any]) -> pd.Series[Any]:
    return flags.eq(True).fillna(False).astype("bool")
