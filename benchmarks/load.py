"""A collector on one core that polls 200 jobs of 100 files each second, eight of them dripping.

    python benchmarks/load.py [--jobs N] [--files N] [--drips N] [--seconds S] [--smoke]

The server runs in this process, the collector in another, on one core of its own if there is more
than one. Beside the jobs there are others whose answers drip a byte of their head at a time. How
late a poll begins after its time is what matters: a collector that cannot keep up is later and
later.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from importstats.collect.collector import Collector, PollPolicy
from importstats.collect.timetable import now
from importstats.sources.rest import ImportClient
from importstats.store import SnapshotStore
from importstats.store.frames import load_jobs


class Punctual(Collector):
    """A collector that notes how long after its time each poll begins."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.lateness_s = []

    def _poll(self, job, due):
        if not job.job_id.startswith("drip"):
            self.lateness_s.append(now() - due)
        return super()._poll(job, due)


def collect(uri: str, store: str, jobs: list[str]) -> None:
    """The collector's process: until SIGTERM, then what it measured as JSON."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with ImportClient(uri) as client:
        policy = PollPolicy(1.0, 1.0)
        collector = Punctual(client, SnapshotStore(store), jobs=jobs, follow=True, policy=policy)
        signal.signal(signal.SIGTERM, lambda *_: collector.stop())
        started = time.process_time()
        jobs = collector.run()
    saved = sum(job.snapshots for job in jobs.values())
    cpu_s = time.process_time() - started
    print(json.dumps({"lateness_s": collector.lateness_s, "saved": saved, "cpu_s": cpu_s}))


class Server:
    """Answers describe with files of which one in ten has moved since the last time."""

    def __init__(self, files: int) -> None:
        self.files = files
        self.draw = random.Random(0)
        self.progress: dict[bytes, list[int]] = {}

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
                body = await reader.readexactly(length)
                job_id = re.search(rb'"jobId": ?"([^"]+)"', body)[1]
                if job_id.startswith(b"drip"):
                    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
                    while True:
                        writer.write(b"y")
                        await writer.drain()
                        await asyncio.sleep(1)
                content = self.answer(job_id)
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
                writer.write(head + content)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def answer(self, job_id: bytes) -> bytes:
        progress = self.progress.setdefault(job_id, [0] * self.files)
        for place in self.draw.sample(range(self.files), -(-self.files // 10)):
            progress[place] = min(99, progress[place] + 1)
        details = [
            {
                "fileName": f"[a/part-{place:05}.parquet]",
                "fileSize": 10**8 + place,
                "progress": done,
                "completeTime": "",
                "state": "InProgress",
                "importedRows": done * 1000,
                "totalRows": 100_000,
            }
            for place, done in enumerate(progress)
        ]
        data = {"collectionName": "c", "jobId": job_id.decode(), "state": "Importing"}
        data |= {"progress": 55, "importedRows": 1000 * sum(progress), "details": details}
        return json.dumps({"code": 0, "data": data}, separators=(",", ":")).encode()


def start(files: int) -> str:
    """Run the server in a thread; where it is."""
    ready: list[str] = []
    begun = threading.Event()

    async def run() -> None:
        server = await asyncio.start_server(Server(files).serve, "127.0.0.1", 0)
        ready.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        begun.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    begun.wait(10)
    return ready[0]


def load(count: int, files: int, drips: int, seconds: float) -> dict:
    """What was measured of a collector of `count` jobs of `files` files in so many seconds."""
    jobs = [str(number) for number in range(count)] + [f"drip-{n}" for n in range(drips)]
    uri = start(files)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--collect", uri, folder, *jobs]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                told, _ = process.communicate(timeout=seconds)
                sys.exit(f"the collector ended by itself: {process.returncode}")
            except subprocess.TimeoutExpired:
                process.terminate()
            told, _ = process.communicate()
        told = json.loads(told)
        stored = len(load_jobs(folder))
    lateness = np.array(told["lateness_s"])
    # The first poll of all jobs is due at once, so the first seconds are those of a start.
    settled = lateness[3 * count :] if len(lateness) > 6 * count else lateness
    return {
        "jobs": count,
        "files": files,
        "drips": drips,
        "seconds": seconds,
        "polls": len(lateness),
        "saved": told["saved"],
        "stored": stored,
        "cpu_ms_per_poll": round(told["cpu_s"] / max(1, len(lateness)) * 1000, 2),
        **{
            f"lateness_s_p{share}": round(float(np.percentile(settled, share)), 4)
            for share in (50, 90, 99, 100)
        },
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--jobs", type=int, default=200)
    options.add_argument("--files", type=int, default=100)
    options.add_argument("--drips", type=int, default=8)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--smoke", action="store_true", help="10 jobs, ten seconds")
    options.add_argument("--json", type=Path)
    options.add_argument("--collect", nargs="+", help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.collect:
        uri, store, *jobs = options.collect
        collect(uri, store, jobs)
        return
    size = (10, 10, 2, 10.0) if options.smoke else ()
    measured = load(*(size or (options.jobs, options.files, options.drips, options.seconds)))
    print("| what | measured |\n|---|---|")
    for name, value in measured.items():
        print(f"| {name} | {value:,} |")
    if options.json:
        options.json.write_text(json.dumps(measured))


if __name__ == "__main__":
    main()
