"""Runs at their edges: when neighbours are joined, and where a run is cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from importstats.store.cluster_runs import OpenRuns, join_runs
from importstats.store.runs import NOWHERE, Runs, expand, extend, locate, transfer, windows

START = datetime(2026, 5, 18, tzinfo=UTC)


def runs(*rows: tuple[int, int, int, int]) -> Runs:
    """Runs of (file, rows imported, first position, last position)."""
    file_index, imported, first, last = (list(column) for column in zip(*rows, strict=True))
    values = {"file_index": pa.array(file_index), "imported_rows": pa.array(imported)}
    return Runs(pa.table(values), np.array(first), np.array(last))


def rows_of(found: Runs) -> list[tuple[int, ...]]:
    columns = [column.to_pylist() for column in found.values.columns]
    return list(zip(*columns, found.first.tolist(), found.last.tolist(), strict=True))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([(0, 5, 0, 1), (0, 5, 2, 3)], [(0, 5, 0, 3)]),
        ([(0, 5, 0, 1), (0, 5, 3, 3)], [(0, 5, 0, 1), (0, 5, 3, 3)]),
        ([(0, 5, 0, 1), (0, 6, 2, 3)], [(0, 5, 0, 1), (0, 6, 2, 3)]),
        ([(0, 5, 0, 1), (1, 5, 2, 3)], [(0, 5, 0, 1), (1, 5, 2, 3)]),
        ([(1, 5, 0, 0), (0, 5, 1, 1), (0, 5, 0, 0)], [(0, 5, 0, 1), (1, 5, 0, 0)]),
        ([(0, 5, 0, 0), (0, 5, 1, 1), (0, 5, 2, 2)], [(0, 5, 0, 2)]),
        ([(0, 5, 1, 1), (0, 5, 0, 0)], [(0, 5, 0, 1)]),
    ],
)
def test_neighbours_with_equal_values_are_one_run(before, after):
    assert rows_of(extend(runs(*before))) == after


def test_runs_become_a_row_for_each_file_and_position_inside():
    found = runs((1, 7, 0, 2), (0, 5, 1, 3))
    assert rows_of(expand(found, 1, 3)) == [
        (0, 5, 1, 1),
        (1, 7, 1, 1),
        (0, 5, 2, 2),
        (1, 7, 2, 2),
    ]
    assert rows_of(expand(found, 3, 4)) == [(0, 5, 3, 3)]
    assert rows_of(expand(found, 0, 1)) == [(1, 7, 0, 0)]


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([(0, 5, 0, 1), (0, 6, 2, 3), (1, 7, 0, 3)], id="all files at all times"),
        pytest.param([(1, 7, 1, 2), (0, 5, 1, 2)], id="none at either end, and out of order"),
        pytest.param([(0, 5, 0, 1), (0, 6, 3, 3), (1, 7, 0, 3)], id="one is gone for a time"),
        pytest.param([(0, 5, 0, 2), (1, 7, 0, 3)], id="the first goes early"),
        pytest.param([(0, 5, 0, 3), (1, 7, 0, 2)], id="the last goes early"),
        pytest.param([(0, 5, 0, 3), (1, 7, 1, 3)], id="the last comes late"),
        pytest.param([(0, 5, 1, 3), (1, 7, 0, 3)], id="the first comes late"),
        pytest.param([(0, 5, 0, 1), (1, 7, 2, 3), (2, 8, 0, 3)], id="one takes another's place"),
        pytest.param([(0, 5, 0, 2), (0, 6, 2, 3), (1, 7, 0, 3)], id="twice at a time"),
    ],
)
@pytest.mark.parametrize("span", [(0, 4), (1, 3), (2, 4), (3, 4)])
def test_expanded_runs_are_those_that_cover_each_position(found, span):
    by_file = sorted(found, key=lambda run: run[0])
    assert rows_of(expand(runs(*found), *span)) == [
        (file, rows, position, position)
        for position in range(*span)
        for file, rows, first, last in by_file
        if first <= position <= last
    ]


def test_expanded_values_are_those_of_their_runs_whatever_they_are():
    codes, text = pa.int32(), pa.dictionary(pa.int32(), pa.string())
    values = {
        "file_index": [0, 0, 1],
        "one text": pa.array(["a", "a", "a"]).dictionary_encode(),
        "two texts": pa.array(["b", "a", "b"]).dictionary_encode(),
        "one or none": pa.array(["a", None, "a"]).dictionary_encode(),
        "none": pa.DictionaryArray.from_arrays(pa.nulls(3, codes), pa.array([], pa.string())),
        "no numbers": pa.nulls(3, pa.float64()),
        "some numbers": pa.array([1.5, None, float("nan")]),
        "times": pa.array([None, START, START], pa.timestamp("us", "UTC")),
    }
    whole = pa.table(values)
    # A column may come in chunks.
    for table in (whole, pa.concat_tables([whole[:1], whole[1:]])):
        found = expand(Runs(table, np.array([0, 1, 0]), np.array([0, 1, 1])), 0, 2).values
        expected = whole.take(pa.array([0, 2, 1, 2]))
        assert found.schema == expected.schema
        assert found["one text"].type == text
        for name in values:
            assert repr(found[name].to_pylist()) == repr(expected[name].to_pylist()), name


@pytest.mark.parametrize(
    ("most", "pieces"),
    [
        (None, [(0, 4)]),
        (1, [(0, 1), (1, 2), (2, 3), (3, 4)]),
        (2, [(0, 1), (1, 2), (2, 3), (3, 4)]),
        (3, [(0, 2), (2, 4)]),
        (5, [(0, 3), (3, 4)]),
        (6, [(0, 4)]),
    ],
)
def test_windows_expand_to_at_most_so_many_rows(most, pieces):
    # One, two, two and one files at the four snapshots.
    found = runs((0, 5, 0, 2), (1, 7, 1, 3))
    assert list(windows(found, 4, most)) == pieces


def stored(*ends: tuple[int, int]) -> pa.Table:
    first, last = zip(*ends, strict=True)
    columns = {"file_index": list(range(len(ends))), "snapshot_id": first, "last_snapshot_id": last}
    return pa.table({name: pa.array(list(values)) for name, values in columns.items()})


def test_runs_are_cut_where_their_snapshots_are_no_neighbours_elsewhere():
    ids = np.array([10, 20, 30])
    table = stored((10, 30), (20, 20))
    first, last = locate(table, ids)
    assert (first.tolist(), last.tolist()) == ([0, 1], [2, 1])
    same = transfer(table, ids, np.arange(3))
    assert rows_of(same) == [(0, 0, 2), (1, 1, 1)]
    moved = transfer(table, ids, np.array([1, 2, 3]))
    assert rows_of(moved) == [(0, 1, 3), (1, 2, 2)]
    apart = transfer(table, ids, np.array([0, 2, 3]))
    assert rows_of(apart) == [(0, 0, 0), (0, 2, 3), (1, 2, 2)]
    gone = transfer(table, ids, np.array([0, NOWHERE, 1]))
    assert rows_of(gone) == [(0, 0, 0), (0, 1, 1)]


@pytest.mark.parametrize(
    ("ends", "ids", "message"),
    [
        ((10, 40), [10, 20], "refer to snapshots"),
        ((15, 20), [10, 20], "refer to snapshots"),
        ((10, 10), [], "refer to snapshots"),
        ((20, 10), [10, 20], "end before they begin"),
    ],
)
def test_runs_of_other_snapshots_are_refused(ends, ids, message):
    with pytest.raises(pa.ArrowInvalid, match=message):
        locate(stored(ends), np.array(ids, np.int64))


# --- What a cluster lists -------------------------------------------------------------------------


def setting(value: str) -> dict[str, str]:
    return {"name": "quota", "value": value, "origin": "FileSource"}


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def runs_of(table: pa.Table) -> list[tuple[str, int, int]]:
    return [
        (row["value"], row["observed_at"].minute, row["last_observed_at"].minute)
        for row in table.to_pylist()
    ]


def test_what_is_listed_again_is_one_run_and_what_changed_another():
    found = OpenRuns("settings", "u")
    for minute, value in enumerate("1122"):
        found.add([setting(value)], at(minute))
    assert runs_of(found.take(everything=False)) == [("1", 0, 1), ("2", 2, 3)]
    assert [row["value"] for row in found.last()] == ["2"]
    found.written()
    assert runs_of(found.take(everything=False)) == []
    assert runs_of(found.take(everything=True)) == [("2", 2, 3)]
    found.add([setting("2")], at(4))
    assert runs_of(found.take(everything=False)) == []
    assert runs_of(found.take(everything=False, still_listed=True)) == [("2", 2, 4)]
    # It was written up to minute 3, and went on: it is written once more when it ends.
    found.written()
    found.add([setting("3")], at(5))
    assert runs_of(found.take(everything=False)) == [("2", 2, 4), ("3", 5, 5)]


@pytest.mark.parametrize(("before", "left"), [(1, 1), (2, 0)])
def test_what_was_listed_before_a_time_is_forgotten_once_it_is_written(before, left):
    found = OpenRuns("settings", "u")
    found.add([setting("1")], at(1))
    found.forget(at(9))
    assert len(found.last()) == 1
    found.written()
    found.forget(at(before))
    assert len(found.last()) == left


def test_runs_of_two_files_are_joined_by_their_values():
    parts = []
    for values in ("112", "2211"):
        found = OpenRuns("settings", "u")
        for minute, value in enumerate(values, start=10 * len(parts)):
            found.add([setting(value)], at(minute))
        parts.append(found.take(everything=True))
    both = join_runs("settings", pa.concat_tables(parts[::-1]))
    assert runs_of(both) == [("1", 0, 1), ("2", 2, 11), ("1", 12, 13)]
    one = parts[0].slice(0, 1)
    assert join_runs("settings", one) is one
