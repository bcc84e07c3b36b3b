"""Which tests reach a mutant, and whether one of them notices it.

All tests of a layer are collected once, by a process that then waits. For each mutant a copy of it
changes the function in memory and runs the tests that reach it: to load Python, pandas, the package
and the tests again would take longer than most of them.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from mutating import Mutant, spans

FORK = multiprocessing.get_context("fork")
BUILD = Path("build/mutants")
#: What pytest warns of if a library that it would rewrite is imported before it.
PRELOADED = "Module already imported so cannot be rewritten"
QUIET = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", f"ignore:{PRELOADED}")
#: A mutant that makes the tests this much slower is noticed: it hangs.
SLOWER = 10
#: Tests that take more seconds under coverage are not measured to their end, and run only if no
#: other test reaches a change.
LONGEST_S = 1.0


@dataclass(frozen=True)
class Test:
    """A test, how long it takes, and the functions that it runs (as MODULE::FUNCTION)."""

    name: str
    seconds: float
    reaches: frozenset[str]


# --- Which tests reach what -----------------------------------------------------------------------


def files_with_tests(folders: list[str], without: list[str]) -> list[str]:
    """The files of some folders that have tests."""
    return sorted(
        str(file)
        for folder in folders
        for file in (Path(folder).rglob("*.py") if Path(folder).is_dir() else [Path(folder)])
        if has_tests(file) and file.name not in without
    )


def all_tests(files: list[str], package: str, workshop: Path) -> list[Test]:
    """The tests of some files and what they reach, measured again for files that changed."""
    kept = BUILD / "tests.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    digests = {file: hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files}
    changed = [file for file in files if known.get(file, {}).get("digest") != digests[file]]
    if changed:
        print(f"measuring what {' '.join(changed)} reaches", file=sys.stderr, flush=True)
        of_test = measured(changed, package, workshop)
        for file in changed:
            tests = {name: of_test[name] for name in of_test if name.startswith(f"{file}::")}
            known[file] = {"digest": digests[file], "tests": tests}
        kept.write_text(json.dumps(known))
    return [
        Test(name, seconds, frozenset(reaches))
        for file in files
        for name, (seconds, reaches) in known[file]["tests"].items()
    ]


def has_tests(file: Path) -> bool:
    """Whether a file has tests: a test file, or a module with an example in a docstring."""
    return file.name.startswith("test_") or (
        not file.is_relative_to("tests") and ">>>" in file.read_text()
    )


class TooLong(BaseException):
    """A test has taken its time."""


def measured(files: list[str], package: str, workshop: Path) -> dict[str, tuple[float, list[str]]]:
    """Seconds and reached functions of each test of some files."""
    ours, theirs = FORK.Pipe()
    work = partial(measure, files, package, theirs)
    child = FORK.Process(target=in_copy, args=(work, workshop))
    child.start()
    theirs.close()
    try:
        result: dict[str, tuple[float, list[str]]] = ours.recv()
    except EOFError:
        raise SystemExit(f"the tests fail without a change; see {BUILD}/log") from None
    child.join()
    return result


def measure(files: list[str], package: str, answer: Any) -> None:
    """Run the tests of files under coverage, one context each, and send what they reached."""
    import coverage

    seen = coverage.Coverage(source=[package], data_file=None, config_file=False)
    seconds: dict[str, float] = Counter()

    class Contexts:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
            seen.switch_context(item.nodeid)
            began = time.process_time()
            result = yield
            took_s = time.process_time() - began
            seconds[item.nodeid] = round(took_s, 3) if took_s < LONGEST_S else math.inf
            seen.switch_context("")
            return result

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(self) -> Iterator[None]:
            signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
            try:
                return (yield)
            except TooLong:
                return None
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)

    def stop(*_: Any) -> None:
        raise TooLong

    signal.signal(signal.SIGPROF, stop)
    seen.start()
    status = pytest.main([*files, *QUIET], plugins=[Contexts()])
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


class Judge:
    """Judges mutants in a copy of the repository, with the tests of some files.

    A mutant of what runs when a module is imported is judged by a process that imports the package
    and collects its tests anew; any other by a copy of one that has done so.
    """

    def __init__(self, workshop: Path, files: Sequence[str]) -> None:
        self._workshop = workshop
        self._asked, theirs = FORK.Pipe()
        started(partial(collect_and_wait, files, theirs, os.getpid()), workshop)
        theirs.close()

    def judge(self, one: Mutant, tests: list[Test]) -> tuple[bool, float]:
        """Whether a test fails, cannot be collected or hangs, and the seconds of CPU it took."""
        if not tests:
            return False, 0.0
        file = self._workshop / one.module
        original, times = file.read_text(), file.stat()
        file.write_text(one.text)
        # Another time than the original's, so that no compiled file is taken for it.
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 10**12))
        names = [test.name for test in tests]
        usual_s = sum(min(test.seconds, 30.0) for test in tests)
        patience_s = int(30 + SLOWER * usual_s)
        try:
            self._asked.send((one, original, names, patience_s))
            answer: tuple[int, float] | None = self._asked.recv()
        except (EOFError, ConnectionError):
            raise SystemExit(f"the tests fail without a change; see {BUILD}/*/log") from None
        if answer is None:
            child = started(partial(run_tests, names, patience_s), self._workshop)
            answer = wait(child, 4 * patience_s)
        file.write_text(original)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        status, seconds = answer
        return status != 0, seconds


def collect_and_wait(files: Sequence[str], asked: Connection, parent: int) -> None:
    """Collect tests, then answer what is asked with the status and seconds of a copy's tests.

    The answer is None if a copy would not do, since what is changed has run at import.
    """
    ran: set[tuple[str, str]] = set()
    package = str(Path.cwd())

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(package):
            ran.add((code.co_filename, code.co_qualname.replace(".<locals>", "")))

    class Waiting:
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(self, session: pytest.Session) -> None:
            sys.setprofile(None)
            items = {item.nodeid: item for item in session.items}
            while True:
                while not asked.poll(1):
                    if os.getppid() != parent:
                        os._exit(0)
                one, original, names, patience_s = asked.recv()
                file = str(Path(one.module).resolve())
                is_over = not one.function or (file, one.function) in ran
                pairs = None if is_over else exchanges(file, original, one.text)
                if pairs is None:
                    asked.send(None)
                    continue
                child = os.fork()
                if not child:
                    limit(patience_s)
                    for function, code in pairs:
                        function.__code__ = code
                    session.items[:] = [items[name] for name in names]
                    return  # and pytest goes on with these
                asked.send(wait(child, 4 * patience_s))

    sys.setprofile(note)
    options = (*QUIET, "--tb=no", "--hypothesis-seed=0")
    os._exit(pytest.main([*files, *options], plugins=[Waiting()]))


def exchanges(file: str, before: str, after: str) -> list[tuple[FunctionType, CodeType]] | None:
    """Each function of a module with its code in another text of it; None if they do not match."""
    try:
        old, new = (list(codes(compile(text, file, "exec"))) for text in (before, after))
        pairs = list(zip(old, new, strict=True))
    except (SyntaxError, ValueError):
        return None
    if any(was.co_freevars != now.co_freevars for was, now in pairs):
        return None
    known = {identity(was): now for was, now in pairs}
    functions = [
        function
        for function in gc.get_objects()
        if isinstance(function, FunctionType) and function.__code__.co_filename == file
    ]
    if any(identity(function.__code__) not in known for function in functions):
        return None
    return [(function, known[identity(function.__code__)]) for function in functions]


def codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a text and of all functions in it, in their order."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from codes(inner)


def identity(code: CodeType) -> tuple[str, tuple[Any, ...]]:
    """The name of a function and all its places in the text."""
    return code.co_qualname, tuple(code.co_positions())


def started(work: Callable[[], None], workshop: Path) -> int:
    """The number of a process that does something in the copy and then ends."""
    child = os.fork()
    if not child:
        try:
            in_copy(work, workshop)
        finally:
            os._exit(1)
    return child


def wait(child: int, patience_s: float) -> tuple[int, float]:
    """Status and seconds of CPU of a child, which is killed if it takes too long."""
    ends = time.monotonic() + patience_s
    while True:
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid:
            return status, round(used.ru_utime + used.ru_stime, 2)
        if time.monotonic() > ends:
            os.kill(child, signal.SIGKILL)
            ends = float("inf")
        time.sleep(0.01)


def limit(patience_s: int) -> None:
    """End this process if it takes more CPU, and let it begin without what others have left."""
    resource.setrlimit(resource.RLIMIT_CPU, (patience_s, patience_s))
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    # By the examples that an earlier mutant left, a test would notice more than it does afresh.
    shutil.rmtree(".hypothesis/examples", ignore_errors=True)


def run_tests(names: list[str], patience_s: int) -> None:
    """Run tests until one fails; the exit code is pytest's."""
    limit(patience_s)
    os._exit(pytest.main([*QUIET, "--tb=no", "--hypothesis-seed=0", *names]))
