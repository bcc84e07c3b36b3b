from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importstats.analysis.lateness import STRAGGLING, late_stragglers, spark_speculation, stragglers
from importstats.arrays import grouped_quantile
from importstats.simulator import FileSpec, JobSpec, make_shape, simulate_job
from importstats.store.frames import details_frame, flatten_details

START = pd.Timestamp("2026-05-18T08:00:00Z")
METHODS = [stragglers, spark_speculation, late_stragglers]
SIZE = 500_000_000


def simulated(count=24, task_bytes=SIZE // 2, until=None, every_s=5.0, **special):
    """A job of equal files, those named by number in `special` (``f3``) with what is said there."""
    files = [FileSpec((f"{i}.parquet",), SIZE, 100_000) for i in range(count)]
    for name, change in special.items():
        place = int(name[1:])
        files[place] = replace(files[place], **change)
    job = JobSpec(collection_name="c", files=tuple(files), max_task_bytes=task_bytes, noise=0.05)
    return simulate_job(job, seed=1, poll_every_s=every_s, until=until)


def details_of(simulation, *, runs=False):
    return details_frame(simulation.tables(runs=runs)[1])


def verdicts(found):
    by_name = found.set_index(found["file"].astype("str"))["verdict"].astype("str")
    return {int(name.split(".")[0]): verdict for name, verdict in by_name.items()}


def test_a_healthy_job_has_no_stragglers_at_any_time():
    details = details_of(simulated())
    for at in details["observed_at"].drop_duplicates().iloc[::6]:
        assert not stragglers(details, at)["is_straggler"].any()
    assert set(verdicts(stragglers(details)).values()) == {"done"}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"slowdown": 4.0}, "slow"),
        ({"retries": 2}, "retried"),
        ({"stuck_s": 4000.0}, "stuck"),
        ({"size_bytes": 6 * SIZE, "rows": 600_000}, "big"),
    ],
)
def test_each_cause_is_named(change, verdict):
    details = details_of(simulated(f3=change))
    # Files are sorted by size into tasks, and started in that order.
    assert {
        number: named for number, named in verdicts(stragglers(details)).items() if named != "done"
    } == {3: verdict}


def test_a_stuck_file_is_found_while_it_is_stuck_and_has_no_remaining_time():
    details = details_of(simulated(f3={"stuck_s": np.inf}, until=600))
    found = stragglers(details)
    late = found[found["is_straggler"]]
    assert late["verdict"].tolist() == ["stuck"]
    assert late["remaining_s"].isna().all()
    assert late["idle_s"].item() > 300
    assert late["delay_s"].item() > 300


def test_a_slow_file_delays_the_end_by_what_it_takes_longer():
    details = details_of(simulated(count=8, every_s=1.0, f3={"slowdown": 4.0}))
    found = stragglers(details).set_index("verdict")
    # Eight slots, eight tasks of about 22 s, one of 82 s.
    assert found.loc["slow", "delay_s"] == pytest.approx(60, abs=10)
    assert found.loc["slow", "pace"] == pytest.approx(0.25, abs=0.05)
    assert found.loc["slow", "score"] > 3.5
    assert found.loc["slow", "bytes_per_s"] == pytest.approx(SIZE / 82, rel=0.15)
    assert found.loc["slow", "peer_bytes_per_s"] == pytest.approx(SIZE / 22, rel=0.2)


def test_only_what_was_seen_by_then_counts():
    details = details_of(simulated(f3={"slowdown": 6.0}))
    at = details["observed_at"].drop_duplicates().iloc[8]
    cut = details[details["observed_at"] <= at]
    pd.testing.assert_frame_equal(stragglers(details, at), stragglers(cut))


def test_waiting_is_not_the_files_fault():
    details = details_of(simulated(count=40, until=60))
    found = stragglers(details)
    waiting = found[found["verdict"] == "waiting"]
    assert len(waiting) > 5
    assert not waiting["is_straggler"].any()
    assert waiting["started_at"].isna().all()
    assert waiting["remaining_s"].isna().all()


