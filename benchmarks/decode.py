"""What one poll of a 10,000-file job costs: from the answer to a frame, and to the store.

    python benchmarks/decode.py [--files 10000] [--seed 1]
    python benchmarks/decode.py --smoke

Each row is one way to make a pandas frame of the files in one answer: from its bytes, or from the
dict that it was decoded to; of a server whose fields are known, and of a newer one that sends a
further field with each file. All take turns, so that what else the machine does meets all alike,
and the least CPU time (user and system) of many turns counts. ``orjson.loads`` alone is the unit.

The others do less, never more. They leave out the order by file name, the short names and the
categories, the checks of each value, the job's own columns, unknown fields as text, and missing
values as missing (a count that is not there makes floats of all); ``pyarrow.json`` and Polars are
given neither the names of the fields nor their types.
"""

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime

import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.json as pj
from measures import standing

from importstats.simulator import simulate_job
from importstats.simulator.wire import describe_answer, encode
from importstats.sources.answers import parse_response
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.frames import flatten_details, flatten_jobs


def bodies(files, seed):
    """The same job in the middle of its import, as a plain server and as a newer one sends it."""
    simulation = simulate_job("many_small_files", files=files, seed=seed, poll_every_s=30)
    poll = next(p for p in simulation.polls if p.state and (p.state.progress or 0) >= 55)
    plain = encode(describe_answer(poll.state, simulation.dialect))
    newer = json.loads(plain)
    for detail in newer["data"]["details"]:
        detail["shard"] = 3
    return {"known fields": plain, "and one unknown": orjson.dumps(newer)}


def details_of(answer):
    return answer["data"]["details"]


def by_pyarrow_json(body):
    options = pj.ReadOptions(block_size=len(body) + 1)
    table = pj.read_json(pa.BufferReader(body), read_options=options)
    details = table["data"].combine_chunks().field("details").flatten()
    return pa.Table.from_struct_array(details).to_pandas()


def by_polars(body):
    frame = pl.read_json(body).select(pl.col("data").struct.field("details"))
    return frame.explode("details").unnest("details").to_pandas()


FROM_BYTES = {
    "pandas.DataFrame": lambda body: pd.DataFrame(details_of(orjson.loads(body))),
    "pandas.json_normalize": lambda body: pd.json_normalize(details_of(orjson.loads(body))),
    "Table.from_pylist": (
        lambda body: pa.Table.from_pylist(details_of(orjson.loads(body))).to_pandas()
    ),
    "pyarrow.json": by_pyarrow_json,
    "Polars": by_polars,
}
FROM_DICT = {
    "pandas.DataFrame": lambda answer: pd.DataFrame(details_of(answer)),
    "pandas.json_normalize": lambda answer: pd.json_normalize(details_of(answer)),
    "Table.from_pylist": lambda answer: pa.Table.from_pylist(details_of(answer)).to_pandas(),
}


def least_cpu_s(ways, answer, turns):
    """The least CPU time of each way, in seconds, and the rows that it gave."""
    least = dict.fromkeys(ways, float("inf"))
    rows = {}
    for _ in range(turns):
        for name, way in ways.items():
            started = time.process_time()
            found = way(answer)
            least[name] = min(least[name], time.process_time() - started)
            rows[name] = len(found)
    return least, rows


def compared(files, seed, turns):
    """One line of a Markdown table for each kind of answer and form of it."""
    others = list(FROM_BYTES)
    yield (
        "| from | fields | MB | orjson.loads ms | flatten_details | "
        f"{' | '.join(others)} | best of the others | ours to it | verdict |"
    )
    yield "|---|---|--:|--:|" + "--:|" * (len(others) + 1) + "---|--:|---|"
    for fields, body in bodies(files, seed).items():
        unit = least_cpu_s({"orjson": orjson.loads}, body, turns)[0]["orjson"]
        forms = {"bytes": (body, FROM_BYTES), "dict": (orjson.loads(body), FROM_DICT)}
        for form, (answer, ways) in forms.items():
            times, rows = least_cpu_s({"ours": flatten_details, **ways}, answer, turns)
            assert set(rows.values()) == {files}
            best = min(ways, key=times.get)
            ratio = times["ours"] / times[best]
            cells = [f"{times[n] / unit:.2f} x" if n in times else "" for n in ("ours", *others)]
            yield (
                f"| {form} | {fields} | {len(body) / 1e6:.2f} | {unit * 1e3:.1f} | "
                f"{' | '.join(cells)} | {best} | {ratio:.2f} | {standing(ratio)} |"
            )


def further(body, turns):
    """What else is made of the bytes of an answer, as multiples of ``orjson.loads``."""
    ways = {
        "orjson.loads": orjson.loads,
        "parse_response": lambda body: parse_response(body).data.details,
        "flatten_jobs": flatten_jobs,
    }
    times, _ = least_cpu_s(ways, body, turns)
    unit = times.pop("orjson.loads")
    return ", ".join(f"{name} {took / unit:.2f} x" for name, took in times.items())


def poll_cost(body, polls):
    """CPU seconds of a poll: to parse and append it, and to compact it later."""
    with tempfile.TemporaryDirectory() as folder:
        store = SnapshotStore(folder)
        started = time.process_time()
        for _ in range(polls):
            store.append(Snapshot(datetime.now(UTC), "7", "http://server", parse_response(body)))
        append = (time.process_time() - started) / polls
        started = time.process_time()
        store.compact("7", final=True)
        return append, (time.process_time() - started) / polls


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--files", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    options = options.parse_args()
    files, turns, polls = (200, 2, 3) if options.smoke else (options.files, 30, 30)
    for line in compared(files, options.seed, turns):
        print(line, flush=True)
    answers = bodies(files, options.seed)
    print()
    for fields, body in answers.items():
        print(f"{fields}: {further(body, turns)}")
    append, compaction = poll_cost(answers["known fields"], polls)
    print(
        f"collector CPU per poll of {files:,} files: {append * 1e3:.0f} ms to parse and append, "
        f"{compaction * 1e3:.0f} ms to compact"
    )


if __name__ == "__main__":
    main()
