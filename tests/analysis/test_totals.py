import numpy as np
import pandas as pd
import pytest
from frames import START, jobs_of
from hypothesis import given, settings
from hypothesis import strategies as st

from importstats.analysis.totals import PHASE_COLUMNS, compare, summary
from importstats.simulator import FileSpec, JobSpec, simulate_job
from importstats.store.frames import details_frame, flatten_details, flatten_jobs, jobs_frame


def frames(*args, **options):
    simulation = simulate_job(*args, **options)
    jobs, details = simulation.tables()
    return simulation.truth, jobs_frame(jobs), details_frame(details)


@pytest.mark.parametrize("shape", ["steady", "sort_bound", "two_phase_commit"])
def test_a_summary_agrees_with_the_truth(shape):
    truth, jobs, details = frames(shape, seed=4, poll_every_s=10)
    (row,) = summary(jobs, details).to_dict("records")
    assert row["phase"] == "Completed"
    assert row["rows"] == row["total_rows"] == truth.files["total_rows"].sum()
    assert row["bytes"] == truth.files["file_size_bytes"].sum()
    assert row["files"] == len(truth.files)
    assert (row["failed_files"], row["retries"]) == (0, 0)
    assert row["snapshots"] == len(jobs)
    assert abs((row["ended_at"] - truth.end).total_seconds()) <= 1
    spans = truth.phases.set_index("phase")
    for phase, column in PHASE_COLUMNS.items():
        if phase in spans.index and not np.isnan(row[column]):
            real = (spans.loc[phase, "end"] - spans.loc[phase, "start"]).total_seconds()
            assert row[column] == pytest.approx(real, abs=25)
    assert row["importing_s"] > 0


def test_a_failed_job_keeps_the_rows_it_had():
    for seed in range(5):
        truth, jobs, details = frames("failing", seed=seed, poll_every_s=10)
        row = summary(jobs, details).iloc[0]
        assert row["phase"] == "Failed"
        assert row["rows"] == jobs["imported_rows"].max()
        in_import = "Importing" in set(truth.phases["phase"])
        assert pd.isna(row["failed_files"]) or row["failed_files"] == len(truth.files) * in_import


@pytest.mark.xfail(strict=True, reason="a task that waits for its batch looks as if it worked")
def test_efficiency_is_the_least_time_over_the_time_taken():
    equal = [FileSpec((f"{i}.parquet",), 10**9, 10**5) for i in range(16)]
    job = JobSpec(collection_name="c", files=tuple(equal), max_task_bytes=1, noise=0.03)
    _, jobs, details = frames(job, poll_every_s=1)
    assert summary(jobs, details)["efficiency"].item() > 0.9
    # One slow file more than needs to be: seven of eight slots wait for it.
    slow = (*equal, FileSpec(("slow.parquet",), 10**9 + 1, 10**5, slowdown=1.5))
    job = JobSpec(collection_name="c", files=slow, max_task_bytes=1, noise=0.03)
    _, jobs, details = frames(job, poll_every_s=1)
    assert summary(jobs, details)["efficiency"].item() < 0.75


def test_without_details_what_only_files_show_is_missing():
    _, jobs, _ = frames("steady", seed=4, poll_every_s=60)
    row = summary(jobs).iloc[0]
    assert pd.isna(row["retries"])
    assert pd.isna(row["efficiency"])
    assert row["files"] > 0


def test_compare_puts_the_fastest_first():
    _, first, first_files = frames("steady", seed=4, poll_every_s=60)
    _, second, second_files = frames("steady", seed=5, poll_every_s=60)
    table = compare(pd.concat([first, second]), pd.concat([first_files, second_files]))
    assert len(table) == 2
    assert table["rows_per_s"].is_monotonic_decreasing
    assert table["rows_per_s_to_best"].iloc[0] == 1
    alone = summary(second, second_files).iloc[0]
    mine = table[table["job_id"] == alone["job_id"]].iloc[0]
    for name in ["duration_s", "rows", "importing_s", "efficiency", "snapshots"]:
        assert mine[name] == alone[name]


def test_compare_ranks_a_failed_job_last_and_measures_by_the_others():
    _, good, _ = frames("steady", seed=4, poll_every_s=60)
    written = [0, 10**12]
    failed = good.iloc[:3].assign(
        job_id="failed", state=["Importing", "Importing", "Failed"], imported_rows=[*written, 0]
    )
    table = compare(pd.concat([failed, good]))
    assert table["phase"].tolist() == ["Completed", "Failed"]
    assert table["rows_per_s"].iloc[1] > table["rows_per_s"].iloc[0]
    ratios = table.columns[table.columns.str.contains("_to_")]
    assert table.loc[0, ratios].eq(1).all()
    assert table.loc[1, ratios].isna().all()


