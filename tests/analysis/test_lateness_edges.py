"""When tasks began, how long after others they ended, and which may wait for a late one."""

from types import SimpleNamespace

import numpy as np
import pytest

from importstats.analysis.lateness import (
    _after_others_s,
    _elapsed_s,
    _held_up,
    _in_order,
    _may_wait,
    _overtaken,
    _started,
)

NAN = np.nan


def spans_of(**columns):
    """Tasks by what is known of each; `now` is by job."""
    now = columns.pop("now", [100.0, 200.0])
    made = {name: np.array(values) for name, values in columns.items()}
    return SimpleNamespace(now=np.array(now), jobs=len(now), **made)


TIMED = spans_of(
    job=[0, 0, 0, 1, 0],
    retries=[0, 1, 0, 0, 0],
    handed_after=[4.0, 4.0, NAN, 150.0, 104.0],
    first_handed_by=[8.0, 8.0, 8.0, 152.0, 108.0],
    done=[True, True, True, False, False],
    ended_by=[30.0, 30.0, 5.0, NAN, NAN],
    begun=[True, False, True, True, True],
)


def test_a_task_began_in_the_middle_unless_it_went_back_or_was_at_work_at_first_sight():
    ages = SimpleNamespace(spans=TIMED)
    assert _started(ages).tolist() == [6, 8, 8, 151, 106]
    # Until it ended or its job was last seen, and never less than nothing.
    assert _elapsed_s(ages).tolist() == [24, 22, 0, 49, 0]
    waits = SimpleNamespace(**{**vars(TIMED), "begun": np.zeros(5, np.bool_)})
    found = _elapsed_s(SimpleNamespace(spans=waits))
    assert np.isnan(found).tolist() == [True, False, True, True, True]


def test_a_task_ends_after_the_last_of_the_others_of_its_job():
    spans = spans_of(
        job=[0, 1, 0, 0, 0],
        done=[True, True, True, False, False],
        ended_by=[10.0, 50.0, 30.0, NAN, NAN],
        begun=[True, True, True, True, False],
        now=[40.0, 60.0],
    )
    found = _after_others_s(spans)
    assert found[[0, 2, 3]].tolist() == [0, 0, 10]
    assert np.isnan(found[1]), "it is alone"
    both = spans_of(
        job=[0, 0], done=[True, True], ended_by=[30.0, 30.0], begun=[True, True], now=[30.0]
    )
    assert _after_others_s(both).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("share", "done", "held"),
    [(0.6, [True, True], True), (2 / 3, [True, True], False), (0.0, [True, False], False)],
)
def test_a_job_was_held_up_by_a_task_that_ended_so_long_after_all_others(share, done, held):
    spans = spans_of(job=[0, 0], done=done, ended_by=[40.0, 20.0], begun=[True, True], now=[50.0])
    # Twenty of thirty seconds.
    ages = SimpleNamespace(spans=spans, since=np.array([10.0]))
    assert _held_up(ages, share).tolist() == [held, False]


def test_what_was_handed_over_once_a_late_task_must_have_begun_may_wait_for_it():
    spans = spans_of(
        job=[0, 0, 0, 0, 0, 1],
        running=[True, True, True, True, False, True],
        handed_by=[10.0, 12.0, 15.0, 16.0, 0.0, 99.0],
        wait_most_s=[5.0, 9.0, 0.0, 0.0, 0.0, 0.0],
        rose_by=[NAN, NAN, NAN, NAN, NAN, NAN],
    )
    late = np.array([True, True, False, False, True, False])
    ages = SimpleNamespace(spans=spans)
    assert _may_wait(ages, late).tolist() == [False, False, False, True, False, False]
    spans.rose_by = np.array([NAN, NAN, NAN, 20.0, NAN, NAN])
    assert not _may_wait(ages, late).any(), "its rows have come"


@pytest.mark.parametrize(
    ("larger", "waits_bytes", "back"),
    [
        # Twenty tasks with files a quarter larger.
        (20, 80.0, True),
        (19, 80.0, False),
        (20, 80.1, False),
    ],
)
def test_a_task_is_overtaken_by_twenty_with_larger_files(larger, waits_bytes, back):
    """Its job has twenty tasks that were handed over by size, and one that waits."""
    count = 20
    sizes = [50.0] * (count - larger) + [100.0] * larger
    spans = spans_of(
        job=[0] * (count + 1) + [1],
        size_bytes=np.array([*sizes, waits_bytes, 1.0]) * 2,
        files=[2] * (count + 2),
        begun=[True] * count + [False, False],
        retries=[0] * (count + 2),
        waits=[False] * count + [True, True],
        handed_by=[*np.arange(float(count)), NAN, NAN],
    )
    assert _overtaken(spans).tolist() == [False] * count + [back, False]
    spans.retries = np.array([0] * count + [1, 0])
    assert not _overtaken(spans).any(), "it is known that it went back"


@pytest.mark.parametrize(("places", "agrees"), [(0, True), (3, True), (4, False), (9, False)])
def test_tasks_are_handed_over_by_size_if_their_ranks_agree_nearly(places, agrees):
    """The first of ten comes late: a correlation of 1 - 6 * places * (places + 1) / 990."""
    handed = np.arange(10.0)
    handed[0] = places + 0.5
    assert _in_order(np.arange(10.0), handed) == agrees
