"""The collector: what a server sent is in the store, whatever happens on the way."""

import json
import math
import threading
import time
from collections import Counter

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import server_of

from importstats.collect.collector import Collector, PollPolicy
from importstats.errors import (
    ImportStatsError,
    JobNotFoundError,
    StoreError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.simulator import ClusterSpec, SimulatorServer, make_shape
from importstats.sources.answers import parse_response
from importstats.sources.rest import ImportClient
from importstats.store import SnapshotStore
from importstats.store.frames import flatten_details, load_details, load_jobs

QUICK = PollPolicy(min_s=0.01, max_s=0.1)


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


def client_of(server, **options):
    return ImportClient(server.uri, **{"retries": 0, "timeout": 5, **options})


def wait_until(condition, timeout=20):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


class Running:
    """A collector in a thread."""

    def __init__(self, collector):
        self.collector = collector
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.collector.run()
        except ImportStatsError as error:
            self.error = error

    def snapshots(self):
        return sum(job.snapshots for job in list(self.collector.jobs.values()))

    def stop(self):
        self.collector.stop()
        self.join()

    def join(self):
        self.thread.join(30)
        assert not self.thread.is_alive()
        if self.error:
            raise self.error


@pytest.mark.parametrize("dialect", ["2.4.0", "2.6", "cloud-v2-no-rows", "cloud-v1"])
def test_what_the_server_sent_is_what_the_store_holds_field_by_field(store, dialect):
    with server_of("stragglers", files=40, seconds=math.inf, dialect=dialect) as server:
        [job_id] = server.job_ids
        with client_of(server, api="cloud-v1" if dialect == "cloud-v1" else None) as client:
            collected = Collector(
                client,
                store,
                jobs=[job_id],
                policy=QUICK,
                on_saved=lambda job: server.advance(60),
            ).run()
    sent = [parse_response(answer.body) for answer in server.sent]
    assert collected[job_id].state == "Completed"
    jobs = load_jobs(store)
    assert len(jobs) == len(sent) == collected[job_id].snapshots > 20
    for column, field in [
        ("state", "state"),
        ("progress_pct", "progress"),
        ("imported_rows", "imported_rows"),
        ("total_rows", "total_rows"),
        ("file_size_bytes", "file_size"),
        ("collection_name", "collection_name"),
        ("reason", "reason"),
    ]:
        stored = [None if pd.isna(value) else value for value in jobs[column]]
        assert stored == [getattr(response.data, field) for response in sent]
    unsent = ["snapshot_id", "last_snapshot_id", "observed_at", "last_observed_at", "source_uri"]
    pd.testing.assert_frame_equal(
        load_details(store).drop(columns=unsent),
        flatten_details(sent).drop(columns=unsent),
        check_categorical=False,
    )


def test_acknowledged_means_stored(store):
    seen = []

    def on_saved(job):
        seen.append(job.latest.snapshot_id)
        assert job.latest.snapshot_id in load_jobs(store)["snapshot_id"].to_list()

    with server_of("small_and_quick", seconds=1) as server, client_of(server) as client:
        Collector(client, store, jobs=server.job_ids, policy=QUICK, on_saved=on_saved).run()
    assert sorted(seen) == sorted(load_jobs(store)["snapshot_id"])


def test_jobs_are_picked_up_as_they_appear_and_the_run_ends_with_the_last(store):
    with server_of("small_and_quick", seconds=math.inf) as server, client_of(server) as client:
        running = Running(Collector(client, store, policy=QUICK, discover_s=0.05))
        wait_until(lambda: running.collector.jobs)
        later = server.create(make_shape("small_and_quick", seed=5)[1])
        wait_until(lambda: later in running.collector.jobs)
        server.acceleration = 1000
        running.join()
        jobs = load_jobs(store)
    ends = jobs.groupby("job_id", observed=True)["state"].last()
    assert set(ends.index) == {*server.job_ids, later}
    assert set(ends) == {"Completed"}


def test_following_goes_on_after_the_last_job_and_stops_when_asked(store):
    with server_of("small_and_quick", seconds=0.5) as server, client_of(server) as client:
        running = Running(Collector(client, store, follow=True, policy=QUICK, discover_s=0.05))
        wait_until(lambda: [j for j in running.collector.jobs.values() if j.ended])
        again = server.create(make_shape("small_and_quick", seed=6)[1])
        wait_until(lambda: again in running.collector.jobs)
        running.stop()
    assert again in load_jobs(store)["job_id"].to_list()


def test_a_second_run_does_not_ask_again_about_jobs_whose_end_is_stored(store):
    with server_of("small_and_quick", seconds=0.5) as server, client_of(server) as client:
        Collector(client, store, policy=QUICK).run()
        asked = len(server.sent)
        assert Collector(client, store, policy=QUICK).run() == {}
        assert len(server.sent) == asked


def test_a_job_that_ended_before_the_first_look_is_stored_too(store):
    _, job = make_shape("small_and_quick", seed=1)
    with SimulatorServer(ClusterSpec(), [job], acceleration=0) as server:
        server.advance(3600)
        with client_of(server) as client:
            Collector(client, store, policy=QUICK).run()
    assert load_jobs(store)["state"].tolist() == ["Completed"]


def test_once_stores_one_snapshot_of_each_job(store):
    with server_of("small_and_quick", seconds=math.inf) as server, client_of(server) as client:
        server.create(make_shape("small_and_quick", seed=2)[1])
        collected = Collector(client, store, once=True).run()
    assert [job.snapshots for job in collected.values()] == [1, 1]
    assert len(load_jobs(store)) == 2


def test_a_server_that_goes_away_leaves_a_recorded_gap_and_nothing_else_is_lost(store):
    with server_of("stragglers", files=10, seconds=math.inf) as server, client_of(server) as client:
        running = Running(Collector(client, store, jobs=server.job_ids, policy=QUICK))
        wait_until(lambda: running.snapshots() > 5)
        server.stop()
        [job] = running.collector.jobs.values()
        wait_until(lambda: job.failures)
        server.start()
        server.acceleration = 1000
        running.join()
    with_gaps = load_jobs(store, gaps=True)
    [gap] = with_gaps["error"].dropna()
    assert "does not answer" in gap
    jobs = load_jobs(store)
    assert len(jobs) == len(server.sent) == len(with_gaps) - 1
    assert jobs["state"].iloc[-1] == "Completed"


def test_a_job_that_the_server_forgot_is_lost_and_the_gap_recorded(store):
    _, job = make_shape("small_and_quick", seed=1)
    cluster = ClusterSpec(retention_s=600)
    with SimulatorServer(cluster, [job], acceleration=0) as server, client_of(server) as client:
        running = Running(Collector(client, store, jobs=server.job_ids, policy=QUICK))
        wait_until(lambda: running.snapshots() > 2)
        server.advance(24 * 3600)
        running.join()
    [job] = running.collector.jobs.values()
    assert job.lost
    gaps = load_jobs(store, gaps=True)["error"].dropna()
    assert len(gaps) == 2, "one when it was first missed, one when it was given up"
    assert "forgotten" in gaps.iloc[-1]


def test_a_job_never_known_is_an_error(store):
    with (
        server_of("small_and_quick", seconds=math.inf) as server,
        client_of(server) as client,
        pytest.raises(JobNotFoundError),
    ):
        Collector(client, store, jobs=["404"], policy=QUICK).run()


def test_a_token_refused_half_way_ends_the_run_and_keeps_what_was_stored(store):
    with server_of("stragglers", files=10, seconds=math.inf) as server, client_of(server) as client:
        running = Running(Collector(client, store, jobs=server.job_ids, policy=QUICK))
        wait_until(lambda: running.snapshots() > 5)
        server.faults.refuse_token = True
        with pytest.raises(UnauthorizedError):
            running.join()
    assert len(load_jobs(store)) == sum(b"data" in answer.body for answer in server.sent)


def test_a_wrong_uri_is_an_error_when_nothing_was_ever_heard(store):
    with (
        ImportClient("http://127.0.0.1:1", retries=0) as client,
        pytest.raises(UnreachableError),
    ):
        Collector(client, store).run()


def test_a_store_that_cannot_be_written_ends_the_run(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with (
        server_of("small_and_quick", seconds=math.inf) as server,
        client_of(server) as client,
        pytest.raises(StoreError),
    ):
        Collector(
            client, SnapshotStore(tmp_path / "file" / "store"), jobs=server.job_ids, policy=QUICK
        ).run()


def test_many_jobs_are_polled_side_by_side(store):
    with server_of("small_and_quick", seconds=math.inf) as server, client_of(server) as client:
        for seed in range(20):
            server.create(make_shape("small_and_quick", seed=seed)[1])
        server.faults.latency_s = 0.2
        running = Running(Collector(client, store, policy=QUICK, workers=8))
        wait_until(lambda: len(running.collector.jobs) == 21)
        wait_until(lambda: all(job.snapshots for job in running.collector.jobs.values()))
        running.stop()
    asked = [answer.job_id for answer in server.sent]
    when_all_were_asked = max(asked.index(job_id) for job_id in set(asked))
    # One after the other, the first would have been polled often before the last was polled once.
    assert max(Counter(asked[:when_all_were_asked]).values()) <= 3


@given(
    st.floats(0.1, 10),
    st.floats(1, 100),
    st.lists(st.tuples(st.booleans(), st.sampled_from(["Pending", "Importing"]), st.booleans())),
)
def test_the_pause_stays_in_its_limits_and_quick_change_means_quick_polls(shortest, factor, polls):
    policy = PollPolicy(shortest, shortest * factor)
    pause = policy.min_s
    for changed, state, rows in polls:
        before, pause = pause, policy.pause_s(pause, changed=changed, state=state, rows=rows)
        assert policy.min_s <= pause <= policy.max_s
        assert pause <= max(policy.min_s, before / 2) or not changed
    for _ in range(40):
        pause = policy.pause_s(pause, changed=False, state="Importing", rows=False)
    assert pause == policy.max_s


def test_wrong_limits_are_refused():
    with pytest.raises(ValueError, match="min_s"):
        PollPolicy(5, 1)


def test_unknown_states_are_stored_and_polling_goes_on(store):
    class Novel:
        uri = "http://novel"
        states = iter(["Draining", None, "Completed"])

        def snapshot(self, job_id):
            from datetime import UTC, datetime

            from importstats.sources.snapshot import Snapshot

            body = json.dumps({"code": 0, "data": {"jobId": job_id, "state": next(self.states)}})
            return Snapshot(datetime.now(UTC), job_id, self.uri, parse_response(body))

        def list_jobs(self, collection=None):
            return iter(())

        def close(self):
            pass

    Collector(Novel(), store, jobs=["7"], policy=QUICK).run()
    states = [None if pd.isna(state) else state for state in load_jobs(store)["state"]]
    assert states == ["Draining", None, "Completed"]
