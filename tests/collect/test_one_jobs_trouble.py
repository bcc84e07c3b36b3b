"""One job's trouble stays its own: whatever it raises, and however slowly its answers drip."""

import errno
import threading
import time
from datetime import UTC, datetime

import pytest
from canned import Canned, says

from importstats.collect.collector import Collector, PollPolicy
from importstats.collect.workers import Workers
from importstats.errors import (
    ImportStatsError,
    JobNotFoundError,
    PrivilegeError,
    StoreError,
    UnreachableError,
)
from importstats.sources.answers import parse_response
from importstats.sources.messages import ImportJobRecord
from importstats.sources.rest import ImportClient
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.frames import load_jobs

QUICK = PollPolicy(min_s=0.01, max_s=0.02)


class Source:
    """A source whose jobs answer as functions say; by default they are completed."""

    uri = "http://x"

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def snapshot(self, job_id):
        self.asked.append(job_id)
        answer = self.answers.get(job_id, "Completed")
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        body = {"code": 0, "data": {"jobId": job_id, "state": answer, "progress": 1}}
        return Snapshot(datetime.now(UTC), job_id, self.uri, parse_response(body))

    def list_jobs(self, collection=None):
        return iter([ImportJobRecord(job_id=job_id, state="Importing") for job_id in self.listed])

    @property
    def listed(self):
        return [*self.answers, "last"]

    def close(self):
        pass


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


