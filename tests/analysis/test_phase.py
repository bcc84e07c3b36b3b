import numpy as np
import pandas as pd
import pytest
from frames import START, jobs_of
from hypothesis import given, settings
from hypothesis import strategies as st

from importstats.analysis.phase import job_codes, phases, with_phase
from importstats.names import PHASES
from importstats.simulator import DIALECTS, simulate_job
from importstats.sources.snapshot import Snapshot
from importstats.store import datasets, frames
from importstats.store.frames import flatten_jobs

COLUMNS = ["state", "progress_pct", "imported_rows", "total_rows", "detail_count"]


def jobs_frame(rows, every_s=10.0, **columns):
    """A jobs frame with one snapshot per (state, progress, imported, total, details)."""
    frame = jobs_of(rows, COLUMNS, every_s=every_s, **{"source_uri": "http://a:19530", **columns})
    missing = pd.Series(pd.NaT, frame.index, "datetime64[us, UTC]")
    return frame.drop(columns="collection_name").assign(complete_time=missing)


def phase_of(*row):
    phased = with_phase(jobs_frame([row])).iloc[0]
    return phased["phase"], phased["phase_fraction"]


@pytest.mark.parametrize(
    ("row", "phase", "fraction"),
    [
        (("Pending", 0, 0, 0, 0), "Pending", 0.0),
        (("Pending", 7, 0, 0, 0), "Pending", 0.7),
        (("Importing", 10, 0, 0, 0), "PreImporting", 0.0),
        (("Importing", 25, 0, 0, 0), "PreImporting", 0.5),
        (("Importing", 40, 0, 0, 0), "PreImporting", 1.0),
        (("Importing", 40, 0, 1000, 3), "Importing", 0.0),
        (("Importing", 40, None, None, 3), "Importing", 0.0),
        (("Importing", 55, 513, 1000, 3), "Importing", 0.513),
        (("Importing", 55, None, None, 3), "Importing", 0.5),
        (("Importing", 69, 1000, 1000, 3), "Importing", 1.0),
        (("Importing", 70, 999, 1000, 3), "Importing", 0.999),
        (("Importing", 70, 1000, 1000, 3), "SortingOrIndexing", np.nan),
        (("Importing", 70, 0, 0, 3), "Importing", 1.0),
        (("Importing", 76, 1000, 1000, 3), "SortingOrIndexing", np.nan),
        (("Importing", 80, 1000, 1000, 3), "IndexBuilding", 0.0),
        (("Importing", 85, 1000, 1000, 3), "IndexBuilding", 0.5),
        (("Importing", 90, 1000, 1000, 3), "IndexBuilding", 1.0),
        (("Importing", 99, 1000, 1000, 3), "Committing", np.nan),
        (("Uncommitted", 99, 1000, 1000, 3), "Uncommitted", np.nan),
        (("Committing", 99, 1000, 1000, 3), "Committing", np.nan),
        (("Completed", 100, 1000, 1000, 3), "Completed", 1.0),
        (("Failed", 0, 0, 0, 0), "Failed", np.nan),
        (("importing", 85, 1000, 1000, 3), "IndexBuilding", 0.5),
        (("Compacting", 85, 1000, 1000, 3), "Unknown", np.nan),
        ((None, 85, 1000, 1000, 3), "IndexBuilding", 0.5),
        ((None, None, None, None, None), "Unknown", np.nan),
        (("None", 0, 0, 0, 0), "Unknown", np.nan),
    ],
)
def test_every_phase_is_read_from_state_progress_and_rows(row, phase, fraction):
    assert phase_of(*row) == (phase, pytest.approx(fraction, nan_ok=True))


