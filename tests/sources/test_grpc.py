"""The gRPC client against a gRPC server on loopback."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from bulk_tasks import Task, make_task, with_rows
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
    UsageError,
)
from importstats.sources.grpc import GrpcImportClient
from importstats.store.schema import details_table, jobs_table

SECRET = "root:s3cret-W0rd"


# --- the client against a server -------------------------------------------------------------


@dataclass
class FakeMilvus:
    """Answers the two methods the client calls; knows tasks by id, and one password."""

    tasks: dict[int, Task] = field(default_factory=dict)
    collections: tuple[str, ...] = ("c1",)
    list_requests: list[milvus_pb2.ListImportTasksRequest] = field(default_factory=list)
    uri: str = ""

    def get_import_state(
        self, request: milvus_pb2.GetImportStateRequest, context: grpc.ServicerContext
    ) -> Task:
        self.check_password(context)
        missing = f"key not found[key=by-dev/meta/importtask/{request.task}]"
        status = common_pb2.Status(error_code=1, code=1000, reason=missing)
        return self.tasks.get(request.task, Task(status=status))

    def list_import_tasks(
        self, request: milvus_pb2.ListImportTasksRequest, context: grpc.ServicerContext
    ) -> milvus_pb2.ListImportTasksResponse:
        self.check_password(context)
        self.list_requests.append(request)
        if request.collection_name and request.collection_name not in self.collections:
            status = common_pb2.Status(error_code=4, code=100, reason="collection not found")
            return milvus_pb2.ListImportTasksResponse(status=status)
        return milvus_pb2.ListImportTasksResponse(tasks=self.tasks.values())

    def check_password(self, context: grpc.ServicerContext) -> None:
        sent = dict(context.invocation_metadata()).get("authorization", "")
        if base64.b64decode(sent).decode() != SECRET:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"auth check failure for {sent}")


def serve(
    handlers: dict[str, Callable[..., object]],
    *,
    serializer: Callable[[Any], bytes] = lambda message: message.SerializeToString(),
    port: int = 0,
    tls: grpc.ServerCredentials | None = None,
) -> tuple[grpc.Server, str]:
    """Start a server with these methods of the Milvus service; it and its URI."""
    requests = {
        "GetImportState": milvus_pb2.GetImportStateRequest,
        "ListImportTasks": milvus_pb2.ListImportTasksRequest,
        "GetVersion": milvus_pb2.GetVersionRequest,
        "Import": milvus_pb2.ImportRequest,
    }
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "milvus.proto.milvus.MilvusService",
                {
                    name: grpc.unary_unary_rpc_method_handler(
                        handler,
                        request_deserializer=requests[name].FromString,
                        response_serializer=serializer,
                    )
                    for name, handler in handlers.items()
                },
            )
        ]
    )
    address = f"127.0.0.1:{port}"
    if tls is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, tls)
    server.start()
    return server, f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"


@pytest.fixture
def milvus() -> Iterator[FakeMilvus]:
    fake = FakeMilvus()
    server, fake.uri = serve(
        {"GetImportState": fake.get_import_state, "ListImportTasks": fake.list_import_tasks}
    )
    yield fake
    server.stop(None).wait()


@pytest.fixture
def client(milvus: FakeMilvus) -> Iterator[GrpcImportClient]:
    with GrpcImportClient(milvus.uri, token=SECRET, timeout=20) as client:
        yield client


def test_a_snapshot_is_timed_and_fits_the_tables(
    milvus: FakeMilvus, client: GrpcImportClient
) -> None:
    milvus.tasks = {
        7: with_rows(make_task("ImportCompleted", progress_percent="100"), 300),
        8: make_task("ImportStarted", progress_percent="19"),
    }
    before = datetime.now(UTC)
    snapshot = client.snapshot("7, 8")
    assert before <= snapshot.observed_at <= datetime.now(UTC)
    assert snapshot.request_latency_s is not None
    assert snapshot.request_latency_s > 0
    assert (snapshot.job_id, snapshot.source_uri) == ("7, 8", milvus.uri)

    [job] = jobs_table([snapshot]).to_pylist()
    assert (job["state"], job["progress_pct"], job["detail_count"]) == ("Importing", 59.5, 2)
    details = details_table([snapshot])
    assert details["total_rows"].to_pylist() == [300, None]
    assert details["file_index"].to_pylist() == [0, 1]


def test_details_keep_the_order_of_the_ids(milvus: FakeMilvus, client: GrpcImportClient) -> None:
    ids = list(range(40, 0, -1))
    milvus.tasks = {i: make_task(files=f"{i}.json") for i in ids}
    data = client.describe(",".join(map(str, [*ids, 40]))).data
    assert [detail.file_name for detail in data.details] == [f'["{i}.json"]' for i in ids]


def test_every_task_is_listed_as_a_job(milvus: FakeMilvus, client: GrpcImportClient) -> None:
    milvus.tasks = {7: make_task("ImportFailed", failed_reason="no such file")}
    [job] = client.list_jobs("c1")
    assert (job.job_id, job.collection_name) == ("470689105287515686", "c1")
    assert (job.state, job.reason) == ("Failed", "no such file")
    assert job.extra["state"] == "ImportFailed"
    assert len(list(client.list_jobs())) == 1


def test_the_database_is_named_and_shown(milvus: FakeMilvus) -> None:
    task = make_task()
    milvus.tasks = {task.id: task}
    with GrpcImportClient(milvus.uri, token=SECRET, db_name="sales") as client:
        assert client.snapshot(str(task.id)).db_name is None
        [record] = client.list_jobs("c1")
        assert record.db_name == "sales"
        assert client.snapshot(record.job_id).db_name == "sales"
        assert repr(client) == f"GrpcImportClient('{milvus.uri}', db_name='sales')"
    assert milvus.list_requests[0].db_name == "sales"


def test_a_list_of_an_unknown_collection_is_a_server_error(client: GrpcImportClient) -> None:
    with pytest.raises(ServerError, match="collection not found") as caught:
        list(client.list_jobs("nope"))
    assert caught.value.code == 100
    assert not isinstance(caught.value, JobNotFoundError)


def test_an_unknown_task_is_named(milvus: FakeMilvus, client: GrpcImportClient) -> None:
    milvus.tasks = {7: make_task()}
    with pytest.raises(JobNotFoundError, match=r"does not know task 12 .*wrong id"):
        client.describe("7,12")


def test_the_2_2_words_for_an_unknown_task_are_understood(
    milvus: FakeMilvus, client: GrpcImportClient
) -> None:
    status = common_pb2.Status(error_code=1, reason="import task id doesn't exist")
    milvus.tasks = {7: Task(status=status)}
    with pytest.raises(JobNotFoundError):
        client.describe("7")


@pytest.mark.parametrize("job_id", ["", "abc", "7,", "-7", "7.5", str(2**63), "1" * 5000, "\u0667"])
def test_an_id_that_can_be_no_task_is_not_found(client: GrpcImportClient, job_id: str) -> None:
    with pytest.raises(JobNotFoundError, match="give a task id"):
        client.describe(job_id)


@pytest.mark.parametrize("token", ["root:wr0ng-Secret", None])
def test_a_wrong_token_is_refused_and_never_shown(milvus: FakeMilvus, token: str | None) -> None:
    with GrpcImportClient(milvus.uri, token=token) as client:
        with pytest.raises(UnauthorizedError) as caught:
            client.describe("7")
        assert "MILVUS_TOKEN" in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        shown = f"{client!r} {caught.value} {vars(client)['uri']}"
        assert "wr0ng" not in shown
        # This server is so careless as to send back what it was sent.
        assert base64.b64encode(str(token).encode()).decode() not in shown


def test_a_password_in_the_uri_is_used_and_not_kept_there(milvus: FakeMilvus) -> None:
    milvus.tasks = {7: make_task()}
    with GrpcImportClient(milvus.uri.replace("http://", f"http://{SECRET}@")) as client:
        assert client.snapshot("7").source_uri == milvus.uri


def test_the_environment_is_read(milvus: FakeMilvus, monkeypatch: pytest.MonkeyPatch) -> None:
    milvus.tasks = {7: make_task()}
    monkeypatch.setenv("MILVUS_URI", milvus.uri)
    monkeypatch.setenv("MILVUS_TOKEN", SECRET)
    with GrpcImportClient() as client:
        assert client.describe("7").data.state == "Importing"


def test_no_server_is_unreachable() -> None:
    with (
        GrpcImportClient("http://127.0.0.1:1", token=SECRET, retries=0) as client,
        pytest.raises(
            UnreachableError, match=r"127\.0\.0\.1:1 does not answer .*refused"
        ) as caught,
    ):
        client.describe("7")
    assert "s3cret" not in str(caught.value)


def test_a_server_that_goes_and_comes_back() -> None:
    def answer(request: object, context: grpc.ServicerContext) -> Task:
        return make_task()

    server, uri = serve({"GetImportState": answer})
    port = int(uri.rpartition(":")[2])
    with GrpcImportClient(uri, retries=0) as impatient, GrpcImportClient(uri) as patient:
        assert impatient.describe("7").data.state == "Importing"
        server.stop(None).wait()
        with pytest.raises(UnreachableError):
            impatient.describe("7")
        server, _ = serve({"GetImportState": answer}, port=port)
        assert patient.describe("7").data.state == "Importing"
    server.stop(None).wait()


def test_a_server_that_hangs_is_unreachable() -> None:
    def hang(request: object, context: grpc.ServicerContext) -> Task:
        client_has_left = threading.Event()
        if context.add_callback(client_has_left.set):
            client_has_left.wait()
        return make_task()

    server, uri = serve({"GetImportState": hang})
    with (
        GrpcImportClient(uri, timeout=0.2) as client,
        pytest.raises(UnreachableError, match="DEADLINE_EXCEEDED"),
    ):
        client.describe("7")
    server.stop(None).wait()


def test_tls_with_a_ca_of_ones_own(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    pair = (key.read_bytes(), certificate.read_bytes())
    server, uri = serve(
        {"GetImportState": lambda *_: make_task()}, tls=grpc.ssl_server_credentials([pair])
    )
    with GrpcImportClient(uri, ca_file=certificate) as trusting:
        assert trusting.describe("7").data.state == "Importing"
    with (
        GrpcImportClient(uri, retries=0) as wary,
        pytest.raises(UnreachableError, match="does not answer"),
    ):
        wary.describe("7")
    server.stop(None).wait()


def test_an_unavailable_server_is_tried_again() -> None:
    tries = []

    def busy_at_first(request: object, context: grpc.ServicerContext) -> Task:
        tries.append(request)
        if len(tries) < 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        return make_task()

    server, uri = serve({"GetImportState": busy_at_first})
    with GrpcImportClient(uri) as client:
        assert client.describe("7").data.state == "Importing"
    assert len(tries) == 2
    server.stop(None).wait()


def test_an_answer_that_is_no_task_is_a_bad_response() -> None:
    server, uri = serve({"GetImportState": lambda *_: None}, serializer=lambda _: b"<html>")
    with GrpcImportClient(uri) as client:
        with pytest.raises(BadResponseError, match="is this the URI of a Milvus server"):
            client.describe("7")
        with pytest.raises(BadResponseError, match="UNIMPLEMENTED"):
            list(client.list_jobs())
    server.stop(None).wait()


def test_an_answer_that_is_too_large_is_refused(milvus: FakeMilvus) -> None:
    milvus.tasks = {7: make_task(failed_reason="x" * 5000)}
    with (
        GrpcImportClient(milvus.uri, token=SECRET, max_response_bytes=1000) as client,
        pytest.raises(ServerError, match=r"RESOURCE_EXHAUSTED.*larger than max"),
    ):
        client.describe("7")


@pytest.mark.parametrize("uri", ["", "ftp://host", "http://", "http://host:99999"])
def test_a_uri_that_is_none(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILVUS_URI", raising=False)
    with pytest.raises(ImportStatsError, match="URI"):
        GrpcImportClient(uri)


@pytest.mark.parametrize("path", ["does/not/exist.pem", __file__, "."])
def test_a_ca_file_that_cannot_be_used(path: str) -> None:
    with pytest.raises(UsageError, match="CA file"):
        GrpcImportClient("https://localhost:1", ca_file=path)


def test_without_the_extra_the_error_names_it() -> None:
    code = "import sys; sys.modules['grpc'] = None; import importstats.sources.grpc"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.splitlines()[-1] == (
        "importstats.errors.MissingExtraError: reading a Milvus server by gRPC needs grpc; "
        "install importstats with the extra grpc: pip install '.[grpc]' in its source folder"
    )


def test_the_release_is_asked_for_once_and_is_in_the_snapshot() -> None:
    asked = []

    def version(request: object, context: grpc.ServicerContext) -> object:
        asked.append(request)
        return milvus_pb2.GetVersionResponse(version="v2.3.5")

    server, uri = serve({"GetImportState": lambda *_: make_task(), "GetVersion": version})
    with GrpcImportClient(uri, retries=0) as client:
        assert [client.snapshot("7").server_version for _ in range(2)] == ["v2.3.5", "v2.3.5"]
    assert len(asked) == 1
    server.stop(None)


def test_a_server_that_does_not_say_its_release_is_read_all_the_same() -> None:
    server, uri = serve({"GetImportState": lambda *_: make_task()})
    with GrpcImportClient(uri, retries=0) as client:
        assert client.snapshot("7").server_version is None
    server.stop(None)


def test_no_text_of_a_task_brings_the_token_back() -> None:
    task = make_task(failed_reason=f"no key {SECRET}", collection=SECRET, note=f"x{SECRET}y")
    server, uri = serve(
        {
            "GetImportState": lambda *_: task,
            "ListImportTasks": lambda *_: milvus_pb2.ListImportTasksResponse(tasks=[task]),
        }
    )
    with GrpcImportClient(uri, token=SECRET, retries=0) as client:
        said = f"{client.snapshot('7')!r} {list(client.list_jobs())!r}"
    assert SECRET not in said
    assert "no key ***" in said
    server.stop(None)


# --- starting a bulk insert ------------------------------------------------------------------


def test_submit_sends_each_import_file_once_and_joins_the_tasks() -> None:
    sent: list[milvus_pb2.ImportRequest] = []

    def take(request: Any, _: grpc.ServicerContext) -> milvus_pb2.ImportResponse:
        sent.append(request)
        if request.files[0].endswith(".xml"):
            status = common_pb2.Status(error_code=1, code=2100, reason="unsupported file type")
            return milvus_pb2.ImportResponse(status=status)
        return milvus_pb2.ImportResponse(tasks=[450 + len(sent)])

    server, uri = serve({"Import": take})
    with GrpcImportClient(uri, token=SECRET, db_name="sales") as client:
        job_id = client.submit("books", ["a.json", ["x.npy", "y.npy"]], options={"backup": "true"})
        assert job_id == "451,452"
        assert [list(request.files) for request in sent] == [["a.json"], ["x.npy", "y.npy"]]
        assert {(r.collection_name, r.db_name, r.options[0].key) for r in sent} == {
            ("books", "sales", "backup")
        }
        with pytest.raises(ServerError, match=r"unsupported.*; tasks 453 were started before"):
            client.submit("books", ["b.json", "c.xml"])
    server.stop(None).wait()


def test_a_submit_that_is_lost_is_not_sent_again() -> None:
    sent = []

    def lose(request: Any, context: grpc.ServicerContext) -> None:
        sent.append(request)
        context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    server, uri = serve({"Import": lose})
    with GrpcImportClient(uri, retries=4) as client, pytest.raises(UnreachableError):
        client.submit("books", ["a.json"])
    assert len(sent) == 1
    server.stop(None).wait()
