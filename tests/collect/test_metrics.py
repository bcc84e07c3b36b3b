"""Metrics: a real scrape of what a real collector has stored."""

import re
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from tools import needs

pytest.importorskip("prometheus_client", reason="needs the extra prometheus")
from prometheus_client.parser import text_string_to_metric_families

from importstats.collect.collector import Collector, PollPolicy
from importstats.collect.metrics import MetricsServer
from importstats.collect.notifier import Notifier
from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    StoreError,
    UnreachableError,
)
from importstats.names import PHASES
from importstats.simulator import SimulatorServer, make_shape
from importstats.sources.answers import parse_response
from importstats.sources.rest import ImportClient
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs

QUICK = PollPolicy(min_s=0.01, max_s=0.05)
URI = "http://localhost:19530"


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


def text_of(server):
    with urllib.request.urlopen(server.url, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return answer.read().decode()


def scrape(server):
    """Samples as {name: [(labels, value)]}, as Prometheus reads them."""
    samples = {}
    for family in text_string_to_metric_families(text_of(server)):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    for name, found in samples.items():
        keys = [tuple(sorted(labels.items())) for labels, _ in found]
        assert len(keys) == len(set(keys)), f"{name} has a series twice"
    return samples


def value(samples, name, **labels):
    [found] = [number for given, number in samples[name] if labels.items() <= given.items()]
    return found


def snapshot(job_id="7", *, ago_s=0.0, source_uri=URI, **data):
    data = {"jobId": job_id, "collectionName": "products", "state": "Importing", **data}
    answer = {"code": 0, "data": {"progress": 55, **data}}
    when = datetime.now(UTC) - timedelta(seconds=ago_s)
    return Snapshot(when, job_id, source_uri, parse_response(answer))


def served(store, **options):
    return MetricsServer(store, URI, **{"port": 0, "refresh_s": 0, **options})


@pytest.fixture
def half_way(store):
    """A server whose one job is in the middle of its import, and a store that has seen it."""
    cluster, job = make_shape("stragglers", files=12, seed=1)
    with SimulatorServer(cluster, [job], acceleration=0) as server:
        with ImportClient(server.uri) as client:

            def on_saved(collected):
                server.advance(180)
                if (collected.latest.response.data.progress or 0) > 55:
                    collector.stop()

            policy = PollPolicy(min_s=0.001, max_s=0.002)
            collector = Collector(
                client, store, jobs=server.job_ids, policy=policy, on_saved=on_saved
            )
            collector.run()
        yield server


def test_what_is_served_is_what_the_store_says(store, half_way):
    [job_id] = half_way.job_ids
    jobs, details = load_jobs(store), load_details(store, runs=True)
    latest = jobs.iloc[-1]
    with MetricsServer(store, half_way.uri, port=0) as server:
        samples = scrape(server)
    labels = {
        "source": half_way.uri,
        "job_id": job_id,
        "collection": str(latest["collection_name"]),
    }
    for name, expected in {
        "importstats_job_progress_ratio": latest["progress_pct"] / 100,
        "importstats_job_rows_imported": latest["imported_rows"],
        "importstats_job_rows_expected": latest["total_rows"],
        "importstats_job_file_size_bytes": latest["file_size_bytes"],
        "importstats_job_last_snapshot_timestamp_seconds": latest["observed_at"].timestamp(),
    }.items():
        assert value(samples, name, **labels) == pytest.approx(float(expected)), name
    phases = {labels["phase"]: on for labels, on in samples["importstats_job_phase"]}
    assert set(phases) == set(PHASES)
    assert [phase for phase, on in phases.items() if on] == ["Importing"]
    assert value(samples, "importstats_jobs", phase="Importing") == 1
    states = {labels["state"]: count for labels, count in samples["importstats_job_files"]}
    last = details[details["last_snapshot_id"] == latest["snapshot_id"]]
    expected = last["state"].astype("str").value_counts()
    assert {state: count for state, count in states.items() if count} == expected.to_dict()
    quantiles = {
        labels["quantile"]: left for labels, left in samples["importstats_job_remaining_seconds"]
    }
    assert 0 <= quantiles["0.1"] < quantiles["0.5"] < quantiles["0.9"]
    assert value(samples, "importstats_job_rows_per_second") > 0
    assert value(samples, "importstats_job_stragglers") >= 0
    assert value(samples, "importstats_store_up") == 1


def test_polls_and_appends_of_a_collector_are_counted_and_timed(store):
    cluster, job = make_shape("small_and_quick", seed=4)
    with (
        SimulatorServer(cluster, [job], acceleration=0) as simulated,
        ImportClient(simulated.uri, retries=0) as client,
        Notifier(store, simulated.uri, ["exec:true"], look_s=0.01, grace_s=60) as notifier,
        MetricsServer(store, simulated.uri, port=0, notifier=notifier, refresh_s=0) as server,
    ):
        simulated.advance(4)

        def on_saved(collected):
            notifier.notice(collected)
            if collected.snapshots == 3:
                simulated.faults.server_errors = 1
            if collected.snapshots == 5:
                simulated.advance(600)

        Collector(
            server.measured_source(client),
            store,
            append=server.measured_append(store.append),
            jobs=simulated.job_ids,
            policy=QUICK,
            on_saved=on_saved,
        ).run()
        notifier.close()
        samples = scrape(server)
    snapshots, rows = len(load_jobs(store)), len(load_jobs(store, gaps=True))
    assert value(samples, "importstats_polls_total", outcome="ok") == snapshots
    assert value(samples, "importstats_polls_total", outcome="unreachable") == rows - snapshots == 1
    assert value(samples, "importstats_poll_duration_seconds_count") == snapshots + 1
    assert value(samples, "importstats_store_append_seconds_count") == rows
    assert value(samples, "importstats_events_total", event="started") == 1
    assert value(samples, "importstats_events_total", event="finished") == 1
    assert value(samples, "importstats_event_deliveries_total", outcome="delivered") == 2
    assert value(samples, "importstats_events_pending") == 0
    assert value(samples, "importstats_jobs", phase="Completed") == 1


def test_what_is_not_known_is_absent_and_not_zero(store):
    store.append(snapshot(state="Pending", progress=None))
    with served(store) as server:
        samples = scrape(server)
    for name in (
        "progress_ratio",
        "rows_imported",
        "rows_expected",
        "rows_per_second",
        "remaining_seconds",
        "files",
        "stragglers",
    ):
        assert f"importstats_job_{name}" not in samples
    assert value(samples, "importstats_job_phase", phase="Pending") == 1


@pytest.mark.parametrize(
    "name", ['a"b\\c\nd', "\x1b[31mred", "x" * 5000, "{}=,", "# HELP x", "ünïcode"]
)
def test_whatever_a_server_calls_things_the_answer_can_be_read(store, name):
    store.append(snapshot(f"job {name}", collectionName=name))
    with served(store) as server:
        samples = scrape(server)
    [(labels, _)] = samples["importstats_job_progress_ratio"]
    assert all(text.isprintable() and len(text) <= 128 for text in labels.values())


def test_jobs_whose_cleaned_names_are_equal_are_one_series_the_latest(store):
    store.append([snapshot("a\x01b", progress=41, ago_s=9), snapshot("a\x02b", progress=42)])
    with served(store) as server:
        assert value(scrape(server), "importstats_job_progress_ratio", job_id="a b") == 0.42


def test_only_the_jobs_seen_last_have_series_of_their_own(store):
    store.append([snapshot(str(number), ago_s=60 * number) for number in range(30)])
    with served(store, most_jobs=5) as server:
        samples = scrape(server)
    shown = {labels["job_id"] for labels, _ in samples["importstats_job_progress_ratio"]}
    assert shown == {"0", "1", "2", "3", "4"}
    assert value(samples, "importstats_jobs", phase="Importing") == 30


def test_jobs_that_ended_or_went_silent_drop_out_after_a_while(store):
    store.append(
        [
            snapshot("ended", state="Completed", progress=100, ago_s=4000),
            snapshot("just ended", state="Failed", progress=0, ago_s=3000),
            snapshot("silent", ago_s=4000),
            snapshot("long silent", ago_s=90_000),
        ]
    )
    with served(store) as server:
        samples = scrape(server)
    shown = {labels["job_id"] for labels, _ in samples["importstats_job_phase"]}
    assert shown == {"just ended", "silent"}
    assert value(samples, "importstats_jobs", phase="Failed") == 1
    assert value(samples, "importstats_jobs", phase="Completed") == 0


def test_other_servers_jobs_are_left_to_their_own_collectors(store):
    store.append([snapshot("7"), snapshot("8", source_uri="http://other:19530")])
    with served(store) as server:
        shown = {labels["job_id"] for labels, _ in scrape(server)["importstats_job_phase"]}
    assert shown == {"7"}


def test_a_store_that_cannot_be_read_is_down_and_shows_no_old_number(store, tmp_path):
    store.append(snapshot())
    jobs, elsewhere = tmp_path / "store" / "jobs", tmp_path / "elsewhere"

    def wait_for(is_up):
        while value(samples := scrape(server), "importstats_store_up") != is_up:
            time.sleep(0.1)
        return samples

    with served(store) as server:
        wait_for(1)
        [cluster] = jobs.iterdir()
        cluster.rename(elsewhere)
        cluster.symlink_to(cluster)  # A loop: nobody can read it, not even root.
        assert "importstats_job_progress_ratio" not in wait_for(0)
        cluster.unlink()
        elsewhere.rename(cluster)
        assert "importstats_job_progress_ratio" in wait_for(1)


def test_the_store_is_read_no_more_often_than_allowed(tmp_path):
    class Counted(SnapshotStore):
        reads = 0

        def jobs(self, **options):
            self.reads += 1
            return super().jobs(**options)

    store = Counted(tmp_path / "store")
    store.append(snapshot(state="Completed"))
    with served(store, refresh_s=3600) as server:
        first = text_of(server)
        assert store.reads == 1
        assert "importstats_job_phase" in first
        assert "importstats_job_phase" in text_of(server)
        assert store.reads == 1


def test_a_scrape_that_takes_long_does_not_hold_up_polls(tmp_path):
    reading, go_on = threading.Event(), threading.Event()

    class Slow(SnapshotStore):
        def jobs(self, **options):
            reading.set()
            go_on.wait(60)
            return super().jobs(**options)

    class Source:
        uri = URI

        def snapshot(self, job_id):
            return snapshot(job_id)

    store = Slow(tmp_path / "store")
    store.append(snapshot())
    with served(store) as server:
        scraping = threading.Thread(target=text_of, args=[server])
        scraping.start()
        assert reading.wait(60)
        polled = server.measured_source(Source()).snapshot("8")
        server.measured_append(store.append)(polled)
        assert not go_on.is_set()
        go_on.set()
        scraping.join(60)
        assert value(scrape(server), "importstats_polls_total", outcome="ok") == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UnreachableError("no answer"), "unreachable"),
        (JobNotFoundError("no job"), "not_found"),
        (BadResponseError("HTML"), "bad_response"),
        (ImportStatsError("other"), "error"),
    ],
)
def test_an_error_is_counted_by_its_kind_and_passed_on(store, error, outcome):
    class Source:
        uri = URI

        def snapshot(self, job_id):
            raise error

    with served(store) as server:
        source = server.measured_source(Source())
        with pytest.raises(type(error)):
            source.snapshot("7")
        assert value(scrape(server), "importstats_polls_total", outcome=outcome) == 1


