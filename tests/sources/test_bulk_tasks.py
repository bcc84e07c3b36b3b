"""Tasks of the gRPC service, mapped to jobs and files."""

from __future__ import annotations

import pytest
from bulk_tasks import Task, detail_of, make_task, with_rows
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.grpc_gen import common_pb2

from importstats.sources.bulk_insert import job_record, progress_response
from importstats.sources.file_names import parse_file_name

# --- the mapping -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (make_task("ImportPending"), ("Pending", "Pending", 0, 0, None)),
        (make_task("ImportStarted"), ("Importing", "InProgress", 0, None, None)),
        (
            make_task("ImportStarted", progress_percent="58"),
            ("Importing", "InProgress", 58, None, None),
        ),
        (
            with_rows(make_task("ImportStarted", progress_percent="77"), 131072),
            ("Importing", "InProgress", 77, 131072, None),
        ),
        (
            with_rows(make_task("ImportPersisted", progress_percent="90"), 300),
            ("Importing", "InProgress", 90, 300, 300),
        ),
        (
            with_rows(make_task("ImportFlushed", progress_percent="90"), 300),
            ("Importing", "InProgress", 90, 300, 300),
        ),
        (
            with_rows(make_task("ImportCompleted", progress_percent="100"), 300),
            ("Completed", "Completed", 100, 300, 300),
        ),
        (make_task("ImportCompleted"), ("Completed", "Completed", None, 0, 0)),
        (make_task("ImportFailed", progress_percent="0"), ("Failed", "Failed", 0, None, None)),
        (make_task("ImportFailedAndCleaned"), ("Failed", "Failed", None, None, None)),
        (make_task(42, progress_percent="5"), ("42", "42", 5, None, None)),
    ],
)
def test_states_progress_and_rows(task: Task, expected: tuple[object, ...]) -> None:
    data = progress_response("451", [task]).data
    [detail] = data.details
    got = (data.state, detail.state, detail.progress, detail.imported_rows, detail.total_rows)
    assert got == expected
    assert (data.progress, data.imported_rows, data.total_rows) == got[2:]


def test_everything_else_is_kept_by_its_wire_name() -> None:
    task = make_task("ImportPersisted", persist_cost="3.15", backup="true")
    task.segment_ids.append(470689105287515709)
    task.id_list.extend([1, 100])
    assert detail_of(task).extra == {
        "id": 470689105287515686,
        "state": "ImportPersisted",
        "create_ts": 1795536485,
        "collection": "c1",
        "collection_id": 470689105287315669,
        "segment_ids": [470689105287515709],
        "id_list": [1, 100],
        "partition": "_default",
        "persist_cost": "3.15",
        "backup": "true",
    }


def test_times_and_sizes_are_missing_because_the_server_sends_none() -> None:
    data = progress_response("451", [make_task("ImportCompleted")]).data
    assert data.complete_time is data.details[0].complete_time is None
    assert data.file_size is data.details[0].file_size is None
    assert data.extra == {"api": "bulk_insert", "create_ts": 1795536485}


@pytest.mark.parametrize("sent", ["", "-1", "101", "9999", "half", "1e2", "\u0665"])
def test_an_unusable_progress_is_missing_and_kept(sent: str) -> None:
    detail = detail_of(make_task(progress_percent=sent))
    assert detail.progress is None
    assert detail.extra.get("progress_percent", "") == sent


def test_a_negative_row_count_is_missing_and_kept() -> None:
    detail = detail_of(with_rows(make_task("ImportCompleted"), -5))
    assert detail.imported_rows is detail.total_rows is None
    assert detail.extra["row_count"] == -5


@pytest.mark.parametrize(
    ("files", "paths"),
    [
        ("in/rows.json", ("in/rows.json",)),
        ("a,b/id.npy,a,b/my vector.NPY", ("a,b/id.npy", "a,b/my vector.NPY")),
        ('[odd]/数据 "x".parquet', ('[odd]/数据 "x".parquet',)),
        ("backup/insert_log/1,backup/delta_log/1", ("backup/insert_log/1,backup/delta_log/1",)),
        ("", ()),
    ],
)
def test_the_paths_of_a_task(files: str, paths: tuple[str, ...]) -> None:
    assert parse_file_name(detail_of(make_task(files=files)).file_name).paths == paths


def test_a_job_of_several_tasks_goes_on_until_all_have_ended() -> None:
    good = with_rows(make_task("ImportCompleted", progress_percent="100"), 20_000)
    bad = make_task("ImportFailed", progress_percent="0", failed_reason="illegal dimension 64")
    started = make_task("ImportStarted", progress_percent="50")

    running = progress_response("1,2,3", [good, bad, started]).data
    assert (running.state, running.progress) == ("Importing", 50)
    assert (running.imported_rows, running.total_rows) == (20_000, None)

    ended = progress_response("1,2,3", [good, bad, good]).data
    assert (ended.state, ended.imported_rows, ended.total_rows) == ("Failed", 40_000, None)
    assert ended.reason == "1 of 3 tasks failed; the first: illegal dimension 64"

    done = progress_response("1,2", [good, good]).data
    assert (done.state, done.progress, done.total_rows) == ("Completed", 100, 40_000)
    assert done.reason is None
    assert progress_response("2", [bad]).data.reason == "illegal dimension 64"


def test_rows_of_a_job_never_fall_though_those_of_a_running_task_do() -> None:
    good = with_rows(make_task("ImportCompleted", progress_percent="100"), 20_000)
    # The row counts a real server sent, one poll after the other.
    counts = [0, 64_527, 0, 129_054, 0, 193_581]
    running = [with_rows(make_task("ImportStarted"), count) for count in counts]
    jobs = [progress_response("1,2", [good, task]).data for task in running]
    assert [job.imported_rows for job in jobs] == [20_000] * 6
    assert [job.details[1].imported_rows for job in jobs] == [count or None for count in counts]


def test_a_job_over_two_collections_names_none_and_one_of_unknown_progress_has_none() -> None:
    data = progress_response("1,2", [make_task(), make_task(42, collection="c2")]).data
    assert data.collection_name is None
    assert data.progress is None
    assert [detail.extra["collection"] for detail in data.details] == ["c1", "c2"]


@given(
    st.lists(
        st.builds(
            Task,
            state=st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 1, 2, 5, 6, 7, 8]),
            row_count=st.integers(-(2**63), 2**63 - 1) | st.integers(0, 10),
            create_ts=st.integers(-(2**63), 2**63 - 1),
            infos=st.lists(
                st.builds(
                    common_pb2.KeyValuePair,
                    key=st.sampled_from(["files", "progress_percent", "failed_reason"]) | st.text(),
                    value=st.text() | st.integers(-5, 105).map(str),
                ),
                max_size=4,
            ),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_task_becomes_a_row(tasks: list[Task]) -> None:
    data = progress_response("1", tasks).data
    for part in (data, *data.details):
        assert part.progress is None or 0 <= part.progress <= 100
        assert part.imported_rows is None or part.imported_rows >= 0
        assert part.total_rows is None or part.total_rows == part.imported_rows
    assert job_record(tasks[0]).job_id == str(tasks[0].id)
