"""Faults that a collector must survive, and what it must not do because of them."""

from __future__ import annotations

import io
import itertools
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console
from servers import server_of

from importstats.collect.collector import Collector, PollPolicy
from importstats.errors import JobNotFoundError, StoreError, UnreachableError
from importstats.show.live import watch
from importstats.sources.answers import parse_response
from importstats.sources.messages import ImportJobRecord
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.frames import load_jobs

QUICK = PollPolicy(min_s=0.01, max_s=0.02)
FORGOTTEN = JobNotFoundError("the server does not know this import job")


class Scripted:
    """A source whose jobs answer what a script says, one entry a poll, the last one for ever.

    An entry is a state, or an error to raise.
    """

    uri = "http://scripted"

    def __init__(self, **scripts):
        self.scripts = {job_id: list(script) for job_id, script in scripts.items()}
        self.listed = dict.fromkeys(scripts, "Importing")

    def snapshot(self, job_id):
        script = self.scripts[job_id]
        entry = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(entry, Exception):
            raise entry
        if entry in ("Completed", "Failed"):
            self.listed[job_id] = entry
        answer = parse_response({"code": 0, "data": {"jobId": job_id, "state": entry}})
        return Snapshot(datetime.now(UTC), job_id, self.uri, answer)

    def list_jobs(self, collection=None):
        return iter([ImportJobRecord(job_id=i, state=state) for i, state in self.listed.items()])

    def close(self):
        pass


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


@contextmanager
def deadline(collector, seconds=60):
    """Stop a collector that would go on for ever."""
    timer = threading.Timer(seconds, collector.stop)
    timer.start()
    yield
    assert timer.is_alive(), "it did not end by itself"
    timer.cancel()


def test_a_job_that_is_listed_and_then_not_known_does_not_end_the_collection_of_others(store):
    source = Scripted(gone=[FORGOTTEN], here=["Importing"] * 20 + ["Completed"])
    collector = Collector(source, store, policy=QUICK, discover_s=0.01)
    source.listed["gone"] = "Failed"
    with deadline(collector):
        collected = collector.run()
    assert collected["here"].state == "Completed"
    assert collected["gone"].lost
    assert len(load_jobs(store, job_id="here")) == 21


def test_a_job_that_was_asked_for_and_never_known_is_still_an_error(store):
    with pytest.raises(JobNotFoundError):
        Collector(Scripted(gone=[FORGOTTEN]), store, jobs=["gone"], policy=QUICK).run()


@pytest.mark.parametrize("listed", ["Importing", "Completed"])
def test_a_job_that_the_server_finds_again_is_collected_again(store, listed):
    """A server that has just started lists its jobs before it can describe them, or after."""
    source = Scripted(job=["Importing", *[FORGOTTEN] * 3, "Completed"])
    source.listed["job"] = listed

    def stop_at_the_end(job):
        if job.ended:
            collector.stop()

    collector = Collector(
        source, store, follow=True, policy=QUICK, discover_s=0.01, on_saved=stop_at_the_end
    )
    with deadline(collector):
        collector.run()
    assert load_jobs(store)["state"].tolist() == ["Importing", "Completed"]


class Uncompactable(SnapshotStore):
    def compact(self, *_arguments, **_options):
        raise StoreError("cannot delete: permission denied")


def test_a_compaction_that_fails_is_reported_and_ends_nothing(tmp_path, caplog):
    store = Uncompactable(tmp_path / "store")
    with caplog.at_level("INFO", "importstats"):
        Collector(
            Scripted(job=["Importing"] * 70 + ["Completed"]), store, jobs=["job"], policy=QUICK
        ).run()
    assert len(load_jobs(store)) == 71
    assert caplog.text.count("cannot compact job=job reason=cannot delete: permission denied") >= 2


def test_the_live_view_waits_for_the_first_snapshot_and_says_why_none_comes(store):
    """There is no store before it, which is no error."""
    shown = io.StringIO()
    console = Console(file=shown, width=100, force_terminal=True)
    source = Scripted(job=[UnreachableError("no answer yet [red]")] * 2 + ["Completed"])
    collector = Collector(source, store, jobs=["job"], policy=PollPolicy(1.0, 1.5))
    assert watch(collector, "job", console)["job"].snapshots == 1
    assert "waiting for the first snapshot" in shown.getvalue()
    assert "no answer yet [red]" in shown.getvalue()


