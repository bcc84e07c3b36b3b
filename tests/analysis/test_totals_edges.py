"""Summaries at their edges: whole rows, borders of lifetimes, efficiency and comparisons."""

import numpy as np
import pandas as pd
import pytest
from frames import START, recording

from importstats.analysis.totals import compare, summary

NA = float("nan")


def at(second):
    return START + pd.Timedelta(second, "s")


def frame(samples, job="7", **columns):
    """A jobs frame of (second, state, progress, imported rows of 1000)."""
    names = ["second", "state", "progress_pct", "imported_rows"]
    found = pd.DataFrame(samples, columns=names).astype({"imported_rows": "Int64"})
    values = {
        "observed_at": (START + pd.to_timedelta(found["second"], unit="s")).dt.as_unit("us"),
        "source_uri": "u",
        "job_id": job,
        "collection_name": "c",
        "detail_count": 2,
        "total_rows": pd.array([1000] * len(found), "Int64"),
        "file_size_bytes": 10_000,
    }
    return found.assign(**{**values, **columns})


LIFE = [
    (0, "Pending", 5.0, None),
    (10, "Importing", 40.0, 0),
    (20, "Importing", 45.0, 100),
    (30, "Importing", 60.0, 700),
    (40, "Completed", 100.0, 1000),
]
FILES = {0: [None, 0], 10: [0, 40], 20: [50, None], 30: ["done", 0], 40: ["done", "failed"]}


def test_all_that_is_summed_up_of_a_job():
    (row,) = summary(frame(LIFE), recording(FILES, [200, 100])).to_dict("records")
    known = {name: value for name, value in row.items() if not pd.isna(value)}
    assert known == {
        "source_uri": "u",
        "job_id": "7",
        "collection_name": "c",
        "state": "Completed",
        "phase": "Completed",
        "progress_pct": 100.0,
        "started_at": START,
        "ended_at": at(35),
        "duration_s": 35.0,
        "rows": 1000,
        "total_rows": 1000,
        "recorded_rows": 1000,
        "bytes": 10_000,
        "files": 2,
        "rows_per_s": pytest.approx(1000 / 35),
        "bytes_per_s": pytest.approx(10_000 / 35),
        "pending_s": 5.0,
        "importing_s": 30.0,
        "failed_files": 1,
        "retries": 1,
        "snapshots": 5,
    }


@pytest.mark.parametrize(("said", "began"), [(0, 0), (59, 59), (60, 60), (61, 60), (None, 60)])
def test_a_job_began_when_it_was_created_unless_that_is_after_it_was_seen(said, began):
    created = pd.NaT if said is None else at(said)
    late = [(60, "Importing", 40.0, 300), (100, "Importing", 60.0, 800)]
    row = summary(frame(late, create_time=pd.to_datetime(pd.Series([created] * 2), utc=True)))
    assert row["started_at"].item() == at(began)
    assert row["duration_s"].item() == 100 - began
    is_known = said is not None and said <= 60
    assert row["recorded_rows"].item() == (800 if is_known else 500)


def test_the_end_that_a_server_says_counts_for_a_job_seen_only_when_it_was_over():
    said = pd.Series([at(3)] * 5).astype("datetime64[us, UTC]")
    seen = summary(frame(LIFE, complete_time=said)).iloc[0]
    assert seen["ended_at"] == at(35), "it lies between the snapshots, whatever is said"
    over = frame(LIFE[4:], complete_time=said[:1])
    assert summary(over)["ended_at"].item() == at(3)
    unsaid = summary(over.assign(complete_time=pd.Series([pd.NaT], dtype="datetime64[us, UTC]")))
    assert unsaid["ended_at"].item() == at(40)
    created = over.assign(create_time=pd.Series([at(1)]).astype("datetime64[us, UTC]"))
    assert summary(created)["duration_s"].item() == 2
    # A clock that is behind makes no duration negative.
    behind = over.assign(create_time=pd.Series([at(9)]).astype("datetime64[us, UTC]"))
    assert summary(behind)["duration_s"].item() == 0


@pytest.mark.parametrize(
    ("samples", "rows", "recorded"),
    [
        # The last that are known; 0 after a failure is what the server forgot.
        ([(0, "Importing", 40.0, 300), (10, "Failed", 0.0, 0)], 300, 0),
        ([(0, "Importing", 40.0, 300), (10, "Failed", 0.0, 200)], 200, 0),
        ([(0, "Importing", 40.0, 300), (10, "Importing", 40.0, None)], 300, 0),
        ([(0, "Importing", 40.0, 300), (10, "Importing", 40.0, 0)], 0, 0),
        # Rows at first sight were not written since; before it works a job has none.
        ([(0, "Importing", 40.0, None), (10, "Importing", 40.0, 300)], 300, pd.NA),
        ([(0, "Pending", 0.0, None), (10, "Importing", 40.0, 300)], 300, 300),
        ([(0, "Importing", 40.0, 100), (10, "Importing", 40.0, 300)], 300, 200),
        ([(0, "Failed", 0.0, 0), (10, "Failed", 0.0, 0)], pd.NA, pd.NA),
    ],
)
def test_rows_are_the_last_that_are_known_and_those_recorded_since_the_first_sight(
    samples, rows, recorded
):
    row = summary(frame(samples)).iloc[0]
    assert str(row["rows"]) == str(rows)
    assert str(row["recorded_rows"]) == str(recorded)


