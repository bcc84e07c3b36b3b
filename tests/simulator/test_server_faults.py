"""The server of the simulator: its clock, its connections, and the faults it makes."""

from __future__ import annotations

import json
import math

import pytest
import requests
from posting import IMPORT, JOB, Post, still
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool

from importstats.simulator import (
    ClusterSpec,
    SimulatedCluster,
    SimulatorServer,
)
from importstats.sources.answers import parse_job_page, parse_response

# The clock and the connections.


def test_acceleration_runs_the_clock(post: Post) -> None:
    with SimulatorServer(ClusterSpec(retention_s=1e12), [JOB], acceleration=1e4) as server:
        state = None
        while state != "Completed":
            answer = post(server, "describe", jobId=server.job_ids[0])
            state = parse_response(answer.content).data.state
        assert server.cluster.now_s > 60


def test_connections_are_kept_alive(session: requests.Session) -> None:
    with still() as server:
        for _ in range(3):
            session.post(f"{server.uri}{IMPORT}/list", json={}, timeout=10)
        (pool,) = _pools(session, server.uri)
        assert (pool.num_connections, pool.num_requests) == (1, 3)


def _pools(session: requests.Session, uri: str) -> list[HTTPConnectionPool]:
    adapter = session.get_adapter(uri)
    assert isinstance(adapter, HTTPAdapter)
    pools = adapter.poolmanager.pools
    return [pools[key] for key in pools.keys()]  # noqa: SIM118 - it is no dict


def test_a_restart_refuses_connections_and_forgets_nothing(post: Post) -> None:
    with still() as server:
        before = post(server, "list").json()
        uri = server.uri
        server.stop()
        with pytest.raises(requests.ConnectionError):
            post(server, "list")
        server.start()
        assert server.uri == uri
        assert post(server, "list").json() == before


def test_a_given_cluster_is_used(post: Post) -> None:
    cluster = SimulatedCluster(ClusterSpec(release="2.4"), seed=3)
    job_id = cluster.create(JOB)
    with SimulatorServer(cluster, acceleration=0, dialect="2.4") as server:
        assert parse_job_page(post(server, "list").content).records[0].job_id == job_id
        assert server.create(JOB) != job_id


# Records.


def test_recording_keeps_the_exact_bodies(post: Post) -> None:
    with still(record=True, token="secret") as server:
        bodies = []
        for _ in range(3):
            bodies.append(
                post(server, "describe", token="secret", jobId=server.job_ids[0], db="default")
            )
            server.advance(30)
        post(server, "list", token="secret")
    assert [sent.body for sent in server.sent] == [answer.content for answer in bodies]
    assert {sent.job_id for sent in server.sent} == {server.job_ids[0]}
    assert len(server.received) == 4
    assert server.received[0].headers["DB-Name"] == "default"
    assert "secret" not in repr(server.received)


# Faults.


def test_server_errors_are_counted_down(post: Post) -> None:
    with still() as server:
        server.faults.server_errors = 2
        server.faults.server_error_status = 502
        statuses = [post(server, "list").status_code for _ in range(3)]
        assert statuses == [502, 502, 200]
        server.faults.server_errors = math.inf
        assert [post(server, "list").status_code for _ in range(3)] == [502] * 3
        server.faults.server_errors = 0
        server.faults.server_error_rate = 0.5
        statuses = [post(server, "list").status_code for _ in range(60)]
        assert {200, 502} == set(statuses)


def test_throttling_says_when_to_come_back(post: Post) -> None:
    with still() as server:
        server.faults.throttled, server.faults.retry_after_s = 1, 7
        answer = post(server, "list")
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
        assert post(server, "list").status_code == 200


def test_dropped_connections(post: Post) -> None:
    with still(record=True) as server:
        server.faults.dropped = 1
        with pytest.raises(requests.ConnectionError):
            post(server, "describe", jobId=server.job_ids[0])
        server.faults.dropped_in_body = 1
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            post(server, "describe", jobId=server.job_ids[0])
        assert server.sent == []
        assert post(server, "describe", jobId=server.job_ids[0]).status_code == 200


def test_bodies_that_are_no_answer(post: Post) -> None:
    with still() as server:
        server.faults.truncated = 1
        answer = post(server, "describe", jobId=server.job_ids[0])
        assert answer.status_code == 200
        with pytest.raises(json.JSONDecodeError):
            answer.json()
        server.faults.html = 1
        answer = post(server, "describe", jobId=server.job_ids[0])
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
        assert answer.text.startswith("<!DOCTYPE html>")
        server.faults.huge, server.faults.huge_bytes = 1, 5_000_000
        answer = post(server, "describe", jobId=server.job_ids[0])
        assert len(answer.content) == 5_000_000
        assert answer.json()["code"] == 0


def test_time_outs_and_a_coordinator_that_starts(post: Post) -> None:
    with still() as server:
        server.faults.timeouts = 2
        answer = post(server, "list")
        assert (answer.status_code, answer.json()["code"]) == (408, 10001)
        server.faults.timeout_is_text = True
        answer = post(server, "list")
        assert (answer.status_code, answer.text) == (408, "timeout")
        server.faults.not_ready = 1
        answer = post(server, "list")
        assert (answer.status_code, answer.json()["code"]) == (200, 1)
        assert post(server, "list").json()["code"] == 0


def test_redirects_lead_to_another_host(post: Post) -> None:
    with still() as server:
        server.faults.redirected, server.faults.redirect_to = 1, "http://127.0.0.2:9/"
        answer = post(server, "list")
        assert answer.status_code == 307
        assert answer.headers["Location"] == f"http://127.0.0.2:9{IMPORT}/list"


def test_slow_answers(session: requests.Session) -> None:
    with still() as server:
        server.faults.latency_s = 60.0
        with pytest.raises(requests.ReadTimeout):
            session.post(f"{server.uri}{IMPORT}/list", json={}, timeout=0.2)
        server.faults.latency_s = 0.0
        server.faults.drip_bytes_per_s = 40.0
        with session.post(f"{server.uri}{IMPORT}/list", json={}, timeout=5, stream=True) as answer:
            chunks = answer.iter_content(chunk_size=1)
            assert next(chunks) == b"{"


def test_stopping_ends_slow_answers_and_huge_ones(session: requests.Session) -> None:
    with still() as server:
        server.faults.huge, server.faults.huge_bytes = 1, 2**40
        with session.post(f"{server.uri}{IMPORT}/list", json={}, timeout=5, stream=True) as answer:
            assert next(answer.iter_content(10)).startswith(b'{"code":0')
            server.stop()
        server.start()
        server.faults.drip_bytes_per_s = 0.01
        with session.post(f"{server.uri}{IMPORT}/list", json={}, timeout=5, stream=True) as answer:
            assert answer.status_code == 200
