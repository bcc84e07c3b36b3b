"""What is left of a job's sorts and builds, from lists of a few of them."""

import numpy as np
import pandas as pd
import pytest
from clusters import HOUR, IMPORT, build, gauge, state, task

from importstats.analysis.work_left import (
    _builds_to_come,
    _compaction_pace,
    _paces,
    _pause_s,
    _rows_by_segment,
    _sort_pace,
    import_and_work_left_s,
    work_left_s,
)
from importstats.analysis.work_queue import Pace

NO_ROWS = pd.Series([], dtype="float64")
NONE = np.zeros(0)


def segment(name, rows):
    return (0, HOUR, {"segment_id": name, "rows": rows})


def built(name, began, ended, **values):
    """A build that worked from one second to another."""
    return [
        (began, max(ended - 1, began), build(name, "InProgress", **values)),
        (ended, HOUR, build(name, "Finished", **values)),
    ]


def plan(name, what, kind="SortCompaction", rows=None, **values):
    return {"plan_id": name, "kind": kind, "state": what, "total_rows": rows, **values}


def compacted(name, began, ended, **values):
    return [
        (began, ended, plan(name, "executing", **values)),
        (ended, HOUR, plan(name, "completed", **values)),
    ]


# --- How long work takes --------------------------------------------------------------------------


def paces(rows_of=NO_ROWS, own_rows=NONE, **tables):
    now = state(HOUR, tasks=[IMPORT], **tables)
    return _paces(now, now.builds_of("7"), rows_of, np.array(own_rows))


def test_builds_that_ended_say_how_long_one_takes_for_its_rows():
    rows_of = pd.Series({"s1": 1000.0, "s2": 2000.0})
    own, others, *_ = paces(rows_of, builds=built("1", 0, 100))
    assert (np.exp(own.log_mean), own.freedom) == (pytest.approx(0.1), 5)
    assert (np.exp(others.log_mean), others.mean_sd, others.freedom) == (pytest.approx(0.1), 0.8, 4)
    own, others, *_ = paces(rows_of, builds=built("2", 0, 100, collection="d"))
    assert (np.exp(own.log_mean), own.mean_sd, own.freedom) == (pytest.approx(0.05), 0.8, 4)
    assert others.freedom == 5
    # Of a segment without known rows: the usual ones, here 1,500.
    own, *_ = paces(rows_of, builds=built("3", 0, 100))
    assert np.exp(own.log_mean) == pytest.approx(1 / 15)


@pytest.mark.parametrize(
    ("rows_of", "own_rows", "per_row"),
    [
        # The segment of a build that is done, the job's own to come, any that is listed, none.
        ({"s1": 1000.0, "x": 9.0}, [5.0], 0.1),
        ({"x": 9.0}, [500.0, 1500.0], 0.1),
        ({"x": 400.0}, [], 0.25),
        ({}, [], 100),
    ],
)
def test_before_a_build_has_ended_the_mean_of_the_nodes_counts(rows_of, own_rows, per_row):
    gauges = [
        (0, HOUR, gauge("indexnode_build_index_latency_sum", 300.0)),
        (0, HOUR, gauge("indexnode_build_index_latency_count", 3)),
    ]
    # Its beginning was not seen, or both in the same second.
    for done in ([(0, HOUR, build("1", "Finished"))], built("1", 50, 50)):
        tables = {"builds": done, "gauges": gauges}
        own, others, *_ = paces(pd.Series(rows_of, dtype="float64"), own_rows, **tables)
        assert np.exp(own.log_mean) == pytest.approx(per_row)
        assert own.mean_sd == others.mean_sd == 0.6
        assert paces(**{**tables, "gauges": []}) is None


BUILDS = Pace(np.log(0.5), 0.6)


def test_a_sort_takes_a_tenth_of_a_build_until_one_has_ended():
    guess = _sort_pace(state(HOUR), BUILDS)
    assert (np.exp(guess.log_mean), guess.mean_sd, guess.freedom) == (pytest.approx(0.05), 1.0, 4)
    seen = _sort_pace(state(HOUR, compactions=compacted("1", 0, 40, rows=2000)), BUILDS)
    # One observation of 0.02, whose spread is 0.2 with four of five degrees of freedom.
    weight = 1 / (0.8 * 0.2**2)
    expected = (np.log(0.05) + weight * np.log(0.02)) / (1 + weight)
    assert (seen.log_mean, seen.freedom) == (pytest.approx(expected), 5)
    for other in (compacted("1", 0, 40, rows=0), compacted("1", 0, 40, kind="Mix", rows=2000)):
        assert _sort_pace(state(HOUR, compactions=other), BUILDS).freedom == 4


