"""Numbers of the duration model and of what is read off it, to five digits.

Their constants were chosen on benchmarks. One that is changed on purpose changes these numbers: run
the benchmarks, then write down what a failing test shows.
"""

import numpy as np
import pytest

from importstats.analysis.ages import Ages
from importstats.analysis.durations import fit_durations, medians_of_censored, pooled_prior
from importstats.analysis.speculation import late_stragglers, spark_speculation
from importstats.analysis.work_queue import Pace, Works, last_end_s
from importstats.store import datasets

JOB = np.array([0, 0, 0, 1, 1, 2])
SIZE = np.array([1e9, 2e9, 5e8, 1e9, 1e8, 3e8])
LEAST = np.array([9.0, 19, 40, 3, 0.1, 5])
MOST = np.array([11.0, 21, np.inf, 4, 0.3, np.inf])


def short(values):
    return [float(f"{value:.5g}") for value in np.atleast_1d(np.asarray(values, float)).ravel()]


def test_the_durations_of_three_jobs():
    known = fit_durations(JOB, 3, SIZE, LEAST, MOST)
    assert {
        "pace": short(known.pace),
        "pace_sd": short(known.pace_sd),
        "whole_pace": short(known.whole_pace),
        "scatter": known.scatter.tolist(),
        "fixed_bytes": known.fixed_bytes.tolist(),
        "ended": known.ended.tolist(),
        "survival": short(known.survival(JOB, SIZE, LEAST + 1)),
        "median_s": short(known.median_s(JOB, SIZE)),
    } == {
        "pace": [-18.425, -19.562, -16.338],
        "pace_sd": [0.05663, 0.1367, 1.0838],
        "whole_pace": [-18.409, -19.223, -16.286],
        "scatter": [0.04, 0.08, 0.15],
        "fixed_bytes": [16e6, 128e6, 16e6],
        "ended": [2, 2, 0],
        "survival": [0.55353, 0.51727, 7.271e-07, 0.27777, 0.021093, 0.92111],
        "median_s": [10.113, 20.067, 5.1363, 3.601, 0.72786, 25.364],
    }
    mean, sd, pooled = pooled_prior(known, np.array([0, 0, 1]), np.array([0, 0, 0]))
    assert (short(mean), short(sd)) == ([-19.223, -18.409, -18.811], [0.44574, 0.42803, 0.98256])
    assert pooled.tolist() == [True] * 3
    _, _, pooled = pooled_prior(known, np.array([0, 1, 2]), np.array([0, 1, 1]))
    assert pooled.tolist() == [False, False, True], "the second has none but one that did not end"


@pytest.mark.parametrize(
    ("values", "ended", "median"),
    [
        ([], [], np.nan),
        ([5.0], [True], 5),
        ([5.0], [False], 5),
        ([1.0, 2.0], [True, True], 1),
        ([1.0, 2.0, 3.0], [True, False, True], 3),
        ([1.0, 1.0, 4.0, 4.0], [False, True, True, False], 4),
        ([1.0, 2.0, 9.0], [False, False, False], 9),
    ],
)
def test_the_median_of_what_has_partly_ended(values, ended, median):
    row, known = np.array([[*values, np.inf]]), np.array([[*ended, False]])
    found = medians_of_censored(row, known)[0]
    np.testing.assert_equal(found, median)


def test_the_draws_of_a_queue_of_works():
    pace = Pace(0.0, 0.5).updated(np.array([2.0, 4, 8]), np.array([1.0, 2, 2]))
    mean, spread = pace.drawn(np.random.default_rng(5), np.array([1.0]), np.array([1.0]))
    assert mean.shape == spread.shape == (200, 1)
    assert short(np.quantile(mean, [0.1, 0.5, 0.9])) == [0.64742, 0.85437, 1.0302]
    assert short(np.quantile(spread, [0.1, 0.5, 0.9])) == [0.20935, 0.28674, 0.38783]
    running = Works(np.array([1.0, 2]), np.array([0, 1]), np.array([True, False]))
    waiting = Works(np.array([3.0, 1, 2]), np.array([1, 0, 0]), np.array([False, True, False]))
    ages, paces = np.array([0.5, 9.0]), (pace, Pace(0.5, 0.2))
    ends = last_end_s(running, ages, waiting, 2, paces, np.random.default_rng(3))
    assert short(np.quantile(ends, [0.05, 0.5, 0.95])) == [3.0025, 4.5809, 8.4837]
    assert Pace(0.0, 0.5).updated(np.zeros(1), np.ones(1)) == Pace(0.0, 0.5, 0.2, 4.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "stragglers",
            {
                "usual_s": [60, 971.73, 1120.7],
                "worked_s": [60, 867.14, 407.94],
                "as_long_p": [60, 0.49138, 0.30532],
                "remaining_s": [60, 174.75, 944.08],
                "lead_s": [2, 0.0, 828.52],
                "lead_share": [2, -0.0044438, 0.094379],
                "LATE": [2, 0.0010427],
                "Spark": [2, 1300.2, 1314.8],
            },
        ),
        (
            "healthy",
            {
                "usual_s": [80, 759.27, 416.78],
                "worked_s": [80, 608.46, 158.76],
                "as_long_p": [80, 0.60088, 0.33848],
                "remaining_s": [80, 117.21, 323.8],
                "lead_s": [13, -972.78, 540.36],
                "lead_share": [13, -0.41286, 0.2423],
                "LATE": [7, 0.0014344],
                "Spark": [13, 823.2, 921.34],
            },
        ),
    ],
)
def test_the_ages_of_a_recordings_tasks_by_their_count_mean_and_spread(name, expected):
    _, details = datasets.load(name)
    seen = details["observed_at"]
    at = seen.min() + (seen.max() - seen.min()) * 0.6
    ages = Ages.from_details(details, at)
    found = {}
    for field in ("usual_s", "worked_s", "as_long_p", "remaining_s", "lead_s", "lead_share"):
        known = getattr(ages, field)[np.isfinite(getattr(ages, field))]
        found[field] = short([len(known), known.mean(), known.std()])
    late, spark = late_stragglers(details, at), spark_speculation(details, at)
    found["LATE"] = short([late["is_straggler"].sum(), late["progress_rate"].mean()])
    spark_s = [spark["elapsed_s"].mean(), spark["threshold_s"].mean()]
    found["Spark"] = short([spark["is_straggler"].sum(), *spark_s])
    assert found == expected
