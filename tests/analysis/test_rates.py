import numpy as np
import pandas as pd
import pytest
from frames import START, frame_of, jobs_of
from hypothesis import given, settings
from hypothesis import strategies as st

from importstats.analysis.rates import throughput
from importstats.analysis.tasks import infer_tasks
from importstats.simulator import simulate_job
from importstats.store.frames import details_frame, flatten_details, flatten_jobs, jobs_frame

RATES = [
    "rows_per_s",
    "bytes_per_s",
    "rows_per_s_window",
    "bytes_per_s_window",
    "rows_per_s_mean",
]


def one_job(seconds, rows, total=1000, **columns):
    known = {"state": "Importing", "total_rows": total, "file_size_bytes": 10 * total}
    pairs = list(zip(seconds, rows, strict=True))
    return jobs_of(pairs, ("second", "imported_rows"), **{**known, **columns})


def files(samples):
    """A details frame of (second, file, rows) with 100 rows and 1000 bytes a file."""
    frame = frame_of(
        samples,
        ("second", "file_index", "imported_rows"),
        collection_name="products",
        state="InProgress",
        total_rows=100,
        file_size_bytes=1000,
    )
    return frame.assign(
        file_name="[" + frame["file_index"].astype("str") + ".parquet]",
        progress_pct=frame["imported_rows"].astype("float64"),
    )


def test_a_window_weighs_by_time_not_by_sample():
    # 100 rows/s for 10 s, then 10 rows/s for 50 s: the trailing 30 s saw 10 rows/s only.
    jobs = one_job([0, 10, 60], [0, 1000, 1500], total=2000)
    rates = throughput(jobs, window="30s")
    assert rates["rows_per_s"].tolist()[1:] == [100, 10]
    assert rates["rows_per_s_window"].tolist()[1:] == [100, 10]
    # The trailing 55 s hold 5 s of the first and 50 s of the second.
    wide = throughput(jobs, window="55s")
    assert wide["rows_per_s_window"].iloc[2] == pytest.approx((5 * 100 + 50 * 10) / 55)
    assert wide["bytes_per_s_window"].iloc[2] == pytest.approx(10 * (5 * 100 + 50 * 10) / 55)


def test_the_mean_is_over_the_time_in_which_rows_were_written():
    # The first 500 rows were written since 0, when they were known, and seen at 110.
    rates = throughput(one_job([0, 100, 110, 120], [0, 0, 500, 1000], total=2000))
    assert rates["rows_per_s_mean"].tolist()[1:] == pytest.approx(
        [500 / 110, 500 / 110, 1000 / 120]
    )
    assert np.isnan(rates["rows_per_s_mean"].iloc[0])


def test_the_mean_is_no_more_than_the_most_and_stays_when_all_is_written():
    # A file at work shows no rows, and all of them when it is done.
    rates = throughput(one_job([0, 2560, 2580, 5000], [0, 0, 129_000, 129_000], total=129_000))
    assert rates["rows_per_s_mean"].tolist()[1:] == pytest.approx([50, 50, 50])
    assert rates["rows_per_s_window"].max() == pytest.approx(50)


def test_time_in_which_nothing_comes_counts_while_rows_are_missing():
    rates = throughput(one_job([0, 10, 20, 40], [0, 100, 200, 200], total=300))
    assert rates["rows_per_s_mean"].tolist()[1:] == pytest.approx([10, 10, 5])


def test_a_repeated_time_gives_no_rate():
    rates = throughput(one_job([0, 10, 10, 20], [0, 100, 150, 250]))
    assert np.isnan(rates["rows_per_s"].iloc[2])
    assert rates["rows_delta"].tolist()[1:] == [100, 50, 100]
    assert rates["rows_per_s"].iloc[3] == 10


def test_falling_rows_are_lost_and_written_again():
    rates = throughput(one_job([0, 10, 20, 30], [0, 400, 100, 300]))
    assert rates["rows_delta"].tolist()[1:] == [400, 0, 200]
    assert rates["rows_lost"].tolist()[1:] == [0, 300, 0]
    assert (rates[RATES].min() >= 0).all()


def test_a_failed_job_forgets_its_rows_but_has_not_lost_them():
    jobs = one_job([0, 10, 20], [0, 400, 0], state=["Importing", "Importing", "Failed"])
    rates = throughput(jobs)
    assert len(rates) == 2
    assert rates["rows_lost"].sum() == 0


def test_missing_rows_are_left_out_and_their_time_counts():
    rates = throughput(one_job([0, 10, 20], [0, None, 400]))
    assert rates["interval_s"].tolist()[1:] == [20]
    assert rates["rows_per_s"].iloc[1] == 20


