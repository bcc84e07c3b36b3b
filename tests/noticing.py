"""Whether a test notices a mutant.

All tests of a layer are collected once, by a process that then waits. For each mutant a copy of it
changes the function in memory and runs tests, those that are near to it and quick first: to load
Python, pandas, the package and the tests again would take longer than most of them.
"""

from __future__ import annotations

import ast
import gc
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from multiprocessing.connection import Connection
from operator import itemgetter
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from mutating import Mutant

FORK = multiprocessing.get_context("fork")
BUILD = Path("build/mutants")
#: What pytest warns of if a library that it would rewrite is imported before it.
PRELOADED = "Module already imported so cannot be rewritten"
QUIET = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", f"ignore:{PRELOADED}")
OPTIONS = (*QUIET, "--tb=no", "--hypothesis-seed=0")
#: Seconds of CPU after which a test is broken off, and counts as one that noticed nothing.
LONGEST_S = 6.0
#: The files of tests that are collected anew for what runs at import.
NEAREST = 24
#: What each test has cost in seconds of CPU when it first ran.
COSTS = (BUILD / "costs.tsv").resolve()
#: What a test that has never run is taken to cost.
USUAL_S = 0.02
#: How much quicker a test has to be to stand before one that is nearer by a step.
PER_STEP = 3.0


# --- Which tests are near -------------------------------------------------------------------------


def files_with_tests(folders: list[str], without: list[str]) -> list[str]:
    """The files of some folders that have tests."""
    return sorted(
        str(file)
        for folder in folders
        for file in (Path(folder).rglob("*.py") if Path(folder).is_dir() else [Path(folder)])
        if has_tests(file) and file.name not in without
    )


def has_tests(file: Path) -> bool:
    """Whether a file has tests: a test file, or a module with an example in a docstring."""
    return file.name.startswith("test_") or (
        not file.is_relative_to("tests") and ">>>" in file.read_text()
    )


def steps_off(one: Mutant, files: Sequence[str]) -> dict[str, int]:
    """How far files of tests are from a mutant, the nearest first.

    0 if they are named as its module, 1 if they have its function's name in them, else one more
    than the number of imports from one to the other, and at most 5.
    """
    stem, function = Path(one.module).stem, one.function.rpartition(".")[2]
    imports = steps_to(one.module)

    def steps(file: str) -> int:
        if file == one.module or Path(file).stem in (f"test_{stem}", f"test_{stem}_edges"):
            return 0
        if function and function in text_of(file):
            return 1
        return min((imports.get(each, 5) + 2 for each in imported(file)), default=5)

    return dict(sorted(((file, min(steps(file), 5)) for file in files), key=itemgetter(1)))


@cache
def steps_to(module: str) -> dict[str, int]:
    """How many imports lead from each module of the package to one of them."""
    package = Path(module).parts[0]
    modules = {str(file): imported(str(file)) for file in Path(package).rglob("*.py")}
    steps, found = {module: 0}, {module}
    while found:
        found = {name for name, own in modules.items() if own & found} - steps.keys()
        steps.update(dict.fromkeys(found, max(steps.values()) + 1))
    return steps


