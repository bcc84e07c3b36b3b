"""What a cluster did over time: when each span begins and ends, and who had work for how long."""

import pandas as pd
import pytest
from clusters import NOTHING, at, build, cluster, task

from importstats.analysis.cluster_lanes import (
    busy_shares,
    counts_over_time,
    looked_from_to,
    node_names,
    segment_spans,
    work_spans,
)


def seconds(times):
    return [(time - at(0)).total_seconds() for time in times]


def spans_of(**tables):
    """Work, node, whether it waits, works, has failed and goes on, start and end of each span."""
    found = work_spans(cluster(**tables))
    states = ["is_waiting", "is_at_work", "has_failed", "is_open"]
    kinds = ["".join("wafo"[place] for place, on in enumerate(row) if on)
             for row in found[states].itertuples(index=False)]  # fmt: skip
    nodes = [None if pd.isna(node) else node for node in found["node_id"]]
    ends = zip(seconds(found["start"]), seconds(found["end"]), strict=True)
    return [
        (work, node, kind, *times)
        for work, node, kind, times in zip(found["work"], nodes, kinds, ends, strict=True)
    ]


def test_each_kind_of_work_is_a_span_until_the_next_poll_and_open_if_it_is_the_last():
    tasks = [
        (0, 10, task("1", "InProgress", node="n", kind="PreImportTask")),
        (20, 30, task("1", "Completed", kind="PreImportTask")),
        (20, 30, task("2", "Pending")),
        (30, 30, task("3", "InProgress", node="m")),
        (30, 30, task("4", "InProgress", node="m", kind="Unheard")),
    ]
    assert spans_of(tasks=tasks) == [
        ("preimport", "n", "a", 0.0, 20.0),
        ("import", None, "wo", 20.0, 30.0),
        ("import", "m", "ao", 30.0, 30.0),
    ]


@pytest.mark.parametrize(
    ("kind", "state", "span"),
    [
        ("SortCompaction", "pipelining", ("sort", None, "wo", 0.0, 10.0)),
        ("SortCompaction", "executing", ("sort", None, "ao", 0.0, 10.0)),
        ("MixCompaction", "executing", ("compaction", None, "ao", 0.0, 10.0)),
        ("MixCompaction", "timeout", ("compaction", None, "fo", 0.0, 10.0)),
    ],
)
def test_a_compaction_that_sorts_is_a_sort(kind, state, span):
    plan = {"plan_id": "p", "kind": kind, "state": state}
    assert spans_of(compactions=[(0, 10, plan)]) == [span]
    assert spans_of(compactions=[(0, 10, {**plan, "state": "completed"})]) == []


def test_a_build_that_fails_has_the_node_that_it_was_on():
    builds = [
        (0, 10, build("1", "InProgress", node="n")),
        (20, 20, build("1", "Retry")),
        (30, 40, build("1", "Unissued")),
    ]
    assert spans_of(builds=builds) == [
        ("index build", "n", "a", 0.0, 20.0),
        ("index build", "n", "wf", 20.0, 30.0),
        ("index build", None, "wo", 30.0, 40.0),
    ]


@pytest.mark.parametrize(
    ("pause_s", "end_s"),
    # A minute at least, or five usual pauses.
    [(60, 80), (61, 20)],
)
def test_a_span_ends_at_the_next_poll_unless_that_came_too_late(pause_s, end_s):
    later = 20 + pause_s
    tasks = [
        (0, 10, task("1", "Completed")),
        (20, 20, task("2", "InProgress", node="n")),
        (later, later + 10, task("2", "Completed")),
    ]
    assert spans_of(tasks=tasks) == [("import", "n", "a", 20.0, float(end_s))]


@pytest.mark.parametrize(("pause_s", "end_s"), [(100, 140), (101, 40)])
def test_too_late_is_more_than_five_usual_pauses(pause_s, end_s):
    later = 40 + pause_s
    tasks = [
        (0, 20, task("1", "Completed")),
        (40, 40, task("2", "InProgress", node="n")),
        (later, later + 20, task("2", "Completed")),
    ]
    assert spans_of(tasks=tasks) == [("import", "n", "a", 40.0, float(end_s))]


@pytest.mark.parametrize(("silent_s", "is_open"), [(600, True), (601, False)])
def test_what_was_not_written_for_ten_minutes_may_be_over(silent_s, is_open):
    tasks = [
        (0, 10, task("1", "InProgress", node="n")),
        (20, 10 + silent_s, task("2", "Completed")),
    ]
    end = 10.0 + silent_s if is_open else 20.0
    assert spans_of(tasks=tasks) == [("import", "n", "ao" if is_open else "a", 0.0, end)]