@pytest.mark.parametrize(
    ("age_s", "seconds"), [((), 60), ((20,), 60), ((100,), 200), ((40, 80), 120)]
)
def test_a_compaction_takes_twice_as_long_as_those_at_work_have_run(age_s, seconds):
    rows = [(HOUR - age, HOUR, plan(str(age), "executing", kind="MixCompaction")) for age in age_s]
    # A sort is no such compaction.
    rows.append((0, HOUR, plan("sort", "executing")))
    guess = _compaction_pace(state(HOUR, compactions=rows))
    assert (np.exp(guess.log_mean), guess.mean_sd) == (pytest.approx(seconds), 1.0)
    ended = compacted("9", 0, 40, kind="MixCompaction", rows=5)
    seen = _compaction_pace(state(HOUR, compactions=[*rows, *ended]))
    assert seen.freedom == 5
    assert 40 <= np.exp(seen.log_mean) < 0.9 * seconds


def test_the_usual_pause_is_that_of_the_quicker_quarter():
    rows = [(second, HOUR, build(str(second), "Finished")) for second in (0, 10, 30, 60, 100)]
    assert _pause_s(state(HOUR, builds=rows)) == 17.5
    assert _pause_s(state(HOUR, tasks=[IMPORT])) == 0


# --- What there is to do --------------------------------------------------------------------------


def test_segments_are_as_large_as_listed_or_as_their_sort_made_them():
    now = state(
        HOUR,
        segments=[segment("s1", 100), segment("s2", 0)],
        compactions=[
            (0, HOUR, plan("1", "completed", rows=70, result_segments="s1")),
            (0, HOUR, plan("2", "completed", rows=80, result_segments="s2")),
            (0, HOUR, plan("3", "executing", rows=90)),
        ],
    )
    assert _rows_by_segment(now).to_dict() == {"s1": 100.0, "s2": 80.0}


@pytest.mark.parametrize(
    ("of_builds", "rows"),
    [
        ([], [100, 200, 300, 50]),
        (["s2"], [100, 300, 50]),
        (["s2", "s2"], [100, 100, 300, 300, 50, 50]),
        (["s2", "s2", "x"], [100, 100, 300, 300, 50, 50]),
        (["s2", "x", "y", "y"], [100, 300, 50]),
    ],
)
def test_each_segment_to_sort_or_just_sorted_has_as_many_builds_as_others(of_builds, rows):
    sorts = pd.DataFrame(
        {
            "plan_id": ["1", "2", "3", "4"],
            "result_segments": [None, "s2", "s3", "s4"],
            "total_rows": pd.array([100, 200, 300, None], "Int64"),
        }
    )
    builds = pd.DataFrame({"segment_id": pd.Series(of_builds, dtype="str")})
    found = _builds_to_come(sorts, builds, sorts.iloc[:1], pd.Series([40.0, 60.0]))
    assert found.tolist() == rows


# Looks a second apart, so that work began when it was first seen.
LOOKS = [(second, HOUR, task(f"t{second}", "Completed", job="9")) for second in range(20)]
SIZES = [segment(f"s{name}", 1000) for name in range(1, 9)]


def left(*builds, second=150, **tables):
    """The median of what is left, of builds that take 100 s each."""
    rows = [(first, last, each) for first, last, each in [*built("1", 0, 100), *builds]]
    now = state(second, tasks=[IMPORT, *LOOKS], builds=rows, segments=SIZES, **tables)
    found = work_left_s(now, "7")
    return None if found is None else float(np.median(found))


def works(name, since, **values):
    return (since, HOUR, build(name, "InProgress", **values))


def waits(name, since=0, **values):
    return (since, HOUR, build(name, "Unissued", **values))


