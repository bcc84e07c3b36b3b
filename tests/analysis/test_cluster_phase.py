"""Exact phases, against the truth of simulated clusters."""

import culprits
import numpy as np
import pandas as pd
import pytest

from importstats import ImportJob, eta, phases, with_phase
from importstats.analysis.cluster_phase import _sorts_since_import, with_known_phase
from importstats.simulator import ClusterSpec
from importstats.store.cluster_frames import no_cluster


@pytest.fixture(scope="module", params=["2.5", "2.6"])
def watched(request):
    """A whole job whose segments take long to sort, so that 70 to 80 % lasts."""
    job = culprits.job_of(np.random.default_rng(3), sort_rows_per_s=3e4)
    seen = culprits.Watched(culprits.Case(ClusterSpec(), job), 3, request.param)
    while seen.poll(5.0):
        pass
    return seen


def truth_at(seen, times):
    spans = seen.cluster.truth(seen.job_id).phases
    return [spans.loc[spans["start"] <= time, "phase"].iloc[-1] for time in times]


def test_phases_are_those_of_the_truth(watched):
    known = with_phase(with_known_phase(watched.jobs, watched.watch.frames()))
    truth = np.array(truth_at(watched, known["observed_at"]))
    from_cluster = known["phase_source"].eq("cluster").to_numpy()
    right = known["phase"].astype("str").to_numpy() == truth
    assert from_cluster.sum() >= 10
    # The coordinator checks phases every other second, so one poll may lie between.
    assert (~right & from_cluster).sum() <= 2
    expected = {"PreImporting", "Importing"}
    if watched.dialect.release.startswith("2.6"):
        expected |= {"Sorting", "IndexBuilding"}
    assert set(known.loc[from_cluster, "phase"].astype("str")) == expected


def test_a_cut_frame_gives_the_same_phases(watched):
    jobs, cluster = watched.jobs, watched.watch.frames()
    whole = with_known_phase(jobs, cluster)["known_phase"]
    for place in (3, 9, 20):
        at = jobs["observed_at"].iloc[place]
        cut = type(cluster)(*(frame[frame["observed_at"] <= at] for frame in cluster))
        known = with_known_phase(jobs.iloc[: place + 1], cut)["known_phase"]
        pd.testing.assert_series_equal(known, whole.iloc[: place + 1])


def test_all_that_rests_on_phases_believes_them(watched):
    jobs = with_known_phase(watched.jobs, watched.watch.frames())
    known = jobs.assign(known_phase="Sorting")
    middle = known[with_phase(watched.jobs)["phase"].astype("str").eq("Importing")]
    assert set(with_phase(middle)["phase"].astype("str")) == {"Sorting"}
    assert set(phases(middle)["phase"].astype("str")) == {"Sorting"}
    assert set(eta(middle)["phase"].astype("str")) == {"Sorting"}
    job = ImportJob(watched.jobs, cluster=watched.watch.frames())
    assert "cluster" in set(job.jobs["phase_source"])


def test_what_the_server_names_itself_is_not_overruled(watched):
    ended = watched.jobs.tail(1).assign(known_phase="Sorting")
    assert with_phase(ended)["phase"].astype("str").item() == "Completed"


def test_jobs_without_tasks_are_as_before(watched):
    other = watched.jobs.assign(job_id="7")
    known = with_known_phase(other, watched.watch.frames())
    assert known["known_phase"].isna().all()
    pd.testing.assert_series_equal(with_phase(known)["phase"], with_phase(other)["phase"])


def test_the_sorts_of_a_job_are_those_of_its_collection_since_its_import_began():
    start = pd.Timestamp("2026-05-18", tz="UTC")
    plans = pd.DataFrame(
        [(f"{n}", "u", "c", "SortCompaction", start + pd.Timedelta(n, "s")) for n in range(3)]
        + [
            ("other kind", "u", "c", "MixCompaction", start + pd.Timedelta(9, "s")),
            ("other collection", "u", "d", "SortCompaction", start + pd.Timedelta(9, "s")),
            ("other server", "v", "c", "SortCompaction", start + pd.Timedelta(9, "s")),
        ],
        columns=["plan_id", "source_uri", "collection_id", "kind", "observed_at"],
    )
    tasks = pd.DataFrame(
        {
            "kind": ["PreImportTask", "ImportTask", "ImportTask"],
            "collection_id": ["c", "c", None],
            "observed_at": [start, start + pd.Timedelta(1, "s"), start + pd.Timedelta(2, "s")],
        }
    )
    cluster = no_cluster()._replace(compactions=plans)
    found = _sorts_since_import(cluster, "u", tasks)
    assert found["plan_id"].tolist() == ["1", "2"]
    assert _sorts_since_import(cluster, "u", tasks[:1]).empty
