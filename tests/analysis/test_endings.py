"""What is said of a failure without a reason, and of a reason without a failure."""

from dataclasses import replace

import pytest
from frames import START, jobs_of

from importstats.analysis.endings import (
    _advice,
    completed_empty,
    completed_short,
    last_reason,
    reason_given,
)
from importstats.analysis.file_facts import FileFacts
from importstats.analysis.job_history import job_histories
from importstats.analysis.reasons import advice_on_reason

QUOTA = "disk quota exceeded"


@pytest.mark.parametrize(
    ("phase", "where"),
    [
        ("Sorting", "the logs of the data coordinator and of the stats tasks"),
        (
            "SortingOrIndexing",
            "the logs of the data coordinator and of the stats and index tasks",
        ),
        ("IndexBuilding", "the logs of the data coordinator and of the index tasks"),
        ("Uncommitted", "the data coordinator's log, and ask who aborts imports"),
        ("Importing", "the logs of the data coordinator, the data nodes and the stats tasks"),
    ],
)
def test_without_a_reason_a_failure_is_looked_for_where_its_phase_runs(phase, where):
    expected = f"The server names no cause: look for the job's id in {where} at that time."
    assert _advice(None, phase) == _advice("", phase) == expected
    assert _advice(QUOTA, phase) == advice_on_reason(QUOTA)


def history(*reasons, state="Importing", **files):
    rows = [(60 * number, state, 50, 0) for number in range(len(reasons))]
    fields = ("second", "state", "progress_pct", "imported_rows")
    frame = jobs_of(rows, fields, total_rows=1000, detail_count=3, reason=list(reasons))
    (found,) = job_histories(frame, None)
    return replace(found, files=FileFacts(**files))


@pytest.mark.parametrize(
    ("reasons", "last"),
    [((QUOTA, None), None), ((None, QUOTA), QUOTA), ((QUOTA, ""), None), ((None,), None)],
)
def test_the_reason_of_a_job_is_that_of_its_last_snapshot(reasons, last):
    assert last_reason(history(*reasons)) == last


@pytest.mark.parametrize(
    ("reasons", "files", "found"),
    [
        ((None,), {}, None),
        ((QUOTA,), {}, ("warning", f"The job runs and gives a reason: {QUOTA}")),
        (
            (None,),
            {"reason": QUOTA, "reason_files": 1},
            ("warning", f"One of its files gives a reason: {QUOTA}"),
        ),
        (
            (None,),
            {"reason": QUOTA, "reason_files": 2},
            ("warning", f"2 of its files give a reason: {QUOTA}"),
        ),
        # What the job says comes before what its files say.
        (
            (QUOTA,),
            {"reason": "other", "reason_files": 2},
            ("warning", f"The job runs and gives a reason: {QUOTA}"),
        ),
    ],
)
def test_a_reason_of_a_running_job_is_worth_a_warning(reasons, files, found):
    made = reason_given(history(*reasons, **files))
    assert (made and (made.severity, made.message)) == found
    if found and reasons[0]:
        assert made.since == START
        assert made.evidence["files"] is None
    elif found:
        assert made.evidence["files"] == files["reason_files"]
    assert reason_given(history(*reasons, state="Completed", **files)) is None


def ended(rows, total, *, state="Completed", size=None, **files):
    """The history of a job that was last seen so."""
    counted = [(0, "Importing", 50, 0, None), (60, state, 100, rows, total)]
    fields = ("second", "state", "progress_pct", "imported_rows", "total_rows")
    frame = jobs_of(counted, fields, detail_count=3, file_size_bytes=size)
    (found,) = job_histories(frame, None)
    return replace(found, files=FileFacts(**files))


@pytest.mark.parametrize(
    ("job", "found"),
    [
        (ended(0, 0), ("info", "Completed without a row, from files")),
        (ended(0, 0, size=2000), ("warning", "Completed without a row, from files of 2 kB")),
        (ended(0, 0, count=1), ("info", "Completed without a row, from 1 file")),
        (
            ended(0, 0, count=2, size_bytes=2000),
            ("warning", "Completed without a row, from 2 files of 2 kB"),
        ),
        (
            ended(0, 0, size=2000, only_deletes=True),
            ("info", "Completed without a row, from files of 2 kB"),
        ),
        (ended(1, 0), None),
        (ended(0, 1), None),
        (ended(0, 0, state="Importing"), None),
    ],
)
def test_a_job_that_completed_without_a_row_is_worth_a_warning_if_its_files_are_large(job, found):
    made = completed_empty(job)
    assert (made and (made.severity, made.message)) == found


@pytest.mark.parametrize(
    ("job", "severity"),
    [
        (ended(9, 10), "warning"),
        (ended(9, 10, restore=True), "info"),
        (ended(10, 10), None),
        (ended(9, None), None),
        (ended(9, 10, only_deletes=True), None),
        (ended(9, 10, state="Importing"), None),
    ],
)
def test_a_row_less_than_was_counted_is_short(job, severity):
    made = completed_short(job)
    assert (made and made.severity) == severity
    if made:
        assert made.message.startswith("Completed with 9 of the 10 rows in its files")
        assert made.message.endswith("deletes take rows away") == (severity == "info")
        assert made.evidence == {"imported_rows": 9.0, "total_rows": 10.0}
