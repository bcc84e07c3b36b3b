"""The rest of a job by the work that is left, on clusters."""

from dataclasses import replace
from functools import cache

import culprits
import numpy as np
import pandas as pd
import pytest

from importstats import ImportJob
from importstats.analysis.cluster_state import ClusterState
from importstats.analysis.forecast import eta
from importstats.analysis.forecast.memory import Memory
from importstats.analysis.work_ahead import segments_to_come
from importstats.analysis.work_left import import_and_work_left_s, with_work_left, work_left_s
from importstats.simulator import Arrival, ClusterSpec
from importstats.store.cluster_frames import no_cluster


@pytest.fixture
def building():
    """See :func:`simulated_building`."""
    return simulated_building()


@cache
def simulated_building():
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
    errors = {"work": [], "before": []}
    for at in times[4::9]:
        before, after = eta(seen.jobs, at=at), eta(seen.jobs, at=at, cluster=cluster)
        if after["method"].astype("str").item() != "work":
            assert after.drop(columns="phase").equals(before.drop(columns="phase"))
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
    # 2.5 does not list its sorts: what they hold up is not known.
    sorting = before.assign(phase="Sorting")
    assert with_work_left(sorting, cluster) is not sorting
    hidden = cluster._replace(compactions=cluster.compactions.iloc[:0])
    assert with_work_left(sorting, hidden) is sorting


def test_every_snapshot_has_the_estimate_that_was_known_by_then(building):
    seen, *_ = building
    cluster = seen.watch.frames()
    jobs = seen.jobs.iloc[-7::3]
    every = eta(jobs, cluster=cluster)
    assert every["method"].astype("str").tolist() == ["work", "work", "ended"]
    alone = [eta(jobs, at=at, cluster=cluster) for at in jobs["observed_at"]]
    pd.testing.assert_frame_equal(every, pd.concat(alone, ignore_index=True))


def test_nothing_of_later_is_used(building):
    seen, _, times = building
    cluster, at = seen.watch.frames(), times[-6]
    cut = type(cluster)(*(frame[frame["observed_at"] <= at] for frame in cluster))
    both = [
        work_left_s(ClusterState.from_cluster(each, culprits.URI, at), seen.job_id)
        for each in (cluster, cut)
    ]
    np.testing.assert_array_equal(*both)


@pytest.fixture
def importing():
    """See :func:`simulated_importing`."""
    return simulated_importing()


@cache
def simulated_importing():
    """A job whose cluster ran others before it was watched; looks in Importing, and the truth."""
    rng = np.random.default_rng(8)
    job = culprits.job_of(rng, index_rows_per_s=6e3)
    earlier = [
        Arrival(-4000.0 * (3 - number), replace(job, collection_name=f"earlier{number}"))
        for number in range(3)
    ]
    case = culprits.Case(ClusterSpec(other_jobs=tuple(earlier)), job)
    seen = culprits.Watched(case, 8)
    looks = {}
    while seen.poll():
        phase = seen.cluster.describe(seen.job_id).phase.value
        looks.setdefault(phase, []).append(seen.jobs["observed_at"].iloc[-1])
    return seen, pd.Timestamp(seen.cluster.truth(seen.job_id).end), looks


def test_from_importing_on_the_work_to_come_is_counted(importing):
    seen, end, looks = importing
    cluster = seen.watch.frames()
    found = pd.concat(
        [eta(seen.jobs, at=at, cluster=cluster) for at in looks["Importing"]], ignore_index=True
    )
    before = pd.concat([eta(seen.jobs, at=at) for at in looks["Importing"]], ignore_index=True)
    by_work = found["method"].astype("str").eq("work")
    assert by_work.sum() >= 3
    true_s = (end - found["observed_at"]).dt.total_seconds()
    errors = [(each["remaining_p50_s"] / true_s - 1).abs()[by_work] for each in (found, before)]
    assert errors[0].median() < 0.4
    assert errors[0].median() < errors[1].median() / 2
    # No seam: the last estimate in Importing and the first one after it say nearly the same.
    after = eta(seen.jobs, at=looks["Sorting"][0], cluster=cluster)
    last, first = (each["eta_p50"].iloc[-1] for each in (found[by_work], after))
    assert abs(last - first) < 0.3 * (end - looks["Sorting"][0])


