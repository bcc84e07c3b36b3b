import numpy as np
import pandas as pd
import pytest
from frames import START, jobs_of

from importstats import diagnose
from importstats.analysis.habits import Habits, standstills


def job(number, minutes_at_80, *, every_s=30.0, rows=1000, ends=True):
    """A job that writes for two minutes, then builds its index and shows nothing of it."""
    times = int(minutes_at_80 * 60 / every_s)
    states = [("Importing", 40 + 3 * n, rows * (n + 1) // 4) for n in range(4)]
    states += [("Importing", 80, rows)] * (times + 1)
    states += [("Completed", 100, rows)] if ends else []
    return jobs_of(
        states,
        ("state", "progress_pct", "imported_rows"),
        every_s=every_s,
        start=START + pd.Timedelta(number, "D"),
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
    [
        ([20], 45),
        ([20, 16], 40),
        ([100, 16], 64),
        ([20, 16, 18], 35),
        ([200, 20, 20], 45),
    ],
)
def test_a_wait_is_judged_by_how_many_jobs_were_seen(earlier_min, least_min):
    """2.25 times the only one, twice the longer of two, 1.75 times the longest of several.

    A pause of one of them makes no difference: 4 times the shorter of two or 2.25 times the median
    of several is enough.
    """
    earlier = [job(number, minutes) for number, minutes in enumerate(earlier_min)]
    assert severity(job(9, least_min - 1.5, ends=False), earlier) == "info"
    assert severity(job(9, least_min + 3, ends=False), earlier) == "warning"


def test_a_standstill_far_longer_than_all_others_of_its_job_is_a_pause():
    """Segments are of one size, so it is cut to three times the next; not so of one or two."""

    def moving(number, *minutes):
        parts = [job(number, every, ends=False).iloc[4:] for every in minutes]
        frame = pd.concat([job(number, 0.5, ends=False), *parts], ignore_index=True)
        frame["progress_pct"] = [
            *frame["progress_pct"][:6],
            *np.repeat(81 + np.arange(len(parts)), [len(part) for part in parts]),
        ]
        offsets = pd.to_timedelta(np.arange(len(frame)) * 30.0, unit="s")
        frame["observed_at"] = (START + pd.Timedelta(number, "D") + offsets).as_unit("us")
        end = frame.iloc[[-1]].assign(state="Completed", progress_pct=100.0)
        end["observed_at"] += pd.Timedelta(30, "s")
        return pd.concat([frame, end], ignore_index=True)

    def longest_min(*minutes):
        found = standstills(moving(1, *minutes))
        return found.set_index("phase").loc["IndexBuilding", "longest_s"] / 60

    assert longest_min(10, 20, 10) == pytest.approx(20.5)
    assert longest_min(10, 90, 10) == pytest.approx(3 * 10.5)
    assert longest_min(90) == pytest.approx(90.5)


def test_less_than_ten_minutes_are_no_warning():
    earlier = [job(number, 1) for number in range(3)]
    assert severity(job(9, 9.5, ends=False), earlier) == "info"
    assert severity(job(9, 10.5, ends=False), earlier) == "warning"


def test_a_larger_job_may_stand_still_for_longer_and_a_smaller_one_for_as_long():
    earlier = [job(number, 20) for number in range(3)]
    for rows, least_min in ((2000, 70), (500, 35), (100_000, 140)):
        assert severity(job(9, least_min - 1.5, rows=rows, ends=False), earlier) == "info"
        assert severity(job(9, least_min + 6, rows=rows, ends=False), earlier) == "warning"


def test_rows_that_are_not_known_make_no_difference():
    known = standstills(pd.concat([job(1, 20), job(2, 20).assign(total_rows=0)]))
    longest = Habits(known).longest_s(("u", "9"), "c", "IndexBuilding", 2000.0)
    assert longest.tolist() == [2 * 1230.0, 1230.0]
    unknown = Habits(known).longest_s(("u", "9"), "c", "IndexBuilding")
    assert unknown.tolist() == [1230.0, 1230.0]
