"""A cluster's frames between two times."""

import pytest
from clusters import at, cluster, task

from importstats.analysis.cluster_cut import cluster_between

ROWS = [(10, 20, task("1", "Pending")), (20, 40, task("1", "InProgress"))]


@pytest.mark.parametrize(
    ("start", "end", "spans"),
    [
        (0, 50, [(10, 20), (20, 40)]),
        (0, 9, []),
        (0, 10, [(10, 10)]),
        (15, 30, [(15, 20), (20, 30)]),
        (20, 20, [(20, 20), (20, 20)]),
        (21, 40, [(21, 40)]),
        (40, 50, [(40, 40)]),
        (41, 50, []),
    ],
)
def test_runs_that_reach_into_the_time_are_cut_to_it(start, end, spans):
    part = cluster_between(cluster(tasks=ROWS), "u", at(start), at(end))
    found = part.tasks
    assert [
        (first - at(0), last - at(0))
        for first, last in zip(found["observed_at"], found["last_observed_at"], strict=True)
    ] == [(at(first) - at(0), at(last) - at(0)) for first, last in spans]
    assert list(found) == list(cluster(tasks=ROWS).tasks)
    assert found.index.tolist() == list(range(len(spans)))
    assert cluster_between(cluster(tasks=ROWS), "v", at(start), at(end)).tasks.empty
