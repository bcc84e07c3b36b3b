"""Requests that change something: sent once, in the words of each server, with secrets masked."""

import json

import pytest
from canned import Canned, says

from importstats.errors import (
    BadResponseError,
    FinishedWorkError,
    ServerError,
    UnreachableError,
    UsageError,
)
from importstats.sources.rest import ImportClient
from importstats.sources.transport import NotSentError

CREATED = says({"code": 0, "data": {"jobId": "449"}})
STORAGE = {"accessKey": "AKIA-canary-1", "secretKey": "s3cret-canary-2"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (says({"message": "try later"}, 503), UnreachableError),
        (says({"message": "too many"}, 429), UnreachableError),
        (says({"code": 1, "message": "service not ready"}), UnreachableError),
        (says(b"<html>login</html>"), BadResponseError),
        (says({"code": 0, "data": {}}), BadResponseError),
        (says({"data": {"id": 7}}), BadResponseError),
        (says({"code": 100, "message": "collection not found"}), ServerError),
        (says({"code": 0, "message": "The quota is used up."}), ServerError),
    ],
)
def test_a_submit_is_sent_once_whatever_comes_back(answer, error):
    with Canned(answer) as server, ImportClient(server.uri) as client:
        with pytest.raises(error) as caught:
            client.submit("books", ["a.parquet"])
        assert len(server.requests) == 1
    may_exist = "may have been created" in str(caught.value)
    assert may_exist == (error is UnreachableError)


def test_a_commit_without_an_answer_may_have_been_taken():
    with Canned(says({"message": "try later"}, 503)) as server:
        with ImportClient(server.uri) as client, pytest.raises(UnreachableError) as caught:
            client.commit("7")
        assert len(server.requests) == 1
    assert str(caught.value).endswith("whether job 7 was committed is not known: ask for its state")


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
@pytest.mark.parametrize("what", ["submit", "commit"])
def test_what_was_never_sent_is_not_said_to_be_uncertain(host, what):
    with Canned(CREATED) as server:
        port = server.server_port
    with ImportClient(f"http://{host}:{port}") as client, pytest.raises(NotSentError) as caught:
        client.submit("books", ["a.parquet"]) if what == "submit" else client.commit("7")
    assert str(caught.value).endswith("check the URI and the network")


def test_milvus_gets_files_and_the_cloud_object_urls():
    with Canned(CREATED) as server:
        with ImportClient(server.uri, db_name="sales") as client:
            made = client.submit("books", ["a.parquet"], options={"timeout": "2h"})
        with ImportClient(server.uri, cluster_id="in01") as cloud:
            cloud.submit("books", ["s3://b/a.parquet"], storage=STORAGE)
            cloud.submit("books", ["a.parquet"], storage={"volumeName": "v"})
    assert made == "449"
    milvus, urls, volume = (json.loads(body) for *_, body in server.requests)
    assert milvus == {
        "collectionName": "books",
        "dbName": "sales",
        "files": [["a.parquet"]],
        "options": {"timeout": "2h"},
    }
    assert server.requests[0][2]["DB-Name"] == "sales"
    assert urls == {
        "collectionName": "books",
        "clusterId": "in01",
        "objectUrls": [["s3://b/a.parquet"]],
        **STORAGE,
    }
    assert (volume["dataPaths"], volume["volumeName"]) == ([["a.parquet"]], "v")


def test_keys_of_the_storage_are_masked_in_what_the_server_repeats():
    said = f"cannot read with {STORAGE['accessKey']} and {STORAGE['secretKey']}"
    with (
        Canned(says({"code": 2100, "message": said})) as server,
        ImportClient(server.uri, cluster_id="in01") as client,
        pytest.raises(ServerError, match=r"cannot read with \*\*\* and \*\*\*"),
    ):
        client.submit("books", ["a.parquet"], storage=STORAGE)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "no files to import"),
        ([[]], "has no path"),
        ([" "], "has no path"),
        (["a.parquet"] * 1025, "1,025 files are more than a server takes"),
    ],
)
def test_what_cannot_be_submitted_is_not_sent(files, said):
    with Canned(CREATED) as server, ImportClient(server.uri) as client:
        with pytest.raises(UsageError, match=said):
            client.submit("books", files)
        assert server.requests == []


def job(**fields):
    return {"code": 0, "data": {"jobId": "7", "progress": 55, **fields}}


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"state": "Importing", "importedRows": 5, "totalRows": 9}, None),
        ({"state": "Importing", "importedRows": 9, "totalRows": 9}, FinishedWorkError),
        ({"state": "Importing", "progress": 80}, FinishedWorkError),
        ({"state": "Uncommitted"}, FinishedWorkError),
        ({"state": "Completed"}, UsageError),
        ({"state": "Failed", "reason": "no such file"}, UsageError),
    ],
)
def test_abort_looks_first_and_sends_nothing_where_work_is_done(fields, refused):
    def answer(path, _):
        if path.endswith("/list"):
            return says({"code": 0, "data": {"records": [{"jobId": "7", "state": "Importing"}]}})
        return says(job(**fields) if path.endswith("/describe") else {"code": 0, "data": {}})

    with Canned(answer) as server, ImportClient(server.uri) as client:
        if refused is None:
            client.abort("7")
        else:
            with pytest.raises(refused):
                client.abort("7")
        sent = [path.rpartition("/")[2] for _, path, *_ in server.requests]
        assert sent.count("abort") == (refused is None)
        if refused is FinishedWorkError:
            client.abort("7", discard=True)
            assert server.requests[-1][1].endswith("/abort")


def test_several_databases_do_not_say_where_a_job_goes():
    with Canned(CREATED) as server, ImportClient(server.uri, db_name=["a", "b"]) as client:
        with pytest.raises(UsageError, match="name one database"):
            client.submit("books", ["a.parquet"])
        assert server.requests == []
