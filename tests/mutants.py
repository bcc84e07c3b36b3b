"""Mutants: small changes of the code that a test should notice, drawn by a seed.

    python tests/mutants.py --seed 1 --each 15 importstats/analysis/waits.py

Cosmic-ray makes them; this draws some of each module and runs the tests that reach the changed
function, in a copy of the repository. `[tool.mutants]` in pyproject.toml says what is changed, how
and which tests should notice; `tests/mutants.toml` lists the mutants that no test can notice.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

FORK = multiprocessing.get_context("fork")
BUILD = Path("build/mutants")
JUSTIFIED = Path("tests/mutants.toml")
#: What pytest warns of if a library that it would rewrite is imported before it.
PRELOADED = "Module already imported so cannot be rewritten"
#: A mutant that makes the tests this much slower is noticed: it hangs.
SLOWER = 10


@dataclass(frozen=True)
class Mutant:
    """One change of one module; `occurrence` counts the places where its operator fits."""

    module: str
    operator: str
    occurrence: int
    line: int
    function: str
    was: str
    becomes: str


@dataclass(frozen=True)
class Test:
    """A test, how long it takes, and the functions that it runs (as MODULE::FUNCTION)."""

    name: str
    seconds: float
    reaches: frozenset[str]


# --- Drawing --------------------------------------------------------------------------------------


def draw(module: str, operators: list[str], each: int, seed: int) -> list[Mutant]:
    """So many mutants of a module, each at another place, in the order of the lines.

    A place is drawn first and then one of its mutants, so that a comparison, which can be changed
    in five ways, counts no more than a number, which can be changed in two.
    """
    source = Path(module).read_text()
    places = defaultdict(list)
    skipped = annotations(source)
    tree = list(nodes(source))
    for name, operator in chosen_operators(operators):
        positions = [at for node in tree for at in operator.mutation_positions(node)]
        for occurrence, (start, end) in enumerate(positions):
            if not any(first <= start and end <= last for first, last in skipped):
                places[start, end].append((name, occurrence))
    dice = random.Random(f"{seed} {module}")
    drawn = dice.sample(sorted(places), min(each, len(places)))
    made = [
        mutant(module, source, place[0][0], *dice.choice(places[place])) for place in sorted(drawn)
    ]
    return [one for one in made if one is not None]


def chosen_operators(patterns: list[str]) -> Iterator[tuple[str, Any]]:
    """Cosmic-ray's operators whose names match one of the patterns."""
    from cosmic_ray.plugins import get_operator, operator_names

    for full_name in operator_names():
        name = full_name.partition("/")[2]
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            yield name, get_operator(full_name)()


def nodes(source: str) -> Iterator[Any]:
    """The parts of a text, as operators look at them."""
    from cosmic_ray.ast import ast_nodes, get_ast

    return ast_nodes(get_ast(source))


def annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Start and end of each type annotation: no test can notice that `int | None` changed."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if isinstance(part, ast.expr):
                end = (part.end_lineno or 0, part.end_col_offset or 0)
                found.append(((part.lineno, part.col_offset), end))
    return found


def mutant(module: str, source: str, line: int, name: str, occurrence: int) -> Mutant | None:
    """One mutant with the line it changes, or None if the text stays the same."""
    before, after = source.splitlines(), mutated(source, name, occurrence).splitlines()
    changed = [at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new]
    if not changed:
        return None
    was, becomes = before[changed[0]].strip(), after[changed[0]].strip()
    function = function_at(source, changed[0] + 1)
    return Mutant(module, name, occurrence, changed[0] + 1, function, was, becomes)


