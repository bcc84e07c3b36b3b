"""What goes wrong at the command's edge: one line on standard error, and its exit code."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import warm

from importstats.cli.entry import COMMANDS
from importstats.store import datasets

STORE = str(datasets.path("stragglers"))
JOB = str(datasets.load("stragglers").jobs["job_id"].iloc[0])


def run(*arguments, cwd=None, stdout=subprocess.PIPE, **environment):
    return subprocess.run(
        [sys.executable, "-m", "importstats", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=100,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", **environment},
    )


@pytest.fixture
def taken():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


ERRORS = {
    "no such command": (["colect"], 2, 'Unknown command "colect". Did you mean "collect"?'),
    "no such option": (["summary", "--nope"], 2, "Unknown option: --nope."),
    "no job": (["report"], 2, 'Command "report" parameter JOB requires an argument.'),
    "no number": (
        ["watch", "7", "--timeout", "soon"],
        2,
        'Invalid value for --timeout: unable to convert "soon" into float.',
    ),
    "no time to answer": (
        ["watch", "7", "--timeout", "0"],
        2,
        'Invalid value "0.0" for --timeout. 0 is not a positive number of seconds',
    ),
    "no end of time to answer": (
        ["watch", "7", "--timeout", "nan"],
        2,
        'Invalid value "nan" for --timeout. nan is not a positive number of seconds',
    ),
    "a pause of nothing": (
        ["collect", "--min-interval", "0"],
        2,
        'Invalid value "0.0" for --min-interval. 0 is not a positive number of seconds',
    ),
    "pauses the wrong way round": (
        ["collect", "--min-interval", "9", "--max-interval", "3", "--uri", "http://127.0.0.1:1"],
        2,
        "--min-interval 9 is above --max-interval 3",
    ),
    "no server": (
        ["jobs"],
        2,
        "no server: give a URI or set MILVUS_URI (http://host:19530, or "
        "https://api.cloud.zilliz.com)",
    ),
    "a server that is none": (
        ["jobs", "--uri", "ftp://host"],
        2,
        "'ftp://host' is not a server URI",
    ),
    "no token file": (
        ["jobs", "--uri", "http://127.0.0.1:1", "--token-file", "missing"],
        2,
        "cannot read the token file missing: No such file or directory",
    ),
    "a token file of bytes": (
        ["jobs", "--uri", "http://127.0.0.1:1", "--token-file", sys.executable],
        2,
        f"the token file {sys.executable} is not UTF-8 text; check the path",
    ),
    "a target that is none": (
        ["collect", "--uri", "http://127.0.0.1:1", "--on-event", "mail:me"],
        2,
        "an event target is https://..., http://..., either after slack+, teams+, pagerduty+ "
        "or openlineage+, exec:COMMAND, desktop: or file:PATH",
    ),
    "nobody answers": (["jobs", "--uri", "http://127.0.0.1:1"], 3, "http://127.0.0.1:1 does not"),
    "a job that is not stored": (
        ["report", "999", "--store", STORE],
        5,
        f"{STORE} holds no snapshot of job 999",
    ),
    "no store": (
        ["summary", "missing"],
        6,
        "no store at {cwd}/missing: it has no _importstats.json; check the path, or collect first",
    ),
    "a report that is no report": (
        ["report", JOB, "--store", STORE, "--out", "x.pdf"],
        2,
        "a report cannot be a .pdf: name the file x.html, .md or .json, or give --format",
    ),
    "a report nowhere": (
        ["report", JOB, "--store", STORE, "--out", "missing/x.html"],
        2,
        'Invalid value "missing/x.html" for --out. there is no folder missing',
    ),
    "a page that is no page": (
        ["watch", "7", "--report", "x.pdf"],
        2,
        'Invalid value "x.pdf" for --report. a page is not a .pdf; use .html',
    ),
    "a figure that is none": (
        ["backtest", STORE, "--plot", "x.xyz"],
        2,
        'Invalid value "x.xyz" for --plot. no figure can be a .xyz; use .png',
    ),
    "no such shape": (["simulate", "--shape", "round"], 2, 'Invalid value "round" for --shape.'),
    "no such host": (
        ["simulate", "--host", "192.0.2.1", "--port", "0"],
        2,
        "cannot listen on 192.0.2.1:0 (Cannot assign requested address); choose another --port or "
        "--host",
    ),
    "no such port": (["simulate", "--port", "70000"], 2, 'Invalid value "70000" for --port.'),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_one_line_and_its_exit_code(case, tmp_path):
    arguments, code, said = ERRORS[case]
    ended = warm.run(*arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith("importstats: error: " + said.replace("{cwd}", str(tmp_path)))
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_what_it_does_not_know(command, tmp_path):
    required = ["--collection", "c"] if command == "submit" else []
    ended = warm.run(command, *required, "--no-such-option", "1", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--no-such-option" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_taken_port_is_named(taken):
    ended = run("simulate", "--port", taken)
    assert (ended.returncode, ended.stderr) == (
        2,
        f"importstats: error: cannot listen on 127.0.0.1:{taken} (Address already in use); "
        "choose another --port or --host\n",
    )


def test_output_to_a_full_device():
    with Path("/dev/full").open("w") as full:
        ended = run("summary", STORE, "--output", "json", stdout=full)
    assert (ended.returncode, ended.stderr) == (
        1,
        "importstats: error: No space left on device\n",
    )


def test_output_to_a_closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = run("summary", STORE, stdout=writer)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_output_in_ascii():
    ended = run("summary", STORE, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.fixture
def deaf():
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def take():
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", taken


@pytest.mark.parametrize(
    ("number", "command", "code"),
    [
        (signal.SIGINT, ["snapshot", "7"], 130),
        (signal.SIGTERM, ["snapshot", "7"], 143),
        (signal.SIGINT, ["watch", "7"], 130),
        (signal.SIGTERM, ["watch", "7"], 143),
        (signal.SIGTERM, ["collect", "7"], 143),
        (signal.SIGTERM, ["collect", "--follow"], 0),
    ],
)
def test_stopped_is_an_outcome_of_its_own(number, command, code, deaf, tmp_path):
    uri, taken = deaf
    with subprocess.Popen(
        [sys.executable, "-m", "importstats", *command, "--uri", uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    ) as process:
        while not taken:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == code
    saved = f"0 snapshots saved in {tmp_path}/importstats-store\n" if command[0] == "watch" else ""
    assert said.decode() == saved


READING = {
    "summary": (["summary", STORE], {"jobs"}),
    "fleet": (
        ["fleet", STORE],
        {"running", "collections", "failures", "throughput", "phases", "jobs"},
    ),
    "backtest": (["backtest", STORE, "--per-job", "3"], {"overall", "by_phase"}),
    "group": (["group", "*", "--store", STORE], {"jobs", "group", "findings"}),
}


@pytest.mark.parametrize("command", READING)
def test_every_reading_command_prints_json_and_csv(command):
    arguments, tables = READING[command]
    ended = warm.run(*arguments, "--output", "json")
    assert (ended.returncode, ended.stderr) == (0, "")
    data = json.loads(ended.stdout)
    assert data.pop("format") == f"importstats.{command}/1"
    assert set(data) == tables
    ended = warm.run(*arguments, "--output", "csv")
    assert (ended.returncode, ended.stderr) == (0, "")
    header = ended.stdout.splitlines()[0].split(",")
    first = next(iter(data.values()))
    assert not first or header == list(first[0])


def test_a_report_prints_json():
    ended = warm.run("report", JOB, "--store", STORE, "--output", "json")
    assert json.loads(ended.stdout)["format"] == "importstats.report/1"