@pytest.mark.parametrize(
    ("row", "phase", "fraction"),
    [
        (("Importing", None, 250, 1000, 3), "Importing", 0.25),
        (("Importing", -9.2e18, 0, 1000, 3), "Importing", 0.0),
        (("Importing", 0, 250, 1000, 3), "Importing", 0.25),
        (("Importing", None, 0, 0, 0), "PreImporting", np.nan),
        (("Importing", None, None, None, 3), "Importing", np.nan),
        (("Importing", None, 1000, 1000, 3), "SortingOrIndexing", np.nan),
        (("Importing", None, None, None, 0), "Unknown", np.nan),
        (("Importing", 20, 250, 1000, 3), "Importing", 0.25),
    ],
)
def test_a_wrong_or_missing_progress_gives_way_to_rows_and_details(row, phase, fraction):
    assert phase_of(*row) == (phase, pytest.approx(fraction, nan_ok=True))


def test_the_ranges_of_early_releases_are_recognised_from_the_first_sign_on():
    phased = with_phase(
        jobs_frame(
            [
                ("Importing", 30, 0, 0, 0),
                ("Importing", 46, 0, 0, 0),  # above 40 without a row: early 2.4
                ("Importing", 50, 0, 0, 0),
                ("Importing", 50, 0, 1000, 3),
                ("Importing", 70, 500, 1000, 3),
                ("Importing", 90, 1000, 1000, 3),
                ("Importing", 99, 1000, 1000, 3),
            ]
        )
    )
    assert phased["phase"].tolist() == [
        "PreImporting",
        "PreImporting",
        "PreImporting",
        "Importing",
        "Importing",
        "IndexBuilding",
        "IndexBuilding",
    ]
    assert phased["phase_fraction"].tolist()[1:] == pytest.approx([0.9, 1.0, 0.0, 0.5, 0.0, 0.9])


def test_a_frame_cut_earlier_says_the_same():
    rows = [
        ("Pending", 0, 0, 0, 0),
        ("Importing", 40, 0, 1000, 3),
        ("Importing", 82, 1000, 1000, 3),
        ("Importing", 94, 1000, 1000, 3),
        ("Importing", 99, 1000, 1000, 3),
    ]
    whole = with_phase(jobs_frame(rows))["phase"].tolist()
    for cut in range(1, len(rows) + 1):
        assert with_phase(jobs_frame(rows[:cut]))["phase"].tolist() == whole[:cut]


def test_phases_have_borders_between_two_snapshots():
    found = phases(
        jobs_frame(
            [
                ("Pending", 0, 0, 0, 0),
                ("Importing", 30, 0, 0, 0),
                ("Importing", 45, 100, 1000, 3),
                ("Importing", 60, 700, 1000, 3),
                ("Importing", 82, 1000, 1000, 3),
            ]
        )
    )
    assert found["phase"].tolist() == ["Pending", "PreImporting", "Importing", "IndexBuilding"]
    assert found["run"].tolist() == [0, 1, 2, 3]
    seconds = (found["start"] - START).dt.total_seconds()
    assert seconds.tolist() == [0.0, 5.0, 15.0, 35.0]
    assert found["end"].iloc[:3].tolist() == found["start"].iloc[1:].tolist()
    assert pd.isna(found["end"].iloc[3])
    assert found["start_earliest"].isna().tolist() == [True, False, False, False]
    assert found["duration_s"].tolist() == [5.0, 10.0, 20.0, 5.0]
    assert found["uncertainty_s"].tolist()[1:] == [20.0, 20.0, 10.0]
    assert found["rows_at_start"].tolist() == [0, 0, 100, 1000]
    assert found["rows_at_end"].tolist() == [0, 0, 700, 1000]


def test_a_phase_between_two_snapshots_is_not_invented():
    rows = [("Importing", 60, 700, 1000, 3), ("Completed", 100, 1000, 1000, 3)]
    found = phases(jobs_frame(rows, every_s=600))
    assert found["phase"].tolist() == ["Importing", "Completed"]
    assert found["start_latest"].iloc[1] - found["start_earliest"].iloc[1] == pd.Timedelta("600s")


