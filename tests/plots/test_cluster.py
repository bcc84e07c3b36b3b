"""What is drawn of a cluster: held against the frames, of a simulated cluster and of made ones."""

import re
from datetime import UTC
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from matplotlib import dates as mdates
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from importstats import plots
from importstats.analysis.cluster_lanes import busy_shares, segment_spans, work_spans
from importstats.cli.demo_why import demo_cluster
from importstats.plots.cluster import STAGE_LOOKS, WORK_LOOKS
from importstats.simulator.watching import WatchedJob
from importstats.store.cluster_frames import no_cluster

PLOTS = (plots.plot_node_lanes, plots.plot_queue, plots.plot_segments)
POLL_S = 15.0
BEGIN = pd.Timestamp("2026-05-18T08:00:00Z")


@lru_cache(maxsize=1)
def watched():
    """A simulated cluster that imports, sorts, compacts and builds, from begin to end."""
    job = WatchedJob(*demo_cluster(), seed=6)
    while job.poll(POLL_S):
        pass
    return job.watch.frames()


def axes():
    return Figure(figsize=(9, 4)).subplots()


def title(ax):
    return ax.get_title(loc="left").replace("\n", " ")


def bands(ax):
    """The bands drawn: kind and vertices."""
    drawn = [each for each in ax.collections if str(each.get_gid()).startswith("kind:")]
    return [(each.get_gid()[5:], each.get_paths()[0].vertices, each) for each in drawn]


def listed_at(frame, time, key):
    """The entries as they were listed at a time, from the runs alone."""
    rows = frame[(frame["observed_at"] <= time) & (frame["last_observed_at"] >= time)]
    assert not rows[key].duplicated().any()
    return rows


def builds(rows, **columns):
    """A frame of builds: (build, state, node, from second, to second)."""
    made = pd.DataFrame(rows, columns=["build_id", "state", "node_id", "first", "last"])
    made["observed_at"] = BEGIN + pd.to_timedelta(made.pop("first"), unit="s")
    made["last_observed_at"] = BEGIN + pd.to_timedelta(made.pop("last"), unit="s")
    return made.assign(source_uri="http://milvus:19530", **columns)


def made(rows, **columns):
    return no_cluster()._replace(builds=builds(rows, **columns))


def nodes(*ids):
    at = pd.to_datetime([BEGIN] * len(ids))
    return pd.DataFrame(
        {
            "node_id": ids, "name": [f"datanode{node}" for node in ids], "kind": "datanode",
            "source_uri": "http://milvus:19530", "observed_at": at, "last_observed_at": at,
        }
    )  # fmt: skip


def test_queue_is_what_the_lists_say_waits_at_its_worst():
    cluster = watched()
    ax = plots.plot_queue(cluster, zone=UTC, ax=axes())
    looks = pd.date_range(
        cluster.nodes["observed_at"].min(), cluster.nodes["last_observed_at"].max(), freq="15s"
    )
    worst = 0, 0, 0
    for at in looks:
        waiting = listed_at(cluster.builds, at, "build_id")["state"].isin(["Unissued", "Retry"])
        plans = listed_at(cluster.compactions, at, "plan_id")
        queued = plans["state"].eq("pipelining") & plans["kind"].eq("SortCompaction")
        worst = max(worst, (int(waiting.sum() + queued.sum()), int(queued.sum()), waiting.sum()))
    assert title(ax).startswith(f"At most {worst[1]} sorts and {worst[2]} index builds waited")
    assert title(ax).endswith("none waits any more")
    assert ax.dataLim.ymax == worst[0]
    assert ax.get_xlabel() == "time (UTC)"


def test_segments_are_in_the_stages_that_were_listed_last():
    cluster = watched()
    ax = plots.plot_segments(cluster, zone=UTC, ax=axes())
    last = cluster.segments["last_observed_at"].max()
    listed = listed_at(cluster.segments, last, "segment_id")
    indexed = int(listed["is_indexed"].sum())
    assert title(ax) == (
        f"{len(listed)} segments listed at the last look: {indexed} indexed and "
        f"{len(listed) - indexed} sorted"
    )
    assert {kind for kind, _, _ in bands(ax)} == {"indexed", "sorted", "written", "being written"}
    for kind, _, band in bands(ax):
        assert to_hex(band.get_facecolor()[0]).upper() == STAGE_LOOKS[kind][0]


