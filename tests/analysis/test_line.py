"""The straight line through progress, on numbers that fit on a hand."""

import numpy as np
import pandas as pd
import pytest

from importstats.analysis.forecast.line import WEIGHT, line_s, with_line


def seen(*rows):
    return pd.DataFrame(rows, columns=["job", "now_s", "place", "progress_pct"])


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        # 30 points in 300 s: 60 are left, which take 600 s.
        ([(0, 100, 1, 10), (0, 400, 1, 40)], [None, 600]),
        # What was before the queue ended counts for nothing, nor does an unknown progress.
        ([(0, 0, 0, 5), (0, 100, 1, 10), (0, 400, 1, 40)], [None, None, 600]),
        ([(0, 0, 1, None), (0, 100, 1, 10), (0, 400, 1, 40)], [None, None, 600]),
        ([(0, 0, -1, 1), (0, 100, 1, 10), (0, 400, 1, 40)], [None, None, 600]),
        # Without a move, backwards, or at the end there is no line.
        ([(0, 100, 1, 10), (0, 400, 1, 10)], [None, None]),
        ([(0, 100, 1, 10), (0, 400, 1, 9)], [None, None]),
        ([(0, 100, 1, 10), (0, 400, 1, 100)], [None, None]),
        ([(0, 100, 1, 10), (0, 400, 1, 99)], [None, 300 / 89]),
        # Another job has a beginning of its own.
        ([(0, 100, 1, 10), (1, 400, 1, 40), (1, 460, 1, 70)], [None, None, 60]),
    ],
)
def test_what_is_left_goes_on_as_it_went_since_the_queue(rows, left):
    found = line_s(seen(*rows))
    expected = [np.nan if each is None else each for each in left]
    assert found == pytest.approx(expected, nan_ok=True)


def rows_of(phase="Importing", line=100.0, gained=0.0, only_imports=False, lived=1e6):
    row = {"phase": phase, "line_s": line, "gained": gained, "step": 0.1, "lived_s": lived}
    return pd.DataFrame([{**row, "only_imports": only_imports}])


@pytest.mark.parametrize(
    ("row", "is_alone", "weight"),
    [
        ({}, True, WEIGHT),
        ({"phase": "Sorting"}, True, WEIGHT),
        ({"phase": "PreImporting"}, True, WEIGHT),
        ({"phase": "IndexBuilding"}, True, WEIGHT),
        ({"phase": "IndexBuilding", "gained": 0.1}, True, WEIGHT),
        ({"phase": "IndexBuilding", "gained": 0.2}, True, 0),
        ({"gained": 0.2}, True, WEIGHT),
        ({"phase": "Committing"}, True, 0),
        ({"only_imports": True}, True, 0),
        ({"line": np.nan}, True, 0),
        ({}, False, 0),
    ],
)
def test_the_line_counts_by_its_phase_where_there_is_nothing_better(row, is_alone, weight):
    left = np.array([[900.0, 1000.0, 1600.0]])
    found = with_line(rows_of(**row), left, np.array([is_alone]))
    # From a middle of 1,000 a tenth of it: so many powers of ten nearer, all draws alike.
    np.testing.assert_allclose(found, left * 0.1**weight)


def test_a_line_below_a_second_is_a_second():
    left = np.array([[100.0]])
    found = with_line(rows_of("Importing", 0.01), left, np.array([True]))
    np.testing.assert_allclose(found, [[10.0]])


@pytest.mark.parametrize(
    ("lived", "weight"), [(0, 1), (45 * np.log(2), 0.75), (45 * np.log(10), 0.55), (1e6, 0.5)]
)
def test_the_line_counts_more_in_the_first_moments_and_half_later(lived, weight):
    found = with_line(rows_of(lived=lived), np.array([[1000.0]]), np.array([True]))
    np.testing.assert_allclose(found, [[1000 * 0.1**weight]])
