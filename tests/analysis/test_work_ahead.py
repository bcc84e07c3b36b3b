"""The tasks and segments that are left in a job, from lists of a few of them."""

import numpy as np
import pandas as pd
import pytest
from clusters import HOUR, at, gauge, state, task

from importstats.analysis.work_ahead import (
    _first_pace,
    _task_paces,
    _task_seconds,
    builds_at_once,
    imports_left_s,
    segments_to_come,
)


def ran(name, began, ended, job="7", what="Completed"):
    """A task that worked from one second to another and then was so."""
    return [
        (began, ended, task(name, "InProgress", job=job, node="n")),
        (ended, HOUR, task(name, what, job=job)),
    ]


TASKS = [*ran("1", 0, 100), *ran("2", 0, 1000, job="8"), *ran("3", 0, 5, what="Failed")]


def test_a_task_took_from_its_first_work_to_its_end():
    now = state(HOUR, tasks=[*TASKS, (0, HOUR, task("4", "InProgress"))])
    assert _task_seconds(now).to_dict() == {"1": 100.0, "2": 1000.0}


def test_own_tasks_and_those_of_others_have_paces_of_their_own():
    now = state(HOUR, tasks=TASKS)
    own, others = _task_paces(now, now.of_job("7"), np.array([50.0]))
    assert own.freedom == others.freedom == 5
    # Each moves from the mean of both towards its own.
    middle = (np.log(100) + np.log(1000)) / 2
    assert np.log(100) < own.log_mean < middle < others.log_mean < np.log(1000)


@pytest.mark.parametrize(
    ("tables", "seconds", "sd"),
    [
        ({"tasks": TASKS}, np.sqrt(100 * 1000), 0.8),
        (
            {"tasks": [(0, HOUR, {**task("1", "InProgress"), "create_time": at(0),
                                  "complete_time": at(70)})]},
            70, 0.8,
        ),
        (
            {"gauges": [(0, HOUR, gauge("datacoord_import_task_latency_sum", 9e4,
                                        import_stage="import")),
                        (0, HOUR, gauge("datacoord_import_task_latency_count", 3,
                                        import_stage="import"))]},
            30, 0.8,
        ),
        # Otherwise twice as long as what runs has run, and half a minute at least.
        ({}, 100, 1.0),
    ],
)  # fmt: skip
def test_before_a_task_has_ended_others_say_how_long_it_takes(tables, seconds, sd):
    now = state(HOUR, **tables)
    pace = _first_pace(now, _task_seconds(now), np.array([40.0, 60.0]))
    assert np.exp(pace.log_mean) == pytest.approx(seconds)
    assert pace.mean_sd == sd
    if not tables:
        young = _first_pace(now, _task_seconds(now), np.array([1.0]))
        assert np.exp(young.log_mean) == pytest.approx(30)


def left(tasks, second=HOUR):
    now = state(second, tasks=tasks)
    return imports_left_s(now, "7", 0.0, np.random.default_rng(1))


def test_nothing_is_known_of_a_job_of_which_nothing_is_at_work():
    working = (0, HOUR, task("4", "InProgress", job="8", node="n"))
    assert left([]) is None
    assert left([working]) is None
    assert left([(0, HOUR, task("4", "Pending"))]) is None
    assert left([(0, HOUR, task("4", "InProgress", kind="PreImportTask", node="n"))]) is None
    assert left([working, (0, HOUR, task("5", "Pending"))]) is not None


def test_a_waiting_task_takes_the_slot_of_one_that_runs():
    # Ten tasks took 100 s each; one has run for 50 s, and one waits for its slot.
    done = [
        row for number in range(10) for row in ran(f"d{number}", 102 * number, 102 * number + 100)
    ]
    runs = (1100, 1150, task("r", "InProgress", node="n"))
    waits = (1100, 1150, task("w", "Pending"))
    assert np.median(left([*done, runs], 1150)) == pytest.approx(50, rel=0.3)
    assert np.median(left([*done, runs, waits], 1150)) == pytest.approx(150, rel=0.2)


def segment(name, rows, **values):
    known = {"segment_id": name, "collection_id": "c", "is_importing": True, "rows": rows}
    return (0, HOUR, {**known, **values})


@pytest.mark.parametrize(
    ("segments", "total", "rows"),
    [
        ([], 100, []),
        ([segment("1", 30), segment("2", 70)], 100, [30, 70]),
        # Those without rows share what is left.
        ([segment("1", 30), segment("2", 0), segment("3", None)], 100, [30, 35, 35]),
        # If that is not known they are as large as the others.
        ([segment("1", 30), segment("2", 50), segment("3", 0)], 60, [30, 50, 40]),
        ([segment("1", 0)], 0, [0]),
        ([segment("1", 30), segment("2", 9, is_sorted=True)], 100, [30]),
        ([segment("1", 30), segment("2", 9, is_importing=False)], 100, [30]),
        ([segment("1", 30), segment("2", 9, collection_id="d")], 100, [30]),
    ],
)
def test_the_segments_to_come_have_the_rows_of_the_job(segments, total, rows):
    now = state(HOUR, tasks=[(0, HOUR, task("1", "Completed"))], segments=segments)
    found = segments_to_come(now, "7", float(total))
    assert pd.Series(found).fillna(-1).tolist() == rows


@pytest.mark.parametrize(
    ("builds_s", "jobs_ms", "at_once"),
    [(100, 50_000, 2), (101, 50_000, 3), (10, 50_000, 1), (0, 50_000, None), (100, 0, None)],
)
def test_builds_at_once_are_their_time_over_that_of_the_jobs(builds_s, jobs_ms, at_once):
    gauges = [
        (0, HOUR, gauge("indexnode_build_index_latency_sum", builds_s)),
        (0, HOUR, gauge("datacoord_import_job_latency_sum", jobs_ms, import_stage="build_index")),
    ]
    assert builds_at_once(state(HOUR, gauges=gauges)) == at_once
    assert builds_at_once(state(HOUR)) is None


def test_a_single_row_that_is_left_is_that_of_the_segment_without_rows():
    own = {"collection_id": "c", "is_importing": True, "is_sorted": False}
    listed = [
        (0, HOUR, {"segment_id": name, "rows": rows, **own}) for name, rows in (("a", 9), ("b", 0))
    ]
    now = state(HOUR, tasks=[(0, HOUR, task("1", "InProgress"))], segments=listed)
    assert sorted(segments_to_come(now, "7", 10.0)) == [1, 9]
    assert segments_to_come(now, "7", 9.0).tolist() == [9, 9]
