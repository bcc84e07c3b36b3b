"""What one poll of a 10,000-file job costs: decoding, rows, and the append to the store.

    python benchmarks/decode.py [--files 10000]

Decoding is given as a ratio to ``orjson.loads`` of the same bytes, in the same run. CPU is user
and system time of this process, per poll.
"""

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime

import orjson

from importstats.simulator import simulate_job
from importstats.simulator.wire import describe_answer, encode
from importstats.sources.answers import parse_response
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.frames import flatten_details
from importstats.store.schema import details_batch


def best_s(work, repeats):
    """The shortest of some runs, in seconds: the one least disturbed by the machine."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def bodies(files):
    """The same job in the middle of its import, as a plain server and as a newer one sends it."""
    simulation = simulate_job("many_small_files", files=files, seed=1, poll_every_s=30)
    poll = next(p for p in simulation.polls if p.state and (p.state.progress or 0) >= 55)
    plain = encode(describe_answer(poll.state, simulation.dialect))
    newer = json.loads(plain)
    for detail in newer["data"]["details"]:
        detail["shard"] = 3
    return {"plain": plain, "unknown field in each detail": orjson.dumps(newer)}


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--files", type=int, default=10_000)
    options.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    options = options.parse_args()
    files, repeats, polls = (200, 2, 3) if options.smoke else (options.files, 15, 30)
    now = datetime.now(UTC)
    print(
        "| answer | MB | orjson.loads ms | to typed response | to Arrow batch "
        "| flatten_details of bytes | of a dict |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, body in bodies(files).items():

        def batch(body=body):
            return details_batch(Snapshot(now, "7", "http://server", parse_response(body)))

        assert batch().num_rows == files
        assert len(flatten_details(body)) == len(flatten_details(orjson.loads(body))) == files
        baseline = best_s(lambda body=body: orjson.loads(body), repeats)
        answer = orjson.loads(body)
        ratios = [
            best_s(work, repeats) / baseline
            for work in (
                lambda body=body: parse_response(body),
                batch,
                lambda body=body: flatten_details(body),
                lambda answer=answer: flatten_details(answer),
            )
        ]
        shown = " | ".join(f"{ratio:.2f} x" for ratio in ratios)
        print(f"| {name} | {len(body) / 1e6:.2f} | {baseline * 1e3:.1f} | {shown} |")

    body = bodies(files)["plain"]
    with tempfile.TemporaryDirectory() as folder:
        store = SnapshotStore(folder)
        started = time.process_time()
        for _ in range(polls):
            store.append(Snapshot(datetime.now(UTC), "7", "http://server", parse_response(body)))
        cpu = (time.process_time() - started) / polls
        started = time.process_time()
        store.compact("7", final=True)
        compaction = (time.process_time() - started) / polls
    print(
        f"\ncollector CPU per poll of {files:,} files: {cpu * 1e3:.0f} ms to parse and append, "
        f"{compaction * 1e3:.0f} ms to compact"
    )


if __name__ == "__main__":
    main()
