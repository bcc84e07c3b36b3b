"""What the benchmarks put down to chance."""

import numpy as np
import pandas as pd
import pytest
from measures import Limit, bootstrap, coverage


def made(*clusters):
    """One row per job, of clusters of jobs with these values."""
    rows = [
        (f"http://{place}", str(job), value)
        for place, values in enumerate(clusters)
        for job, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["source_uri", "job_id", "inside"])


def mean(rows):
    return float(rows["inside"].mean())


def test_jobs_of_a_cluster_share_its_luck():
    alike = made(*[[1.0] * 9] * 2, *[[0.0] * 9] * 2)
    mixed = made(*[[1.0, 0.0] * 5] * 4)
    low, high = bootstrap(alike, mean)
    assert (low, high) == (0, 1)
    low, high = bootstrap(mixed, mean)
    assert 0.25 < low < 0.4 < 0.6 < high < 0.75
    # Of a single cluster its jobs are drawn.
    low, high = bootstrap(made([1.0, 0.0] * 5), mean)
    assert low < 0.4 < 0.6 < high
    assert np.isnan(bootstrap(made(), mean)).all()


def test_coverage_is_of_each_group_where_there_is_an_interval():
    table = made([1.0, 1.0], [0.0, np.nan]).assign(family=["a", "a", "b", "b"])
    found = coverage(table, "family")
    assert found.to_numpy().tolist() == [["a", 1, 1, 1], ["b", 0, 0, 0]]


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [
        (Limit("x", 0.74, 0.88, 0.74), "holds"),
        (Limit("x", 0.73, 0.88, 0.74), "FAILS"),
        (Limit("x", 0.73, 0.88, 0.74, highest=0.74, lowest=0.5), "within chance"),
        (Limit("x", 0.73, 0.88, 0.74, highest=0.739, lowest=0.5), "FAILS"),
        (Limit("x", 0.9, 0.88, 0.74, highest=0.99, lowest=0.88), "within chance"),
        (Limit("x", 0.9, 0.88, 0.74, highest=0.99, lowest=0.881), "FAILS"),
        (Limit("x", np.nan, 0.88, 0.74, highest=0.99, lowest=0.5), "FAILS"),
        (Limit("x", np.nan, 0.88), "FAILS"),
    ],
)
def test_what_fails_by_no_more_than_chance_is_said_to(limit, verdict):
    assert limit.verdict == verdict
    assert limit.line().startswith(f"| x | {limit.found:.3g} | ")