@cache
def imported(file: str) -> frozenset[str]:
    """The files of the modules that a file imports from packages beside it."""
    names = set()
    for node in ast.walk(ast.parse(text_of(file))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    paths = (name.replace(".", "/") for name in names)
    return frozenset(
        kind
        for path in paths
        for kind in (f"{path}.py", f"{path}/__init__.py")
        if Path(kind).exists()
    )


@cache
def text_of(file: str) -> str:
    """The text of a file."""
    return Path(file).read_text()


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


def in_copy(work: Callable[[], None], workshop: Path) -> None:
    """Do something in the copy, with its output in a log."""
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
    and collects the nearest tests anew; any other by a copy of one that has done so.
    """

    def __init__(self, workshop: Path, files: Sequence[str], patience_s: float) -> None:
        self._workshop, self._files, self._patience_s = workshop, files, patience_s
        self._asked, theirs = FORK.Pipe()
        started(partial(collect_and_wait, files, patience_s, theirs, os.getpid()), workshop)
        theirs.close()
        # Nothing may change before all is loaded: the changed module would stay in memory.
        self._received()

    def judge(self, one: Mutant) -> tuple[bool, float]:
        """Whether a test fails or cannot be collected, and the seconds of CPU it took."""
        file = self._workshop / one.module
        original, times = file.read_text(), file.stat()
        file.write_text(one.text)
        # Another time than the original's, so that no compiled file is taken for it.
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 10**12))
        near = steps_off(one, self._files)
        self._asked.send((one, original, near))
        answer: tuple[int, float] | None = self._received()
        if answer is None:
            nearest = dict(islice(near.items(), NEAREST))
            anew = partial(run_tests, nearest, self._patience_s)
            answer = wait(started(anew, self._workshop), 40 * self._patience_s)
        file.write_text(original)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        status, seconds = answer
        return status != 0, seconds

    def _received(self) -> Any:
        """The next thing that the process with the tests says."""
        try:
            return self._asked.recv()
        except (EOFError, ConnectionError):
            raise SystemExit(f"the tests cannot be collected; see {BUILD}/*/log") from None


class TooLong(BaseException):
    """A test has taken its time."""


class Patience:
    """Lets tests run for so many seconds of CPU, and none of them for longer than `LONGEST_S`."""

    def __init__(self, patience_s: float, steps: dict[str, int]) -> None:
        self.ends_s = time.process_time() + patience_s
        self._steps = steps
        self._costs = dict(line.split("\t") for line in COSTS.read_text().splitlines())

        def stop(*_: Any) -> None:
            raise TooLong

        signal.signal(signal.SIGPROF, stop)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the tests first that are likely to notice it soon."""

        def place(item: pytest.Item) -> float:
            cost_s = float(self._costs.get(item.nodeid, USUAL_S))
            return max(cost_s, 0.01) * PER_STEP ** self._steps[item.nodeid.partition("::")[0]]

        items.sort(key=place)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Break a test off that takes too long."""
        signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
        try:
            return (yield)
        except TooLong:
            return None
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note what a test costs; end as if all had passed once the time is over."""
        began_s = time.process_time()
        done = yield
        if not item.session.testsfailed:
            if item.nodeid not in self._costs:
                with COSTS.open("a") as costs:
                    costs.write(f"{item.nodeid}\t{time.process_time() - began_s:.3f}\n")
            if time.process_time() > self.ends_s:
                os._exit(0)
        return done


def collect_and_wait(
    files: Sequence[str], patience_s: float, asked: Connection, parent: int
) -> None:
    """Collect tests and say so, then answer each question with status and seconds of a copy.

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
            asked.send(None)
            while True:
                while not asked.poll(1):
                    if os.getppid() != parent:
                        os._exit(0)
                one, original, near = asked.recv()
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
                    patience = Patience(patience_s, near)
                    session.config.pluginmanager.register(patience)
                    patience.pytest_collection_modifyitems(session.items)
                    return  # and pytest goes on with these
                asked.send(wait(child, 40 * patience_s))

    sys.setprofile(note)
    os._exit(pytest.main([*files, *OPTIONS], plugins=[Waiting()]))


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


def limit(patience_s: float) -> None:
    """End this process if it hangs, and let it begin without what others have left."""
    most_s = int(30 + 2 * patience_s)
    resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s))
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    # By the examples that an earlier mutant left, a test would notice more than it does afresh.
    shutil.rmtree(".hypothesis/examples", ignore_errors=True)


def run_tests(steps: dict[str, int], patience_s: float) -> None:
    """Run tests until one fails; the exit code is pytest's."""
    limit(patience_s)
    os._exit(pytest.main([*OPTIONS, *steps], plugins=[Patience(patience_s + 3, steps)]))
