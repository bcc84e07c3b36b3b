"""A deterministic simulation: collector, clock, network and disk under one seed.

Everything that runs at the same time is an actor: the collector's loop, each of its polls, looks
and compactions, a second collector, a compactor, a publisher and a reader. One actor runs at a
time, and each gives way before all that it does with the disk, the network or a queue; who goes on
is drawn. So a seed decides every interleaving, delay, fault and crash, as in FoundationDB (Zhou et
al., "FoundationDB: A distributed unbundled transactional key value store", SIGMOD 2021).
"""

from __future__ import annotations

import math
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from losing_power import Disk, Recording, recorded, write_out

import importstats.collect.collector
import importstats.collect.jobs
import importstats.sources.snapshot
import importstats.store.compaction
import importstats.store.delta
import importstats.store.disk
import importstats.store.listing
import importstats.store.reading
import importstats.store.segments
from importstats.collect.collector import Collector, PollPolicy
from importstats.errors import JobNotFoundError, StoreError, UnreachableError
from importstats.sources.answers import parse_response
from importstats.sources.messages import ImportJobRecord
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.delta import DeltaLog
from importstats.store.files import Files

JOBS = ("1", "2", "3")
FILES = 3
URI = "http://simulated"
START_S = 1_779_062_400.0


class Killed(BaseException):
    """The process of an actor is no more. What it would do on its way out does not happen."""


class Actor:
    """A thread that runs only when it is let."""

    def __init__(self, world: World, name: str, work: Callable[[], object]) -> None:
        self.name, self.ready, self.wakes_at, self.is_done = name, lambda: True, 0.0, False
        self.turn = threading.Semaphore(0)
        self.error: BaseException | None = None

        def run() -> None:
            self.turn.acquire()
            world.mine.actor = self
            try:
                world.check_alive()
                work()
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001 - is reported with the seed
                self.error = error
            self.is_done = True
            world.back.release()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()


