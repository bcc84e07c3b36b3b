"""What the client asks, of whom and how often: no server is harmed and no list is cut short."""

import contextlib
import itertools
import json
import math
import socket
import threading

import pytest
from asking import NOT_FOUND, asked, client_of, job, listing
from canned import Canned, says

from importstats.errors import (
    BadResponseError,
    JobNotFoundError,
    PrivilegeError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.sources.rest import ImportClient

# --- Old servers are not harmed -------------------------------------------------------------------


def old_server(*known, code=0, name="[a.parquet]"):
    """Milvus before 2.4.14: no ``describe``."""

    def answer(path, body):
        if path.endswith("/list"):
            return listing(*known)
        if path.endswith("/get_progress"):
            details = [{"fileName": name, "state": "InProgress"}]
            data = {"jobId": body["jobId"], "state": "Importing", "details": details}
            return says({"code": code, "data": data})
        return NOT_FOUND

    return Canned(answer)


def test_an_old_server_is_asked_only_for_jobs_that_it_lists():
    with old_server("7") as server, client_of(server.uri) as client:
        for _ in range(3):
            with pytest.raises(JobNotFoundError, match=r"does not list import job '8'.*2\.4\.5"):
                client.describe("8")
        assert client.describe("7").data.state == "Importing"
        with pytest.raises(JobNotFoundError):
            client.describe("8")
    bodies = [json.loads(body) for _, path, _, body in server.requests if "get_progress" in path]
    assert {body["jobId"] for body in bodies} == {"7"}


@pytest.mark.parametrize(("version", "lists"), [("2.4.4", 1), ("v2.4.5", 0), ("2.4.13", 0)])
def test_a_release_that_is_known_to_survive_is_asked_at_once(version, lists):
    with old_server("7") as server, client_of(server.uri, server_version=version) as client:
        client.describe("7")
    assert asked(server).count("list") == lists


def test_a_new_server_is_not_asked_for_its_list():
    with Canned(job()) as server, client_of(server.uri) as client:
        client.describe("7")
    assert asked(server) == ["describe"]


def test_an_old_server_whose_list_fails_is_asked_no_further():
    def answer(path, body):
        return says(b"", 503) if path.endswith("/list") else NOT_FOUND

    with Canned(answer) as server, client_of(server.uri) as client, pytest.raises(UnreachableError):
        client.describe("7")
    assert asked(server) == ["describe", "list"]


@pytest.mark.parametrize(
    ("server", "version"),
    [
        (lambda: Canned(job()), ">=2.4.14"),
        (lambda: Canned(job(createTime="2026-05-18T08:00:00+08:00")), ">=2.6.5"),
        (lambda: Canned(job(state="Uncommitted")), ">=3.0.0"),
        (lambda: old_server("7"), ">=2.4.3,<2.4.14"),
        (lambda: old_server("7", code=200), "<2.4.3"),
        (lambda: old_server("7", name='id:4 paths:"a.parquet" '), ">=2.4.3,<2.4.5"),
    ],
)
def test_what_answers_give_away_of_the_release_is_in_the_snapshot(server, version):
    with server() as server, client_of(server.uri) as client:
        client.snapshot("7")
        assert client.snapshot("7").server_version == version
    with server_again(server) as server, client_of(server.uri, server_version="v2.5.1") as client:
        assert client.snapshot("7").server_version == "v2.5.1"


def server_again(server):
    return Canned(server.answer)


# --- Whose job it is ------------------------------------------------------------------------------


def test_an_answer_for_another_job_is_refused():
    with Canned(job("8")) as server, client_of(server.uri) as client:
        with pytest.raises(
            BadResponseError, match="answered for import job '8' when asked for '7'"
        ):
            client.describe("7")
        assert client.describe("8").data.job_id == "8"


@pytest.mark.parametrize(
    "sent",
    [
        {"state": ""},
        {"state": None},
        {"state": "None"},
        {"state": "", "importedRows": 0, "totalRows": 0, "details": []},
        {"state": "Failed", "reason": "import job does not exist, jobID=7"},
    ],
)
def test_a_job_without_a_state_or_said_not_to_exist_is_not_known(sent):
    with (
        Canned(job(**{"progress": 0, **sent})) as server,
        client_of(server.uri) as client,
        pytest.raises(JobNotFoundError, match="--db"),
    ):
        client.describe("7")


@pytest.mark.parametrize(
    "sent",
    [
        {"state": "Failed", "progress": 0, "reason": "import job failed: file a does not exist"},
        {"state": None, "progress": 40},
        {"state": "None", "reason": "unknown import job state"},
    ],
)
def test_a_job_that_is_known_differs_from_one_that_is_not(sent):
    with Canned(job(**sent)) as server, client_of(server.uri) as client:
        assert client.describe("7").data.state == sent["state"]


def by_database(jobs_of):
    """A server that shows jobs only to who asks in their database."""

    def answer(path, body):
        own = jobs_of.get(body.get("dbName", "default"))
        if own is None:
            return says({"code": 800, "message": f"database not found[{body['dbName']}]"})
        if path.endswith("/list"):
            return listing(*own)
        if body["jobId"] in own:
            return job(body["jobId"])
        said = f"import job does not exist, jobID={body['jobId']}, dbID=1"
        return says({"code": 2100, "message": said})

    return Canned(answer)


def test_jobs_of_several_databases_are_listed_and_asked_for_where_they_are():
    with (
        by_database({"sales": ["1", "2"], "ads": ["3"], "default": []}) as server,
        client_of(server.uri, db_name=["sales", "ads"]) as client,
    ):
        assert [record.job_id for record in client.list_jobs("c")] == ["1", "2", "3"]
        assert client.snapshot("3").db_name == "ads"
        assert client.snapshot("1").db_name == "sales"
    headers = [headers["DB-Name"] for _, _, headers, _ in server.requests]
    # Each list is asked for a second page once, to see whether there is one.
    assert headers == ["sales", "sales", "ads", "ads", "sales"]


def test_a_job_that_was_not_listed_is_looked_for_in_each_database():
    with (
        by_database({"sales": [], "ads": ["3"]}) as server,
        client_of(server.uri, db_name=["sales", "ads"]) as client,
    ):
        assert client.snapshot("3").db_name is None, "it may belong to another one still"
        with pytest.raises(JobNotFoundError, match="another database"):
            client.describe("4")


def test_a_list_without_a_collection_does_not_say_the_database():
    with Canned(listing("1")) as server, client_of(server.uri, db_name="sales") as client:
        [record] = client.list_jobs()
        assert record.db_name is None


def test_one_database_that_is_missing_does_not_hide_the_others(caplog):
    with (
        by_database({"ads": ["3"]}) as server,
        client_of(server.uri, db_name=["sales", "ads"]) as client,
    ):
        assert [record.job_id for record in client.list_jobs()] == ["3"]
        assert "cannot list jobs of database 'sales'" in caplog.text
        client.databases = ("sales", "none")
        with pytest.raises(ServerError, match="database not found"):
            list(client.list_jobs())


@pytest.mark.parametrize(
    ("status", "answer", "database"),
    [
        (403, {"code": 65535, "message": "PrivilegeImport: permission deny to u"}, "sales"),
        (200, {"code": 1401, "message": "privilege not permitted in the `ads` database"}, "ads"),
        (403, {"message": "forbidden"}, "sales"),
    ],
)
def test_a_missing_privilege_is_reported_with_its_database(status, answer, database):
    with (
        Canned(says(answer, status)) as server,
        client_of(server.uri, db_name="sales", retries=5) as client,
        pytest.raises(PrivilegeError, match=f"Import privilege in database '{database}'"),
    ):
        client.describe("7")
    assert len(server.requests) == 1


def test_a_403_with_a_code_of_authentication_is_a_refused_token():
    with (
        Canned(says({"code": 1800, "message": "x"}, 403)) as server,
        client_of(server.uri) as client,
        pytest.raises(UnauthorizedError),
    ):
        client.describe("7")


# --- Trouble that passes --------------------------------------------------------------------------


PASSING = {
    "408 as text": says(b"timeout", 408),
    "408 as JSON": says({"code": 10001, "message": "request timeout"}, 408),
    "service not ready": says({"code": 1, "message": "service not ready"}),
    "429": says(b"", 429, **{"Retry-After": "0"}),
    "502": says(b"<html>Bad Gateway</html>", 502),
}


@pytest.mark.parametrize("kind", PASSING)
def test_trouble_that_passes_is_ridden_out(kind, monkeypatch):
    monkeypatch.setattr("importstats.sources.patience._FIRST_PAUSE_S", 0.001)
    answers = itertools.chain([PASSING[kind]] * 2, itertools.repeat(job()))
    with Canned(lambda *_: next(answers)) as server, client_of(server.uri, retries=2) as client:
        assert client.describe("7").data.state == "Importing"
    assert len(server.requests) == 3


@pytest.mark.parametrize("kind", PASSING)
def test_trouble_that_does_not_pass_is_unreachable_and_shows_the_message(kind):
    with (
        Canned(PASSING[kind]) as server,
        client_of(server.uri) as client,
        pytest.raises(UnreachableError) as caught,
    ):
        client.describe("7")
    assert "{" not in str(caught.value)


def test_a_wrapped_error_shows_its_message_alone():
    wrapped = {"statusCode": 500, "message": "Request failed with status code 403"}
    with (
        Canned(says(wrapped, 500)) as server,
        client_of(server.uri) as client,
        pytest.raises(UnreachableError, match=r"HTTP 500 to the last try: Request failed .* 403$"),
    ):
        client.describe("7")


def test_a_login_page_is_named():
    page = says(b"<!DOCTYPE html><title>Sign in</title>")
    with (
        Canned(page) as server,
        client_of(server.uri) as client,
        pytest.raises(BadResponseError, match="a login page or a proxy stands in between"),
    ):
        client.describe("7")


@pytest.mark.parametrize(
    ("kind", "tries"),
    [
        ("hangs", 1),
        ("drips its status", 1),
        ("drips its headers", 1),
        ("continues for ever", 1),
        ("drips its body", 1),
        ("asks to come back in an hour", 1),
    ],
)
def test_the_timeout_is_that_of_all_tries_together(kind, tries):
    """A thousand tries would be allowed, and each would be answered slowly or not at all."""
    seen = []

    def serve(connection):
        seen.append(connection)
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            for each in itertools.islice(ANSWERS[kind](), 100_000):
                connection.sendall(each)
                if stop.wait(0.05):
                    return

    stop = threading.Event()
    with Raw(serve) as uri, client_of(uri, timeout=1, retries=1000) as client:
        with pytest.raises(UnreachableError):
            client.describe("7")
        stop.set()
    assert len(seen) == tries


HEAD = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    "hangs": lambda: itertools.repeat(b""),
    "drips its status": lambda: itertools.chain([b"HTTP/1.1 200 "], itertools.repeat(b"O")),
    "drips its headers": lambda: itertools.chain([HEAD, b"X: "], itertools.repeat(b"y")),
    "continues for ever": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drips its body": lambda: itertools.chain(
        [HEAD, b"Content-Length: 100000\r\n\r\n"], itertools.repeat(b" ")
    ),
    "asks to come back in an hour": lambda: iter(
        [b"HTTP/1.1 503 x\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"]
    ),
}


class Raw:
    """A server whose connections a function serves."""

    def __init__(self, serve):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.serve = serve
        self.uri = f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self.uri

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def __exit__(self, *_):
        self.socket.close()


def test_a_name_look_up_that_hangs_is_left_behind(monkeypatch):
    release = threading.Event()

    def hang(*_, **__):
        release.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with client_of("http://slow-names.invalid", timeout=0.5, retries=1000) as client:
        with pytest.raises(UnreachableError, match="does not answer"):
            client.describe("7")
        release.set()


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(ValueError, match="positive number of seconds"):
        ImportClient("http://localhost", timeout=timeout)


@pytest.mark.parametrize("job_id", ["", " ", "\n"])
def test_an_empty_job_id_is_not_asked_for(job_id):
    with Canned(job()) as server, client_of(server.uri) as client:
        with pytest.raises(JobNotFoundError):
            client.describe(job_id)
        assert not server.requests
