"""Lists of jobs: whole, or said not to be; the first API of the cloud; manners of the client."""

import logging
import pickle

import pytest
from asking import client_of, listing
from canned import Canned, says

from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    ServerError,
    UnauthorizedError,
)
from importstats.sources import paging as list_pages
from importstats.sources.endpoint import parse_endpoint
from importstats.sources.rest import ImportClient

# --- Lists are whole or say that they are not -----------------------------------------------------


def paging(ids, *, most=10, counts=True, sizes=True):
    """A server that puts at most so many jobs on a page, whatever it is asked for."""

    def answer(_, body):
        page = int(body["currentPage"])
        about_pages = {"count": len(ids)} if counts else {}
        about_pages |= {"pageSize": most} if sizes else {}
        return listing(*ids[(page - 1) * most : page * most], **about_pages)

    return Canned(answer)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("sizes", [True, False])
@pytest.mark.parametrize("count", [0, 1, 10, 25, 30])
def test_a_server_that_caps_its_pages_is_read_to_the_end(counts, sizes, count):
    ids = [f"job-{number:03}" for number in range(count)]
    with paging(ids, counts=counts, sizes=sizes) as server, client_of(server.uri) as client:
        assert [record.job_id for record in client.list_jobs()] == ids


def test_a_count_that_is_only_the_page_s_own_cuts_nothing_off():
    pages = {1: ["a", "b"], 2: ["c"]}

    def answer(_, body):
        own = pages.get(int(body["currentPage"]), [])
        return listing(*own, count=len(own), pageSize=2)

    with Canned(answer) as server, client_of(server.uri) as client:
        assert [record.job_id for record in client.list_jobs()] == ["a", "b", "c"]


def test_a_server_that_ignores_the_page_is_asked_once_when_that_is_known():
    with Canned(listing("1", "2")) as server, client_of(server.uri) as client:
        for _ in range(3):
            assert len(list(client.list_jobs())) == 2
    assert len(server.requests) == 4


def test_a_list_without_an_end_is_refused(monkeypatch):
    assert list_pages.MOST_JOBS == 100_000  # A real list of so many takes most of a minute.
    monkeypatch.setattr(list_pages, "MOST_JOBS", 3_000)

    def endless(_, body):
        start = int(body["currentPage"]) * 100
        return listing(*map(str, range(start, start + 100)), count=10**9)

    with (
        Canned(endless) as server,
        client_of(server.uri) as client,
        pytest.raises(BadResponseError, match="no end"),
    ):
        list(client.list_jobs())
    assert len(server.requests) == 3_000 // 100 + 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"code": "0", "message": "The token is illegal."}, UnauthorizedError),
        ({"code": 0, "message": "collection not found[c]", "data": None}, ServerError),
    ],
)
def test_a_list_with_an_error_and_no_data_is_no_empty_list(answer, kind):
    with Canned(says(answer)) as server, client_of(server.uri) as client, pytest.raises(kind):
        list(client.list_jobs())


# --- Zilliz Cloud v1 ------------------------------------------------------------------------------


def test_the_first_api_of_the_cloud_is_a_get_of_its_own():
    data = {"jobId": "job-9", "readyPercentage": 0.4, "fileName": "x/1.parquet"}
    tasks = {"count": 1, "tasks": [{"jobId": "job-9", "state": "ImportRunning"}]}

    def answer(path, _):
        return says({"code": 200, "data": tasks if "/list?" in path else data})

    with (
        Canned(answer) as server,
        client_of(server.uri, api="cloud-v1", cluster_id="in01-1") as client,
    ):
        [record] = client.list_jobs()
        snapshot = client.snapshot(record.job_id)
    assert snapshot.response.data.state == "Importing"
    assert snapshot.response.data.progress == 40
    assert snapshot.server_version == "cloud"
    (listed, described) = server.requests
    assert (listed[0], described[0]) == ("GET", "GET")
    assert listed[1].startswith("/v1/vector/collections/import/list?")
    assert described[1] == "/v1/vector/collections/import/get?jobId=job-9&clusterId=in01-1"
    assert not described[3]


@pytest.mark.parametrize(
    ("uri", "is_v1"),
    [
        ("https://controller.api.gcp-us-west1.zillizcloud.com", True),
        ("https://api.cloud.zilliz.com", False),
        ("http://controller.example.org", False),
    ],
)
def test_the_first_api_of_the_cloud_is_known_by_its_address(uri, is_v1):
    assert parse_endpoint(uri).is_cloud_v1 is is_v1


# --- Manners --------------------------------------------------------------------------------------


def test_no_cookie_is_kept():
    with (
        Canned(says({"code": 0, "data": {"state": "Pending"}}, **{"Set-Cookie": "a=b"})) as server,
        client_of(server.uri) as client,
    ):
        client.describe("7")
        client.describe("7")
    assert all("Cookie" not in headers for _, _, headers, _ in server.requests)


def test_a_client_is_not_pickled_and_says_why():
    with (
        client_of("http://localhost", token="canary-7f3a-9c1e") as client,
        pytest.raises(TypeError, match="make one in each process") as caught,
    ):
        pickle.dumps(client)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("api.cloud.zilliz.com", "https://api.cloud.zilliz.com"),
        ("milvus.example.org:19530", "https://milvus.example.org:19530"),
        ("8.8.8.8:19530", "https://8.8.8.8:19530"),
        ("localhost:19530", "http://localhost:19530"),
        ("10.0.0.7:19530", "http://10.0.0.7:19530"),
        ("[::1]:19530", "http://[::1]:19530"),
        ("milvus:19530", "http://milvus:19530"),
        ("milvus.db.svc.cluster.local", "http://milvus.db.svc.cluster.local"),
        ("http://milvus.example.org", "http://milvus.example.org"),
    ],
)
def test_without_a_scheme_only_hosts_of_one_s_own_are_spoken_to_in_clear(given, uri):
    assert parse_endpoint(given).uri == uri


@pytest.mark.parametrize(
    ("uri", "token", "says_what"),
    [
        ("http://milvus.example.org", "root:S3cret-pass", "unencrypted"),
        ("http://localhost", "ab", "so short"),
        ("http://localhost", "root:abc", "so short"),
        ("http://localhost", "root:Milvus", None),
        ("http://localhost", "root:S3cret-pass", None),
        ("https://milvus.example.org", "root:S3cret-pass", None),
        ("http://milvus.example.org", None, None),
    ],
)
def test_a_token_that_is_short_or_goes_in_clear_is_warned_of(uri, token, says_what, caplog):
    caplog.set_level(logging.WARNING)
    ImportClient(uri, token=token).close()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (says_what is not None)
    assert all(says_what in each for each in messages)
    assert "S3cret" not in caplog.text


def test_a_short_token_mangles_no_word():
    with (
        Canned(says({"code": 80001, "message": "The token is illegal."})) as server,
        client_of(server.uri, token="is") as client,
        pytest.raises(ImportStatsError, match=r"The token is illegal\."),
    ):
        client.describe("7")