def test_the_live_view_of_a_job_that_is_not_known_says_so_and_not_that_there_is_no_store(store):
    collector = Collector(Scripted(gone=[FORGOTTEN]), store, jobs=["gone"], policy=QUICK)
    with pytest.raises(JobNotFoundError):
        watch(collector, "gone", Console(file=io.StringIO(), width=100))


def test_a_terminal_of_another_size_is_cleared_before_all_is_drawn_anew(store):
    """What stands there is broken into more lines than were drawn, and would stay."""
    shown = io.StringIO()
    console = Console(file=shown, width=100, height=30, force_terminal=True)

    class Narrowing(Scripted):
        def snapshot(self, job_id):
            before, cleared, after = shown.getvalue().partition(CLEAR)
            if "last heard" in before and not cleared:
                console.size = (60, 30)
            if "last heard" in after:
                self.scripts[job_id] = ["Completed"]
            return super().snapshot(job_id)

    collector = Collector(Narrowing(job=["Importing"]), store, jobs=["job"], policy=QUICK)
    with deadline(collector):
        assert watch(collector, "job", console)["job"].ended
    before, *after = shown.getvalue().split(CLEAR)
    assert len(after) == 1
    assert widest(before) == 100
    assert widest(after[0]) == 60
    assert "Completed at" in after[0]


CLEAR = "\x1b[2J"


def widest(drawn):
    """The cells of the longest line, without what moves the cursor or colours."""
    return max(map(cell_len, re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", drawn).splitlines()))


class Looking(SnapshotStore):
    """A store that notes whose rows are read, and waits before it reads any."""

    def __init__(self, path):
        super().__init__(path)
        self.read, self.may_read = [], threading.Event()

    def jobs(self, *, job_id=None, **options):
        assert self.may_read.wait(60)
        self.read.append(job_id)
        return super().jobs(job_id=job_id, **options)


def test_what_ended_before_is_looked_up_once_and_holds_up_no_job_that_runs(tmp_path):
    source = Scripted(old=["Completed"], older=["Failed"], new=["Importing"])
    store = Looking(tmp_path / "store")
    store.append([source.snapshot("old"), source.snapshot("older")])
    looks = itertools.count(1)

    def list_jobs(collection=None):
        if next(looks) > 5:
            collector.stop()
        return Scripted.list_jobs(source, collection)

    source.list_jobs = list_jobs
    collector = Collector(
        source,
        store,
        follow=True,
        policy=QUICK,
        discover_s=0.01,
        on_saved=lambda job: store.may_read.set(),
    )
    with deadline(collector):
        collected = collector.run()
    assert collected["new"].snapshots > 0
    assert sorted(store.read) == ["old", "older"]


SUSPENDED = """
import sys
from importstats.collect.collector import Collector, PollPolicy
from importstats.sources.rest import ImportClient
from importstats.store import SnapshotStore

uri, store, job = sys.argv[1:]
policy = PollPolicy(0.4, 0.4)
collector = Collector(
    ImportClient(uri), SnapshotStore(store), jobs=[job], policy=policy, gap_after_s=0.8,
    on_saved=lambda job: print(job.snapshots, flush=True),
)
collector.run()
"""


def test_a_collector_that_was_suspended_says_so_in_the_store(tmp_path):
    """As by SIGSTOP, or by the lid of a laptop."""
    with server_of("steady", files=2, seconds=3600) as server:
        command = [sys.executable, "-c", SUSPENDED, server.uri, tmp_path / "store"]
        with subprocess.Popen([*command, *server.job_ids], stdout=subprocess.PIPE) as process:
            try:
                found, stopped = [], []
                while not found:
                    assert process.stdout.readline()
                    process.send_signal(signal.SIGSTOP)
                    stopped.append(datetime.now(UTC))
                    time.sleep(1.5)
                    process.send_signal(signal.SIGCONT)
                    assert process.stdout.readline()
                    # Stopped in the middle of a request, the request took long.
                    found = gaps_in(tmp_path / "store")
            finally:
                process.kill()
    assert re.fullmatch(
        r"not polled for \d+ s: importstats was suspended, or had too much to do", found[0]["error"]
    )
    assert stopped[0] < found[0]["observed_at"] + timedelta(seconds=1) < datetime.now(UTC)


def gaps_in(store):
    rows = SnapshotStore(store).jobs(columns=["observed_at", "error"]).to_pylist()
    return [row for row in rows if row["error"] is not None]