def test_a_late_file_has_written_its_rows_since_the_snapshot_before():
    details = files([(0, 0, 0), (10, 0, 50), (10, 1, 20), (20, 0, 60), (20, 1, 30)])
    by_file = throughput(details, "file").set_index("file_index")
    assert by_file.loc[1, "rows_delta"].tolist() == [20, 10]
    assert by_file.loc[1, "rows_per_s"].tolist() == [2, 1]
    by_job = throughput(details, "job")
    assert by_job["imported_rows"].tolist() == [0, 70, 90]
    assert by_job["rows_delta"].tolist()[1:] == [70, 20]


def test_a_file_of_the_first_snapshot_has_no_first_delta():
    by_job = throughput(files([(0, 0, 40), (10, 0, 50)]), "job")
    assert by_job["rows_delta"].isna().tolist() == [True, False]
    assert by_job["imported_rows"].tolist() == [40, 50]


def test_files_are_known_by_name_where_their_place_changes():
    details = files([(0, 0, 10), (0, 1, 50), (10, 0, 60), (10, 1, 20)])
    details["file_name"] = ["[a]", "[b]", "[b]", "[a]"]
    by_job = throughput(details, "job")
    assert by_job["rows_lost"].sum() == 0
    assert by_job["rows_delta"].iloc[1] == 20


def test_files_of_one_name_are_known_by_their_place():
    details = files([(0, 0, 10), (0, 1, 50), (10, 0, 20), (10, 1, 60)]).assign(file_name="[a]")
    assert throughput(details, "file")["rows_delta"].dropna().tolist() == [10, 10]


def test_a_file_whose_name_is_missing_once_stays_the_same_file():
    details = files([(0, 0, 10), (0, 1, 50), (10, 0, 20), (10, 1, 60)])
    details.loc[2, "file_name"] = None
    rates = throughput(details, "file")
    assert rates["file_index"].tolist() == [0, 0, 1, 1]
    assert rates["rows_delta"].dropna().tolist() == [10, 10]


def test_wrong_totals_do_not_spoil_the_bytes():
    details = files([(0, 0, 0), (10, 0, 50), (20, 0, 100)]).assign(
        total_rows=pd.array([100_000] * 3, dtype="Int64")
    )
    assert throughput(details, "file")["bytes_per_s"].tolist()[1:] == [50, 50]


def test_a_collection_adds_up_jobs_seen_at_different_times():
    first = one_job([0, 10, 20], [0, 100, 200])
    second = one_job([5, 15, 25], [0, 300, 600], job_id="8")
    rates = throughput(pd.concat([first, second]), "collection")
    seconds = (rates["observed_at"] - START).dt.total_seconds()
    assert seconds.tolist() == [0, 5, 10, 15, 20, 25]
    assert rates["rows_per_s"].tolist()[1:] == [10, 40, 40, 40, 30]
    assert rates["imported_rows"].iloc[-1] == 800


@pytest.mark.parametrize("shape", ["steady", "many_small_files", "node_restart", "wrong_totals"])
def test_files_agree_with_the_job_on_a_simulated_import(shape):
    simulation = simulate_job(shape, seed=11, poll_every_s=20)
    jobs_table, details_table = simulation.tables()
    jobs, details = jobs_frame(jobs_table), details_frame(details_table)
    by_job, from_files = throughput(jobs), throughput(details, "job")
    total = int(simulation.truth.files["total_rows"].sum())
    assert by_job["imported_rows"].iloc[-1] == total
    assert from_files["imported_rows"].iloc[-1] == total
    both = by_job.merge(from_files, on="observed_at", suffixes=("", "_of_files"))
    # A file says its rows by whole percents, always rounded down.
    apart = both["imported_rows"] - both["imported_rows_of_files"]
    assert apart.between(0, 0.01 * total + len(simulation.truth.files)).all()


@pytest.mark.parametrize("by", ["job", "file", "task", "collection"])
def test_runs_and_expanded_frames_say_the_same(by):
    simulation = simulate_job("retry_storm", seed=5, poll_every_s=20)
    expanded = throughput(details_frame(simulation.tables()[1]), by)
    runs = throughput(details_frame(simulation.tables(runs=True)[1]), by)
    keys = [name for name in ("file_index", "task") if name in expanded]
    both = runs.merge(expanded, on=[*keys, "observed_at"], suffixes=("", "_expanded"))
    assert len(both) == len(runs)
    for name in ["rows_delta", "rows_lost"]:
        assert runs[name].sum() == expanded[name].sum()
    for name in ["rows_per_s_window", "bytes_per_s_window", "rows_per_s_mean"]:
        np.testing.assert_allclose(both[name], both[f"{name}_expanded"])


