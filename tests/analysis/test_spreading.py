import numpy as np
import pandas as pd
import pytest
from frames import START, recording

from importstats.analysis.rates import throughput

EVERY = range(0, 301, 10)


def polled(spans, until=300):
    """Files of 100 rows that are handed over and end at these seconds, asked every 10 s."""
    return recording(
        {
            second: [
                None if second < begin else "done" if second >= end else 0 for begin, end in spans
            ]
            for second in range(0, until + 1, 10)
        },
        [1000 + place for place in range(len(spans))],
        ended={place: end for place, (_, end) in enumerate(spans)},
    )


def at(rates, second, name):
    return rates.loc[rates["observed_at"].eq(START + pd.Timedelta(second, "s")), name].item()


def test_rows_of_a_file_are_spread_over_the_time_it_was_at_work():
    rates = throughput(polled([(0, 100)]), by="job")
    assert rates["rows_per_s"].to_numpy()[1:12] == pytest.approx([0] * 9 + [10, 0])
    assert rates["rows_per_s_spread"].to_numpy()[1:12] == pytest.approx([1] * 10 + [0])
    assert at(rates, 60, "rows_per_s_window") == pytest.approx(1)
    assert at(rates, 60, "bytes_per_s_window") == pytest.approx(10)
    # All rows are there: nothing more is written, and that is known.
    assert at(rates, 300, "rows_per_s_window") == 0


def test_waiting_is_no_work():
    rates = throughput(polled([(0, 100), (200, 250)]), by="file")
    second = rates[rates["file_index"].eq(1)]
    assert at(second, 150, "rows_per_s_spread") == 0
    assert at(second, 240, "rows_per_s_spread") == pytest.approx(100 / 60)


def test_files_side_by_side_add_up():
    rates = throughput(polled([(0, 100), (0, 200)]), by="job")
    assert at(rates, 80, "rows_per_s_window") == pytest.approx(1.5)
    assert at(rates, 180, "rows_per_s_window") == pytest.approx(0.5)
    spread = (rates["rows_per_s_spread"] * rates["interval_s"]).sum()
    assert spread == pytest.approx(200)


def test_a_window_without_an_ending_file_has_no_rate_of_zero():
    rates = throughput(polled([(0, 100), (100, 1000)]), by="job")
    assert at(rates, 150, "rows_per_s") == 0
    assert np.isnan(at(rates, 150, "rows_per_s_spread"))
    assert at(rates, 150, "rows_per_s_window") == pytest.approx(1)
    # The longer nothing appears the less it can have been.
    assert at(rates, 300, "rows_per_s_window") == pytest.approx(0.5)


def test_the_end_of_the_course_does_not_sag():
    # Ten files at work at once, one ends every 10 s: 10 rows a second at all times.
    spans = [(10 * place, 10 * place + 100) for place in range(40)]
    rates = throughput(polled(spans, until=300), by="job")
    late = rates.loc[rates["observed_at"].gt(START + pd.Timedelta("150s")), "rows_per_s_window"]
    assert late.to_numpy() == pytest.approx(10, rel=0.35)
    assert late.iloc[-1] == pytest.approx(10, rel=0.2)


def test_a_job_without_its_files_is_spread_from_step_to_step():
    jobs = pd.DataFrame(
        {
            "source_uri": "u",
            "job_id": "7",
            "state": "Importing",
            "observed_at": [START + pd.Timedelta(second, "s") for second in EVERY],
            "imported_rows": [100 * (second // 100) for second in EVERY],
            "total_rows": 1000,
            "file_size_bytes": 10_000,
        }
    )
    rates = throughput(jobs)
    assert at(rates, 150, "rows_per_s") == 0
    assert at(rates, 150, "rows_per_s_spread") == pytest.approx(1)
    assert at(rates, 300, "rows_per_s_window") == pytest.approx(1)


def test_what_is_there_at_first_sight_counts_for_no_rate():
    rates = throughput(polled([(-50, -10), (0, 100)]), by="job")
    assert rates["rows_per_s_spread"].max() == pytest.approx(1)
    assert rates["imported_rows"].iloc[0] == 100


def test_rows_that_fall_after_the_end_are_not_lost():
    details = polled([(0, 100), (0, 200)])
    late = details["observed_at"].ge(START + pd.Timedelta("250s"))
    details.loc[late, ["imported_rows", "progress_pct"]] = 0
    rates = throughput(details, by="job")
    assert rates["rows_lost"].sum() == 0
    assert rates["imported_rows"].iloc[-1] == 200
