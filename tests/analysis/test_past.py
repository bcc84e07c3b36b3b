"""Earlier jobs: which of them count from when on, and how each of them went."""

import numpy as np
import pandas as pd
import pytest
from frames import jobs_of

from importstats.analysis.forecast.observed import observe
from importstats.analysis.forecast.past import Past, ended_at

START = pd.Timestamp("2026-05-18T00:00:00Z")
ROWS = [
    ("Pending", 0, 0),
    ("Importing", 10, 0),
    ("Importing", 40, 0),
    ("Importing", 55, 50),
    ("Importing", 70, 100),
    ("Importing", 80, 100),
    ("Completed", 100, 100),
]


def jobs(job_id, *, minute=0, rows=ROWS, **options):
    """A job whose polls are a minute apart, from a minute on."""
    counted = [(*row, 100 if row[1] >= 40 else 0) for row in rows]
    start = START + pd.Timedelta(minutes=minute)
    return jobs_of(counted, **{"detail_count": 1, "job_id": job_id, "start": start, **options})


def seen(*frames):
    return observe(pd.concat(frames, ignore_index=True))


def second(minute):
    return (START + pd.Timedelta(minutes=minute)).timestamp()


def test_a_job_counts_from_its_end_on_and_never_for_itself():
    at_hand = seen(jobs("now", minute=20))
    history = seen(jobs("a", minute=0), jobs("b", minute=17), jobs("now", minute=20))
    past = Past.from_snapshots(at_hand, [history])
    assert past.earlier.ended_s.tolist() == [second(6), second(23), second(26)]
    found = {
        tuple((stretch.rows).tolist()): stretch.earlier.ended_s.tolist()
        for stretch in past.stretches(at_hand["now_s"].to_numpy(), np.arange(len(at_hand)))
    }
    assert found == {(0, 1, 2): [second(6)], (3, 4, 5, 6): [second(6), second(23)]}
    assert list(past.stretches(at_hand["now_s"].to_numpy(), np.arange(0))) == []


def test_a_job_in_two_frames_counts_once_and_one_that_did_not_complete_not_at_all():
    failed = jobs("b", rows=[*ROWS[:-1], ("Failed", 90, 100)])
    history = seen(jobs("a"), failed, jobs("c", rows=ROWS[:-1]))
    past = Past.from_snapshots(seen(jobs("now", minute=20)), [history, seen(jobs("a"))])
    assert len(past.earlier) == len(past.courses) == 1


@pytest.mark.parametrize(
    ("options", "same_cluster", "same_collection"),
    [
        ({}, True, True),
        ({"collection_name": "other"}, True, False),
        ({"source_uri": "v"}, False, False),
        ({"collection_name": None}, True, False),
    ],
)
def test_jobs_share_a_cluster_and_on_it_a_collection(options, same_cluster, same_collection):
    at_hand = seen(jobs("now", minute=20))
    past = Past.from_snapshots(at_hand, [seen(jobs("a", **options))])
    (stretch,) = past.stretches(at_hand["now_s"].to_numpy(), np.arange(len(at_hand)))
    assert (stretch.earlier.cluster == stretch.cluster).tolist() == [same_cluster]
    assert (stretch.earlier.collection == stretch.collection).tolist() == [same_collection]


def test_two_jobs_without_a_collection_share_none():
    at_hand = seen(jobs("now", minute=20, collection_name=None))
    past = Past.from_snapshots(at_hand, [seen(jobs("a", collection_name=None))])
    assert set(past.collection) & set(past.earlier.collection) == set()


def test_a_course_says_what_was_left_when_it_first_came_to_each_point():
    past = Past.from_snapshots(seen(jobs("now", minute=20)), [seen(jobs("a", total_rows=100))])
    (course,) = past.courses.values()
    # At the minutes 0, 1, ... 5, or half a minute before; it ended at 6.
    assert course.point.tolist() == pytest.approx([0, 1, 2, 2.5, 3.7, 3.8])
    assert course.left_s.tolist() == [360, 330, 270, 210, 150, 90]
    assert course.replay["true_left_s"].tolist() == [360, 300, 240, 180, 120, 60]
    assert course.log_bytes == pytest.approx(np.log(100 * 1024))


@pytest.mark.parametrize(
    ("rows", "has_course"),
    [
        (ROWS[:2], False),
        ([ROWS[0], ROWS[-1]], False),
        ([ROWS[0], ROWS[1], ROWS[-1]], True),
        # It waited for its user, who is no part of the cluster.
        ([*ROWS[:5], ("Uncommitted", 90, 100), ROWS[-1]], False),
    ],
)
def test_a_job_has_a_course_if_two_of_its_points_and_its_end_were_seen(rows, has_course):
    past = Past.from_snapshots(seen(jobs("now", minute=20)), [seen(jobs("a", rows=rows))])
    assert bool(past.courses) == has_course


@pytest.mark.parametrize(
    ("complete_time_s", "end_s"),
    [(None, 120), (60, 60), (59, 120), (90, 90), (120, 120), (121, 120)],
)
def test_a_job_ended_when_its_server_says_if_that_is_between_the_polls(complete_time_s, end_s):
    rows = [ROWS[0], ROWS[3], ROWS[-1], ROWS[-1]]
    frame = jobs("a", rows=rows)
    if complete_time_s is not None:
        done = START + pd.Timedelta(complete_time_s, "s")
        frame["complete_time"] = pd.Series([None, None, done, done]).astype("datetime64[us, UTC]")
    assert (ended_at(seen(frame)) - second(0)).tolist() == [0, 60, end_s, end_s]
