"""A job's history: what its snapshots say about its phase, its pauses and the jobs ahead of it."""

import numpy as np
import pandas as pd
import pytest
from frames import START, jobs_of

from importstats.analysis.habits import Habits
from importstats.analysis.job_history import JobHistory, job_histories

FIELDS = ("second", "state", "progress_pct", "imported_rows")


def at(second):
    return START + pd.Timedelta(second, "s")


def frame(*rows, **columns):
    known = {"total_rows": 1000, "detail_count": 3, **columns}
    return jobs_of([(*row, None)[:4] for row in rows], FIELDS, **known)


def history(*rows, second=None, others=None, **columns):
    now = None if second is None else at(second)
    (found,) = job_histories(frame(*rows, **columns), now, history=others)
    return found


IMPORTING = [(0, "Importing", 41, 100), (60, "Importing", 45, 300)]


def test_now_is_when_it_was_last_seen_unless_another_time_is_asked_for():
    job = history(*IMPORTING)
    assert (job.key, job.now, job.last_seen) == (("u", "7"), at(60), at(60))
    assert (job.phase, job.ended, job.ahead) == ("Importing", False, 0)
    assert (job.phase_since, job.last["imported_rows"]) == (START, 300)
    assert job.seconds_since(at(20)) == 40
    assert history(*IMPORTING, second=99).now == at(99)
    over = history(*IMPORTING, (90, "Completed", 100, 1000))
    assert (over.phase, over.ended, over.phase_since) == ("Completed", True, at(75))
    runless = JobHistory(job.key, job.snapshots, job.runs.iloc[:0], job.now, 1.0)
    assert (runless.phase, runless.ended) == ("Unknown", False)


def test_answers_that_were_errors_are_none_of_its_snapshots():
    jobs = frame(*IMPORTING, (120, None, None, None)).assign(error=[None, None, "no answer"])
    assert job_histories(jobs, None)[0].last_seen == at(60)
    assert job_histories(jobs.tail(1), None) == []
    assert job_histories(jobs.iloc[:0], None) == []


@pytest.mark.parametrize(
    ("seconds", "poll_s"),
    [
        ([0], np.nan),
        ([0, 60], 60),
        # Nine tenths of ten pauses of 10 to 100 s are up to 91 s.
        (np.cumsum([0, *range(10, 101, 10)]), 91),
    ],
)
def test_the_usual_pause_is_that_of_nine_tenths(seconds, poll_s):
    job = history(*[(second, "Importing", 45, 0) for second in seconds])
    assert job.poll_s == pytest.approx(poll_s, nan_ok=True)


@pytest.mark.parametrize(
    ("created", "begun"), [([None, None], 0), ([None, -9], -9), ([-5, -9], -5), ([5, 5], 0)]
)
def test_a_job_began_when_it_was_created_or_seen_first(created, begun):
    said = pd.Series([pd.NaT if each is None else at(each) for each in created])
    job = history(*IMPORTING, create_time=pd.to_datetime(said, utc=True).dt.as_unit("us"))
    assert job.begun_at == at(begun)
    assert history(*IMPORTING).begun_at == START


def test_a_collection_is_the_last_one_that_was_named():
    assert history(*IMPORTING, collection_name=["a", "b"]).collection == "b"
    assert history(*IMPORTING, collection_name=["a", None]).collection == "a"
    assert history(*IMPORTING, collection_name=[None, None]).collection is None
    (job,) = job_histories(frame(*IMPORTING).drop(columns="collection_name"), None)
    assert job.collection is None


def test_the_most_that_a_job_showed_need_not_be_the_last():
    rows = [(0, "Importing", 41, 100), (60, "Importing", 45, 300), (120, "Importing", 45, 0)]
    assert history(*rows).most("imported_rows") == 300
    none = [(0, "Importing", 41, None), (60, "Importing", 45, None)]
    assert np.isnan(history(*none).most("imported_rows"))


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([(0, 41, 0)], (0, np.nan, 0)),
        ([(0, 41, 0), (90, 41, 0)], (90, np.nan, 0)),
        ([(0, 41, 0), (100, 42, 10), (300, 43, 20), (450, 43, 20)], (150, 200, 2)),
        ([(0, 41, 0), (100, 42, 10), (150, 43, 20), (150, 43, 20)], (0, 100, 2)),
    ],
)
def test_a_standstill_lasts_since_the_last_move_in_this_phase(rows, found):
    job = history(*[(second, "Importing", *shown) for second, *shown in rows])
    assert job.standstill == pytest.approx(found, nan_ok=True)
    if len(rows) > 2:
        # Moves in the phase before do not count.
        before = [(-50, "Pending", 4, 0), (-20, "Pending", 5, 0)]
        after = [(second, "Importing", *shown) for second, *shown in rows]
        assert history(*before, *after).standstill == found


def test_earlier_jobs_say_how_long_a_standstill_of_its_size_may_last():
    known = {"source_uri": "u", "job_id": "1", "collection_name": "products", "phase": "Importing"}
    known |= {"ended_at": START - pd.Timedelta("1h"), "longest_s": 400.0, "count": 9, "rows": 500.0}
    job = history(*IMPORTING)
    assert (np.isnan(job.usual_s), np.isnan(job.limit_s), job.usual_text) == (True, True, "")
    (job,) = job_histories(frame(*IMPORTING), None)
    job = JobHistory(
        job.key, job.snapshots, job.runs, job.now, 60.0, habits=Habits(pd.DataFrame([known]))
    )
    assert (job.usual_s, job.earlier_s.tolist()) == (400, [400])
    # It has twice the rows; three times as long, if only one job is known.
    assert job.earlier_of_its_size_s.tolist() == [800]
    assert job.limit_s == 2400
    assert job.usual_text == " (earlier jobs of its collection: 6 min 40 s at most)"


def other(job_id, second, state="Importing", **columns):
    return frame((second, state, 50, 100), job_id=job_id, **columns)


PENDING = [(0, "Pending", 5, 0), (7200, "Pending", 5, 0)]


@pytest.mark.parametrize(
    ("others", "ahead"),
    [
        ([], 0),
        ([other("6", 7200)], 1),
        ([other("6", 7200), other("5", 7100, "Pending")], 2),
        ([other("6", 7200, "Completed"), other("5", 7200, "Failed"), other("8", 7200)], 0),
        ([other("6", 7200, source_uri="v")], 0),
        # Not seen for an hour and more, or only later.
        ([other("6", 3600)], 1),
        ([other("6", 3599)], 0),
        ([other("6", 7201)], 0),
    ],
)
def test_a_job_that_waits_is_behind_those_that_were_seen_lately_and_had_not_ended(others, ahead):
    assert history(*PENDING, second=7200, others=others).ahead == ahead
    assert history((0, "Importing", 50, 1), second=7200, others=others).ahead == 0