def test_files_of_one_task_are_judged_together():
    # Small files share a task; one that is slow holds up those it is with.
    small = {"size_bytes": SIZE // 10, "rows": 10_000}
    special = {f"f{i}": small for i in range(10)} | {"f4": small | {"slowdown": 40.0}}
    details = details_of(simulated(count=20, task_bytes=SIZE, **special))
    found = stragglers(details)
    assert found.groupby("task")["verdict"].agg(lambda named: len(set(named))).eq(1).all()
    assert sorted(number for number, named in verdicts(found).items() if named == "slow") == [
        *range(10)
    ]


def test_wrong_totals_change_nothing():
    cluster, job = make_shape("stragglers", seed=4, files=60)
    right = simulate_job((cluster, job), seed=4)
    wrong = simulate_job((cluster, replace(job, wrong_totals=True)), seed=4)
    columns = ["file_index", "verdict", "is_straggler"]
    pd.testing.assert_frame_equal(
        stragglers(details_of(right))[columns], stragglers(details_of(wrong))[columns]
    )


@pytest.mark.parametrize("method", METHODS)
def test_runs_and_expanded_frames_say_the_same(method):
    simulation = simulate_job("stragglers", seed=8, files=60, poll_every_s=20)
    expanded, runs = details_of(simulation), details_of(simulation, runs=True)
    for at in expanded["observed_at"].drop_duplicates().iloc[[10, 40, -1]]:
        pd.testing.assert_frame_equal(method(runs, at), method(expanded, at), check_dtype=False)


def test_spark_waits_for_three_quarters_and_takes_the_median():
    # Three of four files end after 10, 20 and 30 s; the fourth runs on.
    rows = [
        (second, file, "Completed" if file < 3 and second >= 10 * (file + 1) else "InProgress")
        for second in range(36)
        for file in range(4)
    ]
    details = pd.DataFrame(rows, columns=["second", "file_index", "state"])
    details = details.assign(
        observed_at=START + pd.to_timedelta(details["second"], unit="s"),
        source_uri="u",
        job_id="7",
        file=details["file_index"].astype("str"),
        progress_pct=np.where(details["state"] == "Completed", 100.0, 50.0),
        file_size_bytes=100,
        imported_rows=50,
        total_rows=100,
    )
    early = spark_speculation(details, START + pd.Timedelta("29s"))
    assert early["threshold_s"].isna().all()
    assert not early["is_straggler"].any()
    late = spark_speculation(details, START + pd.Timedelta("35s"))
    assert late["threshold_s"].to_numpy() == pytest.approx(30, abs=1)
    assert late["is_straggler"].tolist() == [False, False, False, True]


def test_late_takes_the_longest_time_to_the_end_up_to_the_cap():
    seconds = np.arange(0, 101, 10)
    percent = {
        file: np.minimum(seconds * (0.9 - 0.05 * (file < 3) * (3 - file) * 5), 99)
        for file in range(20)
    }
    details = pd.concat(
        pd.DataFrame(
            {
                "observed_at": START + pd.to_timedelta(seconds, unit="s"),
                "source_uri": "u",
                "job_id": "7",
                "file_index": file,
                "file": str(file),
                "state": "InProgress",
                "progress_pct": np.floor(steps) + 0.01 * file,
                "file_size_bytes": 100,
                "imported_rows": 0,
                "total_rows": None,
            }
        )
        for file, steps in percent.items()
    )
    found = late_stragglers(details)
    # Ten percent of 20 slots; the two with the longest time to the end.
    assert found.index[found["is_straggler"]].tolist() == [0, 1]
    assert not late_stragglers(details, START + pd.Timedelta("50s"))["is_straggler"].any()


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_frame_has_no_stragglers(method):
    found = method(flatten_details([]))
    assert len(found) == 0
    assert found["is_straggler"].dtype == bool


@pytest.mark.parametrize("method", METHODS)
def test_a_time_needs_a_zone(method):
    with pytest.raises(ValueError, match="no time zone"):
        method(flatten_details([]), pd.Timestamp("2026-05-18"))


def test_grouped_quantiles_are_those_of_numpy():
    rng = np.random.default_rng(1)
    values, group = rng.normal(size=200), rng.integers(0, 7, 200)
    for quantile in (0.0, 0.25, 0.5, 1.0):
        expected = [np.quantile(values[group == number], quantile) for number in range(7)]
        np.testing.assert_allclose(grouped_quantile(values, group, 7, quantile), expected)


rows = st.lists(
    st.tuples(
        st.none() | st.integers(0, 60),
        st.sampled_from(["7", "8"]),
        st.integers(0, 4),
        st.none() | st.integers(0, 100),
        st.none() | st.sampled_from([0, 100, 10**12]),
        st.none() | st.floats(0, 100),
        st.none() | st.sampled_from(["Pending", "InProgress", "Retry", "Completed", "Failed", "X"]),
    ),
    max_size=30,
)


@given(rows, st.none() | st.integers(-5, 65))
@settings(max_examples=40, deadline=None)
def test_any_frame_gets_one_verdict_per_file(samples, second):
    columns = ["second", "job_id", "file_index", "imported_rows", "file_size_bytes"]
    frame = pd.DataFrame(samples, columns=[*columns, "progress_pct", "state"])
    counts = ["imported_rows", "file_size_bytes"]
    offsets = pd.to_timedelta(frame["second"].astype("float64"), unit="s")
    frame = frame.astype(
        {**dict.fromkeys(counts, "Int64"), "progress_pct": "float64", "file_index": "int64"}
    ).assign(
        observed_at=(START + offsets).dt.as_unit("us"),
        source_uri="u",
        file=frame["file_index"].astype("str"),
        total_rows=pd.array([100] * len(frame), dtype="Int64"),
    )
    at = None if second is None else START + pd.Timedelta(second, "s")
    seen = frame[frame["observed_at"].notna()]
    if at is not None:
        seen = seen[seen["observed_at"] <= at]
    expected = len(seen[["job_id", "file_index"]].drop_duplicates())
    for method in METHODS:
        assert len(method(frame, at)) == expected
    found = stragglers(frame, at)
    assert found["is_straggler"].eq(found["verdict"].isin(list(STRAGGLING))).all()
    for name in ["elapsed_s", "remaining_s", "delay_s", "bytes_per_s", "idle_s"]:
        assert (found[name].dropna() >= 0).all()
        assert not np.isinf(found[name]).any()
