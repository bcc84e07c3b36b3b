"""The parser: every dialect in, one typed response out, nothing lost and nothing invented."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    PrivilegeError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.sources import answers
from importstats.sources.answers import parse_job_page, parse_response
from importstats.sources.file_names import parse_file_name
from importstats.sources.snapshot import Snapshot
from importstats.store.frames import flatten_details
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA, details_table, jobs_table
from importstats.text import excerpt, printable


def answer(detail=None, envelope=None, **data):
    body = {"jobId": "7", "state": "Importing", **data}
    if detail is not None:
        body["details"] = [detail]
    return json.dumps({"code": 0, "data": body, **(envelope or {})})


DIALECTS = {
    "milvus 2.4 early": {
        "code": 200,
        "data": {
            "jobId": "7",
            "state": "Importing",
            "progress": 55,
            "importedRows": 500,
            "totalRows": 1000,
            "fileSize": 900,
            "details": [
                {
                    "fileName": 'id:449839014328146740 paths:"/a/1.parquet" ',
                    "fileSize": 900,
                    "progress": 50,
                    "state": "InProgress",
                    "importedRows": 500,
                    "totalRows": 1000,
                }
            ],
        },
    },
    "milvus 2.6": {
        "code": 0,
        "message": "",
        "data": {
            "jobId": "7",
            "state": "Importing",
            "progress": 55,
            "importedRows": 500,
            "totalRows": 1000,
            "fileSize": 900,
            "completeTime": "",
            "details": [
                {
                    "fileName": "[/a/1.parquet]",
                    "fileSize": 900,
                    "progress": 50,
                    "completeTime": None,
                    "state": "InProgress",
                    "importedRows": 500,
                    "totalRows": 1000,
                }
            ],
        },
    },
    "cloud": {
        "status": 0,
        "data": {
            "jobId": 7,
            "clusterId": "in01-1",
            "fileName": "top.parquet",
            "state": "Importing",
            "readyPercentage": 0.55,
            "importedRows": "500",
            "totalRows": "1000",
            "fileSize": 900,
            "errorMessage": None,
            "details": [
                {
                    "fileName": "/a/1.parquet",
                    "fileSize": 900,
                    "progress": "50",
                    "state": "InProgress",
                }
            ],
        },
    },
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_reports_the_same_job(dialect):
    data = parse_response(json.dumps(DIALECTS[dialect])).data
    assert (data.job_id, data.state, data.progress) == ("7", "Importing", 55.0)
    assert (data.imported_rows, data.total_rows, data.file_size) == (500, 1000, 900)
    [detail] = data.details
    assert parse_file_name(detail.file_name).paths == ("/a/1.parquet",)
    assert (detail.file_size, detail.progress, detail.state) == (900, 50.0, "InProgress")


def test_the_cloud_may_leave_rows_out_of_details_and_add_fields():
    data = parse_response(DIALECTS["cloud"]).data
    assert data.details[0].imported_rows is None
    assert data.extra == {"clusterId": "in01-1", "fileName": "top.parquet"}


@pytest.mark.parametrize(("sent", "read"), [(0.575, 57.5), (1, 100.0), (57.5, 57.5), (0, 0.0)])
def test_ready_percentage_is_a_share_or_percent(sent, read):
    assert parse_response(answer(readyPercentage=sent)).data.progress == read


def test_the_standard_name_goes_before_its_alias():
    data = parse_response(answer(progress=40, readyPercentage=0.9)).data
    assert data.progress == 40
    assert data.extra == {"readyPercentage": 0.9}


@pytest.mark.parametrize("lie", [-1, 2**63, "many", "", [], {}, True, 1.5])
def test_a_count_that_cannot_be_is_missing_and_kept(lie):
    for where in ("job", "file"):
        text = answer(importedRows=lie) if where == "job" else answer({"importedRows": lie})
        data = parse_response(text).data
        target = data if where == "job" else data.details[0]
        assert target.imported_rows is None
        assert target.extra == {"importedRows": lie}


@pytest.mark.parametrize("lie", [-922337, 101, "soon"])
def test_a_percentage_that_cannot_be_is_missing_and_kept(lie):
    data = parse_response(answer(progress=lie)).data
    assert data.progress is None
    assert data.extra == {"progress": lie}


@pytest.mark.parametrize(
    ("sent", "read"), [("12", 12), (" 12 ", 12), (12.0, 12), (2**63 - 1, 2**63 - 1), ("1e3", 1000)]
)
def test_counts_are_int64_however_they_are_sent(sent, read):
    assert parse_response(answer(totalRows=sent)).data.total_rows == read


def test_unknown_states_and_fields_are_kept():
    data = parse_response(answer({"state": "Resorting", "shard": 3}, state="Draining", x=[1])).data
    assert (data.state, data.details[0].state) == ("Draining", "Resorting")
    assert data.extra == {"x": [1]}
    assert data.details[0].extra == {"shard": 3}


def test_a_null_or_odd_details_list_is_no_failure():
    assert parse_response(answer(details=None)).data.details == []
    odd = parse_response(answer(details="none")).data
    assert odd.details == []
    assert odd.extra == {"details": "none"}
    assert parse_response(answer(details=[3])).data.details[0].extra == {"detail": 3}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "empty"),
        ("<html><h1>502 Bad Gateway</h1></html>", "HTML"),
        ('{"code": 0, "data": {"jobId"', "not valid JSON"),
        ("[]", "list"),
        ("null", "NoneType"),
        ('{"code": 0}', "NoneType"),
        ('{"code": 0, "data": {}}', "no field of an import job"),
        ('{"code": 0, "data": [1]}', "list"),
        ('{"hello": "world"}', "NoneType"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_no_progress_response_is_refused_with_an_excerpt(body, says):
    with pytest.raises(BadResponseError, match=says) as caught:
        parse_response(body)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_an_excerpt_never_shows_a_secret():
    with pytest.raises(BadResponseError) as caught:
        parse_response("<p>Authorization: Bearer root:S3cr3t was refused, token=abc123</p>")
    assert "S3cr3t" not in str(caught.value)
    assert "abc123" not in str(caught.value)
    assert "abc" not in excerpt('{"api_key": "abc", "password":"abc"}')


@pytest.mark.parametrize(
    ("envelope", "kind"),
    [
        ({"code": 1800, "message": "user hasn't authenticated"}, UnauthorizedError),
        ({"code": 2100, "message": "import job does not exist, jobID=7"}, JobNotFoundError),
        ({"status": 65535, "message": "cannot find import job 7"}, JobNotFoundError),
        ({"code": 800, "message": "database not found[database=x]"}, ServerError),
        ({"code": "500", "message": None}, ServerError),
        ({"code": 0, "status": 1100, "message": "bad parameter"}, ServerError),
        ({"code": 1, "message": "service not ready[datacoord=7]: Initializing"}, UnreachableError),
        ({"code": 10001, "message": "request timeout"}, UnreachableError),
        ({"code": 65535, "message": "PermissionDenied desc = PrivilegeImport"}, PrivilegeError),
        ({"code": 1401, "message": "x"}, PrivilegeError),
        ({"code": "0", "message": "The token is illegal."}, UnauthorizedError),
        ({"code": 0, "message": "database not found[database=x]", "data": {}}, ServerError),
    ],
)
def test_an_error_number_is_an_error_by_either_name(envelope, kind):
    with pytest.raises(kind) as caught:
        parse_response(json.dumps(envelope))
    assert type(caught.value) is kind


def test_a_missing_privilege_names_its_database_however_long_the_message():
    said = "rpc error: code = PermissionDenied desc = PrivilegeImport: permission deny to "
    message = f"{said}{'r' * 80} in the `sales` database"
    with pytest.raises(PrivilegeError, match="Import privilege in database 'sales'") as caught:
        parse_response({"code": 65535, "message": message})
    assert caught.value.database == "sales"
    assert "`sales`" in str(caught.value)
    assert "MILVUS_TOKEN" not in str(caught.value)


HUGE = int("9" * 310)


@pytest.mark.parametrize("number", [HUGE, -HUGE, str(HUGE), float(10**308), "1e400"])
@pytest.mark.parametrize("field", ["importedRows", "progress", "fileSize", "readyPercentage"])
def test_a_number_of_310_digits_is_missing_and_kept(field, number):
    for body in (answer(**{field: number}), answer({field: number})):
        data = parse_response(body).data
        parsed = data.details[0] if data.details else data
        assert parsed.extra == {field: number}


def test_a_status_of_310_digits_is_no_number_and_the_answer_counts():
    assert parse_response({"code": HUGE, "data": {"state": "Pending"}}).data.state == "Pending"


def test_an_empty_reason_is_none_on_every_path():
    for extra in ({}, {"shard": 1}):
        data = parse_response(answer({"state": "Pending", "reason": ""}, reason="", **extra)).data
        assert (data.reason, data.details[0].reason) == (None, None)


@pytest.mark.parametrize(
    ("ready", "complete_time", "error", "state", "file_state"),
    [
        (0, None, None, "Importing", "Pending"),
        (0.4, None, None, "Importing", "InProgress"),
        (1, None, None, "Importing", "InProgress"),
        (1, "2026-05-18T08:01:58Z", None, "Completed", "Completed"),
        (0.4, None, "schema mismatch", "Failed", "Failed"),
    ],
)
def test_a_job_of_cloud_v1_has_the_state_that_its_fields_say(
    ready, complete_time, error, state, file_state
):
    sent = {"readyPercentage": ready, "completeTime": complete_time, "errorMessage": error}
    data = {"jobId": "job-9", **sent, "details": [{"fileName": "x/1.parquet", **sent}]}
    parsed = parse_response({"code": 200, "data": data}).data
    assert (parsed.state, parsed.details[0].state) == (state, file_state)
    assert parsed.reason == error


def test_a_list_of_cloud_v1_names_states_as_the_others_do():
    tasks = [{"jobId": "a", "state": "ImportRunning"}, {"jobID": "b", "state": "ImportFailed"}]
    running, failed = parse_job_page({"code": 200, "data": {"tasks": tasks}}).records
    assert (running.job_id, running.state, failed.job_id, failed.state) == (
        "a",
        "Importing",
        "b",
        "Failed",
    )
    assert failed.extra == {"state": "ImportFailed"}


def test_the_job_id_is_found_by_its_early_name_and_rows_stay_unknown():
    data = parse_response({"code": 200, "data": {"jobID": "448349928", "state": "Completed"}}).data
    assert (data.job_id, data.imported_rows, data.total_rows) == ("448349928", None, None)


def test_a_create_time_is_a_column_whatever_its_zone():
    answered = parse_response(answer(createTime="2026-05-18T10:00:00+02:00"))
    snapshot = Snapshot(
        datetime(2026, 5, 18, tzinfo=UTC), "7", "http://x", answered, server_version=">=2.6.5"
    )
    [row] = jobs_table([snapshot]).select(["create_time", "server_version"]).to_pylist()
    assert row == {
        "create_time": datetime(2026, 5, 18, 8, tzinfo=UTC),
        "server_version": ">=2.6.5",
    }


@pytest.mark.parametrize("number", [0, 200])
@pytest.mark.parametrize("name", ["code", "status"])
def test_both_numbers_of_success(name, number):
    body = json.dumps({name: number, "data": {"jobId": "7"}})
    assert parse_response(body).status == number


@pytest.mark.parametrize(
    ("printed", "paths"),
    [
        ("[a/1.parquet]", ["a/1.parquet"]),
        ("[x.npy y.npy]", ["x.npy", "y.npy"]),
        ("[my ids.npy my vectors.npy]", ["my ids.npy", "my vectors.npy"]),
        ("[v1.2 final/part 0.parquet]", ["v1.2 final/part 0.parquet"]),
        ('[say "hi".json]', ['say "hi".json']),
        ('["a b.npy" "c.npy"]', ["a b.npy", "c.npy"]),
        ('["a b.npy", "c.npy"]', ["a b.npy", "c.npy"]),
        ('id:449839014328146740 paths:"/a/1.parquet" ', ["/a/1.parquet"]),
        ('id:4 paths:"x.npy" paths:"y \\"z\\".npy"', ["x.npy", 'y "z".npy']),
        ('paths:"\\346\\227\\245.parquet"', ["日.parquet"]),
        ("s3://bucket/folder/", ["s3://bucket/folder/"]),
        ("s3://bucket/a [1].parquet", ["s3://bucket/a [1].parquet"]),
        ("[no-extension]", ["no-extension"]),
        ("[b/insert_log/4/5 b/delta_log/4/5]", ["b/insert_log/4/5", "b/delta_log/4/5"]),
        ("[b/insert_log/4/5]", ["b/insert_log/4/5"]),
        ("[]", []),
        ("", []),
        (None, []),
    ],
)
def test_file_names_in_each_printed_form(printed, paths):
    name = parse_file_name(printed)
    assert list(name.paths) == paths
    assert name.display == ("" if not paths else paths[0] if len(paths) == 1 else f"{paths[0]} +1")


def test_job_list_keeps_order_and_drops_what_cannot_be_asked_about():
    records = [
        {"jobId": 9, "progress": "12"},
        {"state": "Pending"},
        {"jobId": "8", "reason": "x", "y": 1},
    ]
    jobs = parse_job_page({"code": 0, "data": {"records": records}}).records
    assert [job.job_id for job in jobs] == ["9", "8"]
    assert jobs[0].progress == 12.0
    assert jobs[1].extra == {"y": 1}
    assert parse_job_page('{"code": 0, "data": {}}').records == []
    with pytest.raises(BadResponseError):
        parse_job_page('{"code": 0, "data": {"records": "none"}}')


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["Importing", "Completed", "12", "-1", "2024-05-18T02:57:13Z", "[a b.npy]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
detail_fields = st.sampled_from(
    [
        *("fileName", "fileSize", "progress", "completeTime", "state", "importedRows"),
        *("totalRows", "reason", "errorMessage", "readyPercentage", "novel", "(extra)", "\ud800"),
    ]
)
details = st.dictionaries(detail_fields, json_values)
jobs = st.dictionaries(
    detail_fields | st.sampled_from(["jobId", "collectionName"]), json_values, min_size=1
)


@given(jobs, st.lists(details | json_values, max_size=4), st.sampled_from(["code", "status"]))
def test_any_answer_becomes_rows_of_the_schema_or_a_typed_error(job, files, number):
    body = json.dumps({number: 0, "data": {**job, "details": files}})
    try:
        response = parse_response(body)
    except ImportStatsError:
        return
    snapshot = Snapshot(datetime(2026, 5, 18, tzinfo=UTC), "7", "http://x", response)
    file_rows, job_rows = details_table([snapshot]), jobs_table([snapshot])
    assert file_rows.schema.equals(DETAILS_SCHEMA)
    assert job_rows.schema.equals(JOBS_SCHEMA)
    assert file_rows.num_rows == len(files) == job_rows["detail_count"][0].as_py()
    for column in ("imported_rows", "total_rows", "file_size_bytes", "progress_pct"):
        for table in (file_rows, job_rows):
            known = table[column].drop_null()
            assert all(value >= 0 for value in known.to_pylist())
    file_rows.validate(full=True)
    job_rows.validate(full=True)


counts = st.integers(0, 2**63 - 1) | st.none()
percents = st.floats(0, 100) | st.integers(0, 100) | st.none()
texts = st.text() | st.none() | st.just("\ud800")
plain_detail = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("fileName", "completeTime", "state", "reason"), texts),
        **dict.fromkeys(("fileSize", "importedRows", "totalRows"), counts),
        "progress": percents,
    },
)
now_and_then_odd = plain_detail | details


@settings(max_examples=40)
@given(jobs | plain_detail, st.lists(now_and_then_odd, max_size=4))
def test_the_quick_path_reads_what_the_tolerant_one_does(job, files):
    job.pop("fileName", None)
    envelope = {"code": 0, "message": "", "data": {"jobId": "7", **job, "details": files}}
    body = json.dumps(envelope)
    read = answers._parse_tolerantly(answers.decode_object(body))
    if "(extra)" not in body:
        assert parse_response(body) == parse_response(envelope) == read
        assert flatten_details(body).equals(flatten_details(read))


@given(jobs, st.lists(details, max_size=3))
def test_every_value_sent_is_in_a_field_or_in_extra(job, files):
    response = parse_response({"code": 0, "data": {"jobId": "7", **job, "details": files}})
    for sent, parsed in [(job, response.data), *zip(files, response.data.details, strict=True)]:
        for name, value in sent.items():
            is_no_reason = name in ("reason", "errorMessage") and value == ""
            if value is not None and not is_no_reason:
                read = {
                    "fileName": "file_name",
                    "fileSize": "file_size",
                    "completeTime": "complete_time",
                    "importedRows": "imported_rows",
                    "totalRows": "total_rows",
                    "errorMessage": "reason",
                    "readyPercentage": "progress",
                    "jobId": "job_id",
                    "collectionName": "collection_name",
                }.get(name, name)
                assert name in parsed.extra or getattr(parsed, read, None) is not None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_response_or_a_typed_error(body):
    with pytest.raises(ImportStatsError):
        parse_response(body)


@given(st.text())
def test_any_file_name_has_a_display_name_of_its_paths(printed):
    name = parse_file_name(printed)
    assert name.display.startswith(name.paths[0] if name.paths else "")


@given(st.text(), st.integers(1, 50))
def test_printable_is_one_line_of_bounded_length(text, limit):
    line = printable(text, limit)
    assert len(line) <= limit
    assert line.isprintable()


def test_an_unreadable_complete_time_is_missing_and_kept():
    late = answer({"completeTime": "yesterday"}, completeTime="2024-05-18 25:00")
    snapshot = Snapshot(datetime(2026, 5, 18, tzinfo=UTC), "7", "http://x", parse_response(late))
    files, jobs = details_table([snapshot]), jobs_table([snapshot])
    assert files["complete_time"].null_count == jobs["complete_time"].null_count == 1
    assert json.loads(files["extra"][0].as_py()) == {"completeTime": "yesterday"}
    assert json.loads(jobs["extra"][0].as_py()) == {"completeTime": "2024-05-18 25:00"}


def test_the_schema_has_its_version_and_describes_every_column():
    for schema in (JOBS_SCHEMA, DETAILS_SCHEMA):
        assert schema.metadata[b"importstats.schema_version"] == b"1"
        assert all(field.metadata[b"description"] for field in schema)
        assert not any(pa.types.is_dictionary(field.type) for field in schema)
