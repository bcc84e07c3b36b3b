"""Samples of files and the curves through them, at their edges and beside plain loops."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from frames import START, as_runs, recording
from hypothesis import given
from hypothesis import strategies as st

from importstats.analysis.samples import FileSamples, in_microseconds, row_share

NA = float("nan")


def second(times):
    return ((times - in_microseconds(START)) / 1e6).tolist()


def two_files():
    return recording({0: [0, None], 10: [50, 0], 20: [100, 0], 30: ["done", 40]}, [200, 100])


def test_the_curves_of_files_and_of_their_sum():
    samples = FileSamples.from_details(two_files())
    curve = samples.curve()
    assert curve.key.tolist() == [0] * 4 + [1] * 4
    assert second(curve.time) == [0, 10, 20, 30] * 2
    assert curve.rows.tolist() == [0, 50, 100, 100, 0, 0, 0, 40]
    assert curve.gain.tolist() == [0, 50, 50, 0, 0, 0, 0, 40]
    assert curve.byte_gain.tolist() == [0, 100, 100, 0, 0, 0, 0, 40]
    assert curve.loss.tolist() == [0] * 8
    assert curve.since.tolist() == [0, 0, 1, 2, 0, 0, 0, 0]
    assert curve.open.tolist() == [False] * 4 + [True] * 4
    assert curve.sized.all()
    np.testing.assert_allclose(curve.spread, [0, 50, 100, 100, 0, 40 / 3, 80 / 3, 40])
    both = curve.summed(np.zeros(2, np.int64), 1, samples.moment_time)
    assert second(both.time) == [0, 10, 20, 30]
    assert both.rows.tolist() == [0, 50, 100, 140]
    assert both.gain.tolist() == [0, 50, 50, 40]
    assert both.byte_gain.tolist() == [0, 100, 100, 40]
    np.testing.assert_allclose(both.spread, [0, 50 + 40 / 3, 100 + 80 / 3, 140])
    np.testing.assert_allclose(both.byte_spread, [0, 100 + 40 / 3, 200 + 80 / 3, 240])
    assert both.open.all()
    apart = curve.summed(np.array([1, 0]), 2, samples.moment_time)
    assert apart.rows.tolist() == [0, 0, 0, 40, 0, 50, 100, 100]
    assert apart.open.tolist() == [True] * 4 + [False] * 4
    # A group without files has no points, wherever it stands.
    for group, count in (([2, 1], 4), ([1, 0], 9)):
        wide = curve.summed(np.array(group), count, samples.moment_time)
        assert wide.rows.tolist() == apart.rows.tolist()
        assert wide.key.tolist() == [min(group)] * 4 + [max(group)] * 4


def test_rows_that_vanish_are_a_loss_and_bytes_that_vanish_no_gain():
    curve = FileSamples.from_details(recording({0: [40], 10: [0], 20: [60]}, [1000])).curve()
    assert (curve.gain.tolist(), curve.loss.tolist()) == ([0, 0, 60], [0, 40, 0])
    assert curve.byte_gain.tolist() == [0, 0, 600]


def test_a_file_that_comes_after_its_job_has_begun_with_nothing_at_the_snapshot_before():
    details = pd.concat(
        [recording({0: [10], 10: [20]}, [100]), recording({20: [30, 40]}, [100, 100])],
        ignore_index=True,
    )
    curve = FileSamples.from_details(details).curve()
    assert curve.key.tolist() == [0, 0, 0, 1, 1]
    assert second(curve.time) == [0, 10, 20, 10, 20]
    assert curve.rows.tolist() == [10, 20, 30, 0, 40]
    assert curve.shown.tolist() == [True, True, True, False, True]
    assert curve.byte_gain.tolist() == [0, 10, 10, 0, 40]
    # Of the first snapshot of another job nothing is known before.
    other = pd.concat([two_files(), details.assign(job_id="8")], ignore_index=True)
    assert FileSamples.from_details(other).curve().shown.tolist() == [True] * 11 + [False, True]


def test_rows_that_fall_after_the_end_of_a_file_were_merged_and_not_lost():
    details = recording({0: [0], 10: ["done"], 20: ["done"], 30: ["done"]}, [200])
    details.loc[2:, "imported_rows"] = 0
    curve = FileSamples.from_details(details).curve()
    assert curve.rows.tolist() == [0, 100, 100, 100]
    assert curve.loss.sum() == 0
    failed = recording({0: [40], 10: ["failed"], 20: ["failed"]}, [200])
    assert FileSamples.from_details(failed).curve().rows.tolist() == [40]


@given(
    st.lists(
        st.lists(st.sampled_from([None, 0, 20, 50, 100]), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    ),
    st.lists(st.integers(0, 1), min_size=3, max_size=3),
)
def test_the_sum_of_curves_is_what_the_files_have_at_each_snapshot(shown, groups):
    samples = FileSamples.from_details(
        recording({10 * place: each for place, each in enumerate(shown)}, [1, 2, 3])
    )
    group = np.array(groups)
    both = samples.curve().summed(group, 2, samples.moment_time)
    rows = np.array([[each or 0 for each in line] for line in shown], np.float64)
    used = [which for which in (0, 1) if (group == which).any()]
    expected = np.concatenate([rows[:, group == which].sum(axis=1) for which in used])
    assert both.rows.tolist() == expected.tolist()
    change = np.diff(rows, axis=0, prepend=rows[:1])
    gain = [np.maximum(change, 0)[:, group == which].sum(axis=1) for which in used]
    assert both.gain.tolist() == np.concatenate(gain).tolist()
    assert both.key.tolist() == np.repeat(used, len(shown)).tolist()


# --- Samples --------------------------------------------------------------------------------------


def test_runs_have_a_sample_at_each_end_and_say_the_same_as_snapshots():
    details = recording({0: [0], 10: [0], 20: [0], 30: [50], 40: [50]}, [9])
    samples = FileSamples.from_details(as_runs(details))
    assert second(samples.time) == [0, 20, 30, 40]
    assert samples.row.tolist() == [0, 0, 1, 1]
    assert second(FileSamples.from_details(details).changes().time) == [0, 20, 30, 40]
    cut = FileSamples.from_details(as_runs(details), in_microseconds(START + pd.Timedelta("10s")))
    assert second(cut.time) == [0, 10]
    whole = FileSamples.from_details(details).changes().curve()
    np.testing.assert_array_equal(samples.curve().rows, whole.rows)


@pytest.mark.parametrize(
    ("until", "kept"), [(-0.000001, 0), (0, 1), (9.999999, 1), (10, 2), (99, 3), (None, 3)]
)
def test_what_was_seen_later_is_left_away(until, kept):
    details = recording({0: [0], 10: [1], 20: [2]}, [9])
    details.loc[3] = details.loc[2].where(details.columns != "observed_at", pd.NaT)
    details["observed_at"] = pd.to_datetime(details["observed_at"], utc=True).dt.as_unit("us")
    limit = None if until is None else in_microseconds(START + pd.Timedelta(until, "s"))
    assert len(FileSamples.from_details(details, limit).time) == kept


def test_changes_are_kept_only_if_they_are_few():
    same = recording({10 * n: [0, 0, 0] for n in range(4)}, [1, 2, 3])
    assert second(FileSamples.from_details(same).changes().time) == [0, 30] * 3
    # Of five steps three are alike: 60 percent.
    enough = recording({10 * n: [p] for n, p in enumerate([0, 0, 0, 0, 1, 2])}, [1])
    assert second(FileSamples.from_details(enough).changes().time) == [0, 30, 40, 50]
    many = recording({10 * n: [p] for n, p in enumerate([0, 0, 0, 1, 2, 3])}, [1])
    assert second(FileSamples.from_details(many).changes().time) == [0, 10, 20, 30, 40, 50]
    nothing = FileSamples.from_details(same.iloc[:0])
    assert len(nothing.changes().time) == 0
    assert len(nothing.curve().time) == 0
    assert len(nothing.keys()) == 0


def test_a_file_is_known_by_its_name_or_by_its_place_where_a_name_stands_for_two():
    named = recording({0: [0, 1], 10: [2, 3]}, [1, 2])
    named.loc[named["observed_at"].gt(START), "file_name"] = ["[1.parquet]", "[0.parquet]"]
    assert FileSamples.from_details(named).values("progress_pct").tolist() == [0, 3, 1, 2]
    twice = named.assign(file_name="[same.parquet]")
    assert FileSamples.from_details(twice).values("progress_pct").tolist() == [0, 2, 1, 3]
    unnamed = named.assign(file_name=pd.Series([None, "[1.parquet]", None, "[1.parquet]"]))
    assert FileSamples.from_details(unnamed).values("progress_pct").tolist() == [0, 2, 1, 3]
    assert FileSamples.from_details(named.drop(columns="file_name")).key.tolist() == [0, 0, 1, 1]
    # In one job alone: the other's names are good.
    both = pd.concat([twice, named.assign(job_id="8")], ignore_index=True)
    assert FileSamples.from_details(both).values("progress_pct").tolist() == [
        0,
        2,
        1,
        3,
        0,
        3,
        1,
        2,
    ]


def test_samples_of_any_order_are_the_same():
    details = two_files()
    shuffled = details.sample(frac=1, random_state=3).reset_index(drop=True)
    for name in ("key", "time", "moment", "moment_job", "moment_time", "job"):
        one, other = (getattr(FileSamples.from_details(each), name) for each in (details, shuffled))
        np.testing.assert_array_equal(one, other)
    samples = FileSamples.from_details(details)
    assert samples.moment.tolist() == [0, 1, 2, 3] * 2
    assert samples.moment_job.tolist() == [0] * 4


def test_states_are_in_small_letters_and_a_missing_one_is_none_of_them():
    details = two_files()
    details.loc[0, "state"] = None
    samples = FileSamples.from_details(details)
    assert samples.in_state("").tolist() == [True] + [False] * 7
    assert samples.in_state("completed", "pending").tolist() == [
        *(False, False, False, True),
        *(True, False, False, False),
    ]


@pytest.mark.parametrize(
    ("rows", "total", "progress", "share"),
    [
        (0, 100, 0.0, 0),
        (50, 100, 50.0, 0.5),
        # A whole percent of the same thing; beyond it, what was reported counts.
        (50, 100, 51.4, 0.5),
        (50, 100, 51.6, 0.516),
        (50, 100, 48.6, 0.5),
        (50, 100, 48.4, 0.484),
        (50, 100, None, 0.5),
        (None, 100, 30.0, 0.3),
        (50, None, 30.0, 0.3),
        (50, 0, 30.0, 0.3),
        (300, 100, 100.0, 1),
        (0, None, None, 0),
        (None, None, None, None),
        (None, None, 1e-11, 0),
        (None, None, 1e-9, 1e-11),
    ],
)
def test_the_share_of_a_file_is_that_of_its_rows_unless_its_progress_contradicts(
    rows, total, progress, share
):
    details = recording({0: [0]}, [5])
    for name, value in (("imported_rows", rows), ("total_rows", total)):
        details[name] = pd.array([value], "Int64")
    details["progress_pct"] = np.array([np.nan if progress is None else progress])
    found = FileSamples.from_details(details).share()
    np.testing.assert_allclose(found, [np.nan if share is None else share], rtol=1e-12)


def test_the_share_of_rows_is_at_most_all_and_unknown_without_a_total():
    found = row_share(np.array([0, 0, 5, 20, 5, NA]), np.array([0, NA, 10, 10, 0, 10]))
    np.testing.assert_array_equal(found, [0, 0, 0.5, 1, NA, NA])


def test_collections_are_those_of_one_server_and_a_job_of_none_has_one_of_its_own():
    parts = [
        recording({0: [0]}, [5]).assign(job_id=job, source_uri=server, collection_name=name)
        for job, server, name in (
            ("1", "a", "books"),
            ("2", "a", "books"),
            ("3", "a", "films"),
            ("4", "b", "books"),
            ("5", "b", None),
            ("6", "b", None),
        )
    ]
    samples = FileSamples.from_details(pd.concat(parts, ignore_index=True))
    assert samples.clusters().tolist() == [0, 0, 0, 1, 1, 1]
    assert samples.collections().tolist() == [0, 0, 1, 2, 3, 4]
    bare = FileSamples.from_details(two_files())
    assert bare.collections().tolist() == [0]


def test_files_are_shown_as_last_seen_with_a_name_of_what_there_is():
    details = two_files()
    details.loc[details.index[-1], "file"] = "renamed"
    keys = FileSamples.from_details(details).keys()
    assert keys.columns.tolist() == ["source_uri", "job_id", "file_index", "file"]
    assert keys["file"].tolist() == ["0.parquet", "renamed"]
    without = FileSamples.from_details(details.drop(columns="file")).keys()
    assert without["file"].tolist() == ["[0.parquet]", "[1.parquet]"]
    bare = FileSamples.from_details(details.drop(columns=["file", "file_name"])).keys()
    assert bare["file"].tolist() == ["0", "1"]


def test_a_time_has_a_zone_and_is_cut_to_whole_microseconds():
    assert in_microseconds(pd.Timestamp("1970-01-01T00:00:01.000002999Z")) == 1_000_002
    assert in_microseconds(pd.Timestamp("1970-01-01T01:00:00+01:00")) == 0
    with pytest.raises(ValueError, match="at has no time zone; snapshots are timed in UTC"):
        in_microseconds(datetime(2026, 5, 18))
