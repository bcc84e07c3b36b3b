import numpy as np
import pandas as pd
import pytest

from importstats import diagnose
from importstats.analysis.habits import Habits, standstills

START = pd.Timestamp("2026-05-18T08:00:00Z")


def job(number, minutes_at_80, *, every_s=30.0, rows=1000, ends=True):
    """A job that writes for two minutes, then builds its index and shows nothing of it."""
    times = int(minutes_at_80 * 60 / every_s)
    states = [("Importing", 40 + 3 * n, rows * (n + 1) // 4) for n in range(4)]
    states += [("Importing", 80, rows)] * (times + 1)
    states += [("Completed", 100, rows)] if ends else []
    frame = pd.DataFrame(states, columns=["state", "progress_pct", "imported_rows"])
    offsets = pd.to_timedelta(np.arange(len(frame)) * every_s, unit="s")
    return frame.assign(
        observed_at=(START + pd.Timedelta(number, "D") + offsets).as_unit("us"),
        source_uri="u",
        job_id=str(number),
        collection_name="c",
        total_rows=rows,
        detail_count=3,
    )


def severity(jobs, earlier):
    found = diagnose(jobs, history=pd.concat(earlier, ignore_index=True))
    return found.set_index("finding").loc["waiting_for_index", "severity"]


@pytest.mark.parametrize(
    ("earlier_min", "least_min"),
    [([20], 60), ([20, 16], 50), ([20, 16, 18], 40), ([200, 20, 20], 50)],
)
def test_a_wait_is_judged_by_how_many_jobs_were_seen(earlier_min, least_min):
    """Three times the only one, 2.5 times the longer of two, twice the longest of several.

    A pause of one of several makes no difference: 2.5 times their median is enough.
    """
    earlier = [job(number, minutes) for number, minutes in enumerate(earlier_min)]
    assert severity(job(9, least_min - 1.5, ends=False), earlier) == "info"
    assert severity(job(9, least_min + 2, ends=False), earlier) == "warning"


def test_less_than_ten_minutes_are_no_warning():
    earlier = [job(number, 1) for number in range(3)]
    assert severity(job(9, 9.5, ends=False), earlier) == "info"
    assert severity(job(9, 10.5, ends=False), earlier) == "warning"


def test_a_larger_job_may_stand_still_for_longer_and_a_smaller_one_for_as_long():
    earlier = [job(number, 20) for number in range(3)]
    for rows, least_min in ((2000, 80), (500, 40), (100_000, 160)):
        assert severity(job(9, least_min - 1.5, rows=rows, ends=False), earlier) == "info"
        assert severity(job(9, least_min + 6, rows=rows, ends=False), earlier) == "warning"


def test_rows_that_are_not_known_make_no_difference():
    known = standstills(pd.concat([job(1, 20), job(2, 20).assign(total_rows=0)]))
    longest = Habits(known).longest_s(("u", "9"), "c", "IndexBuilding", 2000.0)
    assert longest.tolist() == [2 * 1230.0, 1230.0]
    unknown = Habits(known).longest_s(("u", "9"), "c", "IndexBuilding")
    assert unknown.tolist() == [1230.0, 1230.0]
