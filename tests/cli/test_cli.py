"""The command line, as a subprocess against a real server."""

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from subprocess import PIPE

import pytest
import warm
from servers import server_of

import importstats
from importstats.simulator import ClusterSpec, SimulatorServer, make_shape
from importstats.store import SnapshotStore
from importstats.store.frames import load_jobs

TOKEN = "root:canary-7f3a"
QUICK = ("--min-interval", "0.02", "--max-interval", "0.2")


run = warm.run


def start(*arguments, log, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "importstats", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=log,
        env={**os.environ, **environment},
    )


@pytest.fixture
def still():
    """A server whose job waits for ever."""
    _, job = make_shape("small_and_quick", seed=1)
    with SimulatorServer(ClusterSpec(), [job], acceleration=0, token=TOKEN) as server:
        yield server


def saved_ids(log):
    return [int(number) for number in re.findall(r" saved .*?snapshot=(\d+)", log)]


def test_version_and_help():
    assert run("--version").stdout == f"importstats {importstats.__version__}\n"
    text = run("--help").stdout
    for command in ("demo", "collect", "snapshot", "watch", "simulate", "compact", "report"):
        assert command in text


def test_collect_ends_with_the_job_and_every_logged_snapshot_is_stored(tmp_path):
    with server_of("stragglers", files=20, seconds=3) as server:
        done = run("collect", *server.job_ids, "-u", server.uri, "-s", tmp_path / "s", *QUICK)
    assert done.returncode == 0, done.stderr
    jobs = load_jobs(tmp_path / "s")
    assert sorted(saved_ids(done.stderr)) == sorted(jobs["snapshot_id"])
    assert jobs["state"].iloc[-1] == "Completed"


def test_logs_can_be_json(tmp_path, still):
    with (tmp_path / "log").open("w") as log:
        process = start(
            *("collect", "-u", still.uri, "-s", tmp_path / "s", "--log-format", "json", *QUICK),
            log=log,
            MILVUS_TOKEN=TOKEN,
        )
        wait_for_ids(tmp_path / "s", 2)
        process.terminate()
        assert process.wait(20) == 143, "stopped, not ended"
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    saved = [line for line in lines if line["event"] == "saved"]
    assert saved[0]["job"] == still.job_ids[0]
    assert saved[0]["state"] == "Pending"


def wait_for_ids(folder, count, timeout=30):
    deadline = time.monotonic() + timeout
    store = SnapshotStore(folder)
    while not store.exists() or len(load_jobs(store)) < count:
        assert time.monotonic() < deadline, "no snapshot came"
        time.sleep(0.1)


def test_snapshot_is_one_shot(tmp_path, still):
    arguments = ("snapshot", "-u", still.uri, "-s", tmp_path / "s")
    for count in (1, 2):
        done = run(*arguments, MILVUS_TOKEN=TOKEN)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"saved job={still.job_ids[0]} state=Pending\n"
        assert len(load_jobs(tmp_path / "s")) == count


def test_a_snapshot_of_jobs_that_need_none_says_so(tmp_path):
    arguments = ("-s", tmp_path / "s")
    with server_of("small_and_quick", seconds=math.inf) as server:
        server.advance(3600)
        saved = run("snapshot", "-u", server.uri, *arguments)
        again = run("snapshot", "-u", server.uri, *arguments)
        server.advance(7 * 86_400)
        forgotten = run("snapshot", "-u", server.uri, *arguments)
    assert saved.stdout == f"saved job={server.job_ids[0]} state=Completed\n"
    for done in (again, forgotten):
        assert done.stdout == "nothing to save: the server lists no job that needs a snapshot\n"
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"uri": "http://127.0.0.1:1"}, 3, "does not answer"),
        ({"token": "root:wrong-one"}, 4, "check MILVUS_TOKEN or the token file"),
        ({"job": "404"}, 5, "does not know"),
        ({"store": "/dev/null/store"}, 6, "/dev/null"),
        ({"uri": ""}, 2, "MILVUS_URI"),
    ],
)
def test_each_error_is_one_line_and_an_exit_code(tmp_path, still, change, code, says):
    token_file = tmp_path / "token"
    token_file.write_text(change.get("token", TOKEN) + "\n")
    done = run(
        "snapshot",
        change.get("job", still.job_ids[0]),
        *("-u", change.get("uri", still.uri)),
        *("-s", change.get("store", tmp_path / "s")),
        *("--token-file", token_file, "--timeout", "5"),
        MILVUS_URI="",
    )
    assert done.returncode == code, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("importstats: error: ")
    assert says in line
    assert TOKEN not in done.stderr + done.stdout