class World:
    """What is under the seed: who runs, what time it is, and what happens to disk and network."""

    def __init__(self, seed: int, root: Path) -> None:
        self.rng = random.Random(seed)
        self.root = root
        self.now = START_S
        self.mine = threading.local()
        self.begun_at = self.now
        self.born: dict[str, float] = {}
        self.back = threading.Semaphore(0)
        self.actors: list[Actor] = []
        self.is_dead = False
        self.is_quiet = False
        self.answered: dict[int, Snapshot] = {}
        self.acknowledged: set[int] = set()
        self.ended: set[str] = set()
        self.progress = dict.fromkeys(JOBS, 0)
        self.recording: Recording | None = None

    # --- Turns ---

    def start(self, name: str, work: Callable[[], object]) -> None:
        self.actors.append(Actor(self, name, work))

    def me(self) -> Actor | None:
        return getattr(self.mine, "actor", None)

    def check_alive(self) -> None:
        if self.is_dead:
            raise Killed

    def give_way(self, ready: Callable[[], bool] = lambda: True, until: float = math.inf) -> None:
        """Let others run until it is this actor's turn again: when it is ready, or it is time."""
        actor = self.me()
        if actor is None or self.is_quiet:
            return
        self.check_alive()
        actor.ready, actor.wakes_at = ready, until
        self.back.release()
        actor.turn.acquire()
        self.check_alive()

    def sleep(self, seconds: float) -> None:
        self.give_way(lambda: False, self.now + seconds)

    def run(self, most: int) -> None:
        """So many turns, fewer if all actors are done."""
        suspended, until = None, 0
        for turn in range(most):
            waiting = [actor for actor in self.actors if not actor.is_done]
            if not waiting:
                return
            able = [each for each in waiting if each.wakes_at <= self.now or each.ready()]
            if not able:
                self.now = min(each.wakes_at for each in waiting)
                assert self.now < math.inf, f"all wait: {[each.name for each in waiting]}"
                continue
            self.now += self.rng.expovariate(1000)
            if self.rng.random() < 0.004:
                # One of them stands still, for long, while the others go on.
                suspended, until = self.rng.choice(able), turn + self.rng.randint(50, 250)
                self.now += self.rng.choice([1.0, 100.0, 7 * 3600.0])
            if turn < until and len(able) > 1 and suspended in able:
                able.remove(suspended)
            self._let(self.rng.choice(able))
            self.raise_errors()

    def _let(self, actor: Actor) -> None:
        actor.turn.release()
        self.back.acquire()

    def raise_errors(self) -> None:
        for actor in self.actors:
            if actor.error is not None:
                raise AssertionError(f"{actor.name}: {actor.error!r}") from actor.error

    def kill(self) -> None:
        """End all that runs, as it is."""
        self.is_dead = True
        for actor in self.actors:
            if not actor.is_done:
                self._let(actor)
            assert actor.is_done, f"{actor.name} outlived its process"
            actor.thread.join()
        self.raise_errors()
        self.actors, self.is_dead = [], False

    # --- The network ---

    uri = URI

    def snapshot(self, job_id: str) -> Snapshot:
        self.sleep(self.rng.expovariate(20))
        luck = self.rng.random()
        if luck < 0.1:
            raise UnreachableError("lost")
        if luck < 0.12 and job_id in self.ended:
            raise JobNotFoundError("forgotten")
        moved = self.rng.random() < 0.7
        self.progress[job_id] += moved
        done = self.progress[job_id]
        if done > 12 and self.rng.random() < 0.2:
            self.ended.add(job_id)
        details = [
            {"fileName": f"[{place}]", "importedRows": done // (place + 1), "state": "InProgress"}
            for place in range(FILES)
        ]
        state = "Completed" if job_id in self.ended else "Importing"
        answer = {"code": 0, "data": {"jobId": job_id, "state": state, "details": details}}
        made = Snapshot(self.clock(), job_id, URI, parse_response(answer), request_latency_s=0.0)
        self.answered[made.snapshot_id] = made
        return made

    def list_jobs(self, collection: str | None = None) -> Iterator[ImportJobRecord]:
        self.sleep(self.rng.expovariate(20))
        if self.rng.random() < 0.1 and self.acknowledged:
            raise UnreachableError("lost")
        states = {job: "Completed" if job in self.ended else "Importing" for job in JOBS}
        return iter([ImportJobRecord(job_id=job, state=states[job]) for job in JOBS])

    def close(self) -> None:
        """Nothing to close."""

    def clock(self, zone: Any = UTC) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def is_stale(self, info: Any) -> bool:
        """Whether a file is older than six hours of this world."""
        return self.born.get(info.path, self.begun_at) < self.now - 6 * 3600

    def noting_birth(self, real: Callable[..., Any], place: int) -> Callable[..., Any]:
        """The same, after which the file named by the argument at a place is new."""

        def run(*arguments: Any, **options: Any) -> Any:
            result = real(*arguments, **options)
            self.born[str(arguments[place])] = self.now
            return result

        return run

    # --- What runs ---

    def collect(self, store: SnapshotStore) -> Collector:
        def append(snapshot: Snapshot) -> None:
            self.answered.setdefault(snapshot.snapshot_id, snapshot)
            store.append(snapshot)
            self.check_alive()
            self.acknowledged.add(snapshot.snapshot_id)
            if self.recording is not None:
                self.recording.note("stored", snapshot.snapshot_id)

        return Collector(
            self,  # type: ignore[arg-type]
            store,
            follow=True,
            policy=PollPolicy(0.5, 4.0),
            discover_s=3.0,
            append=append,
        )

    def compact(self, store: SnapshotStore) -> None:
        while True:
            self.sleep(self.rng.expovariate(0.5))
            if store.exists():
                store.compact(min_segments=2, final=self.rng.random() < 0.3)

    def publish(self, store: SnapshotStore) -> None:
        while True:
            self.sleep(self.rng.expovariate(0.2))
            if not store.exists():
                continue
            before = set(self.acknowledged)
            store.publish()
            self.check_log(before)

    def read(self, store: SnapshotStore) -> None:
        while True:
            self.sleep(self.rng.expovariate(0.5))
            self.check(store, set(self.acknowledged))

    # --- What must hold ---

    def check(self, store: SnapshotStore, acknowledged: set[int]) -> None:
        """What was acknowledged is there once and as it came, and nothing else."""
        try:
            jobs = store.jobs(columns=["snapshot_id", "state", "error"]).to_pylist()
        except StoreError:
            assert not acknowledged, "lost, with the store"
            return
        ids = [row["snapshot_id"] for row in jobs]
        assert len(ids) == len(set(ids)), "twice"
        assert acknowledged <= set(ids), f"lost: {sorted(acknowledged - set(ids))}"
        assert set(ids) <= set(self.answered), "from nowhere"
        for row in jobs:
            response = self.answered[row["snapshot_id"]].response
            assert row["state"] == (response.data.state if response else None)
        details = store.details(columns=["snapshot_id", "file_index", "imported_rows"])
        found: dict[int, list[int]] = {}
        for row in details.to_pylist():
            found.setdefault(row["snapshot_id"], []).append(row["imported_rows"])
        for number in acknowledged:
            response = self.answered[number].response
            sent = [each.imported_rows for each in response.data.details] if response else []
            assert found.get(number, []) == sent, f"details of {number}"

    def check_log(self, acknowledged: set[int]) -> None:
        """The Delta log names files that are there, and each snapshot in one of them."""
        self.is_quiet = True
        files = Files(self.root, None)
        log = DeltaLog(files, "jobs")
        log.refresh()
        ids: list[int] = []
        for path in log.active:
            segment = importstats.store.reading.decode(
                files.full(f"jobs/{path}"), files.filesystem, "jobs", ["snapshot_id"]
            )
            ids += segment["snapshot_id"].to_pylist()
        self.is_quiet = False
        assert len(ids) == len(set(ids)), "twice in the log"
        assert acknowledged <= set(ids), f"not in the log: {sorted(acknowledged - set(ids))}"


class Mailbox:
    """A queue between actors."""

    def __init__(self, world: World) -> None:
        self._world, self._items = world, []

    def put(self, item: object) -> None:
        self._items.append(item)

    def get(self, timeout: float | None = None) -> object:
        until = math.inf if timeout is None else self._world.now + timeout
        self._world.give_way(lambda: bool(self._items), until)
        if not self._items:
            raise importstats.collect.collector.queue.Empty
        return self._items.pop(0)


class Hands:
    """Workers that are actors."""

    waiting = 0

    def __init__(self, world: World, most: int, name: str) -> None:
        self._world, self.most, self._name = world, most, name
        self._busy = 0

    def start(self, task: Callable[[], None]) -> None:
        def work() -> None:
            self._world.give_way(lambda: self._busy < self.most)
            self._busy += 1
            task()
            self._busy -= 1

        self._world.start(self._name, work)

    def close(self) -> None:
        """They end by themselves."""


class Turnstile:
    """A lock between actors."""

    def __init__(self, world: World) -> None:
        self._world, self._is_taken = world, False

    def __enter__(self) -> None:
        while self._is_taken:
            self._world.give_way(lambda: not self._is_taken)
        self._is_taken = True

    def __exit__(self, *_: object) -> None:
        self._is_taken = False


@contextmanager
def simulated(world: World) -> Iterator[None]:
    """All that is by chance or takes time comes from the world, and all that waits gives way."""
    names = SimpleNamespace(
        token_hex=lambda count: f"{world.rng.getrandbits(8 * count):0{2 * count}x}",
        randbits=world.rng.getrandbits,
    )
    clock = SimpleNamespace(time=lambda: world.now, sleep=world.sleep, monotonic=lambda: world.now)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return world.clock()

    def giving_way(real: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            world.give_way()
            return real(*arguments, **options)

        return run

    collecting = importstats.collect.collector
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "now", lambda: world.now)
        patch.setattr(collecting, "random", world.rng)
        patch.setattr(collecting, "Workers", lambda *given: Hands(world, *given))
        mailboxes = SimpleNamespace(
            SimpleQueue=lambda: Mailbox(world), Empty=collecting.queue.Empty
        )
        patch.setattr(collecting, "queue", mailboxes)
        patch.setattr(importstats.collect.jobs, "datetime", Clock)
        for module in (
            importstats.sources.snapshot,
            importstats.store.disk,
            importstats.store.segments,
        ):
            patch.setattr(module, "secrets", names)
        for module in (
            importstats.store.compaction,
            importstats.store.delta,
            importstats.store.listing,
        ):
            patch.setattr(module, "time", clock)
        patch.setattr(
            importstats.store.disk, "threading", SimpleNamespace(Lock=lambda: Turnstile(world))
        )
        for kind in ("open", "fsync", "rename", "unlink", "mkdir", "link", "write"):
            patch.setattr(os, kind, giving_way(getattr(os, kind)))
        for kind in ("entries", "exists", "read", "delete", "move"):
            patch.setattr(Files, kind, giving_way(getattr(Files, kind)))
        patch.setattr(
            importstats.store.reading, "decode", giving_way(importstats.store.reading.decode)
        )
        patch.setattr(importstats.store.compaction, "_is_stale", world.is_stale)
        patch.setattr(os, "open", world.noting_birth(os.open, 0))
        patch.setattr(os, "rename", world.noting_birth(os.rename, 1))
        yield


def simulate(seed: int, folder: Path, turns: int = 800) -> dict[str, int]:
    """Live a few lives under a seed. Raises AssertionError if what must hold does not.

    Returns
    -------
    dict of str to int
        How much there was of it.
    """
    root = folder / "store"
    world = World(seed, root)
    rng = world.rng
    ends = {"killed": 0, "power": 0, "stopped": 0}
    for _ in range(rng.choice([1, 2, 3])):
        base = {path.relative_to(root): path for path in root.rglob("*")} if root.exists() else {}
        kept = {
            str(name): path.read_bytes() if path.is_file() else None for name, path in base.items()
        }
        with recorded(root) as recording:
            world.recording = recording
            recording.root.mkdir(exist_ok=True)
            with simulated(world):
                collectors = [
                    world.collect(SnapshotStore(root)) for _ in range(rng.choice([1, 1, 2]))
                ]
                for collector in collectors:
                    world.start("collector", collector.run)
                others = {"compactor": world.compact, "publisher": world.publish}
                others["reader"] = world.read
                for name, work in others.items():
                    if rng.random() < 0.6:
                        store = SnapshotStore(root)
                        world.start(name, lambda work=work, store=store: work(store))
                world.run(rng.randint(1, turns))
                end = rng.choice(["killed", "power", "stopped"])
                if end == "stopped":
                    for collector in collectors:
                        collector.stop()
                    world.run(200)
                ends[end] += 1
                world.kill()
        world.recording, world.begun_at, world.born = None, world.now, {}
        if end == "power":
            disk = Disk()
            disk.begin(kept)
            for operation in recording.operations:
                disk.apply(*operation)
            shutil.rmtree(root)
            write_out(disk.after_the_cut(rng), root)
        world.check(SnapshotStore(root), world.acknowledged)
    return {"acknowledged": len(world.acknowledged), **ends}
