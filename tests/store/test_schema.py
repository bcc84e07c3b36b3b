"""The schema: which column each part of an answer is in, and what nobody could read of it."""

from datetime import UTC, datetime

import pytest

from importstats.sources.answers import parse_response
from importstats.sources.snapshot import Snapshot
from importstats.store.schema import _repeated, details_table, extra_json, jobs_table

AT = datetime(2026, 5, 18, 8, tzinfo=UTC)


def snapshot(data, **envelope):
    answer = parse_response({"code": 0, "data": data, **envelope})
    return Snapshot(AT, "7", "https://milvus", answer, request_latency_s=0.5, snapshot_id=3)


TIMES = pytest.mark.parametrize(
    ("printed", "time", "extra"),
    [
        ("2026-05-18T02:57:13Z", datetime(2026, 5, 18, 2, 57, 13, tzinfo=UTC), None),
        ("2026-05-18T02:57:13+02:00", datetime(2026, 5, 18, 0, 57, 13, tzinfo=UTC), None),
        ("2026-05-18T02:57:13", datetime(2026, 5, 18, 2, 57, 13, tzinfo=UTC), None),
        ("", None, None),
        ("soon", None, '{"NAME":"soon"}'),
    ],
)


@TIMES
@pytest.mark.parametrize(
    ("name", "column"), [("completeTime", "complete_time"), ("createTime", "create_time")]
)
def test_a_time_of_a_job_that_nobody_can_read_is_kept_as_text(name, column, printed, time, extra):
    (row,) = jobs_table([snapshot({"state": "Completed", name: printed})]).to_pylist()
    assert row[column] == time
    assert row["extra"] == (extra and extra.replace("NAME", name))
    other = {"complete_time", "create_time"} - {column}
    assert [row[name] for name in other] == [None]


@TIMES
def test_a_time_of_a_file_that_nobody_can_read_is_kept_as_text(printed, time, extra):
    details = [{"fileName": "b"}, {"fileName": "a", "completeTime": printed, "shard": 1}]
    rows = details_table([snapshot({"details": details})]).to_pylist()
    assert [row["complete_time"] for row in rows] == [time, None]
    unread = '{"completeTime":"soon","shard":1}' if extra else '{"shard":1}'
    assert [row["extra"] for row in rows] == [unread, None]


def test_files_stand_by_name_and_share_what_their_snapshot_says():
    details = [{"fileName": "b", "importedRows": 2}, {"fileName": "a", "importedRows": 1}]
    rows = details_table([snapshot({"collectionName": "c", "details": details})]).to_pylist()
    assert [(row["file_index"], row["file_name"], row["imported_rows"]) for row in rows] == [
        (0, "a", 1),
        (1, "b", 2),
    ]
    for row in rows:
        assert (row["snapshot_id"], row["last_snapshot_id"]) == (3, 3)
        assert (row["observed_at"], row["last_observed_at"]) == (AT, AT)
        assert (row["source_uri"], row["job_id"], row["collection_name"]) == (
            "https://milvus",
            "7",
            "c",
        )


def test_unknown_fields_of_job_and_envelope_are_kept_apart():
    (row,) = jobs_table([snapshot({"shard": 1, "details": [{}, {}]}, trace="x")]).to_pylist()
    assert row["extra"] == '{"envelope":{"trace":"x"},"shard":1}'
    assert row["detail_count"] == 2


def test_a_gap_has_a_reason_and_nothing_of_an_answer():
    gap = Snapshot(AT, "7", "https://milvus", None, error="refused", snapshot_id=4)
    (row,) = jobs_table([gap]).to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == {
        "snapshot_id": 4,
        "observed_at": AT,
        "source_uri": "https://milvus",
        "job_id": "7",
        "error": "refused",
    }
    assert details_table([gap]).num_rows == 0


@pytest.mark.parametrize(
    ("text", "count", "codes", "texts"),
    [("x", 2, [0, 0], ["x"]), ("x", 0, [], []), (None, 2, [None, None], []), (None, 0, [], [])],
)
def test_a_repeated_text_is_kept_once_and_not_at_all_if_no_row_has_it(text, count, codes, texts):
    made = _repeated(text, count)
    assert made.indices.to_pylist() == codes
    assert made.dictionary.to_pylist() == texts


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ({}, None),
        ({"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
        ({"b": 2**64, "a": 1}, '{"a":1,"b":18446744073709551616}'),
        ({"a": "\ud800"}, '{"a": "\\ud800"}'),
    ],
)
def test_unknown_fields_are_json_with_sorted_keys(extra, text):
    assert extra_json(extra) == text