def test_a_failed_job_has_an_exit_code(tmp_path):
    with server_of("failing", files=5, seconds=8) as server:
        done = run("collect", "-u", server.uri, "-s", tmp_path / "s", *QUICK)
    assert done.returncode == 8, done.stderr


def test_watch_without_a_terminal_prints_lines(tmp_path):
    with server_of("small_and_quick", seconds=2) as server:
        done = run("watch", *server.job_ids, "-u", server.uri, "-s", tmp_path / "s", *QUICK)
    assert done.returncode == 0, done.stderr
    assert len(saved_ids(done.stderr)) == len(load_jobs(tmp_path / "s"))
    *lines, last = done.stdout.splitlines()
    assert re.fullmatch(rf"\d+ snapshots? saved in {tmp_path}/s", last)
    assert re.fullmatch(r"\d\d:\d\d:\d\d \w+ Completed at .+", lines[-1])


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_quiet_watch_stores_and_says_nothing(flag, tmp_path):
    store, page = tmp_path / "s", tmp_path / "job.html"
    with server_of("small_and_quick", seconds=2) as server:
        [job] = server.job_ids
        arguments = ("watch", job, "-u", server.uri, "-s", store, *QUICK, flag)
        done = run(*arguments, "--report", page, "--expect-rows", "1")
    assert (done.returncode, done.stdout, done.stderr) == (10, "", "")
    assert load_jobs(store)["state"].iloc[-1] == "Completed"
    assert page.exists()


def test_jobs_summary_and_compact(tmp_path):
    with server_of("small_and_quick", seconds=8) as server:
        assert run("collect", "-u", server.uri, "-s", tmp_path / "s", *QUICK).returncode == 0
        listed = run("jobs", "-u", server.uri)
    assert server.job_ids[0] in listed.stdout
    before = load_jobs(tmp_path / "s")
    assert run("compact", tmp_path / "s").returncode == 0
    assert load_jobs(tmp_path / "s").equals(before)
    shown = run("summary", tmp_path / "s")
    assert server.job_ids[0] in shown.stdout
    assert "Completed" in shown.stdout


def test_a_missing_store_is_an_error(tmp_path):
    done = run("summary", tmp_path / "nowhere")
    assert done.returncode == 6
    assert "nowhere" in done.stderr


def test_simulate_serves_until_it_is_stopped(tmp_path):
    with (
        (tmp_path / "log").open("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "importstats", "simulate", "--port", "0", "--jobs", "2"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        uri = re.search(r"http://\S+[^,\s]", process.stdout.readline())[0]
        listed = run("jobs", "-u", uri)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert listed.returncode == 0, listed.stderr
    assert len(listed.stdout.splitlines()) == 3


# Start-up takes seconds, and a life here is shorter: all is imported once, and each life is a copy
# of that process, which runs the command from its beginning until it is killed.
LIVES = (
    warm.IMPORTED
    + """
for log in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(log.rstrip(), os.O_WRONLY | os.O_CREAT), 2)
        try:
            main()
        finally:
            os._exit(1)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
)


@pytest.mark.timeout(600)
def test_killed_fifty_times_the_store_holds_every_acknowledged_snapshot(tmp_path):
    dice = random.Random(5)
    acknowledged = set()
    with server_of("stragglers", files=50, seconds=3600) as server:
        command = [sys.executable, "-c", LIVES, "collect", "-u", server.uri, "-s", tmp_path / "s"]
        command += ["--min-interval", "0.01", "--max-interval", "0.02"]
        with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as lives:
            for turn in range(50):
                log_path = tmp_path / f"log-{turn}"
                log_path.touch()
                print(log_path, file=lives.stdin, flush=True)
                pid = int(lives.stdout.readline())
                saved = dice.randrange(8)
                deadline = time.monotonic() + 60
                while len(saved_ids(log_path.read_text())) < saved and time.monotonic() < deadline:
                    time.sleep(0.005)
                time.sleep(dice.uniform(0, 0.05))
                os.kill(pid, signal.SIGKILL)
                assert int(lives.stdout.readline()) == -signal.SIGKILL
                acknowledged.update(saved_ids(log_path.read_text()))
                stored = load_jobs(tmp_path / "s")["snapshot_id"] if acknowledged else []
                assert len(set(stored)) == len(stored)
                assert acknowledged <= set(stored)
            lives.stdin.close()
            assert lives.wait(20) == 0
    assert len(acknowledged) > 100
