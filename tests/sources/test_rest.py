"""The client against a real server on a real socket, well and ill."""

import math
import socket
import traceback

import pytest

from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.simulator import DIALECTS, ClusterSpec, Faults, SimulatorServer, make_shape
from importstats.sources.rest import ImportClient

TOKEN = "root:canary-7f3a"
HOUR_S = 3600


@pytest.fixture
def job():
    return make_shape("small_and_quick", seed=1)[1]


@pytest.fixture
def serve(job):
    """Start a server with one job whose clock stands still unless moved."""
    servers = []

    def start(*jobs, **options):
        options = {"acceleration": 0, "record": True, "seed": 1, **options}
        server = SimulatorServer(ClusterSpec(), jobs or [job], **options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


def client_of(server, **options):
    return ImportClient(server.uri, **{"retries": 0, "timeout": 5, **options})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_described_and_listed(serve, dialect):
    server = serve(dialect=dialect)
    server.advance(HOUR_S)
    with client_of(server, api="cloud-v1" if dialect == "cloud-v1" else None) as client:
        [record] = client.list_jobs()
        data = client.describe(record.job_id).data
    assert record.job_id == data.job_id == server.job_ids[0]
    assert data.state == "Completed"
    assert data.progress == 100


def test_the_path_is_found_once_and_remembered(serve):
    server = serve(dialect="2.4.13")
    with client_of(server) as client:
        for _ in range(3):
            client.describe(server.job_ids[0])
    asked = [request.path.rsplit("/", 1)[1] for request in server.received]
    assert asked == ["describe", "list", "get_progress", "get_progress", "get_progress"]


def test_cloud_ids_and_database_are_sent(serve):
    server = serve(dialect="cloud-v2", cluster_id="in01-1")
    with client_of(server, cluster_id="in01-1", project_id="p", region_id="r") as client:
        client.describe(server.job_ids[0])
    body = server.received[-1].body
    assert (body["clusterId"], body["projectId"], body["regionId"]) == ("in01-1", "p", "r")
    with client_of(server, cluster_id="in01-1", db_name="stage") as client:
        client.describe(server.job_ids[0])
    assert server.received[-1].headers["DB-Name"] == "stage"


def test_a_database_that_is_not_there_is_an_error(serve, job):
    server = serve()
    with (
        client_of(server, db_name="nowhere") as client,
        pytest.raises(ServerError, match="database not found") as caught,
    ):
        list(client.list_jobs(job.collection_name))
    assert caught.value.code == 800


@pytest.mark.parametrize(("dialect", "pages"), [("2.6", 1), ("cloud-v2", 3)])
def test_listing_ends_on_a_server_that_pages_and_on_one_that_does_not(serve, job, dialect, pages):
    server = serve(*[job] * 250, dialect=dialect)
    with client_of(server) as client:
        listed = [record.job_id for record in client.list_jobs()]
    assert sorted(listed) == sorted(server.job_ids)
    assert len(server.received) == pages


def test_a_list_of_exactly_one_page_does_not_loop(serve, job):
    server = serve(*[job] * 100)
    with client_of(server) as client:
        assert len(list(client.list_jobs())) == 100
    assert len(server.received) == 2


def test_a_list_can_be_of_one_collection(serve, job):
    server = serve(job)
    with client_of(server) as client:
        assert len(list(client.list_jobs(job.collection_name))) == 1
        with pytest.raises(ServerError, match="collection not found") as caught:
            list(client.list_jobs("another"))
    assert caught.value.code == 100


def test_a_snapshot_knows_when_and_whence_it_came(serve):
    server = serve()
    with client_of(server) as client:
        snapshot = client.snapshot(server.job_ids[0])
    assert snapshot.source_uri == server.uri
    assert 0 < snapshot.request_latency_s < 5
    server.stop()  # It notes an answer once it is sent whole, which may be after its arrival.
    assert (snapshot.observed_at - server.sent[-1].sent_at).total_seconds() < 5


@pytest.mark.parametrize("dialect", ["2.6", "cloud-v2"])
@pytest.mark.parametrize("status", [200, 401])
def test_a_refused_token_is_an_error_of_its_own_and_not_tried_again(serve, dialect, status):
    server = serve(dialect=dialect, token=TOKEN, unauthorized_status=status)
    with (
        client_of(server, token="wrong", retries=5) as client,
        pytest.raises(UnauthorizedError, match="MILVUS_TOKEN"),
    ):
        client.describe(server.job_ids[0])
    assert len(server.received) == 1
    with client_of(server, token=TOKEN) as client:
        assert client.describe(server.job_ids[0]).data.state == "Pending"


def test_an_unknown_job_is_an_error_of_its_own(serve):
    server = serve()
    with client_of(server) as client, pytest.raises(JobNotFoundError, match="forgotten"):
        client.describe("404")


@pytest.mark.parametrize(
    ("faults", "kind", "says"),
    [
        (Faults(server_errors=math.inf), UnreachableError, "HTTP 503"),
        (Faults(throttled=math.inf, retry_after_s=0), UnreachableError, "HTTP 429"),
        (Faults(dropped=math.inf), UnreachableError, "does not answer"),
        (Faults(dropped_in_body=math.inf), UnreachableError, "does not answer"),
        (Faults(truncated=math.inf), BadResponseError, "not valid JSON"),
        (Faults(html=math.inf), BadResponseError, "HTML"),
        (Faults(huge=math.inf, huge_bytes=1 << 21), BadResponseError, "refused"),
        (Faults(redirected=math.inf), ServerError, "redirects to http://127.0.0.1:1"),
        (Faults(latency_s=3), UnreachableError, "timed out"),
        (Faults(drip_bytes_per_s=40), UnreachableError, "still sending"),
    ],
)
def test_each_fault_is_a_typed_error_of_one_line(serve, faults, kind, says):
    server = serve(faults=faults, token=TOKEN)
    with (
        client_of(server, token=TOKEN, timeout=1, max_response_bytes=1 << 20) as client,
        pytest.raises(kind, match=says) as caught,
    ):
        client.describe(server.job_ids[0])
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    assert server.uri in message or isinstance(caught.value, BadResponseError)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "faults",
    [Faults(server_errors=2), Faults(throttled=2, retry_after_s=0), Faults(dropped=2)],
)
def test_passing_faults_are_ridden_out(serve, faults):
    server = serve(faults=faults)
    with client_of(server, retries=4) as client:
        assert client.describe(server.job_ids[0]).data.state == "Pending"
    assert len(server.received) >= 1


