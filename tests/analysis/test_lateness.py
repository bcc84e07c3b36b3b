import numpy as np
import pandas as pd
import pytest
from frames import HEALTHY, MB, START, as_runs, recording
from frames import scheduled as job
from hypothesis import given, settings
from hypothesis import strategies as st

from importstats.analysis.lateness import STRAGGLING, stragglers
from importstats.analysis.speculation import late_stragglers, spark_speculation
from importstats.arrays import grouped_quantile
from importstats.store.frames import flatten_details

METHODS = [stragglers, spark_speculation, late_stragglers]


def found(details, at=None, **options):
    at = None if at is None else START + pd.Timedelta(at, "s")
    return stragglers(details, at, **options).set_index("file_index")


def test_files_come_by_job_and_place_with_an_index_from_0():
    one = recording({0: [0, 0], 60: ["done", 0]}, [100] * 2)
    both = stragglers(pd.concat([one.assign(job_id="8"), one.iloc[::-1]]))
    assert both["job_id"].astype("str").tolist() == ["7", "7", "8", "8"]
    assert both["file_index"].tolist() == [0, 1, 0, 1]
    assert both.index.tolist() == [0, 1, 2, 3]


def test_a_healthy_job_has_no_stragglers_at_any_time():
    details = job(HEALTHY, 390)
    for at in range(0, 391, 30):
        assert not found(details, at)["is_straggler"].any(), at
    assert set(found(details)["verdict"]) == {"done"}


def test_a_file_that_shows_nothing_for_long_is_unknown_then_stuck_and_was_slow():
    spans = [*HEALTHY, (1, 2000)]
    details = job(spans, 2010)
    files = {at: found(details, at).loc[12] for at in (90, 330, 900, 2010)}
    assert [str(file["verdict"]) for file in files.values()] == ["ok", "unknown", "stuck", "slow"]
    assert [str(file["when"]) for file in files.values()] == ["nan", "now", "now", "was"]
    assert files[330]["as_long_p"] < 0.05
    # Nobody knows when it ends, but it has held the job up since the others ended.
    assert np.isnan(files[900]["remaining_s"])
    assert files[900]["delay_s"] == pytest.approx(900 - 363, abs=30)
    assert files[2010]["delay_s"] == pytest.approx(2000 - 363, abs=30)


def test_a_running_file_has_no_pace_of_zero():
    file = found(job([*HEALTHY, (1, 2000)], 400)).loc[12]
    for name in ("pace", "rows_per_s", "bytes_per_s", "idle_s"):
        assert np.isnan(file[name]), name


def test_what_waits_behind_a_late_batch_is_not_to_blame():
    # Handed over at 130 to the node of the file that hangs; the node takes up nothing more.
    spans = [*HEALTHY, (1, 9000), (130, 9000)]
    files = found(job(spans, 900))
    assert str(files.loc[12, "verdict"]) == "stuck"
    assert str(files.loc[13, "verdict"]) == "waiting behind a batch"
    assert not files.loc[13, "is_straggler"]


def test_a_big_file_that_all_wait_for_is_big():
    sizes = [100 * MB + place for place in range(12)] + [700 * MB]
    spans = [*HEALTHY, (1, 840)]
    files = found(job(spans, 630, sizes=sizes))
    assert str(files.loc[12, "verdict"]) == "big"
    assert files.loc[12, "delay_s"] > 30
    ended = found(job(spans, 870, sizes=sizes))
    assert str(ended.loc[12, "verdict"]) == "big"
    assert str(ended.loc[12, "when"]) == "was"


def test_a_big_file_that_nobody_waits_for_is_none():
    sizes = [100 * MB + place for place in range(12)] + [300 * MB]
    details = job([*HEALTHY, (1, 340)], 390, sizes=sizes)
    for at in range(0, 391, 30):
        assert not found(details, at)["is_straggler"].any(), at


