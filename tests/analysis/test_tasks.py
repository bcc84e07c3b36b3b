import numpy as np
import pandas as pd
import pytest
from frames import START, recording

from importstats.analysis.tasks import infer_tasks


def tasks(details, **options):
    return infer_tasks(details, **options)["task"].tolist()


def test_files_that_move_together_are_one_task():
    details = recording(
        {0: [0, 0, 0, 0], 10: [50, 50, 0, 0], 20: ["done", "done", 60, 60]}, [5, 5, 9, 9]
    )
    assert tasks(details) == [0, 0, 2, 2]


def test_a_second_of_difference_in_the_end_is_another_task():
    polls = {0: [0, 0, 0, 0], 60: ["done"] * 4}
    ended = {0: 30, 1: 30, 2: 31, 3: 31}
    assert tasks(recording(polls, [5] * 4, ended=ended)) == [0, 0, 2, 2]


def test_one_collision_leaves_the_other_tasks_alone():
    # Six tasks of two files; the first two of them end in one second by chance.
    shown = {0: [0] * 12, 10: [0] * 12, 90: ["done"] * 12}
    ended = {place: 20 + 5 * max(place // 2, 1) for place in range(12)}
    found = tasks(recording(shown, [10] * 12, ended=ended))
    assert found[4:] == [4, 4, 6, 6, 8, 8, 10, 10]
    assert sorted(set(found[:4])) == [0, 2]
    assert [found.count(task) for task in (0, 2)] == [2, 2]


def test_large_files_that_end_together_are_no_task():
    # Every file is a task of its own: two that end alike are larger than one and the next.
    ended = dict(enumerate([20, 20, 33, 41, 52, 63, 74, 85]))
    details = recording({0: [0] * 8, 100: ["done"] * 8}, [100] * 8, ended=ended)
    assert tasks(details) == list(range(8))


def tasks_of(sizes):
    """Of how many tasks files of such sizes are, beside four tasks of eight files of 1000."""
    counts = [len(sizes), 8, 8, 8, 8]
    ended = dict(enumerate(np.repeat([20, 33, 41, 52, 63], counts)))
    count = sum(counts)
    every = [*sizes, *[1000] * 32]
    found = tasks(recording({0: [0] * count, 100: ["done"] * count}, every, ended=ended))
    return len(set(found[: len(sizes)]))


@pytest.mark.parametrize(("files", "parts"), [(8, 1), (10, 1), (11, 1), (13, 2), (16, 2), (24, 3)])
def test_a_task_of_small_files_is_cut_only_if_it_is_nearer_to_two(files, parts):
    # Sizes in memory are unlike those on disk, so one of ten or eleven files may well be one task.
    assert tasks_of([1000] * files) == parts


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([1980] * 6, 1),
        ([2300] * 5, 1),
        ([2600] * 4 + [1400], 2),
        ([3000] * 3 + [2900], 2),
    ],
)
def test_a_task_of_files_over_a_quarter_of_it_is_cut_if_it_does_not_fit(sizes, parts):
    # All together have some 11,800, so nearer to one task of 8,000 than to two.
    assert tasks_of(sizes) == parts


def test_nobody_knows_of_files_that_wait():
    details = recording({0: [None] * 4, 10: [None] * 4}, [5] * 4)
    assert tasks(details) == [0, 1, 2, 3]


def test_what_a_server_says_after_the_end_does_not_count():
    polls = {0: [0, 0, 0], 10: ["done", "done", 0], 20: ["done", "done", 30]}
    before = recording(polls, [5, 5, 9], ended={0: 8, 1: 8})
    late = before.copy()
    fallen = (late["observed_at"] == START + pd.Timedelta("20s")) & (late["file_index"] == 0)
    late.loc[fallen, ["progress_pct", "imported_rows"]] = 0
    assert tasks(late) == tasks(before) == [0, 0, 2]


def test_only_what_was_seen_by_then_counts():
    details = recording({0: [0, 0, 0], 10: [50, 50, 50], 20: [50, 70, 70]}, [5, 5, 5])
    assert tasks(details, at=START + pd.Timedelta("15s")) == [0, 0, 0]
    assert tasks(details) == [0, 1, 1]


def test_a_time_needs_a_zone():
    with pytest.raises(ValueError, match="no time zone"):
        infer_tasks(recording({0: [0]}, [5]), at=pd.Timestamp("2026-05-18"))
