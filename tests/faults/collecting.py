"""Collectors at work in a world of their own, and what became of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pyarrow.compute as pc
from servers import server_of

from importstats.simulator import SimulatorServer
from importstats.store import SnapshotStore

TOKEN = "root:canary-7f3a"
NOBODY = 65534
#: How long anything may take before the trial fails; nothing is expected to take that long.
PATIENCE_S = 90.0
PACE = ("--min-interval", "0.05", "--max-interval", "0.2", "--timeout", "1")
SHAKEN = str(Path(__file__).parent / "shaken.py")

#: The exit code of a collector that was asked to stop before its jobs had ended.
STOPPED = 143


@dataclass
class Outcome:
    """What became of a trial.

    Attributes
    ----------
    fault : str
    acknowledged : int
        Snapshots that the collectors' logs called saved.
    lost : int
        Of these, not in the store, or not with all of their files.
    duplicated : int
        Snapshots, or files of one, that a reader gets twice.
    recovery_s : float or None
        From the end of the fault to the next snapshot; with a new process if the old one ended.
    exit_code : int or None
        None: it went on.
    message : str
        What it said of the fault, without the time.
    """

    fault: str
    acknowledged: int
    lost: int
    duplicated: int
    recovery_s: float | None = None
    exit_code: int | None = None
    message: str = ""


class SkipTrialError(Exception):
    """This machine cannot bring the fault about."""


class Collecting:
    """A collector process and its log."""

    def __init__(
        self, command: Sequence[object], log: Path, environment: Mapping[str, str]
    ) -> None:
        self.log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                list(map(str, command)), stdout=subprocess.DEVNULL, stderr=stream, env=environment
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of this name in the log so far."""
        found = []
        for line in self.log.read_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                event = json.loads(line)
                if event["event"] == name:
                    found.append(event)
        return found

    def saved(self) -> list[int]:
        return [event["snapshot"] for event in self.events("saved")]

    def wait_for(self, condition: Callable[[], object]) -> float:
        """Seconds until it comes true."""
        started = time.monotonic()
        while not condition():
            if self.process.poll() is not None and not condition():
                raise AssertionError(f"it ended: {self.log.read_text()[-500:]}")
            assert time.monotonic() - started < PATIENCE_S, self.log.read_text()[-500:]
            time.sleep(0.01)
        return time.monotonic() - started

    def wait_for_saved(self, count: int = 1) -> float:
        """Seconds until so many more snapshots were acknowledged."""
        before = len(self.saved())
        return self.wait_for(lambda: len(self.saved()) >= before + count)

    def end(self) -> int:
        return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        self.process.terminate()
        return self.end()

    def message(self) -> str:
        """The last line that reports trouble."""
        for line in reversed(self.log.read_text().splitlines()):
            if line.startswith("importstats: error: "):
                return line.removeprefix("importstats: ")
            if line.startswith("{"):
                event = json.loads(line)
                if event.get("reason") and event["event"] != "saved":
                    return f"{event['event']}: {event['reason']}"
        return ""


@dataclass
class World:
    """A server, a store, and the collectors between them."""

    folder: Path
    server: SimulatorServer
    store_path: Path
    collecting: list[Collecting] = field(default_factory=list)

    @property
    def store(self) -> SnapshotStore:
        return SnapshotStore(self.store_path)

    def collect(
        self,
        *arguments: object,
        uri: str | None = None,
        shaken: bool = False,
        become: Sequence[str] = (),
    ) -> Collecting:
        """Start a collector. It is killed with the trial, if it still runs then."""
        start = [SHAKEN, self.folder] if shaken else ["-m", "importstats"]
        command = [*become, sys.executable, *start, "collect", *arguments]
        command += ["-u", uri or self.server.uri]
        command += ["-s", self.store_path, "--log-format", "json", *PACE]
        environment = {**os.environ, "MILVUS_TOKEN": TOKEN, "MPLCONFIGDIR": str(self.folder)}
        log = self.folder / f"log-{len(self.collecting)}"
        process = Collecting(command, log, environment)
        self.collecting.append(process)
        return process

    def outcome(
        self,
        fault: str,
        *,
        recovery_s: float | None = None,
        exit_code: int | None = None,
        message: str = "",
    ) -> Outcome:
        """Hold the store against the logs."""
        acknowledged = {each for process in self.collecting for each in process.saved()}
        jobs, details = self.store.jobs(), self.store.details()
        ids = jobs["snapshot_id"].to_pylist()
        files = details.group_by("snapshot_id").aggregate([([], "count_all")]).to_pydict()
        count = dict(zip(files["snapshot_id"], files["count_all"], strict=True))
        answered = jobs.filter(pc.is_null(jobs["error"])).to_pylist()
        torn = {
            row["snapshot_id"]
            for row in answered
            if count.get(row["snapshot_id"], 0) != row["detail_count"]
        }
        places = details.group_by(["snapshot_id", "file_index"]).aggregate([([], "count_all")])
        twice = len(ids) - len(set(ids)) + details.num_rows - places.num_rows
        lost = len((acknowledged - set(ids)) | (acknowledged & torn))
        # Addresses and file names are new each time.
        message = message.replace(str(self.store_path), "STORE").replace(self.server.uri, "SERVER")
        message = re.sub(r"STORE/\S+?\.parquet", "STORE/….parquet", message)
        return Outcome(fault, len(acknowledged), lost, twice, recovery_s, exit_code, message)


@contextmanager
def world(*, store: Path | None = None, **options: Any) -> Iterator[World]:
    """A world in which one job of 20 files goes on for an hour."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        options = {"token": TOKEN, "files": 20, "seconds": 3600, "record": True, **options}
        server = stack.enter_context(server_of("stragglers", **options))
        server.advance(1200)
        made = World(folder, server, store or folder / "store")
        stack.callback(lambda: [process.__exit__() for process in made.collecting])
        yield made