def test_lanes_have_the_work_of_their_nodes_and_crosses_where_it_failed():
    cluster = watched()
    ax = plots.plot_node_lanes(cluster, zone=UTC, ax=axes())
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert sorted(names) == ["datanode101", "datanode102"]
    spans = work_spans(cluster)
    at_work = spans[spans["is_at_work"]]
    drawn = {(round(corners[:, 1].mean()), kind) for kind, corners, _ in bands(ax)}
    lane_of = {name.removeprefix("datanode"): place for place, name in enumerate(names)}
    assert drawn == {
        (lane_of[node], work)
        for node, work in zip(at_work["node_id"], at_work["work"], strict=True)
    }
    (failed,) = [each for each in ax.collections if each.get_gid() == "failed"]
    retries = cluster.builds[cluster.builds["state"].eq("Retry")]
    assert failed.get_offsets()[:, 0].tolist() == mdates.date2num(retries["observed_at"]).tolist()
    assert set(failed.get_offsets()[:, 1]) == {lane_of["101"]}
    assert title(ax).endswith(f"{len(retries)} failures seen")
    for kind, _, band in bands(ax):
        assert to_hex(band.get_facecolor()[0]).upper() == WORK_LOOKS[kind][0]


def test_lanes_say_how_busy_a_node_was():
    rows = [("1", "InProgress", "101", 0, 30), ("1", "Finished", "101", 40, 200)]
    cluster = made(rows)._replace(nodes=nodes("101", "102"))
    ax = plots.plot_node_lanes(cluster, zone=UTC, ax=axes())
    assert title(ax) == (
        "datanode101 was at work 20 % of 3 min 20 s, the most of 2 nodes; "
        "datanode102 0 %, the least"
    )


def test_more_nodes_than_lanes_share_one_and_are_named():
    rows = [(str(n), "InProgress", str(100 + n), 0, 10 * (9 - n)) for n in range(6)]
    ax = plots.plot_node_lanes(made(rows), lanes=3, zone=UTC, ax=axes())
    names = [text.get_text().replace("\n", " ") for text in ax.get_yticklabels()]
    assert names == [
        "node 100", "node 101", "node 102", "3 others: node 103, node 104, node 105"
    ]  # fmt: skip
    shared = [corners for _, corners, _ in bands(ax) if round(corners[:, 1].mean()) == 3]
    assert len(shared) == 1
    assert np.ptp(shared[0][:, 1]) == pytest.approx(0.8)  # three at once: a full lane


def test_a_title_ends_within_the_figure_however_long_the_names_are():
    rows = [(str(n), "InProgress", "9" * 12 + str(n), 0, 10 * (9 - n)) for n in range(6)]
    figure = Figure(figsize=(9, 4), layout="constrained")
    ax = plots.plot_node_lanes(made(rows), lanes=3, zone=UTC, ax=figure.subplots())
    figure.draw_without_rendering()
    (text,) = [text for text in ax.findobj(Text) if text.get_text() == ax.get_title(loc="left")]
    assert "least" in text.get_text()
    assert text.get_window_extent().x1 <= figure.bbox.x1


def test_work_on_no_known_node_has_a_lane_that_says_so():
    rows = [("1", "InProgress", "101", 0, 60), ("2", "InProgress", None, 0, 60)]
    ax = plots.plot_node_lanes(made(rows), zone=UTC, ax=axes())
    assert [text.get_text() for text in ax.get_yticklabels()] == ["node 101", "node unknown"]


def test_a_state_lasts_until_the_next_look_and_not_over_a_gap():
    rows = [
        ("1", "Unissued", None, 0, 10),
        ("1", "InProgress", "101", 20, 30),
        ("1", "Finished", "101", 4000, 4000),
        ("2", "Unissued", None, 4000, 4010),
    ]
    spans = work_spans(made(rows))
    assert spans["is_open"].tolist() == [False, False, True]
    assert (spans["end"] - BEGIN).dt.total_seconds().tolist() == [20, 30, 4010]
    ax = plots.plot_node_lanes(made(rows), zone=UTC, ax=axes())
    ((_, corners, _),) = bands(ax)
    tall = corners[np.abs(corners[:, 1] - 0.4) > 0.1]
    assert mdates.num2date(tall[:, 0].max()) == BEGIN + pd.Timedelta(seconds=30)


def test_what_waits_at_the_last_look_still_waits():
    rows = [("1", "Unissued", None, 0, 60), ("2", "Unissued", None, 30, 60)]
    ax = plots.plot_queue(made(rows), zone=ZoneInfo("Asia/Tokyo"), ax=axes())
    assert re.fullmatch(
        r"At most 2 index builds waited at once, at 17:00:30; 2 still wait", title(ax)
    )
    assert ax.get_xlabel() == "time (JST)"


