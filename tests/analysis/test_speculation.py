"""The rules of Spark and LATE, on files that end after round numbers of seconds."""

import pandas as pd
import pytest
from frames import START, recording, scheduled

from importstats.analysis.speculation import late_stragglers, spark_speculation


def test_spark_waits_for_three_quarters_and_takes_the_median():
    # Three of four files end after 10, 20 and 30 s; the fourth runs on.
    polls = {
        second: [
            "done" if file < 3 and second >= 10 * (file + 1) else 50 + file for file in range(4)
        ]
        for second in range(36)
    }
    details = recording(polls, [100] * 4)
    early = spark_speculation(details, START + pd.Timedelta("29s"))
    assert early["threshold_s"].isna().all()
    assert not early["is_straggler"].any()
    late = spark_speculation(details, START + pd.Timedelta("35s"))
    assert late["threshold_s"].to_numpy() == pytest.approx(30, abs=1)
    assert late["is_straggler"].tolist() == [False, False, False, True]


def test_late_takes_the_longest_time_to_the_end_up_to_the_cap():
    polls = {
        second: [
            min(second * (0.9 - 0.05 * (file < 3) * (3 - file) * 5), 99) // 1 + 0.01 * file
            for file in range(20)
        ]
        for second in range(0, 101, 10)
    }
    details = recording(polls, [100] * 20)
    late = late_stragglers(details)
    # Ten percent of 20 slots; the two with the longest time to the end.
    assert late.index[late["is_straggler"]].tolist() == [0, 1]
    assert not late_stragglers(details, START + pd.Timedelta("50s"))["is_straggler"].any()


RUNS = 10**6  # Until long after the last poll.


@pytest.mark.parametrize(
    ("lasts_s", "multiplier", "late"), [(140, 1.5, False), (160, 1.5, True), (160, 2.0, False)]
)
def test_spark_calls_a_task_slow_beyond_a_multiple_of_the_median(lasts_s, multiplier, late):
    # Three take 100 s; the fourth has run for so long since.
    spans = [(5, 105), (5, 105), (5, 105), (105, RUNS)]
    details = scheduled(spans, 105 + lasts_s, every=5)
    found = spark_speculation(details, multiplier=multiplier)
    assert found["threshold_s"].to_numpy() == pytest.approx(multiplier * 100, abs=8)
    assert found["is_straggler"].tolist() == [False, False, False, late]
    assert found["elapsed_s"].to_numpy() == pytest.approx([100, 100, 100, lasts_s], abs=5)


@pytest.mark.parametrize(("quantile", "is_known"), [(0.5, True), (0.75, True), (1.0, False)])
def test_spark_waits_until_a_share_of_the_tasks_has_ended(quantile, is_known):
    details = scheduled([(5, 15), (5, 15), (5, 15), (5, RUNS)], 60, every=5)
    found = spark_speculation(details, quantile=quantile)
    assert found["threshold_s"].notna().tolist() == [is_known] * 4
    assert found.index.tolist() == [0, 1, 2, 3]


def test_the_time_to_the_end_is_what_is_left_at_the_rate_so_far():
    # A quarter of the first and half of the second in 100 s.
    spans = [(5, 405), (5, 205)]
    found = late_stragglers(scheduled(spans, 105, every=5, smooth=True))
    assert found["progress_rate"].to_numpy() == pytest.approx([1 / 400, 1 / 200], rel=0.05)
    assert found["time_to_end_s"].to_numpy() == pytest.approx([300, 100], rel=0.05)
    begun = late_stragglers(scheduled(spans, 5, every=5, smooth=True))
    assert begun["time_to_end_s"].isna().all()