def test_a_file_that_goes_back_is_one_once_it_is_late():
    spans = [*HEALTHY, (1, 330)]
    details = job(spans, 360, back={12: [(90, 210)]})
    assert not found(details, 60).loc[12, "is_straggler"]
    file = found(details, 270).loc[12]
    assert str(file["verdict"]) == "goes back"
    assert file["retries"] == 1


def test_waiting_is_not_the_files_fault():
    files = found(job([*HEALTHY, (1000, 1120)], 600))
    assert str(files.loc[12, "verdict"]) == "waiting"
    assert files.loc[12, "started_at"] is pd.NaT
    assert files.loc[12, ["remaining_s", "delay_s", "elapsed_s"]].isna().all()


def test_without_an_end_nothing_is_late_and_no_delay_is_known():
    files = found(job([(1, 5000)] * 4, 3000))
    assert not files["is_straggler"].any()
    assert files["delay_s"].isna().all()
    assert files["expected_duration_s"].isna().all()


def test_rows_that_grow_show_a_slow_file_early():
    details = job([*HEALTHY, (1, 1200)], 180, smooth=True)
    file = found(details).loc[12]
    assert str(file["verdict"]) == "slow"
    assert 0.05 < file["pace"] < 0.15
    assert file["remaining_s"] == pytest.approx(1020, rel=0.3)


def test_a_straggler_that_has_ended_is_one_of_then():
    files = found(job([*HEALTHY, (1, 500), (1, 3000)], 1200))
    assert files["when"].dropna().astype("str").to_dict() == {12: "was", 13: "now"}


def test_only_what_was_seen_by_then_counts():
    details = job([*HEALTHY, (1, 2000)], 600)
    at = START + pd.Timedelta("301s")
    cut = details[details["observed_at"] <= at]
    pd.testing.assert_frame_equal(stragglers(details, at), stragglers(cut))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("smooth", [False, True])
def test_runs_and_expanded_frames_say_the_same(method, smooth):
    details = job([*HEALTHY, (1, 2000)], 600, smooth=smooth, back={3: [(60, 90)]})
    for at in (150, 300, 600):
        at = START + pd.Timedelta(at, "s")
        pd.testing.assert_frame_equal(method(as_runs(details), at), method(details, at))


def test_other_jobs_of_the_collection_help_one_that_has_shown_little():
    past = job(HEALTHY, 390).assign(job_id="1")
    now = job([(1, 5000)] * 3, 60)
    both = pd.concat([past, now], ignore_index=True).assign(collection_name="products")
    together = stragglers(both)
    expected = together.loc[together["job_id"].eq("7"), "expected_duration_s"]
    assert expected.to_numpy() == pytest.approx(120, rel=0.3)
    assert stragglers(now.assign(collection_name="products"))["expected_duration_s"].isna().all()


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_frame_has_no_stragglers(method):
    files = method(flatten_details([]))
    assert len(files) == 0
    assert files["is_straggler"].dtype == bool


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
@settings(max_examples=60, deadline=None)
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
    files = stragglers(frame, at)
    assert files["is_straggler"].eq(files["verdict"].isin(list(STRAGGLING))).all()
    assert files["when"].notna().eq(files["is_straggler"]).all()
    for name in ["elapsed_s", "remaining_s", "delay_s", "bytes_per_s", "idle_s"]:
        assert (files[name].dropna() >= 0).all()
        assert not np.isinf(files[name]).any()


@pytest.mark.parametrize(("worked_s", "late"), [(165, False), (175, True)])
def test_a_task_at_work_is_late_from_four_fifths_of_the_factor_on(worked_s, late):
    # Six of them run on, so none may well be the last by far.
    spans = [*((1, 96 + n) for n in range(12)), *[(201, 5000)] * 6]
    last = found(job(spans, 201 + worked_s, every=1)).iloc[-1]
    assert 1.5 < last["times_usual"] < 1.7
    assert last["is_straggler"] == late
    assert found(job(spans, 201 + worked_s, every=1), late_factor=4.0)["when"].isna().all()