@pytest.mark.parametrize(
    ("polls", "efficiency"),
    [
        # One after the other in one slot, or all of the time in two.
        ({0: [0, None], 10: ["done", 0], 20: ["done", "done"]}, 1),
        ({0: [0, 0], 10: ["done", "done"]}, 1),
        # 35 s for the longest of them, of 45.
        (
            {
                0: [0, 0, None],
                10: ["done", 0, None],
                20: ["done", 0, None],
                30: ["done", "done", 0],
                40: ["done"] * 3,
            },
            35 / 45,
        ),
        # 15 + 15 s in one slot, of 35.
        ({0: [0, None], 10: ["done", None], 20: ["done", 0], 30: ["done"] * 2}, 30 / 35),
        # Not before all of them have ended, and not of those that failed.
        ({0: [0, None], 10: ["done", 0]}, NA),
        ({0: [0, None], 10: ["done", 0], 20: ["done", "failed"]}, NA),
        ({0: ["done", "done"]}, NA),
    ],
)
def test_efficiency_is_the_least_time_that_the_slots_need_of_what_they_took(polls, efficiency):
    details = recording(polls, [10 * place + 1 for place in range(3)])
    found = summary(frame(LIFE), details)["efficiency"].item()
    assert found == pytest.approx(efficiency, nan_ok=True)


def test_files_of_jobs_that_are_not_asked_for_count_nowhere():
    other = recording(FILES, [200, 100]).assign(job_id="8")
    row = summary(frame(LIFE), other).iloc[0]
    assert row[["failed_files", "retries"]].isna().all()
    both = pd.concat([other, recording(FILES, [200, 100])], ignore_index=True)
    assert summary(frame(LIFE), both)["retries"].tolist() == [1]
    assert summary(frame(LIFE), other.iloc[:0])["retries"].isna().all()


def test_jobs_are_compared_with_the_best_and_the_median_of_those_that_did_not_fail():
    slow, middle, fast = (
        frame([(0, "Importing", 40.0, 0), (second, "Importing", 60.0, 1000)], job)
        for job, second in (("1", 100), ("2", 50), ("3", 20))
    )
    failed = frame([(0, "Importing", 40.0, 0), (10, "Importing", 60.0, 1000)], "4")
    failed = pd.concat([failed, frame([(20, "Failed", 0.0, 0)], "4")])
    table = compare(pd.concat([slow, failed, fast, middle], ignore_index=True))
    assert table["job_id"].tolist() == ["3", "2", "1", "4"]
    np.testing.assert_allclose(table["rows_per_s"][:3], [50, 20, 10])
    np.testing.assert_allclose(table["rows_per_s_to_best"], [1, 0.4, 0.2, NA])
    np.testing.assert_allclose(table["rows_per_s_to_median"], [2.5, 1, 0.5, NA])
    np.testing.assert_allclose(table["bytes_per_s_to_best"], [1, 0.4, 0.2, NA])
    np.testing.assert_allclose(table["duration_s_to_median"], [0.4, 1, 2, NA])
    assert table.index.tolist() == [0, 1, 2, 3]
    alone = compare(frame([(0, "Importing", 40.0, 0)], "1"))
    assert alone[["rows_per_s_to_best", "duration_s_to_median"]].isna().all().all()


def test_what_is_greatest_and_what_was_last_known_need_not_be_last():
    samples = frame(LIFE)
    samples["detail_count"] = [0, 2, 5, 3, 2]
    samples["file_size_bytes"] = [NA, 70.0, 90.0, 80.0, NA]
    samples["total_rows"] = pd.array([None, 900, 950, 900, None], "Int64")
    samples["collection_name"] = ["a", "b", "c", None, None]
    row = summary(samples).iloc[0]
    assert row[["files", "bytes", "total_rows", "collection_name"]].tolist() == [5, 90, 950, "c"]
    bare = samples.drop(columns=["total_rows", "file_size_bytes", "detail_count"])
    assert summary(bare).iloc[0][["files", "bytes", "total_rows"]].isna().all()
    assert summary(bare.drop(columns="collection_name"))["collection_name"].isna().all()
    assert str(summary(samples.assign(total_rows=0))["bytes_per_s"].item()) == "nan"


@pytest.mark.parametrize(("after_s", "total", "rates"), [(1, 1, (1, 10_000)), (0, 1, (NA, NA))])
def test_a_job_of_a_row_and_a_second_has_a_rate(after_s, total, rates):
    samples = [(0, "Importing", 40.0, 0), (after_s, "Importing", 60.0, 1)]
    row = summary(frame(samples, total_rows=pd.array([total] * 2, "Int64"))).iloc[0]
    assert row["duration_s"] == after_s
    np.testing.assert_allclose([row["rows_per_s"], row["bytes_per_s"]], rates)
