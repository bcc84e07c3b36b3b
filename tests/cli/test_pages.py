"""Pages by command: one kept up to date while a job is watched, and one served on loopback."""

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from servers import server_of
from warm import run

from importstats import load_jobs
from importstats.store import SnapshotStore

STORE = Path(__file__).parents[2] / "data" / "healthy"
QUICK = ("--min-interval", "0.05", "--max-interval", "0.4")


@pytest.fixture(scope="module")
def job_id():
    [job_id] = set(load_jobs(SnapshotStore(STORE))["job_id"])
    return job_id


def test_watch_leaves_the_page_of_the_job_as_it_ended(tmp_path):
    page, store = tmp_path / "job.html", tmp_path / "store"
    with server_of("small_and_quick", seconds=2) as server:
        [job] = server.job_ids
        done = run("watch", job, "-u", server.uri, "-s", store, "--report", page, *QUICK)
    assert done.returncode == 0, done.stderr
    snapshots = load_jobs(store)
    *lines, last = done.stdout.splitlines()
    count = len(snapshots)
    assert last == f"{count} snapshot{'s' * (count != 1)} saved in {store}"
    assert " Completed at " in lines[-1]
    text = page.read_text(encoding="utf-8")
    assert f"Import job <code>{job}</code>" in text
    assert re.search(r'id="left">Completed at \d', text)
    assert f"{count:,} snapshots since" in text
    assert 'data-refresh="0"' in text, "nothing will change any more"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.html", "store"]


def test_a_page_in_no_folder_is_refused_before_anything_is_asked(tmp_path):
    done = run("watch", "7", "-u", "http://127.0.0.1:9", "--report", tmp_path / "no" / "job.html")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("importstats: error: ")
    assert "no" in line


def test_the_served_page_is_there_until_it_is_interrupted(job_id):
    with subprocess.Popen(
        [sys.executable, "-m", "importstats", "report", job_id, "-s", STORE, "--serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline()
        found = re.fullmatch(
            rf"the page of job {job_id} is at (http://127\.0\.0\.1:\d+/) until Ctrl-C\n", line
        )
        assert found, line
        with urllib.request.urlopen(found[1], timeout=60) as answer:
            text = answer.read().decode()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert f"Import job <code>{job_id}</code>" in text
    assert (process.returncode, rest, errors) == (0, "", "")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(found[1], timeout=5)


def test_a_port_that_is_taken_is_an_error_in_one_line(job_id):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("report", job_id, "-s", STORE, "--serve", "--port", port)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr == (
        f"importstats: error: cannot listen on port {port}: Address already in use\n"
    )


def test_a_job_that_the_store_lacks_is_not_served():
    done = run("report", "8", "-s", STORE, "--serve")
    assert (done.returncode, done.stdout) == (5, "")
    assert len(done.stderr.splitlines()) == 1