def test_a_dead_server_and_an_unknown_host_are_unreachable():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for uri, says in [
        (f"http://127.0.0.1:{port}", "refused"),
        ("http://no-such-host.invalid", "no-such-host.invalid"),
    ]:
        with (
            ImportClient(uri, retries=0, timeout=5) as client,
            pytest.raises(UnreachableError, match=says),
        ):
            client.describe("7")


def test_a_server_without_the_api_is_recognised(serve):
    server = serve()
    with (
        ImportClient(server.uri + "/elsewhere", retries=0) as client,
        pytest.raises(ServerError, match="no import API"),
    ):
        client.describe("7")


def test_no_token_in_repr_or_uri():
    client = ImportClient("http://root:canary-7f3a@localhost:19530/?token=x", db_name="d")
    assert repr(client) == "ImportClient('http://localhost:19530', db_name='d')"
    assert client.uri == "http://localhost:19530"
    assert "canary" not in repr(vars(client))


def test_credentials_in_the_uri_are_the_token(serve):
    server = serve(token="root:p@ss")
    with ImportClient(server.uri.replace("//", "//root:p%40ss@")) as client:
        assert client.uri == server.uri
        assert client.describe(server.job_ids[0]).data.state == "Pending"


@pytest.mark.parametrize(
    ("uri_name", "token_name"),
    [("MILVUS_URI", "MILVUS_TOKEN"), ("ZILLIZ_CLOUD_URI", "ZILLIZ_CLOUD_API_KEY")],
)
def test_server_and_token_come_from_the_environment(serve, monkeypatch, uri_name, token_name):
    server = serve(token=TOKEN)
    monkeypatch.setenv(uri_name, server.uri)
    monkeypatch.setenv(token_name, TOKEN)
    with ImportClient() as client:
        assert client.describe(server.job_ids[0]).data.state == "Pending"


def test_a_netrc_file_does_not_replace_the_token(serve, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server = serve(token=TOKEN)
    with client_of(server, token=TOKEN) as client:
        assert client.describe(server.job_ids[0]).data.state == "Pending"


@pytest.mark.parametrize("uri", ["", "ftp://host", "http://", "http://host:99999"])
def test_what_is_no_uri_is_refused(uri):
    with pytest.raises(ImportStatsError):
        ImportClient(uri)