def test_a_snapshot_that_cannot_be_stored_is_counted(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    broken = SnapshotStore(tmp_path / "file" / "store")
    with served(SnapshotStore(tmp_path / "store")) as server:
        append = server.measured_append(broken.append)
        with pytest.raises(StoreError):
            append(snapshot())
        assert value(scrape(server), "importstats_store_append_errors_total") == 1


def test_what_one_job_breaks_is_counted_and_the_others_are_shown(store, monkeypatch):
    store.append([snapshot("7"), snapshot("8")])
    sound = load_jobs

    def odd(store, *, job_id, **options):
        return sound(store, job_id=job_id, **options).drop(columns="state" if job_id == "7" else [])

    monkeypatch.setattr("importstats.collect.metrics.load_jobs", odd)
    with served(store) as server:
        samples = scrape(server)
    assert value(samples, "importstats_job_metrics_failures_total") == 1
    assert {labels["job_id"] for labels, _ in samples["importstats_job_stalled"]} == {"8"}
    assert {labels["job_id"] for labels, _ in samples["importstats_job_phase"]} == {"7", "8"}


def test_a_port_in_use_is_an_error_that_says_what_to_do(store):
    with served(store) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        with pytest.raises(ImportStatsError, match=rf"127\.0\.0\.1:{port}.*--metrics-port"):
            MetricsServer(store, URI, port=port)


def test_without_the_extra_the_error_names_it():
    code = "import sys; sys.modules['prometheus_client'] = None; import importstats.collect.metrics"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100
    )
    assert "MissingExtraError" in ended.stderr
    assert "pip install '.[prometheus]' in its source folder" in ended.stderr