def test_nothing_of_later_is_used_in_importing_either(importing):
    seen, _, looks = importing
    cluster, at = seen.watch.frames(), looks["Importing"][2]
    cut = type(cluster)(*(frame[frame["observed_at"] <= at] for frame in cluster))
    both = [
        import_and_work_left_s(ClusterState.from_cluster(each, culprits.URI, at), seen.job_id, 1e7)
        for each in (cluster, cut)
    ]
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize("hidden", ["segments", "gauges", "index nodes", "tasks at work"])
def test_what_is_not_known_of_an_import_leaves_its_estimate_as_it_is(importing, hidden):
    seen, _, looks = importing
    cluster, at = seen.watch.frames(), looks["Importing"][2]
    before = eta(seen.jobs, at=at)
    assert with_work_left(before, cluster) is not before
    less = {
        "segments": cluster._replace(segments=cluster.segments.iloc[:0]),
        "gauges": cluster._replace(gauges=cluster.gauges.iloc[:0]),
        "index nodes": cluster._replace(
            nodes=cluster.nodes.assign(kind=["indexnode"] * len(cluster.nodes))
        ),
        "tasks at work": cluster._replace(
            tasks=cluster.tasks[cluster.tasks["state"].astype("str").eq("Completed")]
        ),
    }[hidden]
    assert with_work_left(before, less) is before


def test_segments_without_rows_share_what_is_left_of_the_jobs_rows(importing):
    seen, _, looks = importing
    state = ClusterState.from_cluster(seen.watch.frames(), culprits.URI, looks["Importing"][0])
    rows = segments_to_come(state, seen.job_id, 1e7)
    assert len(rows) > 3
    assert rows.sum() == pytest.approx(1e7)
    assert segments_to_come(state, "another", 1e7).tolist() == []


def test_what_the_cluster_remembers_counts_until_its_jobs_are_known(importing):
    seen, end, looks = importing
    cluster, at = seen.watch.frames(), looks["Importing"][0]
    # Only the metrics: the work that is left is not known.
    metrics = no_cluster()._replace(gauges=cluster.gauges)
    true_s = (end - at).total_seconds()
    before, after = (eta(seen.jobs, at=at, cluster=each) for each in (None, metrics))
    assert after["method"].astype("str").item() == "priors"
    errors = [abs(np.log(each["remaining_p50_s"].item() / true_s)) for each in (before, after)]
    assert errors[1] < errors[0] / 2
    # What is added while the job runs, its own phases among it, changes nothing.
    early = metrics._replace(gauges=cluster.gauges[cluster.gauges["observed_at"] <= at])
    assert eta(seen.jobs, at=at, cluster=early).equals(after)
    later = metrics.gauges.assign(
        observed_at=metrics.gauges["observed_at"] + pd.Timedelta(days=1),
        last_observed_at=metrics.gauges["last_observed_at"] + pd.Timedelta(days=1),
    )
    assert eta(seen.jobs, at=at, cluster=metrics._replace(gauges=later)).equals(before)
    # A job of the cluster in the history is one of those that are remembered.
    day = pd.Timedelta(days=1)
    earlier = seen.jobs.assign(
        job_id="earlier", collection_name="others", observed_at=seen.jobs["observed_at"] - day
    )
    known = eta(seen.jobs, history=earlier, at=at)
    assert known["method"].astype("str").item() == "history"
    assert eta(seen.jobs, history=earlier, at=at, cluster=metrics).equals(known)


def test_only_whole_jobs_are_remembered(importing):
    seen, _, looks = importing
    gauges, at = seen.watch.frames().gauges, looks["Importing"][0]
    builds = gauges["labels"].str.contains("build_index")
    assert Memory.from_gauges(gauges[~builds], at) is None
    assert Memory.from_gauges(gauges.iloc[:0], at) is None
    memory = Memory.from_gauges(gauges, at)
    # Its own PreImporting is over, and one of four.
    assert memory.jobs.tolist() == [4.0, 3.0, 3.0, 3.0, 0.0]
    # 2.4 has no stage for sorting: all the rest is index building.
    older = Memory.from_gauges(gauges[~gauges["labels"].str.contains("stats")], at)
    assert older.jobs.tolist() == [4.0, 3.0, 0.0, 3.0, 0.0]
    assert older.mean_s[3] < memory.mean_s[3]
