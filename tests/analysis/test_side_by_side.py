"""Two jobs side by side: from which share on one is slower, and what of it was seen whole."""

import numpy as np
import pandas as pd
import pytest
from frames import START, jobs_of

from importstats.analysis.side_by_side import (
    _comparison_text,
    _joined_late,
    _last_phase,
    _phase_times,
    _rate_in_importing,
    _seen_whole,
    _tail_s,
    job_names,
)


def at(second):
    return START + pd.Timedelta(second, "s")


def text(*rows):
    """What is said of phases with the seconds of both jobs; None if one was not seen whole."""
    table = pd.DataFrame(rows, columns=["phase", "a_s", "b_s"]).astype(
        {"a_s": "float64", "b_s": "float64"}
    )
    return _comparison_text(table.assign(difference_s=table["b_s"] - table["a_s"]), ("7", "8"))


@pytest.mark.parametrize(
    ("a_s", "b_s", "says"),
    [
        (1000, 1049, "job 8 took about as long as job 7 (17 min 29 s and 16 min 40 s)"),
        (
            1000,
            1050,
            "job 8 took 1.1 times as long as job 7 (17 min 30 s instead of 16 min 40 s), ",
        ),
        (
            1050,
            1000,
            "job 7 took 1.1 times as long as job 8 (17 min 30 s instead of 16 min 40 s), ",
        ),
        (100, 100, "job 8 took about as long as job 7 (1 min 40 s and 1 min 40 s)"),
        (0, 100, "nothing to compare: one of the jobs has no phase of known duration"),
        (100, 0, "nothing to compare: one of the jobs has no phase of known duration"),
    ],
)
def test_a_job_is_slower_from_a_twentieth_on(a_s, b_s, says):
    said = text(("Importing", a_s, b_s))
    assert said.removesuffix("100 % of the difference in Importing") == says


def test_the_phase_with_most_of_the_difference_is_named_whichever_job_is_slower():
    rows = [("Pending", 10, 40), ("Importing", 100, 160), ("Sorting", 50, 60)]
    assert text(*rows).endswith(", 60 % of the difference in Importing")
    assert text(*((name, b, a) for name, a, b in rows)).endswith(
        "job 7 took 1.6 times as long as job 8 (4 min 20 s instead of 2 min 40 s), 60 % of the "
        "difference in Importing"
    )
    # What is saved elsewhere leaves more than all of the difference to one phase.
    assert text(("Pending", 60, 10), ("Importing", 100, 200)).endswith(
        ", all of the difference in Importing"
    )
    part = text(("Pending", None, 10), ("Importing", 100, 200), ("Sorting", 10, 10))
    assert part.startswith("in Importing, Sorting, all that was seen whole of both: job 8 took 1.9")
    assert text(("Pending", None, 10), ("Importing", 100, None)) == (
        "nothing to compare: no phase was seen from begin to end in both jobs"
    )


@pytest.mark.parametrize(
    ("missed_s", "span_s", "late"),
    [
        (60, 0, False),
        (61, 0, True),
        (60, 3000, False),
        (61, 3000, True),
        # A fiftieth of the time that was seen.
        (200, 10_000, False),
        (201, 10_000, True),
        (-5, 100, False),
    ],
)
def test_a_job_was_joined_late_from_a_minute_and_a_fiftieth_of_its_time_on(missed_s, span_s, late):
    jobs = pd.DataFrame({"observed_at": [at(span_s), at(0)], "create_time": [at(-missed_s)] * 2})
    assert _joined_late(jobs) is late
    assert _joined_late(jobs.assign(create_time=pd.NaT)) is None
    assert _joined_late(jobs[["observed_at"]]) is None


def runs(*names, seconds=60.0):
    known = {"phase": names, "duration_s": seconds, "uncertainty_s": 30.0, "rows_at_start": 0}
    return pd.DataFrame(known)


