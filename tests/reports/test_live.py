"""A page kept up to date: whole at any time, on loopback alone, and gone when it is closed."""

import re
import time
import urllib.error
import urllib.request
from html import unescape

import pytest

from importstats.errors import JobNotFoundError, StoreError
from importstats.reports.live import PageServer, PageWriter, write_whole
from importstats.simulator import simulate_job
from importstats.store import SnapshotStore


@pytest.fixture
def growing(tmp_path):
    """A store with half of a job, and the other half."""
    snapshots = list(simulate_job("steady", files=4, seed=2, poll_every_s=60).snapshots())
    store = SnapshotStore(tmp_path / "store")
    half = len(snapshots) // 2
    store.append(snapshots[:half])
    return store, snapshots[half:], snapshots[0].job_id


def got(uri, method="GET", **headers):
    request = urllib.request.Request(uri, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, dict(answer.headers), answer.read().decode()


def until_true(question, seconds=120):
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def test_a_file_is_written_anew_while_the_store_grows_and_a_last_time(growing, tmp_path):
    store, rest, job_id = growing
    path = tmp_path / "job.html"
    with PageWriter(store, job_id, path, refresh_s=0.05):
        until_true(path.exists)
        text = path.read_text(encoding="utf-8")
        assert text.endswith("</html>")
        assert 'data-refresh="0.05"' in text
        store.append(rest)
    text = path.read_text(encoding="utf-8")
    assert "Completed at" in text
    assert 'data-refresh="0"' in text
    assert [other.name for other in tmp_path.iterdir() if other.name.startswith(".")] == []


def test_a_page_is_served_with_what_the_store_holds_now(growing):
    store, rest, job_id = growing
    with PageServer(store, job_id, refresh_s=0.01) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", server.uri)
        status, headers, text = got(server.uri)
        assert status == 200
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["Cache-Control"] == "no-store"
        assert "connect-src 'self'" in unescape(text[:2000])
        assert got(server.uri, "HEAD")[2] == ""
        store.append(rest)
        until_true(lambda: "Completed at" in got(server.uri)[2])
    with pytest.raises(urllib.error.URLError):
        got(server.uri)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example"])
def test_who_asks_under_another_name_gets_nothing(growing, host):
    store, _, job_id = growing
    with PageServer(store, job_id) as server:
        with pytest.raises(urllib.error.HTTPError, match="421") as refused:
            got(server.uri, Host=host)
        refused.value.close()
        with pytest.raises(urllib.error.HTTPError, match="404") as missing:
            got(f"{server.uri}etc/passwd")
        missing.value.close()


def test_a_job_that_is_not_there_is_not_served(growing):
    store, _, _ = growing
    with pytest.raises(JobNotFoundError, match="no snapshot of job 8"):
        PageServer(store, "8")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "no" / "job.html"
    with pytest.raises(StoreError, match=r"cannot write .*job\.html: No such file"):
        write_whole(path, "x")
