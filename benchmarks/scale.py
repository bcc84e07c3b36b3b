"""How time and memory grow from a million to a hundred million detail rows.

    python benchmarks/scale.py --rows 1e6,1e7,1e8 --folder FOLDER --json FILE
    python benchmarks/scale.py --rows 1000x10000 --folder FOLDER --json FILE
    python benchmarks/scale.py --smoke

A detail row is one file in one snapshot; a store keeps runs of equal ones, so it has far fewer rows
on disk. The store of each size is simulated once and kept in the folder: jobs of several shapes and
50 to 1500 files on three clusters, each job merged to one segment by the compaction that a
collector runs at its end.
``1000x10000`` is another shape: 1,000 jobs of 10,000 files, of which five snapshots were taken.

Every measurement is a process of its own, which reads the Parquet files from disk and hands out the
whole result piece by piece: Arrow or Polars tables, and pandas frames where the task says so or an
analysis returns them. Wall and CPU time are of the work (imports are over before, and their garbage
is collected), memory is the greatest resident set of the process, the libraries of all engines
included.

* ``importstats`` reads through :class:`SnapshotStore` (which checks the format, and that each
  snapshot counts once) and works on some jobs at a time.
* ``duckdb`` and ``polars`` glob the same files and do the same by hand, on as many threads as there
  are cores: the same samples from the runs, the same rates and windows, the same phases by progress
  and rows, tasks told apart by a hash of their steps. They leave out what takes rules instead of
  aggregation: releases with other progress ranges, server times, lost and display names, the cost
  of a task by its bytes, snapshots without an answer, verdicts, and interpolation at a window's
  edge. Their stragglers are slow by one formula, the pace of their task beside its peers', where
  ours fits a model of durations and adds its probability and the delay; their summaries have no
  bytes per second. Their stragglers, and DuckDB's throughput, are in no order. So they do less,
  never more.
* ``pyarrow`` only scans the columns that the task needs, as a dataset.
"""

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from scaling import with_duckdb, with_importstats, with_polars
from scaling.stores import generate
from scaling.tables import growth, report

# A process that wants more address space than this fails instead of troubling the machine.
MOST_BYTES = 14 * 2**30

ENGINES = {
    "importstats": with_importstats.WORK,
    "duckdb": with_duckdb.WORK,
    "polars": with_polars.WORK,
    "pyarrow": with_importstats.BARE_READ,
}


def run(task: str, engine: str, store: str) -> dict:
    """Do the work here and say what it took."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    # Else it depends on chance whether some engine's time includes looking through all that the
    # imports have made, which takes 30 ms.
    gc.collect()
    wall, cpu, rows = time.perf_counter(), time.process_time(), 0
    for piece in ENGINES[engine][task](store):
        rows += piece.num_rows if isinstance(piece, pa.RecordBatch | pa.Table) else len(piece)
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "rss_mb": peak_mb(),
        "rows": rows,
    }


def peak_mb() -> float:
    """The greatest resident set of this process since its program began.

    ``ru_maxrss`` would be no less than the peak of the process that started it.
    """
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def measure(task: str, engine: str, store: str, rounds: int) -> dict:
    """The best of some processes: that one which the machine's other work disturbed least."""
    command = [sys.executable, __file__, "--task", task, "--engine", engine, "--store", store]
    found = []
    for _ in range(rounds):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
            return {"error": reason[0]}
        found.append(json.loads(done.stdout))
    return {
        name: min(each[name] for each in found) if name != "rss_mb" else max(e[name] for e in found)
        for name in found[0]
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", default="1e6,1e7", help="detail rows, or JOBSxFILES")
    options.add_argument("--folder", type=Path, help="where the stores are, or will be")
    options.add_argument(
        "--json",
        type=Path,
        default=Path("scale.json"),
        help="where to write all that was measured; what it has already is not measured again",
    )
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--only", default="", help="tasks whose name has this")
    options.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    for name in ("task", "engine", "store"):
        options.add_argument(f"--{name}", help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.task:
        print(json.dumps(run(options.task, options.engine, options.store)))
        return
    with TemporaryDirectory() as folder:
        if options.smoke:
            options.rows, options.rounds, options.folder = "2e4,3x200", 1, Path(folder)
            options.json = Path(folder) / "scale.json"
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Measure all that is not in the file of results, and print everything."""
    stores = [{"name": name, **generate(options.folder, name)} for name in options.rows.split(",")]
    results = json.loads(options.json.read_text())["results"] if options.json.exists() else []
    done = {(result["task"], result["name"]) for result in results}
    for task in (name for name in with_importstats.WORK if options.only in name):
        for facts in stores:
            if (task, facts["name"]) in done:
                continue
            result = {"task": task, "name": facts["name"]}
            for engine in (name for name, work in ENGINES.items() if task in work):
                result[engine] = measure(task, engine, facts["path"], options.rounds)
            results.append(result)
            without_path = [{**each, "path": Path(each["path"]).name} for each in stores]
            found = {"stores": without_path, "results": results}
            options.json.write_text(json.dumps(found, indent=1))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}\n")
    print("\n".join([*report(stores, results, ENGINES), *growth(stores, results)]))


if __name__ == "__main__":
    main()