@pytest.mark.parametrize(
    ("seen", "late", "whole"),
    [
        (["Pending", "Importing", "Sorting", "Completed"], False, [True, True, True]),
        (["Pending", "Importing", "Sorting", "Completed"], True, [False, True, True]),
        (["Importing", "Sorting", "Completed"], True, [False, False, True]),
        (["Pending", "Importing", "Sorting"], False, [True, True, False]),
        (["Pending", "Importing", "Failed"], False, [True, False, False]),
        (["Pending"], False, [False, False, False]),
    ],
)
def test_a_phase_was_seen_whole_between_the_first_of_a_late_job_and_the_last(seen, late, whole):
    names = ["Pending", "Importing", "Sorting"]
    found = _seen_whole(names, pd.DataFrame(), runs(*seen), begins_later=late)
    assert found.tolist() == whole


def test_phases_are_added_up_without_the_end():
    seen = runs("Importing", "Sorting", "Importing", "Completed")
    assert _phase_times(seen).to_dict() == {"Importing": 120.0, "Sorting": 60.0}
    assert _phase_times(runs("Importing", seconds=np.nan)).empty
    assert [_last_phase(runs(*names)) for names in (["Importing", "Failed"], ["Failed"])] == [
        "Importing",
        "Failed",
    ]


def importing(*seconds, rows=600):
    samples = [("Importing", 50, 0), ("Importing", 60, rows // 2), ("Completed", 100, rows)]
    shown = [(second, *each) for second, each in zip(seconds, samples, strict=True)]
    fields = ("second", "state", "progress_pct", "imported_rows")
    return jobs_of(shown, fields, detail_count=3, total_rows=rows)


def test_a_rate_is_as_exact_as_the_borders_of_its_phase():
    """The end lies between 60 and 120 s, and the beginning, if it was seen, between -60 and 0."""
    begun = importing(0, 60, 120)
    waiting = begun.head(1).assign(observed_at=at(-60), state="Pending", progress_pct=0.0)
    whole = pd.concat([waiting, begun], ignore_index=True)
    for jobs, rate in (
        (begun, "6.67 rows/s"),
        (whole, "5 rows/s (3.33 rows/s to 10 rows/s)"),
        (importing(0, 60, 60), "10 rows/s"),
    ):
        assert _rate_in_importing(jobs, pd.Series({"rows": 600})) == rate
        assert not _rate_in_importing(jobs, pd.Series({"rows": pd.NA}))[0].isdigit()
    # If it may have been no time at all, only the middle is said.
    brief = whole.drop(2).assign(observed_at=[at(-60), at(0), at(60)])
    assert _rate_in_importing(brief, pd.Series({"rows": 600})) == "10 rows/s"
    assert not _rate_in_importing(waiting, pd.Series({"rows": 600}))[0].isdigit()


def test_the_tail_is_from_the_last_file_to_the_end():
    jobs = importing(0, 60, 120)
    files = pd.DataFrame(
        {
            "file_index": [0, 0, 1, 1, 2],
            "state": ["Completed", "Completed", "InProgress", "completed", "InProgress"],
            "observed_at": [at(second) for second in (10, 60, 10, 60, 60)],
        }
    )
    assert _tail_s(jobs, files) == 30
    assert _tail_s(jobs, files[files["file_index"] == 0]) == 80
    assert _tail_s(jobs, files.assign(observed_at=at(200))) == 0
    for none in (None, files.iloc[:0], files.iloc[-1:]):
        assert np.isnan(_tail_s(jobs, none))
    assert np.isnan(_tail_s(jobs.iloc[:2], files))


def test_names_of_two_jobs_have_their_servers_only_if_the_ids_are_the_same():
    one = pd.DataFrame({"source_uri": ["http://a" + "x" * 300], "job_id": ["7" * 300]})
    other = one.assign(job_id="8")
    first, second = job_names(one, other, id_limit=5)
    assert (len(first), second) == (5, "8")
    assert len(job_names(one, other)[0]) == 200
    both = job_names(one, one)
    assert [len(name) for name in both] == [200 + len(" on ") + 200] * 2
    both = job_names(one, one, id_limit=3, uri_limit=9)
    assert [len(name) for name in both] == [3 + 4 + 9] * 2
