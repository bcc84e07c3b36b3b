"""The rest of a job by the work that is left, on queues that can be reckoned and on clusters."""

from dataclasses import replace

import culprits
import numpy as np
import pandas as pd
import pytest

from importstats import ImportJob
from importstats.analysis.cluster_phase import with_known_phase
from importstats.analysis.cluster_state import ClusterState
from importstats.analysis.forecast import eta
from importstats.analysis.work_left import Pace, Queue, _drawn, with_work_left, work_left_s
from importstats.simulator import Arrival, ClusterSpec
from importstats.store.cluster_frames import no_cluster

EXACT = Pace(0.0, 1e-6)  # A second for each row.
NONE = np.zeros(0)


def drawn(**fields):
    known = {
        "ages_s": NONE,
        "running_rows": NONE,
        "running_own": np.zeros(0, bool),
        "ahead_rows": NONE,
        "own_rows": NONE,
        "at_once": 1,
    }
    return float(np.median(_drawn(Queue(**{**known, **fields}), EXACT, np.random.default_rng(1))))


@pytest.mark.parametrize(
    ("queue", "seconds"),
    [
        ({"own_rows": np.array([100.0, 100.0])}, 200),
        ({"own_rows": np.array([100.0, 100.0]), "at_once": 2}, 100),
        ({"own_rows": np.array([100.0]), "ahead_rows": np.array([50.0, 50.0])}, 200),
        ({"own_rows": np.array([100.0]), "ahead_rows": np.full(3, 50.0), "at_once": 2}, 150),
        (
            {
                "ages_s": np.array([60.0]),
                "running_rows": np.array([100.0]),
                "running_own": np.array([True]),
            },
            40,
        ),
        (
            {
                "ages_s": np.array([60.0]),
                "running_rows": np.array([100.0]),
                "running_own": np.array([False]),
                "own_rows": np.array([10.0]),
            },
            50,
        ),
    ],
)
def test_a_queue_takes_as_long_as_can_be_reckoned(queue, seconds):
    assert drawn(**queue) == pytest.approx(seconds, rel=0.1)


def test_a_pace_needs_three_works_and_is_by_row():
    assert Pace.of(np.array([2.0, 4.0]), np.array([1.0, 2.0])) is None
    pace = Pace.of(np.array([2.0, 4.0, 8.0]), np.array([1.0, 2.0, 4.0]))
    assert pace == Pace(pytest.approx(np.log(2)), 0.05)


@pytest.fixture(scope="module")
def building():
    """A job in IndexBuilding behind the builds of another, and the seconds that were left."""
    rng = np.random.default_rng(5)
    job = culprits.job_of(rng, index_rows_per_s=8e3)
    other = replace(culprits.job_of(rng, index_rows_per_s=8e3), collection_name="others")
    case = culprits.Case(ClusterSpec(other_jobs=(Arrival(-60.0, other),)), job)
    seen = culprits.Watched(case, 5)
    at = []
    while seen.poll():
        at.append(seen.jobs["observed_at"].iloc[-1])
    end = pd.Timestamp(seen.cluster.truth(seen.job_id).end)
    return seen, end, at


def test_the_estimate_is_nearer_to_the_truth_than_without(building):
    seen, end, times = building
    cluster = seen.watch.frames()
    jobs = with_known_phase(seen.jobs, cluster)
    errors = {"work": [], "before": []}
    for at in times[4::9]:
        before = eta(jobs, at=at)
        after = with_work_left(before, cluster)
        if after["method"].astype("str").item() != "work":
            assert after.equals(before)
            continue
        true_s = (end - at).total_seconds()
        for name, frame in (("before", before), ("work", after)):
            errors[name].append(abs(frame["remaining_p50_s"].item() / true_s - 1))
        p10, p50, p90 = after[["eta_p10", "eta_p50", "eta_p90"]].iloc[0]
        assert at <= p10 < p50 < p90
        assert pd.isna(after["reason"].item())
    assert len(errors["work"]) >= 3
    assert np.median(errors["work"]) < 0.25
    assert np.median(errors["work"]) < np.median(errors["before"]) / 2


def test_a_job_shows_it_and_says_so(building):
    seen, _, times = building
    at = times[-6]
    job = ImportJob(seen.jobs, at=at.to_pydatetime(), cluster=seen.watch.frames())
    assert str(job.eta["method"]) == "work"


def test_what_is_not_known_leaves_the_estimate_as_it_is(building):
    seen, _, times = building
    before = eta(seen.jobs, at=times[-6])
    assert with_work_left(before, no_cluster()) is before
    cluster = seen.watch.frames()
    few = cluster._replace(builds=cluster.builds[cluster.builds["state"].ne("Finished")])
    few = few._replace(gauges=cluster.gauges.iloc[:0])
    assert with_work_left(before, few) is before


def test_nothing_of_later_is_used(building):
    seen, _, times = building
    cluster, at = seen.watch.frames(), times[-6]
    cut = type(cluster)(*(frame[frame["observed_at"] <= at] for frame in cluster))
    both = [
        work_left_s(ClusterState.of(each, culprits.URI, at), seen.job_id) for each in (cluster, cut)
    ]
    np.testing.assert_array_equal(*both)