@needs("promtool")
def test_promtool_has_nothing_to_object(store, half_way):
    with MetricsServer(store, half_way.uri, port=0) as server:
        text = text_of(server)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_command_serves_metrics_and_sends_events_while_it_collects(tmp_path):
    log = tmp_path / "events"
    cluster, job = make_shape("small_and_quick", seed=4)
    with SimulatorServer(cluster, [job], acceleration=0) as simulated:
        simulated.advance(4)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "importstats", "collect", "--uri", simulated.uri),
                *("--store", tmp_path / "store", "--min-interval", "0.05", "--max-interval", "0.2"),
                *("--metrics-port", "0", "--on-event", f"exec:sh -c 'cat >> {log}'"),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            for line in process.stderr:
                if found := re.search(
                    r"serving metrics url=(http://127\.0\.0\.1:\d+/metrics)", line
                ):
                    break
            server = type("Server", (), {"url": found[1]})
            deadline = time.monotonic() + 60
            while "importstats_job_phase" not in scrape(server):
                assert time.monotonic() < deadline
            while not Path(log).exists():
                assert time.monotonic() < deadline
            simulated.advance(600)
            rest = process.stderr.read()
        assert process.returncode == 0, rest
    assert '"event": "finished"' in log.read_text()
    assert pd.notna(load_jobs(tmp_path / "store")["state"]).all()


def connections(server, count):
    address = urlsplit(server.url)
    return [socket.create_connection((address.hostname, address.port), 20) for _ in range(count)]


def test_idle_connections_take_a_bounded_number_of_descriptors(store):
    with served(store) as server:
        idle = connections(server, 100)
        try:
            closed, deadline = 0, time.monotonic() + 60
            while closed < 68:
                assert time.monotonic() < deadline
                readable, _, _ = select.select(idle, [], [], 1)
                closed = len(readable)
            assert {each.recv(1) for each in readable} == {b""}, "closed by the server"
            assert closed == 68, "and those that there is room for are not"
        finally:
            for each in idle:
                each.close()


def test_a_connection_that_says_nothing_is_let_go_and_makes_room(store, monkeypatch):
    monkeypatch.setattr("importstats.collect.bounded_http._Handler.timeout", 0.2)
    with served(store) as server:
        idle = connections(server, 40)
        try:
            assert all(each.recv(1) == b"" for each in idle), "closed by the server"
        finally:
            for each in idle:
                each.close()
        assert value(scrape(server), "importstats_store_up") == 1