@pytest.mark.parametrize(
    ("builds", "seconds"),
    [
        ([works("2", 100)], 50),
        ([works("2", 100), waits("3"), waits("4")], 250),
        # Two at once, as there were before.
        ([*built("5", 0, 100), works("2", 100), waits("3"), waits("4")], 150),
        ([works("2", 100), works("3", 140)], 90),
        # Another job's before it, and after it.
        ([works("2", 100), waits("3", 0, collection="d"), waits("4", 1)], 250),
        ([works("2", 100), waits("3", 1, collection="d"), waits("4", 0)], 150),
        ([works("2", 100, collection="d"), waits("4", 0)], 150),
    ],
)
def test_what_is_left_is_the_time_until_the_last_own_build_has_ended(builds, seconds):
    assert left(*builds) == pytest.approx(seconds, rel=0.25)


def test_what_is_left_is_not_known_if_nothing_works_fails_or_is_left():
    assert left() is None
    assert left(waits("2")) is None
    assert left(works("2", 100, tries=2)) is None
    assert left(works("2", 100, tries=1)) is not None
    assert left(works("2", 100, collection="d")) is None
    now = state(150, tasks=[IMPORT], builds=[works("2", 100)], segments=SIZES)
    assert work_left_s(now, "7") is None, "no build has ended"
    # What was not listed for two hours may have ended unseen.
    late = state(150 + 4 * HOUR, tasks=[IMPORT], builds=[*built("1", 0, 100), works("2", 100)])
    assert work_left_s(late, "7") is None


def test_a_queue_that_is_very_long_is_left_to_the_general_forecast():
    many = [waits(f"x{number}") for number in range(5001)]
    assert left(works("2", 100), *many[1:]) > 100_000
    assert left(works("2", 100), *many) is None


def test_what_else_runs_counts_for_its_slot_and_not_as_work_of_the_job():
    """A compaction of 100 s has run for 50 s; a sort of a second and a build of ten follow it."""
    done = [row for number in range(9) for row in compacted(str(number), 0, 99, kind="Mix")]
    waits_to_sort = (120, HOUR, plan("p", "pipelining", rows=1000, collection_id="c"))
    at_work = (100, HOUR, plan("m", "executing", kind="Mix"))
    builds = built("1", -20, -10)
    tables = {"tasks": [IMPORT, *LOOKS], "builds": builds, "segments": SIZES}
    before = state(150, compactions=[*done, waits_to_sort], **tables)
    assert work_left_s(before, "7") is None, "nothing is at work"
    one = [(first, last, each) for first, last, each in done if each["plan_id"] == "0"]
    alone = state(150, compactions=[*one, waits_to_sort, at_work], **tables)
    behind = state(150, compactions=[*done, waits_to_sort, at_work], **tables)
    # Of nine at once eight slots are free; the only slot is held.
    assert np.median(work_left_s(behind, "7")) == pytest.approx(11, rel=0.3)
    assert np.median(work_left_s(alone, "7")) == pytest.approx(61, rel=0.5)


def importing(**tables):
    """Two segments of 1,000 rows to come, one task at work, and a build that takes 1 s per row."""
    own = {"collection_id": "c", "is_importing": True, "is_sorted": False}
    known = {
        "tasks": [*LOOKS, (0, HOUR, task("i", "InProgress", node="n"))],
        "segments": [
            *SIZES,
            *((0, HOUR, {"segment_id": name, "rows": 1000, **own}) for name in "ab"),
        ],
        "nodes": [(0, HOUR, {"node_id": "n", "kind": "datanode"})],
        "builds": [*built("1", 0, 10, collection="d"), *built("2", 0, 10, collection="d")],
    }
    found = import_and_work_left_s(state(100, **{**known, **tables}), "7", 2000.0)
    return None if found is None else float(np.median(found))


def test_an_import_is_followed_by_its_sorts_and_builds_whatever_others_build():
    usual = importing()
    assert 50 < usual < 300
    # Another job's build of 10,000 s holds one of two slots, and is none of the job's.
    long = {"builds": [*built("1", 0, 10, collection="d"), *built("2", 0, 10, collection="d"),
                       (90, HOUR, build("x", "InProgress", collection="d"))]}  # fmt: skip
    sizes = [segment("s1", 1000), segment("s2", 1000), segment("sx", 1_000_000)]
    own = {"collection_id": "c", "is_importing": True, "is_sorted": False}
    sizes += [(0, HOUR, {"segment_id": name, "rows": 1000, **own}) for name in "ab"]
    assert importing(**long, segments=sizes) == pytest.approx(usual, rel=0.3)
    assert importing(builds=[]) is None
    assert importing(nodes=[]) is None
    assert importing(segments=SIZES) is None
    assert importing(tasks=[IMPORT, *LOOKS]) is None