def test_the_servers_end_replaces_the_middle_where_it_fits():
    rows = [("Importing", 85, 1000, 1000, 3), ("Completed", 100, 1000, 1000, 3)]
    jobs = jobs_frame(rows, every_s=600)
    jobs.loc[1, "complete_time"] = START + pd.Timedelta("100s")
    found = phases(jobs)
    assert found["end"].iloc[0] == START + pd.Timedelta("100s")
    assert found["uncertainty_s"].iloc[1] == 0
    assert np.isnan(found["duration_s"].iloc[1])

    jobs.loc[1, "complete_time"] = START - pd.Timedelta("3h")
    assert phases(jobs)["end"].iloc[0] == START + pd.Timedelta("300s")


def test_going_back_begins_a_new_run():
    rows = [("Importing", 60, 700, 1000, 3), ("Importing", 70, 1000, 1000, 3)] * 2
    found = phases(jobs_frame(rows))
    assert found["phase"].tolist() == ["Importing", "SortingOrIndexing"] * 2


def test_recorded_gaps_and_garbled_answers_do_not_split_a_phase():
    rows = [
        ("Importing", 60, 700, 1000, 3),
        (None, None, None, None, None),
        ("Importing", None, None, None, 0),
        ("Importing", 62, 750, 1000, 3),
    ]
    found = phases(jobs_frame(rows))
    assert found["phase"].tolist() == ["Importing"]
    assert found["snapshots"].tolist() == [2]


def test_jobs_of_the_same_id_on_two_servers_are_two_jobs():
    rows = [("Importing", 60, 700, 1000, 3)]
    both = pd.concat([jobs_frame(rows), jobs_frame(rows, source_uri="http://b:19530")])
    assert len(phases(both)) == 2
    assert phases(both)["source_uri"].tolist() == ["http://a:19530", "http://b:19530"]


def test_an_empty_frame_has_no_phases():
    none = flatten_jobs([])
    assert len(with_phase(none)) == 0
    found = phases(none)
    assert len(found) == 0
    assert found["start"].dtype == "datetime64[us, UTC]"


def test_a_recorded_gap_has_no_phase():
    gap = Snapshot(START.to_pydatetime(), "7", "http://a", None, error="no answer")
    assert with_phase(flatten_jobs(gap))["phase"].tolist() == ["Unknown"]


@pytest.mark.parametrize("dialect", list(DIALECTS))
@pytest.mark.parametrize("shape", ["sort_bound", "wrong_totals", "two_phase_commit", "failing"])
def test_the_hidden_phase_is_found_in_every_dialect(shape, dialect):
    simulation = simulate_job(shape, seed=1, dialect=dialect, poll_every_s=15)
    version = dialect if dialect in ("2.4.0-rc.1", "2.5", "2.6", "3.0") else None
    jobs = frames.jobs_frame(simulation.tables()[0])
    phased = with_phase(jobs, server_version=version)
    phased = phased[phased["error"].isna()]
    truth = simulation.truth.phases
    seen = phased["observed_at"].to_numpy("datetime64[us]")
    span = np.searchsorted(truth["start"].to_numpy("datetime64[us]"), seen, side="right") - 1
    # A phase that is done waits up to 2 s for the server's check and looks like the next.
    left = truth["end"].to_numpy("datetime64[us]")[span] - seen
    at_border = np.abs(left / np.timedelta64(1, "s")) <= 2.5
    since = seen - truth["start"].to_numpy("datetime64[us]")[span]
    at_border |= since / np.timedelta64(1, "s") <= 0.5
    true_phase = truth["phase"].to_numpy()[span]
    right = phased["phase"].astype("str").to_numpy() == true_phase
    either = phased["phase"].eq("SortingOrIndexing").to_numpy() & (version is None)
    right |= either & np.isin(true_phase, ["Sorting", "IndexBuilding"])
    assert (right | at_border).all()
    assert right.mean() > 0.9


