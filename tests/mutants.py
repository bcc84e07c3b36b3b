"""Mutants: small changes of the code that a test should notice, drawn by a seed.

    python tests/mutants.py --seed 1 --each 15 importstats/analysis/waits.py

Cosmic-ray makes them; this draws some of each module and runs the tests that are nearest to the
changed function, in a copy of the repository. `[tool.mutants]` in pyproject.toml says what is
changed, how and which tests should notice; `tests/mutants.toml` lists the mutants that no test can
notice.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tomllib
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mutating import Mutant, draw
from noticing import BUILD, COSTS, FORK, Judge, files_with_tests, set_up

JUSTIFIED = Path("tests/mutants.toml")


def main() -> None:
    """Draw, run, and print what survived; exit with 1 if fewer are killed than the target."""
    settings = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutants"]
    options = parsed()
    modules = options.modules or [
        str(file)
        for folder in settings["tests"]
        for file in sorted(Path(folder).rglob("*.py"))
        if file.name != "__init__.py"
    ]
    BUILD.mkdir(parents=True, exist_ok=True)
    COSTS.touch()
    # All test runs are forks of this process, so that a library is imported once.
    for library in settings["libraries"]:
        importlib.import_module(library)
    drawn = [
        one
        for module in modules
        for one in draw(module, settings["operators"], options.each, options.seed)
    ]
    excused = justified()
    judged = [
        one
        for one in drawn
        if excused.isdisjoint((module, one.was, one.becomes) for module in (one.module, "*"))
    ]
    tasks = with_tests(judged, settings, options.tests)
    results: dict[Mutant, str] = dict.fromkeys(drawn, "justified")
    with ProcessPoolExecutor(options.jobs, FORK, start_worker) as workers:
        verdicts = workers.map(judge, tasks)
        for (one, *_), (killed, seconds) in zip(tasks, verdicts, strict=True):
            results[one] = "killed" if killed else "survived"
            record(one, results[one], seconds)
            if not killed:
                print(f"{one.module}:{one.line} survived\n  - {one.was}\n  + {one.becomes}")
                sys.stdout.flush()
    print(table(results, options.seed))
    for leftover in BUILD.glob("worker-*"):
        shutil.rmtree(leftover)
    noticed = sum(result != "survived" for result in results.values())
    sys.exit(100 * noticed < settings["target_pct"] * len(results))


Task = tuple[Mutant, tuple[str, ...], float]


def with_tests(mutants: list[Mutant], settings: dict[str, Any], named: list[str]) -> list[Task]:
    """Each mutant with the files of tests of its layer, or those that were named."""
    return [
        (one, tuple(files_with_tests(named or of_folder, settings["without"])), patience_s)
        for patience_s in [float(settings["patience_s"])]
        for folder, of_folder in settings["tests"].items()
        for one in mutants
        if one.module.startswith(folder + "/")
    ]


_workshop: Path
_judges: dict[tuple[str, ...], Judge] = {}


def start_worker() -> None:
    """Give a worker its own copy."""
    global _workshop
    _workshop = set_up(f"worker-{os.getpid()}/copy")


def judge(task: Task) -> tuple[bool, float]:
    """Whether a mutant is killed, in a worker's own copy, and the seconds of CPU it took."""
    one, files, patience_s = task
    if files not in _judges:
        _judges[files] = Judge(_workshop, files, patience_s)
    return _judges[files].judge(one)


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", help="files to change; all of [tool.mutants] if none")
    parser.add_argument("--each", type=int, default=15, help="mutants of each module (15)")
    parser.add_argument("--seed", type=int, default=1, help="what draws them (1)")
    parser.add_argument("--tests", nargs="*", default=[], help="folders and files of other tests")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at once (one per core)")
    return parser.parse_args()


def justified() -> set[tuple[str, str, str]]:
    """Module (``*`` for any), line before and line after of mutants that no test can notice."""
    if not JUSTIFIED.exists():
        return set()
    listed = tomllib.loads(JUSTIFIED.read_text()).get("mutant", [])
    return {(one["module"], one["was"], one["becomes"]) for one in listed}


def record(one: Mutant, result: str, seconds: float) -> None:
    """Add a result to what `build/mutants/results.jsonl` keeps of all runs."""
    line = {**asdict(one), "result": result, "cpu_s": seconds}
    del line["text"]
    with (BUILD / "results.jsonl").open("a") as results:
        results.write(json.dumps(line) + "\n")


def table(results: dict[Mutant, str], seed: int) -> str:
    """Counts by module and in all, as Markdown."""
    lines = [f"Seed {seed}.", "", "| module | drawn | killed | justified | survived |"]
    lines.append("|---|--:|--:|--:|--:|")
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for one, result in results.items():
        for row in (one.module.removeprefix("importstats/"), "all"):
            rows[row][result] += 1
    for module in sorted(rows, key=lambda name: (name == "all", name)):
        counts = rows[module]
        cells = (counts.total(), counts["killed"], counts["justified"], counts["survived"])
        lines.append(f"| {module} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