@pytest.mark.parametrize(
    "error",
    [
        OverflowError("int too large"),
        RecursionError("too deep"),
        KeyError("state"),
        PrivilegeError("no", code=403),
        JobNotFoundError("unknown"),
        UnreachableError("away"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("once", [True, False])
def test_whatever_one_job_raises_the_others_are_stored(store, error, once):
    collected = Collector(Source(bad=error), store, policy=QUICK, once=once).run()
    assert load_jobs(store)["job_id"].to_list() == ["last"]
    bad = collected["bad"]
    assert isinstance(bad.error, ImportStatsError)
    assert bad.snapshots == 0
    assert not bad.lost, "an end that nobody waited for cannot be missed"
    assert bad.given_up is not once
    assert collected["last"].state == "Completed"


def test_an_unexpected_error_is_logged_with_its_traceback(store, caplog):
    Collector(Source(bad=OverflowError("int too large")), store, policy=QUICK, once=True).run()
    [record] = [each for each in caplog.records if each.exc_info]
    assert record.getMessage() == "polling job bad failed"
    assert "OverflowError: int too large" in caplog.text


def test_a_list_that_makes_no_sense_ends_no_poll(store):
    source = Source()
    calls = []

    def list_jobs(collection=None):
        calls.append(collection)
        if len(calls) == 2:
            raise OverflowError("310 digits")
        return iter([ImportJobRecord(job_id=str(len(calls)), state="Importing")])

    source.list_jobs = list_jobs
    collector = Collector(source, store, policy=QUICK, follow=True, discover_s=0.02)
    thread = threading.Thread(target=collector.run)
    thread.start()
    while "3" not in source.asked:
        time.sleep(0.01)
    collector.stop()
    thread.join()


def test_what_was_never_reached_is_given_up_and_what_was_seen_is_waited_for(store):
    away = UnreachableError("away")
    with pytest.raises(UnreachableError):
        Collector(Source(gone=away), store, jobs=["gone"], policy=QUICK).run()
    answers = iter(["Importing", *[away] * 10, "Completed"])
    seen = Collector(Source(job=lambda: next(answers)), store, jobs=["job"], policy=QUICK).run()
    assert seen["job"].state == "Completed"


def test_who_follows_waits_for_a_server_that_is_not_up_yet(store):
    answers = iter([*[UnreachableError("away")] * 10, "Completed"])
    source = Source(job=lambda: next(answers))
    collector = Collector(source, store, jobs=["job"], policy=QUICK, follow=True)
    collector_thread = threading.Thread(target=collector.run)
    collector_thread.start()
    while not store.exists():
        time.sleep(0.01)
    collector.stop()
    collector_thread.join()
    assert load_jobs(store)["state"].to_list() == ["Completed"]


def test_a_server_that_asks_to_be_left_alone_is(store):
    source = Source(job=UnreachableError("429", retry_after_s=600))
    collector = Collector(source, store, jobs=["job", "last"], policy=QUICK, follow=True)
    thread = threading.Thread(target=collector.run)
    thread.start()
    while "job" not in source.asked:
        time.sleep(0.01)
    time.sleep(0.3)
    collector.stop()
    thread.join()
    assert source.asked.count("job") == 1


def test_dripping_answers_hold_up_no_other_job_and_no_list(store):
    """Eight jobs never answer; twenty others, and one that appears later, are stored meanwhile."""
    release = threading.Event()
    listed = [f"slow-{number}" for number in range(8)] + [str(number) for number in range(20)]

    def answer(path, body):
        if path.endswith("/list"):
            records = [{"jobId": job_id, "state": "Importing"} for job_id in listed]
            return says({"code": 0, "data": {"records": records}})
        if body["jobId"].startswith("slow"):
            release.wait(60)
        return says({"code": 0, "data": {"jobId": body["jobId"], "state": "Importing"}})

    with Canned(answer) as server, ImportClient(server.uri, retries=0, timeout=60) as client:
        collector = Collector(client, store, policy=QUICK, discover_s=0.05)
        thread = threading.Thread(target=collector.run)
        thread.start()
        while sum(job.snapshots > 3 for job in list(collector.jobs.values())) < 20:
            time.sleep(0.02)
        listed.append("late")
        while "late" not in collector.jobs or not collector.jobs["late"].snapshots:
            time.sleep(0.02)
        assert all(not collector.jobs[job_id].snapshots for job_id in listed[:8])
        release.set()
        collector.stop()
        thread.join()


def test_that_all_workers_are_busy_is_logged_once(store, caplog):
    release = threading.Event()

    def hang():
        release.wait(60)
        return "Completed"

    source = Source(a=hang, b=hang, c=hang)
    collector = Collector(source, store, jobs="abc", policy=QUICK, workers=2)
    thread = threading.Thread(target=collector.run)
    thread.start()
    while "all workers" not in caplog.text:
        time.sleep(0.01)
    release.set()
    thread.join()
    assert caplog.text.count("polls are late: all workers wait for answers") == 1
    assert "workers=2 waiting=1" in caplog.text


def test_workers_are_no_more_than_are_needed():
    workers = Workers(50, "test-worker")
    done = threading.Barrier(4)
    for _ in range(3):
        workers.start(lambda: done.wait(20))
    alive = [thread for thread in threading.enumerate() if thread.name == "test-worker"]
    assert len(alive) == 3
    done.wait(20)
    workers.close()
    for thread in alive:
        thread.join(20)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_lack_of_file_descriptors_is_waited_out(store, number, monkeypatch):
    monkeypatch.setattr("importstats.collect.storing._PAUSE_S", 0.001)
    failures = iter(range(3))

    def append(snapshot):
        if next(failures, None) is not None:
            raise StoreError("cannot write: too many open files") from OSError(number, "x")
        store.append(snapshot)

    Collector(Source(), store, jobs=["job"], policy=QUICK, append=append).run()
    assert load_jobs(store)["job_id"].to_list() == ["job"]


def test_a_full_disk_is_not_waited_out(store):
    def append(snapshot):
        calls.append(snapshot)
        raise StoreError("cannot write: no space") from OSError(errno.ENOSPC, "x")

    calls = []
    with pytest.raises(StoreError):
        Collector(Source(), store, jobs=["job"], policy=QUICK, append=append).run()
    assert len(calls) == 1
