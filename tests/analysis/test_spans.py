import numpy as np
import pandas as pd
from frames import START, recording, seconds

from importstats.analysis.spans import Spans


def test_a_start_and_an_end_lie_between_two_polls():
    spans = Spans.from_details(
        recording({0: [None, 0], 10: [0, 0], 20: [0, 0], 30: ["done", 0]}, [5, 9])
    )
    assert seconds(spans.handed_after[:1]) == [0]
    assert seconds(spans.handed_by[:1]) == [10]
    assert seconds(spans.ended_after[:1]) == [20]
    assert seconds(spans.ended_by[:1]) == [30]
    assert spans.duration_least().tolist() == [10, 30]
    assert spans.duration_most().tolist() == [30, np.inf]
    assert spans.running.tolist() == [False, True]


def test_the_servers_time_of_the_end_narrows_it():
    spans = Spans.from_details(
        recording({0: [0, 0], 10: [0, 0], 60: ["done", 0]}, [5, 9], ended={0: 23})
    )
    assert seconds(spans.ended_by[:1]) == [23]
    # A clock that is ahead says nothing that the polls do not.
    ahead = Spans.from_details(
        recording({0: [0, 0], 10: [0, 0], 60: ["done", 0]}, [5, 9], ended={0: 99})
    )
    assert seconds(ahead.ended_by[:1]) == [60]


def test_all_rows_are_the_end_of_the_work_and_completed_that_of_the_wait():
    spans = Spans.from_details(
        recording({0: [0, 0], 10: [100, 0], 20: [100, 0], 30: ["done", 0]}, [5, 9])
    )
    assert seconds(spans.ended_by[:1]) == [10]
    assert seconds(spans.released_by[:1]) == [30]


def test_recording_that_begins_in_the_middle_knows_no_start():
    spans = Spans.from_details(recording({0: [0, "done"], 10: [0, "done"]}, [5, 9]))
    assert np.isnan(spans.handed_after).all()
    fresh = Spans.from_details(recording({0: [0, 0], 10: [0, 0], 20: [100, 0]}, [5, 9]))
    assert seconds(fresh.handed_after) == [-10, -10]


def test_a_task_that_goes_back_begins_again():
    spans = Spans.from_details(
        recording({0: [0, 0], 10: [40, 0], 20: [None, 0], 30: [0, 0]}, [5, 9])
    )
    assert spans.retries.tolist() == [1, 0]
    assert seconds(spans.handed_by[:1]) == [30]
    assert seconds(spans.first_handed_by[:1]) == [0]
    tries = spans.attempts
    assert seconds(tries.back_by[:1]) == [20]
    assert tries.unit.tolist() == [0, 0, 1]


def test_kept_rows_are_no_progress_of_the_new_attempt():
    kept = ("Pending", 40)
    spans = Spans.from_details(
        recording({0: [0, 0], 10: [40, 0], 20: [kept, 0], 30: [40, 0], 40: [40, 0]}, [5, 9])
    )
    assert spans.retries.tolist() == [1, 0]
    assert seconds(spans.moved_at[:1]) == [10]


def test_the_longest_wait_is_for_the_last_of_those_before():
    polls = {0: [0, 0, None], 10: [0, "done", None], 20: [0, "done", 0], 50: ["done", "done", 0]}
    spans = Spans.from_details(recording(polls, [5, 5, 9]))
    assert spans.wait_most_s.tolist() == [0, 0, 30]


def test_steps_inside_one_file_are_the_smooth_signal():
    smooth = Spans.from_details(recording({0: [0, 0], 10: [30, 20], 20: [60, 40]}, [5, 9]))
    whole = Spans.from_details(recording({0: [0, 0], 10: [0, 0], 20: [100, 0]}, [5, 9]))
    assert smooth.smooth.tolist() == [True]
    assert whole.smooth.tolist() == [False]


def test_only_what_was_seen_by_then_counts():
    details = recording({0: [None, 0], 10: [0, 0], 20: [0, 50], 30: ["done", 100]}, [5, 9])
    at = START + pd.Timedelta("20s")
    cut = Spans.from_details(details[details["observed_at"] <= at])
    spans = Spans.from_details(details, at)
    for name in ("handed_by", "ended_by", "fraction", "moved_at", "wait_most_s"):
        np.testing.assert_array_equal(getattr(spans, name), getattr(cut, name))


def test_slots_are_the_most_that_were_at_work_at_once():
    polls = {0: [0, 0, None], 10: ["done", 0, None], 20: ["done", 0, 0], 30: ["done"] * 3}
    assert Spans.from_details(recording(polls, [5, 6, 9])).slots.tolist() == [2]