def mutated(source: str, name: str, occurrence: int) -> str:
    """The text with one change."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    text: str = mutate_code(source, get_operator(f"core/{name}")(), occurrence)
    return text


def function_at(source: str, line: int) -> str:
    """The function whose body a line is in, or "" for what runs when a module is imported."""
    return spans(source).get(line, "")


def spans(source: str) -> dict[int, str]:
    """The innermost function of each line of a body; a signature runs at import."""
    found: dict[int, str] = {}

    def visit(node: ast.AST, path: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = path
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{path}.{child.name}".lstrip(".")
                if not isinstance(child, ast.ClassDef):
                    lines = range(child.body[0].lineno, (child.end_lineno or 0) + 1)
                    found.update(dict.fromkeys(lines, inner))
            visit(child, inner)

    visit(ast.parse(source), "")
    return found


# --- Which tests reach what -----------------------------------------------------------------------


def all_tests(folders: list[str], without: list[str], package: str, workshop: Path) -> list[Test]:
    """The tests of some folders and what they reach, measured again for files that changed."""
    kept = BUILD / "tests.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    files = sorted(
        str(file)
        for folder in folders
        for file in (Path(folder).rglob("*.py") if Path(folder).is_dir() else [Path(folder)])
        if wanted(file) and file.name not in without
    )
    found: list[Test] = []
    for file in files:
        digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        if known.get(file, {}).get("digest") != digest:
            print(f"measuring what {file} reaches", file=sys.stderr, flush=True)
            known[file] = {"digest": digest, "tests": measured(file, package, workshop)}
            kept.write_text(json.dumps(known))
        found += [
            Test(name, seconds, frozenset(reaches))
            for name, (seconds, reaches) in known[file]["tests"].items()
        ]
    return found


def wanted(file: Path) -> bool:
    """Whether a file has tests: a test file, or a module with an example in a docstring."""
    return file.name.startswith("test_") or (
        not file.is_relative_to("tests") and ">>>" in file.read_text()
    )


def measured(file: str, package: str, workshop: Path) -> dict[str, tuple[float, list[str]]]:
    """Seconds and reached functions of each test of a file."""
    ours, theirs = FORK.Pipe()
    work = partial(measure, file, package, theirs)
    child = FORK.Process(target=in_copy, args=(work, workshop))
    child.start()
    theirs.close()
    try:
        result: dict[str, tuple[float, list[str]]] = ours.recv()
    except EOFError:
        raise SystemExit(f"the tests of {file} fail without a change; see {BUILD}/log") from None
    child.join()
    return result


def measure(file: str, package: str, answer: Any) -> None:
    """Run a file's tests under coverage, one context each, and send what they reached."""
    import coverage
    import pytest

    seen = coverage.Coverage(source=[package], data_file=None, config_file=False)
    seconds: dict[str, float] = Counter()

    class Contexts:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
            seen.switch_context(item.nodeid)
            began = time.process_time()
            result = yield
            seconds[item.nodeid] = round(time.process_time() - began, 3)
            seen.switch_context("")
            return result

    seen.start()
    status = pytest.main([file, *QUIET], plugins=[Contexts()])
    seen.stop()
    if status not in (0, 5):
        sys.exit(1)
    data, here = seen.get_data(), Path.cwd()
    reached = defaultdict(set)
    for path in data.measured_files():
        module = Path(path).relative_to(here)
        functions = spans(module.read_text())
        for line, contexts in data.contexts_by_lineno(path).items():
            for context in contexts:
                if context and line in functions:
                    reached[context].add(f"{module}::{functions[line]}")
    answer.send({name: (took, sorted(reached[name])) for name, took in seconds.items()})


def tests_for(one: Mutant, tests: list[Test], patience_s: float) -> list[Test]:
    """The tests that reach a mutant: its module's own first, then the quick ones.

    What is not in a function runs at import; it is left to the tests that reach any function of
    the module, and if there are none, to all.
    """
    own = f"test_{Path(one.module).stem}.py"
    key = f"{one.module}::{one.function}"
    if one.function:
        reaching = [test for test in tests if key in test.reaches]
    else:
        reaching = [test for test in tests if any(name.startswith(key) for name in test.reaches)]
        reaching = reaching or tests
    reaching.sort(key=lambda test: (own not in test.name, test.seconds))
    chosen, total = [], 0.0
    for test in reaching:
        total += test.seconds
        if chosen and total > patience_s:
            break
        chosen.append(test)
    return chosen


# --- Running --------------------------------------------------------------------------------------

QUIET = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", f"ignore:{PRELOADED}")


def set_up(name: str) -> Path:
    """A copy of the repository in which modules may be changed."""
    copy = (BUILD / name).resolve()
    shutil.rmtree(copy, ignore_errors=True)
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    for file in filter(os.path.isfile, listed):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy / file)
    return copy


