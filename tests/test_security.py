"""Hostile servers, networks and names; and no secret where it does not belong."""

from __future__ import annotations

import gzip
import ipaddress
import json
import re
import ssl
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from canned import Canned, says
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from guarded import CANARY, FINE, HOSTILE, MIB, client_of, hostile_answer, run

from importstats.collect.metrics import MetricsServer
from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    ServerError,
    UnreachableError,
)
from importstats.sources.answers import parse_job_page, parse_response
from importstats.store import SnapshotStore
from importstats.store.frames import load_jobs


def is_harmless(text, *, lines=True):
    return all(c.isprintable() or (lines and c == "\n") for c in text)


def test_hostile_names_harm_no_output_of_the_command_line(tmp_path):
    """Every job of the server has such a name in every field."""

    def answer(path, body):
        if not path.endswith("/list"):
            return says(hostile_answer(body["jobId"]))
        records = [
            {"jobId": name, "collectionName": name, "state": "Importing", "reason": name}
            for name in HOSTILE.values()
        ]
        return says({"code": 0, "data": {"records": records}})

    store = tmp_path / "deep" / "store"
    with Canned(answer) as server:
        snapshot = run("snapshot", "-u", server.uri, "-s", store)
        listed = run("jobs", "-u", server.uri)
    outputs = [snapshot, listed, run("summary", store)]
    for done in outputs:
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode() + done.stderr.decode()
        assert is_harmless(text)
        assert len(text) < 50_000
    assert len(snapshot.stdout.decode().splitlines()) == len(HOSTILE)
    # Nothing outside of the store, and no file name that a tool could trip over.
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    for path in store.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9_.=~-]{1,120}", path.name)
    known = {name.replace("\ud800", "\ufffd") for name in HOSTILE.values()}
    jobs = load_jobs(store)
    assert set(jobs["job_id"]) == set(jobs["collection_name"]) == known


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_hostile_name_is_one_line_of_the_log(form, tmp_path):
    name = "\n".join(HOSTILE[kind] for kind in ("newline", "escape", "rtl"))
    answers = [hostile_answer(name, HOSTILE["newline"])]
    answers.append(says({"code": 5, "message": HOSTILE["newline"] + HOSTILE["escape"]}))
    answers += [says(HOSTILE["escape"].encode() + b"\n<html>", 500)] * 5
    answers.append(says({**FINE, "data": {**FINE["data"], "jobId": HOSTILE["newline"]}}))
    sent = iter(answers)

    def answer(path, body):
        each = next(sent)
        return says(each) if isinstance(each, dict) else each

    with Canned(answer) as server:
        done = run(
            *("collect", HOSTILE["newline"], "-u", server.uri, "-s", tmp_path / "s"),
            *("--log-format", form, "--min-interval", "0.01", "--max-interval", "0.02"),
        )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.decode().splitlines()
    assert all(is_harmless(line, lines=False) for line in lines)
    if form == "json":
        events = [json.loads(line)["event"] for line in lines]
    else:
        events = [
            re.search(r" (?:INFO|WARNING) (saved|no answer|answers again)", x)[1] for x in lines
        ]
    assert events[:2] == ["saved", "no answer"]
    assert events[-1] == "saved"
    assert events.count("saved") == 2, "a name has forged a line"


def test_a_job_id_that_is_no_text_is_refused(tmp_path):
    with Canned(says(hostile_answer("x"))) as server, client_of(server.uri) as client:
        with pytest.raises(JobNotFoundError, match="not valid text"):
            client.snapshot("\udcff")
        assert not server.requests


def test_events_and_metrics_of_hostile_names_are_harmless(tmp_path):
    store = SnapshotStore(tmp_path / "s")
    for kind, name in HOSTILE.items():
        if kind == "surrogate":
            continue
        with Canned(says(hostile_answer(name))) as server, client_of(server.uri) as client:
            store.append(client.snapshot(name))
    for source in load_jobs(store)["source_uri"].unique():
        with MetricsServer(store, source, port=0) as metrics:
            text = urllib.request.urlopen(metrics.url, timeout=120).read().decode()
        assert is_harmless(text)
        assert len(text) < 100_000


# --- Answers made to exhaust ----------------------------------------------------------------------

HUNGRY = """
import resource, sys
from importstats.sources.rest import ImportClient
from importstats.errors import BadResponseError
client = ImportClient(sys.argv[1], retries=0, timeout=90, max_response_bytes=8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    client.describe("7")
except BadResponseError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def bomb(layers):
    body = b'{"code":0,"data":{"state":"' + b"x" * (256 * MIB)
    for _ in range(layers):
        body = gzip.compress(body, 1 if len(body) > MIB else 9)
    return body


def growth_mib(uri):
    """How much memory a client took at most for one answer, and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", HUNGRY, uri], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    *said, kilobytes = done.stdout.splitlines()
    return int(kilobytes) / 1024, said


@pytest.mark.parametrize("layers", [1, 2])
def test_a_gzip_bomb_is_refused_in_bounded_memory(layers):
    encoding = ", ".join(["gzip"] * layers)
    with Canned(says(bomb(layers), **{"Content-Encoding": encoding})) as server:
        grown, said = growth_mib(server.uri)
    assert "refused" in said[0]
    assert grown < 64, "256 MiB were unpacked"


def test_an_answer_of_a_gigabyte_is_refused_in_bounded_memory():
    from importstats.simulator import ClusterSpec, Faults, SimulatorServer, make_shape

    faults = Faults(huge=1, huge_bytes=2**30)
    _, job = make_shape("small_and_quick", seed=1)
    with SimulatorServer(ClusterSpec(), [job], acceleration=0, faults=faults) as server:
        grown, said = growth_mib(server.uri)
    assert "refused" in said[0]
    assert grown < 64