def test_segments_without_an_id_count_as_many_as_they_are():
    at = [BEGIN, BEGIN + pd.Timedelta(seconds=10)]
    segments = pd.DataFrame(
        {
            "segment_id": pd.Series([None, None], dtype="str"), "collection_id": "5",
            "state": ["Flushed", "Dropped"],
            "is_sorted": pd.array([True, None], dtype="boolean"),
            "is_indexed": pd.array([None, None], dtype="boolean"),
            "segments": pd.array([1200, 7], dtype="Int64"),
            "source_uri": "http://milvus:19530", "observed_at": at[0], "last_observed_at": at[1],
        }
    )  # fmt: skip
    cluster = no_cluster()._replace(segments=segments)
    assert segment_spans(cluster)[["stage", "count"]].to_numpy().tolist() == [["sorted", 1200]]
    ax = plots.plot_segments(cluster, zone=UTC, ax=axes())
    assert title(ax) == "1,200 segments listed at the last look: 1,200 sorted"


def test_collections_that_are_asked_for_one_after_the_other_leave_no_holes():
    first = pd.to_timedelta([0, 1, 10, 11], unit="s")
    last = pd.to_timedelta([0, 1, 20, 21], unit="s")
    segments = pd.DataFrame(
        {
            "segment_id": list("1212"), "collection_id": list("5656"), "state": "Flushed",
            "is_sorted": [False, False, True, True], "is_indexed": False,
            "segments": pd.array([1] * 4, dtype="Int64"), "source_uri": "http://milvus:19530",
            "observed_at": BEGIN + first, "last_observed_at": BEGIN + last,
        }
    )  # fmt: skip
    spans = segment_spans(no_cluster()._replace(segments=segments))
    assert (spans["end"] - BEGIN).dt.total_seconds().tolist() == [10, 11, 21, 21]
    assert spans["is_open"].tolist() == [False, False, True, True]


def test_a_build_that_the_store_has_not_heard_of_for_minutes_still_waits():
    rows = [("1", "Unissued", None, 0, 0), ("2", "Unissued", None, 500, 500)]
    ax = plots.plot_queue(made(rows), zone=UTC, ax=axes())
    assert title(ax).endswith("2 still wait")
    ax = plots.plot_queue(made([*rows, ("3", "Unissued", None, 650, 650)]), zone=UTC, ax=axes())
    assert title(ax).endswith("2 still wait")


def test_gaps_are_hatched_in_all():
    rows = [("1", "Unissued", None, 0, 60), ("2", "InProgress", "101", 0, 60)]
    gaps = pd.DataFrame({"start": [BEGIN], "end": [BEGIN + pd.Timedelta(seconds=30)]})
    for plot in (plots.plot_node_lanes, plots.plot_queue):
        ax = plot(made(rows), gaps=gaps, zone=UTC, ax=axes())
        assert [patch.get_gid() for patch in ax.patches] == ["gap"]


@pytest.mark.parametrize("plot", PLOTS)
def test_nothing_known_is_said_and_not_drawn(plot):
    ax = plot(no_cluster(), zone=UTC, ax=axes())
    assert not ax.axison
    assert re.match("No |Nothing ", title(ax))


@pytest.mark.parametrize("plot", PLOTS)
def test_frames_of_two_servers_are_refused(plot):
    rows = [("1", "Unissued", None, 0, 60), ("2", "InProgress", "101", 0, 60)]
    cluster = made(rows)
    cluster.builds.loc[1, "source_uri"] = "http://other:19530"
    with pytest.raises(ValueError, match="give source_uri to load_cluster"):
        plot(cluster, zone=UTC, ax=axes())


def test_a_hostile_name_is_drawn_as_text():
    rows = [("1", "InProgress", "101", 0, 60)]
    cluster = made(rows)._replace(nodes=nodes("101").assign(name="$\\frac{1}$\x1b[31m"))
    figure = Figure()
    ax = plots.plot_node_lanes(cluster, zone=UTC, ax=figure.subplots())
    figure.draw_without_rendering()
    assert ax.get_yticklabels()[0].get_text() == "\\$\\frac{1}\\$ [31m"


def test_all_in_one_figure_with_one_time_axis():
    figure = plots.draw_cluster(watched(), zone=UTC)
    figure.draw_without_rendering()
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    assert busy_shares(work_spans(watched()), *pd.to_datetime([BEGIN, BEGIN])).empty
