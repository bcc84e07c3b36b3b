"""Answers that are easily misread: from which number on, and in which words."""

from dataclasses import replace

import pandas as pd
import pytest
from frames import START, jobs_of

from importstats.analysis.file_facts import FileFacts
from importstats.analysis.job_history import job_histories
from importstats.analysis.misleading import (
    only_deletes,
    progress_unreadable,
    restore,
    rows_of_files_fell,
    same_file_twice,
    unexplained_progress,
)


def history(*rows, files=None, **columns):
    """The history of a job seen so: (second, state, progress, rows of 1000)."""
    fields = ("second", "state", "progress_pct", "imported_rows")
    known = {"collection_name": "c", "total_rows": 1000, "detail_count": 3, **columns}
    (found,) = job_histories(jobs_of(rows, fields, **known), None)
    return replace(found, files=FileFacts(**(files or {})))


@pytest.mark.parametrize(
    ("extra", "state", "sent"),
    [
        ('{"progress": "half"}', "Importing", "half"),
        ('{"progress": 250}', "Importing", "250"),
        ('{"progress": 250}', "Completed", None),
        ('{"progress": null}', "Importing", None),
        ('{"other": 250}', "Importing", None),
        ('["progress"]', "Importing", None),
        ('{"progress": ', "Importing", None),
        (None, "Importing", None),
    ],
)
def test_a_progress_that_is_none_is_said_as_it_was_sent(extra, state, sent):
    found = progress_unreadable(history((0, state, 50, 0), extra=extra))
    assert (found and found.evidence["progress"]) == sent
    if sent:
        assert (found.severity, found.since) == ("info", START)
        assert found.message == (f"The server sends {sent} as progress, which is not a percentage")


def unexplained(progress, state="Importing", phase="Unknown", rows=0):
    job = history((0, state, progress, rows), (60, state, progress, rows))
    return unexplained_progress(replace(job, snapshots=job.snapshots.assign(phase=phase)))


@pytest.mark.parametrize(
    ("progress", "state", "phase", "is_found"),
    [
        (10, "Importing", "Unknown", True),
        (9.9, "Importing", "Unknown", False),
        (50, "InProgress", "Unknown", True),
        (50, "Pending", "Unknown", False),
        (50, "Importing", "Importing", False),
    ],
)
def test_progress_that_no_release_shows_is_worth_a_warning_from_10_on(
    progress, state, phase, is_found
):
    assert (unexplained(progress, state, phase) is not None) == is_found


def test_unexplained_progress_is_said_with_its_rows():
    found = unexplained(12.5, rows=70)
    assert (found.severity, found.since) == ("warning", START)
    assert found.message == (
        "The server says Importing at 12.5 % with 70 of 1,000 rows, as no known release does, so "
        "its phase is not known"
    )
    assert found.evidence == {"progress_pct": 12.5, "imported_rows": 70, "total_rows": 1000}
    assert "with an unknown number of 1,000 rows" in unexplained(12.5, rows=None).message


@pytest.mark.parametrize(
    ("waited_s", "rows", "files", "phase", "is_found"),
    [
        (330, 0, {"restore": True}, "Importing", False),
        (331, 0, {"restore": True}, "Importing", True),
        (331, 1, {"restore": True}, "Importing", False),
        (331, 0, {"restore": False}, "Importing", False),
        (331, 0, {"restore": True, "only_deletes": True}, "Importing", False),
        (331, 0, {"restore": True}, "Pending", False),
    ],
)
def test_a_restore_may_show_no_row_and_that_is_said_after_five_minutes(
    waited_s, rows, files, phase, is_found
):
    # Importing began between the first two polls, at second 30.
    progress = 5 if phase == "Pending" else 45
    job = history(
        (0, "Pending", 5, 0), (60, phase, progress, 0), (waited_s, phase, progress, rows),
        files=files,
    )  # fmt: skip
    found = restore(job)
    assert (found is not None) == is_found
    if is_found:
        assert found.evidence == {"waited_s": 301.0}
        assert found.message.startswith("A restore: no row has come in 5 min 1 s of Importing, ")


def test_what_files_show_is_said_with_how_many_they_are():
    job = history((0, "Importing", 50, 0), files={"only_deletes": True, "count": 4})
    assert only_deletes(job).evidence == {"files": 4}
    assert only_deletes(history((0, "Importing", 50, 0))) is None
    twice = history((0, "Importing", 50, 0), files={"twice": "in/a", "times": 3})
    assert same_file_twice(twice).message == (
        "in/a is listed 3 times, and its rows are imported each time"
    )
    assert same_file_twice(twice).evidence == {"file": "in/a", "times": 3}
    assert same_file_twice(job) is None


@pytest.mark.parametrize(
    ("state", "fell", "fell_at", "who"),
    [
        ("Importing", 1, START, "A completed file shows"),
        ("Importing", 2, START, "2 completed files show"),
        ("Importing", 0, START, None),
        ("Importing", 2, None, None),
        ("Failed", 2, START, None),
    ],
)
def test_rows_that_fall_after_a_file_is_done_are_not_lost(state, fell, fell_at, who):
    job = history((0, state, 50, 0), files={"fell": fell, "fell_at": fell_at})
    found = rows_of_files_fell(job)
    assert (found is None) == (who is None)
    if who:
        assert found.message == (
            f"{who} fewer rows than before, but the job does not: nothing was lost"
        )
        assert pd.Timestamp(found.since) == START