snapshots = st.lists(
    st.tuples(
        st.sampled_from([None, "None", "Pending", "Importing", "Completed", "Failed", "Odd"]),
        st.none() | st.floats(0, 100) | st.sampled_from([40, 70, 80, 90, 99]),
        st.none() | st.integers(0, 100),
        st.none() | st.integers(0, 100),
        st.none() | st.integers(0, 3),
    ),
    max_size=12,
)


@given(snapshots, st.data())
@settings(max_examples=60, deadline=None)
def test_any_frame_in_any_order_gives_consistent_phases(rows, data):
    jobs = jobs_frame(rows)
    jobs["job_id"] = data.draw(
        st.lists(st.sampled_from("ab"), min_size=len(rows), max_size=len(rows))
    )
    offsets = st.none() | st.integers(0, 50)
    seconds = data.draw(st.lists(offsets, min_size=len(rows), max_size=len(rows)))
    jobs["observed_at"] = (
        START + pd.to_timedelta(pd.Series(seconds, dtype="float64"), unit="s")
    ).dt.as_unit("us")
    shuffled = jobs.loc[data.draw(st.permutations(range(len(jobs))))]

    phased = with_phase(shuffled)
    assert phased.index.equals(shuffled.index)
    assert phased["phase_fraction"].dropna().between(0, 1).all()

    found = phases(jobs)
    pd.testing.assert_frame_equal(found, phases(shuffled))
    assert set(found["phase"]) <= set(PHASES)
    assert (found["duration_s"].dropna() >= 0).all()
    assert (found["uncertainty_s"].dropna() >= 0).all()
    assert (found["start"] <= found["start_latest"]).all()
    for _, runs in found.groupby(["source_uri", "job_id"]):
        assert runs["end"].iloc[:-1].tolist() == runs["start"].iloc[1:].tolist()
        assert (runs["phase"].astype(str) != runs["phase"].astype(str).shift()).all()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"))))
def test_job_codes_name_the_jobs(pairs):
    frame = pd.DataFrame(pairs, columns=["source_uri", "job_id"])
    codes, keys = job_codes(frame)
    assert list(keys.iloc[codes].itertuples(index=False, name=None)) == pairs
    assert len(keys) == len(set(pairs))


def test_a_real_bulk_insert_of_milvus_2_3_is_never_sorted_or_indexed():
    jobs, _ = datasets.load("real_milvus_2_3")
    seen = with_phase(jobs)
    assert set(seen["phase"]) == {"Importing", "Failed"}
    fractions = seen.loc[seen["phase"] == "Importing", "phase_fraction"]
    assert fractions.is_monotonic_increasing
    assert fractions.between(0, 1).all()


def test_completed_is_final():
    rows = [
        ("Importing", 80, 10, 10, 1),
        ("Completed", 100, 10, 10, 1),
        ("Failed", 0, 0, 0, 0),
        ("None", 0, 0, 0, 0),
    ]
    jobs = jobs_frame(rows).assign(reason=[None, None, "collection 444 dropped", None])
    assert phases(jobs)["phase"].tolist() == ["IndexBuilding", "Completed"]
    assert with_phase(jobs)["phase_fraction"].tolist()[1:] == [1.0, 1.0, 1.0]
    # Another job's end is not this one's.
    other = jobs_frame(rows[2:3], job_id="8")
    assert with_phase(pd.concat([jobs, other]))["phase"].tolist()[-1] == "Failed"


@pytest.mark.parametrize(
    ("reason", "phase"),
    [
        ("import job does not exist, jobID=7", "Unknown"),
        ("unknown import job state", "Unknown"),
        ("the file a.parquet does not exist", "Failed"),
        (None, "Failed"),
    ],
)
def test_a_job_that_the_server_has_forgotten_has_not_failed(reason, phase):
    jobs = jobs_frame([("Failed", 0, 0, 0, 0)]).assign(reason=pd.array([reason], "str"))
    assert with_phase(jobs)["phase"].tolist() == [phase]
