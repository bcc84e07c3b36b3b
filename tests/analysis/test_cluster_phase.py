"""Exact phases, against the truth of simulated clusters."""

import culprits
import numpy as np
import pandas as pd
import pytest
from clusters import at, cluster, task

from importstats import ImportJob, eta, phases, with_phase
from importstats.analysis.cluster_phase import _sorts_since_import, by_known_phase, with_known_phase
from importstats.simulator import ClusterSpec
from importstats.store.cluster_frames import no_cluster


@pytest.mark.parametrize(
    ("second", "phase"),
    [
        (9, None),
        (10, "PreImporting"),
        (19, "PreImporting"),
        (20, "Importing"),
        (39, "Importing"),
        # One of two import tasks has failed, which ends it; then the other.
        (40, None),
        (49, None),
        (50, "Sorting"),
        (69, "Sorting"),
        (70, "IndexBuilding"),
    ],
)
@pytest.mark.parametrize("job", ["7", "8"])
def test_a_phase_begins_with_what_is_listed_and_ends_with_what_has_ended(job, second, phase):
    tasks = [
        (10, 15, task("p", "InProgress", kind="PreImportTask")),
        (16, 90, task("p", "Completed", kind="PreImportTask")),
        (20, 29, task("1", "InProgress")),
        (20, 39, task("2", "InProgress")),
        (30, 90, task("1", "Failed")),
        (40, 90, task("2", "Completed")),
    ]
    plans = [
        (50, 59, {"plan_id": "s", "collection_id": "c", "state": "executing"}),
        (55, 69, {"plan_id": "t", "collection_id": "c", "state": "pipelining"}),
        (60, 90, {"plan_id": "s", "collection_id": "c", "state": "timeout"}),
        (70, 90, {"plan_id": "t", "collection_id": "c", "state": "completed"}),
    ]
    plans = [(*span, {**plan, "kind": "SortCompaction"}) for *span, plan in plans]
    jobs = pd.DataFrame({"source_uri": ["u"], "job_id": [job], "observed_at": [at(second)]})
    (known,) = with_known_phase(jobs, cluster(tasks=tasks, compactions=plans))["known_phase"]
    assert (None if pd.isna(known) else known) == (phase if job == "7" else None)
    other = jobs.assign(source_uri="v")
    assert with_known_phase(other, cluster(tasks=tasks))["known_phase"].isna().all()


@pytest.mark.parametrize(
    ("guessed", "known", "phase", "fraction", "source"),
    [
        ("Importing", "Sorting", "Sorting", None, "cluster"),
        ("Importing", "Importing", "Importing", 0.5, "cluster"),
        ("Importing", None, "Importing", 0.5, "progress"),
        ("Pending", "Importing", "Pending", 0.5, "progress"),
        ("Completed", "IndexBuilding", "Completed", 0.5, "progress"),
    ],
)
def test_a_known_phase_is_believed_where_progress_leaves_doubt(
    guessed, known, phase, fraction, source
):
    jobs = pd.DataFrame({"phase": [guessed], "phase_fraction": [0.5], "known_phase": [known]})
    (found,) = by_known_phase(jobs).astype({"phase": "str"}).to_dict("records")
    assert (found["phase"], found["phase_source"]) == (phase, source)
    assert found["phase_fraction"] == fraction or (
        fraction is None and pd.isna(found["phase_fraction"])
    )


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
    jobs, frames = watched.jobs, watched.watch.frames()
    whole = with_known_phase(jobs, frames)["known_phase"]
    for place in (3, 9, 20):
        until = jobs["observed_at"].iloc[place]
        cut = type(frames)(*(frame[frame["observed_at"] <= until] for frame in frames))
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
    sorts = no_cluster()._replace(compactions=plans)
    found = _sorts_since_import(sorts, "u", tasks)
    assert found["plan_id"].tolist() == ["1", "2"]
    assert _sorts_since_import(sorts, "u", tasks[:1]).empty