def in_copy(work: Any, workshop: Path) -> None:
    """Run something in the copy, with its output in a log."""
    os.chdir(workshop)
    log = os.open(workshop.parent / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ["PYTHONPATH"] = str(workshop)
    sys.path[0:1] = [str(workshop)]
    work()


def is_killed(one: Mutant, tests: list[Test], workshop: Path) -> bool:
    """Whether a test fails, cannot be collected or hangs with the change."""
    if not tests:
        return False
    file = workshop / one.module
    original, times = file.read_text(), file.stat()
    file.write_text(mutated(original, one.operator, one.occurrence))
    # Another time than the original's, so that no compiled file is taken for it.
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 10**12))
    patience_s = 30 + SLOWER * sum(test.seconds for test in tests)
    child = FORK.Process(target=in_copy, args=(partial(run_tests, tests, patience_s), workshop))
    child.start()
    child.join(timeout=4 * patience_s)
    child.kill()
    child.join()
    file.write_text(original)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    return child.exitcode != 0


def run_tests(tests: list[Test], patience_s: float) -> None:
    """Run tests until one fails; the exit code is pytest's."""
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (int(patience_s), int(patience_s)))
    sys.dont_write_bytecode = True
    os._exit(pytest.main([*QUIET, "--hypothesis-seed=0", *(test.name for test in tests)]))


_workshop: Path


def start_worker() -> None:
    """Give a worker its own copy."""
    global _workshop
    _workshop = set_up(f"worker-{os.getpid()}/copy")


def judge(task: tuple[Mutant, list[Test]]) -> bool:
    """Whether a mutant is killed, in a worker's own copy."""
    return is_killed(*task, _workshop)


# --- The command ----------------------------------------------------------------------------------


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
    # All test runs are forks of this process, so that a library is imported once.
    for library in settings["libraries"]:
        importlib.import_module(library)
    drawn = [
        one
        for module in modules
        for one in draw(module, settings["operators"], options.each, options.seed)
    ]
    excused = justified()
    judged = [one for one in drawn if (one.module, one.was, one.becomes) not in excused]
    tasks = with_tests(judged, settings, options.tests)
    results: dict[Mutant, str] = dict.fromkeys(drawn, "justified")
    with ProcessPoolExecutor(options.jobs, FORK, start_worker) as workers:
        for (one, _), killed in zip(tasks, workers.map(judge, tasks), strict=True):
            results[one] = "killed" if killed else "survived"
            record(one, results[one])
            if not killed:
                print(f"{one.module}:{one.line} survived\n  - {one.was}\n  + {one.becomes}")
                sys.stdout.flush()
    print(table(results, options.seed))
    for leftover in BUILD.glob("worker-*"):
        shutil.rmtree(leftover)
    noticed = sum(result != "survived" for result in results.values())
    sys.exit(100 * noticed < settings["target_pct"] * len(results))


def with_tests(
    mutants: list[Mutant], settings: dict[str, Any], named: list[str]
) -> list[tuple[Mutant, list[Test]]]:
    """Each mutant with the tests that may notice it: of its folder, or of those that were named."""
    copy, tasks = set_up("measured"), []
    for folder, of_folder in settings["tests"].items():
        mine = [one for one in mutants if one.module.startswith(folder + "/")]
        if mine:
            package = folder.partition("/")[0]
            tests = all_tests(named or of_folder, settings["without"], package, copy)
            tasks += [(one, tests_for(one, tests, settings["patience_s"])) for one in mine]
    return tasks


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
    """Module, line before and line after of the mutants that no test can notice."""
    if not JUSTIFIED.exists():
        return set()
    listed = tomllib.loads(JUSTIFIED.read_text()).get("mutant", [])
    return {(one["module"], one["was"], one["becomes"]) for one in listed}


def record(one: Mutant, result: str) -> None:
    """Add a result to what `build/mutants/results.jsonl` keeps of all runs."""
    with (BUILD / "results.jsonl").open("a") as results:
        results.write(json.dumps({**asdict(one), "result": result}) + "\n")


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