def test_tasks_are_found_in_a_simulated_import():
    simulation = simulate_job("many_small_files", seed=6, poll_every_s=10)
    found = infer_tasks(details_frame(simulation.tables()[1]))
    both = found.merge(simulation.truth.files, on="file_index", suffixes=("", "_true"))
    assert len(both["task_true"].unique()) > 1
    assert both.groupby("task_true")["task"].nunique().eq(1).all()
    assert both.groupby("task")["task_true"].nunique().eq(1).all()


def test_empty_frames_have_no_rates_but_all_columns():
    assert set(RATES) <= set(throughput(flatten_jobs([])).columns)
    for by in ["job", "file", "task", "collection"]:
        rates = throughput(flatten_details([]), by)
        assert len(rates) == 0
        assert set(RATES) <= set(rates.columns)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="needs a details frame"):
        throughput(one_job([0], [0]), "file")
    with pytest.raises(ValueError, match="positive duration"):
        throughput(one_job([0], [0]), window="0s")
    with pytest.raises(ValueError, match="not 'shard'"):
        throughput(one_job([0], [0]), "shard")
    with pytest.raises(ValueError, match="collection, not a DataFrame"):
        throughput(one_job([0], [0]), one_job([0], [0]))


samples = st.lists(
    st.tuples(
        st.none() | st.integers(0, 60),
        st.sampled_from(["7", "8"]),
        st.integers(0, 3),
        st.none() | st.integers(0, 100),
        st.none() | st.sampled_from([0, 100, 400]),
        st.none() | st.floats(0, 100),
        st.none() | st.sampled_from(["Pending", "InProgress", "Retry", "Completed", "Failed", "X"]),
        st.none() | st.sampled_from(["[a]", "[b]"]),
    ),
    max_size=25,
)


def any_details(rows):
    fields = ["second", "job_id", "file_index", "imported_rows", "total_rows"]
    fields += ["progress_pct", "state", "file_name"]
    return frame_of(rows, fields, collection_name="products", file_size_bytes=1000)


@given(samples, st.sampled_from(["job", "file", "task", "collection"]))
@settings(max_examples=40, deadline=None)
def test_any_details_in_any_order_obey_the_invariants(rows, by):
    rates = throughput(any_details(rows), by)
    assert (rates[RATES].fillna(0) >= 0).all(axis=None)
    assert not np.isinf(rates[RATES].to_numpy()).any()
    assert (rates["rows_delta"].dropna() >= 0).all()
    assert (rates["rows_lost"].dropna() >= 0).all()
    assert (rates["interval_s"].dropna() >= 0).all()
    uncounted = {job for _, job, _, rows_then, *_ in rows if rows_then is None}
    if by in ("job", "file"):
        key = ["job_id"] if by == "job" else ["job_id", "file_index", "file"]
        for (job, *_), part in rates.groupby(key):
            # What a file had when it was listed without a count is not known to be new later.
            if job in uncounted:
                continue
            if part["observed_at"].is_monotonic_increasing and part["rows_delta"].isna().sum() == 1:
                change = (part["rows_delta"] - part["rows_lost"]).fillna(0).cumsum()
                expected = part["imported_rows"] - part["imported_rows"].iloc[0]
                assert change.tolist() == expected.tolist()


@given(st.lists(st.tuples(st.integers(0, 50), st.none() | st.integers(0, 1000)), max_size=15))
@settings(max_examples=60, deadline=None)
def test_any_jobs_frame_obeys_the_invariants(rows):
    jobs = one_job([second for second, _ in rows], [count for _, count in rows])
    for by in ("job", "collection"):
        rates = throughput(jobs, by)
        assert (rates[RATES].fillna(0) >= 0).all(axis=None)
        change = (rates["rows_delta"] - rates["rows_lost"]).sum()
        if len(rates):
            assert change == rates["imported_rows"].iloc[-1] - rates["imported_rows"].iloc[0]


def test_a_clock_that_is_millennia_off_changes_no_other_job():
    # The time from the first to the last sample, by the number of jobs, fits no 64 bits.
    job = files([(0, 0, 0), (10, 0, 50), (10, 1, 20), (20, 0, 100), (20, 1, 60)])
    jobs = [job.assign(job_id=str(number)) for number in range(7)]
    odd = job.assign(job_id="7", observed_at=job["observed_at"] - pd.Timedelta(200_000 * 366, "D"))
    alone = [throughput(each, by="file") for each in (*jobs, odd)]
    found = throughput(pd.concat([*jobs, odd], ignore_index=True), by="file")
    pd.testing.assert_frame_equal(found, pd.concat(alone, ignore_index=True))
