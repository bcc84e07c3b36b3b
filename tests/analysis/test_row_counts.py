"""Whether a job and its files have the expected rows."""

import numpy as np
import pandas as pd
import pytest

from importstats.analysis.row_counts import _places_by_path, check_rows, row_checks

AT = pd.Timestamp("2026-05-18", tz="UTC")


def details(*rows, job="7"):
    """Index, name, rows and state of each file, as of one second after the other."""
    frame = pd.DataFrame(rows, columns=["file_index", "file", "imported_rows", "state"])
    return frame.assign(
        source_uri="u",
        job_id=job,
        imported_rows=frame["imported_rows"].astype("Int64"),
        observed_at=AT + pd.to_timedelta(range(len(frame)), "s"),
    )


def verdicts(checked):
    rows = checked[["expected_rows", "imported_rows", "difference", "verdict"]]
    return [tuple(None if pd.isna(each) else each for each in row)
            for row in rows.itertuples(index=False)]  # fmt: skip


@pytest.mark.parametrize(
    ("imported", "state", "expected", "found"),
    [
        (5, "Completed", 5, (5, 5, 0, "equal")),
        (4, "Completed", 5, (5, 4, -1, "fewer")),
        (6, "Completed", 5, (5, 6, 1, "more")),
        (6, "InProgress", 5, (5, 6, 1, "not completed")),
        (None, "Completed", 5, (5, None, None, "unknown")),
        (5, "completed", 5, (5, 5, 0, "equal")),
    ],
)
def test_a_count_is_equal_or_how_far_off_it_is(imported, state, expected, found):
    frame = details((0, "a", imported, state))
    assert verdicts(check_rows(frame, expected)) == [found]
    assert verdicts(check_rows(frame, {"a": expected})) == [found, found]


def test_the_job_comes_first_and_then_its_files_and_what_is_not_there():
    frame = details((1, "in/b", 3, "Completed"), (0, "in/a", 2, "Completed"))
    checked = check_rows(frame, {"a": 2, "b": 4, "c": 1})
    assert checked["file"].fillna("").tolist() == ["", "in/a", "in/b", "c"]
    assert verdicts(checked) == [
        (7, 5, -2, "fewer"),
        (2, 2, 0, "equal"),
        (4, 3, -1, "fewer"),
        (1, None, None, "not listed"),
    ]
    (found,) = row_checks(checked).values()
    assert (found.expected, found.imported, found.wrong, found.wrong_files) == (7, 5, True, 2)
    assert found.worst_file == "in/b"
    right = row_checks(check_rows(frame, {"a": 2, "b": 3}))["u", "7"]
    assert (right.wrong, right.wrong_files, right.worst_file) == (False, 0, None)


def test_the_file_that_is_off_by_most_is_the_worst():
    frame = details((0, "a", 1, "Completed"), (1, "b", 9, "Completed"))
    found = row_checks(check_rows(frame, {"a": 2, "b": 4, "c": 3}))["u", "7"]
    assert (found.worst_file, found.wrong_files) == ("b", 3)
    lost = row_checks(check_rows(frame, {"a": 2, "b": 4, "c": 9}))["u", "7"]
    assert lost.worst_file == "c"


def test_a_file_counts_with_the_most_rows_it_showed_and_its_last_state():
    frame = details((0, "a", 5, "InProgress"), (0, "a", 9, "Completed"), (0, "a", 0, "Completed"))
    assert verdicts(check_rows(frame, 9)) == [(9, 9, 0, "equal")]
    assert verdicts(check_rows(frame.iloc[::-1], 9)) == [(9, 9, 0, "equal")]


def test_a_job_is_unknown_as_long_as_one_of_its_files_is():
    frame = details((0, "a", 5, "Completed"), (1, "b", None, "Completed"))
    assert verdicts(check_rows(frame, 5)) == [(5, None, None, "unknown")]
    assert verdicts(check_rows(frame, {"a": 5, "b": None}))[0] == (None, None, None, "unknown")
    two = pd.concat([frame, details((0, "a", 5, "Completed"), job="8")])
    assert [each[-1] for each in verdicts(check_rows(two, 5))] == ["unknown", "equal"]
    assert list(row_checks(check_rows(two, 5))) == [("u", "7"), ("u", "8")]


@pytest.mark.parametrize(
    ("names", "wanted", "places"),
    [
        (["in/a", "in/b"], ["in/b", "in/a"], [1, 0]),
        (["in/a", "in/b"], ["b", "/b", "c"], [1, 1, -1]),
        # An end that two files have is neither's, but a whole path is one file's.
        (["x/a", "y/a"], ["a", "x/a"], [-1, 0]),
        (["x/a", "y/a", "a"], ["a"], [2]),
        (["z/x/a", "z/y/a"], ["x/a", "y/a", "a"], [0, 1, -1]),
        (["a", "a"], ["a"], [0]),
        (["xa"], ["a"], [-1]),
    ],
)
def test_a_file_is_found_by_its_path_or_by_the_end_that_it_alone_has(names, wanted, places):
    found = _places_by_path(np.array(names, object), np.array(wanted, object))
    assert found.tolist() == places
