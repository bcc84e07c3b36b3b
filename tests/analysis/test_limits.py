"""Where a job or a file says that a quota is reached."""

import pandas as pd
import pytest

from importstats.analysis.forecast.limits import at_quota

QUOTA = "disk quota exceeded"


def seen(*rows, **columns):
    """Job, its number and a snapshot id of each row."""
    frame = pd.DataFrame(rows, columns=["job_id", "job", "snapshot_id"])
    return frame.assign(source_uri="u", **columns)


def files(*rows):
    """Job, first and last snapshot, state and reason of each run."""
    names = ["job_id", "snapshot_id", "last_snapshot_id", "state", "reason"]
    return pd.DataFrame(rows, columns=names).assign(source_uri="u")


SEEN = seen(("7", 0, 5), ("7", 0, 6), ("7", 0, 8), ("8", 1, 4), ("8", 1, 6))


def test_the_reason_of_the_job_counts():
    reasons = [None, QUOTA, "schema mismatch", None, QUOTA]
    found = at_quota(SEEN.assign(reason=reasons), None)
    assert found.tolist() == [False, True, False, False, True]
    assert at_quota(SEEN, None).tolist() == [False] * 5
    assert at_quota(SEEN.assign(reason=reasons), files()).tolist() == found.tolist()


@pytest.mark.parametrize(
    ("run", "found"),
    [
        (("7", 5, 6, "InProgress", QUOTA), [1, 1, 0, 0, 0]),
        (("7", 6, 7, "InProgress", QUOTA), [0, 1, 0, 0, 0]),
        (("7", 1, 99, "Failed", QUOTA), [1, 1, 1, 0, 0]),
        (("7", 8, 8, "Pending", QUOTA), [0, 0, 1, 0, 0]),
        (("8", 4, 4, "InProgress", QUOTA), [0, 0, 0, 1, 0]),
        (("8", 5, 7, "InProgress", QUOTA), [0, 0, 0, 0, 1]),
        (("8", 7, 9, "InProgress", QUOTA), [0, 0, 0, 0, 0]),
        # A file that is done, another trouble and another job say nothing.
        (("7", 5, 8, "completed", QUOTA), [0, 0, 0, 0, 0]),
        (("7", 5, 8, "InProgress", "schema mismatch"), [0, 0, 0, 0, 0]),
        (("7", 5, 8, "InProgress", None), [0, 0, 0, 0, 0]),
        (("9", 1, 99, "InProgress", QUOTA), [0, 0, 0, 0, 0]),
    ],
)
def test_the_reason_of_a_file_counts_while_it_is_listed(run, found):
    assert at_quota(SEEN, files(run)).tolist() == [bool(each) for each in found]


def test_files_that_overlap_count_until_the_last_of_them_has_gone():
    runs = files(("7", 5, 6, "InProgress", QUOTA), ("7", 5, 8, "InProgress", QUOTA))
    assert at_quota(SEEN, runs).tolist() == [True, True, True, False, False]
    single = runs.drop(columns="last_snapshot_id")
    assert at_quota(SEEN, single).tolist() == [True, False, False, False, False]