def test_a_job_id_on_two_servers_is_two_jobs():
    _, jobs, details = frames("steady", seed=4, poll_every_s=60)
    both = summary(
        pd.concat([jobs, jobs.assign(source_uri="v")]),
        pd.concat([details, details.assign(source_uri="v")]),
    )
    assert len(both) == 2
    assert both["rows"].nunique() == 1  # noqa: PD101


def test_no_jobs_have_no_summary():
    table = summary(flatten_jobs([]), flatten_details([]))
    assert len(table) == 0
    assert set(PHASE_COLUMNS.values()) <= set(table.columns)
    assert len(compare(flatten_jobs([]))) == 0


def frame_of(samples, **columns):
    """A jobs frame of (minute, state, progress, imported rows of 1000)."""
    fields = ("minute", "state", "progress_pct", "imported_rows")
    known = {
        "collection_name": "c",
        "detail_count": 1,
        "total_rows": 1000,
        "file_size_bytes": 10_000,
    }
    return jobs_of(samples, fields, **known, **columns)


LATE = [(60, "Importing", 55.0, 500), (120, "Completed", 100.0, 1000)]


def test_rows_that_were_there_at_first_sight_count_for_no_rate():
    row = summary(frame_of(LATE)).iloc[0]
    assert (row["rows"], row["recorded_rows"]) == (1000, 500)
    assert row["rows_per_s"] == pytest.approx(500 / row["duration_s"])
    assert row["bytes_per_s"] == pytest.approx(10 * row["rows_per_s"])


def test_a_job_whose_creation_is_known_took_the_time_since_then():
    row = summary(frame_of(LATE, create_time=START, complete_time=START + pd.Timedelta("2h")))
    assert row["started_at"].item() == START
    assert row["duration_s"].item() == 7200
    assert row["recorded_rows"].item() == 1000
    assert row["rows_per_s"].item() == pytest.approx(1000 / 7200)


def test_a_job_seen_only_when_it_was_over_has_no_duration():
    end = START + pd.Timedelta("30s")
    row = summary(frame_of(LATE[1:], complete_time=end)).iloc[0]
    assert np.isnan(row["duration_s"])
    assert row["ended_at"] == end
    assert np.isnan(row["rows_per_s"])
    assert row["rows"] == 1000


def test_all_rows_of_a_completed_job_are_in_though_none_was_counted():
    samples = [(0, "Pending", 0.0, None), (1, "Completed", 100.0, None)]
    assert summary(frame_of(samples))["rows"].item() == 1000


def test_counts_keep_their_digits():
    samples = [(0, "Importing", 45.0, 2**53 + 1), (1, "Importing", 46.0, 2**53 + 3)]
    row = summary(frame_of(samples).assign(total_rows=2**53 + 7)).iloc[0]
    assert (row["rows"], row["total_rows"]) == (2**53 + 3, 2**53 + 7)


rows = st.lists(
    st.tuples(
        st.none() | st.integers(0, 50),
        st.sampled_from(["7", "8"]),
        st.none() | st.sampled_from(["Pending", "Importing", "Completed", "Failed", "Odd"]),
        st.none() | st.floats(0, 100),
        st.none() | st.integers(0, 100),
        st.none() | st.integers(0, 100),
    ),
    max_size=12,
)


@given(rows)
@settings(max_examples=40, deadline=None)
def test_any_frame_gets_one_row_per_job(samples):
    columns = ["second", "job_id", "state", "progress_pct", "imported_rows", "total_rows"]
    frame = pd.DataFrame(samples, columns=columns)
    offsets = pd.to_timedelta(frame["second"].astype("float64"), unit="s")
    frame = frame.astype(
        {"progress_pct": "float64", "imported_rows": "Int64", "total_rows": "Int64"}
    ).assign(
        observed_at=(START + offsets).dt.as_unit("us"),
        source_uri="u",
        collection_name="c",
        detail_count=pd.array([1] * len(frame), dtype="Int64"),
        file_size_bytes=pd.array([1000] * len(frame), dtype="Int64"),
    )
    table = compare(frame)
    assert len(table) == frame[frame["observed_at"].notna()]["job_id"].nunique()
    assert (table["duration_s"].dropna() >= 0).all()
    spent = table[list(PHASE_COLUMNS.values())].sum(axis=1)
    assert (spent <= table["duration_s"].fillna(0) + 1e-6).all()
    assert table["rows_per_s_to_best"].dropna().between(0, 1).all()