@pytest.mark.parametrize("depth", [101, 500, 994, 5000, 10**6])
@pytest.mark.parametrize(
    "body",
    [
        '{"code":0,"data":{"state":"Importing","x":%s}}',
        '{"code":0,"data":{"state":"Importing","details":[{"x":%s}]}}',
        '{"code":0,"x":%s,"data":{"state":"Importing"}}',
        '{"code":0,"data":%s}',
        '{"code":%s}',
        "%s",
    ],
)
def test_deep_nesting_is_refused_wherever_it_is(body, depth):
    for begin, end in ("[", "]"), ('{"a":', "}"):
        with pytest.raises(BadResponseError):
            parse_response(body % (begin * depth + "1" + end * depth))
        with pytest.raises(BadResponseError):
            parse_job_page(body % (begin * depth + "1" + end * depth))


RAW_ANSWERS = {
    "retry-after beyond time": (503, {"Retry-After": "Fri, 31 Dec 99999 23:59:59 GMT"}, b""),
    "retry-after no time": (503, {"Retry-After": "soon"}, b""),
    "location no text": (302, {"Location": "http://\xff\xfe[::/"}, b""),
    "location of a script": (302, {"Location": "javascript:alert(1)"}, b""),
    "gzip that is none": (200, {"Content-Encoding": "gzip"}, b"hello"),
    "too many headers": (200, {f"X-{number}": "y" for number in range(200)}, b"{}"),
    "a header too long": (200, {"X": "y" * 70_000}, b"{}"),
    "a length that is none": (200, {"Content-Length": "abc"}, b"[]"),
    "chunks that are none": (200, {"Transfer-Encoding": "chunked"}, b"zz\r\n"),
}


@pytest.mark.parametrize("kind", RAW_ANSWERS)
def test_http_that_makes_no_sense_is_a_typed_error(kind):
    with (
        Canned(RAW_ANSWERS[kind]) as server,
        client_of(server.uri, retries=1 if "retry" in kind else 0) as client,
        pytest.raises(ImportStatsError) as caught,
    ):
        client.describe("7")
    assert is_harmless(str(caught.value), lines=False)


# --- Who is spoken to -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory):
    """TLS of a server that nobody vouches for but itself, and the file with its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


def test_a_server_that_nobody_vouches_for_gets_no_request(self_signed):
    context, _ = self_signed
    with (
        Canned(says(FINE), context) as server,
        client_of(server.uri) as client,
        pytest.raises(UnreachableError, match=r"certificate cannot be verified.*--ca-file"),
    ):
        client.describe("7")
    assert not server.requests


def test_the_command_line_trusts_a_ca_file_and_nothing_else(self_signed, tmp_path):
    context, ca_file = self_signed
    with Canned(says(FINE), context) as server:
        arguments = ("snapshot", "7", "-u", server.uri, "-s", tmp_path / "s", "--timeout", "5")
        refused = run(*arguments)
        trusted = run(*arguments, "--ca-file", ca_file)
        missing = run(*arguments, "--ca-file", tmp_path / "none")
        no_certificate = run(*arguments, "--ca-file", __file__)
    assert refused.returncode == 3
    assert b"certificate" in refused.stderr
    assert trusted.returncode == 0, trusted.stderr
    assert (missing.returncode, no_certificate.returncode) == (2, 2)
    path = str(tmp_path / "none")
    assert missing.stderr.decode() == (
        f"importstats: error: the CA file {path!r} cannot be read (No such file or directory); "
        "check the path\n"
    )
    assert b"holds no certificate in PEM form; check the path" in no_certificate.stderr
    assert len(server.requests) == 1


def test_a_port_without_tls_is_named_and_gets_no_request(tmp_path):
    with Canned(says(FINE)) as server:
        uri = server.uri.replace("http://", "https://")
        arguments = ("-u", uri, "--timeout", "5")
        refused = run("commit", "7", *arguments)
        examined = run("doctor", *arguments, "-s", tmp_path / "s")
    assert refused.returncode == 3
    said = (
        f"{uri}: what answers at this port does not speak TLS; check the port, or use http:// if "
        "the token may be sent unencrypted"
    )
    assert refused.stderr.decode() == f"importstats: error: {said}\n"
    assert f"failed   TLS        {said}\n" in examined.stdout.decode()
    assert not server.requests


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_carries_nothing_to_another_host(status):
    with Canned(says(FINE)) as other:
        elsewhere = says(b"", status, Location=f"{other.uri}/{CANARY}")
        with (
            Canned(elsewhere) as server,
            client_of(server.uri, retries=2) as client,
            pytest.raises(ServerError, match="redirects are not followed") as caught,
        ):
            client.describe("7")
        assert len(server.requests) == 1
        assert not other.requests
    assert CANARY not in str(caught.value)


def test_a_proxy_for_tls_learns_the_host_and_no_token(monkeypatch, self_signed):
    """It is asked for a tunnel, and what goes through that it cannot read."""
    context, ca_file = self_signed
    with Canned(says(b"", 502)) as proxy, Canned(says(FINE), context) as server:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.uri)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        with (
            client_of(server.uri, verify=str(ca_file)) as client,
            pytest.raises(UnreachableError) as caught,
        ):
            client.describe("7")
    [(method, target, headers, body)] = proxy.requests
    assert (method, target) == ("CONNECT", f"127.0.0.1:{server.server_port}")
    assert CANARY not in str((headers, body))
    assert "Authorization" not in headers
    assert CANARY not in str(caught.value)