@pytest.mark.parametrize(("worked_s", "late"), [(310, False), (330, True)])
def test_a_late_task_takes_longer_than_those_nearest_in_size(worked_s, late):
    # The larger half of the tasks takes twice as long, as load came.
    quick = [(1, 80 + n) for n in range(40)]
    slowed = [(301, 490 + n) for n in range(20)]
    last = found(job([*quick, *slowed, *[(301, 5000)] * 6], 301 + worked_s, every=5)).iloc[-1]
    assert last["times_usual"] > 2
    assert last["is_straggler"] == late


def test_a_task_that_takes_no_longer_than_those_before_is_not_late():
    early = [(1, 400 + 17 * n) for n in range(20)]
    quick = [(750 + 7 * n, 850 + 8 * n) for n in range(8)]
    six = [(751, 5000)] * 6
    last = found(job([*early, *quick, *six], 1000, every=5)).iloc[-1]
    assert last["times_usual"] < 1
    assert str(last["verdict"]) == "ok"


def test_what_rows_promise_counts_once_most_of_the_usual_time_has_passed():
    details = job([*HEALTHY, (1, 1200)], 130, smooth=True, every=2)
    files = pd.DataFrame([found(details, at).loc[12] for at in range(80, 130, 2)])
    late = files[files["verdict"].eq("slow")]
    assert (files["times_usual"] > 5).all()
    # Half of its possible wait is taken off.
    assert 0.90 < (late["elapsed_s"] / late["expected_duration_s"]).min() < 0.95


def test_a_file_that_will_be_the_last_is_worth_a_look_from_some_age_on():
    sizes = [100 * MB + place for place in range(12)] + [700 * MB]
    details = job([*HEALTHY, (1, 840)], 630, sizes=sizes, every=5)
    files = pd.DataFrame([found(details, at).loc[12] for at in range(370, 630, 5)])
    late = files[files["is_straggler"]]
    assert 0.58 < (late["elapsed_s"] / late["expected_duration_s"]).min() < 0.63


def queue(waits_bytes, *, backwards=0):
    """One that waits, beside forty tasks that are handed over by size but for the first ones."""
    sizes = [100 * MB + 2 * MB * place for place in range(40)]
    begins = list(range(1, 401, 10))
    begins = begins[:backwards][::-1] + begins[backwards:]
    spans = [*((begin, begin + 60) for begin in begins), (9000, 9100)]
    return found(job(spans, 400, every=10, sizes=[*sizes, waits_bytes])).iloc[-1]


@pytest.mark.parametrize(("waits_bytes", "back"), [(112 * MB, True), (113 * MB, False)])
def test_a_task_that_waits_while_larger_ones_are_handed_over_went_back(waits_bytes, back):
    # Twenty of them are 1.25 times as large in the first case, and nineteen in the second.
    file = queue(waits_bytes)
    assert str(file["verdict"]) == ("goes back" if back else "waiting")
    assert file["is_straggler"] == back
    assert file["retries"] == 0


@pytest.mark.parametrize(("backwards", "verdict"), [(14, "goes back"), (15, "waiting")])
def test_where_tasks_are_not_handed_over_by_size_one_that_waits_has_not_gone_back(
    backwards, verdict
):
    # The rank correlation of size and order is 0.915, and 0.895.
    assert str(queue(100 * MB, backwards=backwards)["verdict"]) == verdict


def test_a_task_that_is_alone_has_delayed_the_end_since_the_others_ended():
    spans = [*((1, 300 + 9 * place) for place in range(8)), (1, 9000)]
    file = found(job(spans, 450, every=10)).loc[8]
    assert file["times_usual"] < 1.5
    assert str(file["verdict"]) == "unknown"
    assert file["delay_s"] == pytest.approx(450 - 363 + file["remaining_s"], abs=10)


def test_only_one_of_several_tasks_can_be_the_last():
    # Its rows promise an end long after all others; alone there is nothing to come after.
    spans = [*((1, 700 + 9 * place) for place in range(8)), (1, 1100)]
    assert str(found(job(spans, 840, smooth=True)).loc[8, "verdict"]) == "unknown"
    assert str(found(job(spans[-1:], 840, smooth=True)).loc[0, "verdict"]) == "ok"
