"""A collector of 200 jobs of 1,000 files for an hour of their time: memory, files, punctuality.

    python benchmarks/soak.py [--quick | --smoke] [--json FILE]

The server runs in this process and ten times faster than real, the collector in another, with
pauses of 2 to 20 real seconds between polls.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from importstats.collect.collector import Collector, PollPolicy
from importstats.collect.timetable import now
from importstats.simulator import ClusterSpec, SimulatorServer, make_shape
from importstats.sources.rest import ImportClient
from importstats.store import SnapshotStore
from importstats.store.frames import load_jobs

ACCELERATION = 10.0
CLUSTER = ClusterSpec(node_speeds=(1.0,) * 100, slots_per_node=16, index_speeds=(1.0,) * 50)


class Punctual(Collector):
    """A collector that notes how long after its time each poll begins."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.lateness_s = []

    def _poll(self, job, due):
        self.lateness_s.append(now() - due)
        return super()._poll(job, due)


def collect(uri: str, store: str) -> None:
    """The collector's process: until SIGTERM, then what it measured as JSON."""
    with ImportClient(uri) as client:
        collector = Punctual(
            client, SnapshotStore(store), follow=True, policy=PollPolicy(2, 20), discover_s=10
        )
        signal.signal(signal.SIGTERM, lambda *_: collector.stop())
        jobs = collector.run()
    saved = sum(job.snapshots for job in jobs.values())
    print(json.dumps({"lateness_s": collector.lateness_s, "saved": saved}))


def rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def jobs_of(count: int, files: int) -> list:
    """Jobs that take from a quarter of an hour to two hours on a cluster that has room for all."""
    specs = []
    for seed in range(count):
        _, job = make_shape("many_small_files", files=files, seed=seed)
        seconds = 900 * 8 ** (seed / max(1, count - 1))
        size = sum(file.size_bytes for file in job.files)
        # About eight tasks of a job are at work at a time.
        specs.append(replace(job, import_bytes_per_s=size / seconds / 8))
    return specs


def soak(count: int, files: int, seconds: float) -> dict:
    """What was measured of a collector of `count` jobs of `files` files in so many seconds."""
    sample_s = min(5.0, seconds / 8)
    samples = []
    with (
        tempfile.TemporaryDirectory() as folder,
        SimulatorServer(CLUSTER, jobs_of(count, files), acceleration=ACCELERATION) as server,
    ):
        command = [sys.executable, __file__, "--collect", server.uri, folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            answer = []
            reader = threading.Thread(target=lambda: answer.append(process.stdout.read()))
            reader.start()
            started = time.monotonic()
            while (passed := time.monotonic() - started) < seconds:
                time.sleep(sample_s)
                if process.poll() is not None:
                    sys.exit(f"the collector ended after {passed:.0f} s: {process.returncode}")
                stored = len(list(Path(folder).rglob("*.parquet")))
                samples.append((passed, rss_mib(process.pid), stored))
            process.terminate()
            reader.join()
        told = json.loads(answer[0])
        jobs = load_jobs(folder)
        stored_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
    when, rss, stored = map(np.array, zip(*samples, strict=True))
    lateness = np.array(told["lateness_s"])
    return {
        "jobs": count,
        "files": files,
        "real_s": round(float(when[-1])),
        "job_time_s": round(float(when[-1]) * ACCELERATION),
        "polls": len(lateness),
        "snapshots_stored": len(jobs),
        "file_rows": int(jobs["detail_count"].sum()),
        "jobs_seen": int(jobs["job_id"].nunique()),
        "jobs_completed": int(jobs["state"].eq("Completed").groupby(jobs["job_id"]).any().sum()),
        **{
            f"rss_mib_median_of_quarter_{number}": round(float(np.median(quarter)), 1)
            for number, quarter in enumerate(np.array_split(rss, 4), 1)
        },
        "rss_mib_most": round(float(rss.max()), 1),
        "files_in_store_most": int(stored.max()),
        "files_in_store_at_end": int(stored[-1]),
        "store_mib": round(stored_bytes / 2**20, 1),
        **{
            f"lateness_s_p{share}": round(float(np.percentile(lateness, share)), 3)
            for share in (50, 90, 99, 100)
        },
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="50 jobs of 200 files, one minute")
    options.add_argument("--smoke", action="store_true", help="5 jobs of 20 files, six seconds")
    options.add_argument("--json", type=Path)
    options.add_argument("--collect", nargs=2, help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.collect:
        collect(*options.collect)
        return
    size = (50, 200, 60) if options.quick else (200, 1000, 360)
    found = soak(*((5, 20, 6) if options.smoke else size))
    print("| what | measured |\n|---|---|")
    for name, value in found.items():
        print(f"| {name} | {value:,} |")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