def segment(name, collection="c", **values):
    return {"segment_id": name, "collection_id": collection, **values}


def test_segments_have_stages_and_dropped_ones_none():
    rows = [
        (0, 0, segment("1", state="Importing")),
        (10, 10, segment("1", state="Flushed", segments=1)),
        (20, 20, segment("1", state="Flushed", is_sorted=True)),
        (30, 40, segment("1", state="Flushed", is_sorted=True, is_indexed=True, segments=3)),
        (30, 40, segment("2", state="Dropped", is_sorted=False)),
        (30, 40, segment("3", state="Unheard")),
    ]
    found = segment_spans(cluster(segments=rows))
    assert found["stage"].tolist() == ["being written", "written", "sorted", "indexed", "other"]
    assert found["count"].tolist() == [1, 1, 1, 3, 1]
    assert found["is_open"].tolist() == [False, False, False, True, True]
    assert seconds(found["start"]) == [0, 10, 20, 30, 30]
    assert seconds(found["end"]) == [10, 20, 30, 40, 40]


def test_each_collection_has_polls_of_its_own():
    rows = [
        (0, 0, segment("1", "c", state="Importing")),
        (40, 40, segment("1", "c", state="Flushed")),
        (20, 20, segment("2", "d", state="Importing")),
        (50, 50, segment("2", "d", state="Flushed")),
    ]
    found = segment_spans(cluster(segments=rows))
    assert seconds(found["end"]) == [40, 50, 50, 50]
    assert found["is_open"].tolist() == [False, True, False, True]


def test_nothing_has_no_spans_and_two_servers_are_refused():
    assert work_spans(NOTHING).empty
    assert segment_spans(NOTHING).empty
    two = cluster(tasks=[(0, 1, task("1", "Pending")), (0, 1, task("2", "Pending"))])
    two.tasks["source_uri"] = ["u", "v"]
    for spans in (work_spans, segment_spans):
        with pytest.raises(ValueError, match="the frames have 2 servers, and this takes one: give"):
            spans(two)


def test_the_polls_of_all_tables_count():
    assert all(pd.isna(time) for time in looked_from_to(NOTHING))
    found = cluster(
        tasks=[(5, 10, task("1", "Pending"))], nodes=[(3, 7, {"node_id": "n", "kind": "datanode"})]
    )
    assert looked_from_to(found) == (at(3), at(10))


def test_workers_have_their_latest_names():
    kinds = ["datanode", "indexnode", "proxy", "datanode"]
    nodes = [
        (0, 9, {"node_id": str(place), "kind": kind, "name": f"{kind}-{place}"})
        for place, kind in enumerate(kinds)
    ]
    nodes += [(10, 19, {"node_id": "0", "kind": "datanode", "name": "new"})]
    nodes += [(10, 19, {"node_id": "3", "kind": "datanode", "name": None})]
    assert node_names(cluster(nodes=nodes)).to_dict() == {"1": "indexnode-1", "0": "new"}


def spans(*rows):
    columns = ["node_id", "start", "end", "is_open", "is_at_work", "count"]
    found = pd.DataFrame(rows, columns=columns)
    return found.assign(start=found["start"].map(at), end=found["end"].map(at))


def test_a_count_goes_up_when_a_span_begins_and_down_when_it_has_ended():
    counts = counts_over_time(
        spans(
            ("a", 0, 20, False, True, 1),
            ("a", 10, 20, True, True, 2),
            ("b", 10, 30, False, True, 1),
        ),
        "node_id",
    )
    assert seconds(counts.index) == [0, 10, 20, 30]
    assert counts["a"].tolist() == [1, 3, 2, 2]
    assert counts["b"].tolist() == [0, 1, 1, 0]


def test_a_node_is_busy_while_it_has_any_work():
    found = spans(
        ("a", 0, 10, False, True, 1),
        ("a", 5, 20, False, True, 1),
        ("b", 10, 40, True, True, 1),
        ("c", 0, 40, False, False, 1),
        (None, 0, 40, False, True, 1),
    )
    assert busy_shares(found, at(0), at(40)).to_dict() == {"b": 0.75, "a": 0.5}
    assert list(busy_shares(found, at(0), at(40)).index) == ["b", "a"]
    assert busy_shares(found, at(40), at(40)).empty
    assert busy_shares(found.iloc[3:], at(0), at(40)).empty
