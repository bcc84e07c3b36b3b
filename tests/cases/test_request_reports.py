"""The cases that are about requests: the command line against a server that answers as reported."""

import os
import re
import subprocess
import sys

import pytest
from canned import Canned, says
from replays import answers_of

from importstats.store.frames import load_jobs

QUICK = ("--min-interval", "0.02", "--max-interval", "0.2")
REASON = "quota exceeded[reason=disk quota exceeded, please allocate more resources]"


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "importstats", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "COLUMNS": "140"},
    )


def answering(describe, records=()):
    """A server that lists these records and answers describe calls one after the other."""
    left = list(describe)

    def answer(path, body):
        if path.endswith("/list"):
            return says({"code": 0, "data": {"records": list(records)}})
        status, content = left.pop(0) if len(left) > 1 else left[0]
        return says(content.encode() if isinstance(content, str) else content, status)

    return Canned(answer)


def case(name, records=()):
    return answering([(status, answer) for _, status, answer in answers_of(name)], records)


def job(state, progress, **more):
    data = {"jobId": "7", "state": state, "progress": progress, "details": [], **more}
    return 200, {"code": 0, "data": data}


def test_03_an_early_id_is_listed_and_collected(tmp_path):
    record = {"jobID": "448349928", "state": "Importing", "progress": 40}
    with case("03", [record]) as server:
        listed = run("jobs", "-u", server.uri, "--output", "csv")
        done = run("collect", "-u", server.uri, "-s", tmp_path, *QUICK)
    assert listed.stdout.splitlines()[1:] == ["448349928,,Importing,40.0,"]
    assert done.returncode == 0, done.stderr
    jobs = load_jobs(tmp_path)
    assert jobs["job_id"].tolist() == ["448349928"] * 2
    assert jobs["imported_rows"].isna().all()


def test_05_a_refused_job_stops_no_other(tmp_path):
    ((_, status, refused),) = answers_of("05")

    def answer(path, body):
        if path.endswith("/list"):
            records = [{"jobId": str(number), "state": "Importing"} for number in range(1, 31)]
            return says({"code": 0, "data": {"records": records}})
        if body["jobId"] == "1":
            return says(refused, status)
        return says({"code": 0, "data": {"jobId": body["jobId"], "state": "Importing"}})

    with Canned(answer) as server:
        done = run("snapshot", "-u", server.uri, "-s", tmp_path)
    assert done.returncode == 4
    saved = [f"saved job={number} state=Importing" for number in range(2, 31)]
    assert done.stdout.splitlines() == saved
    assert "job 1: the user lacks the Import privilege in database 'default'" in done.stderr
    assert "--db" in done.stderr
    assert "MILVUS_TOKEN" not in done.stderr
    assert set(load_jobs(tmp_path)["job_id"]) == {str(number) for number in range(2, 31)}


def test_06_a_job_listed_as_running_is_not_said_to_have_ended(tmp_path):
    record = {"jobId": "454366314212367666", "state": "Importing", "progress": 40}
    with case("06", [record]) as server:
        done = run("snapshot", "-u", server.uri, "-s", tmp_path)
    assert done.returncode == 5
    assert "it belongs to another database, see --db" in done.stderr
    assert "missed" not in done.stderr


def test_08_a_slow_server_is_asked_again(tmp_path):
    with case("08") as server:
        done = run("collect", "J", "-u", server.uri, "-s", tmp_path, *QUICK)
    assert done.returncode == 0, done.stderr
    assert load_jobs(tmp_path)["state"].tolist() == ["Importing", "Completed"]


def test_08_a_server_that_is_always_slow_does_not_answer(tmp_path):
    slow = answers_of("08")[0]
    with answering([(slow[1], slow[2])]) as server:
        done = run("snapshot", "J", "-u", server.uri, "-s", tmp_path)
    assert done.returncode == 3
    assert "408" in done.stderr


@pytest.mark.parametrize(
    ("name", "code", "says_so"),
    [
        ("19", 7, "a login page or a proxy stands in between"),
        ("19b", 3, "502"),
        ("19c", 3, "Request failed with status code 403"),
        ("31", 5, "does not know import job '7'"),
    ],
)
def test_what_stands_in_between_is_told(name, code, says_so, tmp_path):
    with case(name) as server:
        done = run("snapshot", "7", "-u", server.uri, "-s", tmp_path)
    assert done.returncode == code
    assert says_so in done.stderr
    assert done.stderr.count("\n") == 1


def test_28_a_completed_job_that_is_failed_later_stays_completed(tmp_path):
    answers = [(status, answer) for _, status, answer in answers_of("28")]
    record = {"jobId": "455347834", "state": "Failed", "reason": "collection 444 dropped"}
    with answering(answers[:2], [record]) as server:
        first = run("collect", "455347834", "-u", server.uri, "-s", tmp_path, *QUICK)
        # Its end is in the store: a job that is listed as failed now is not asked about again.
        later = run("snapshot", "-u", server.uri, "-s", tmp_path)
    assert (first.returncode, later.returncode) == (0, 0), later.stderr
    assert load_jobs(tmp_path)["state"].iloc[-1] == "Completed"


def test_29_a_server_that_is_away_for_a_while(tmp_path):
    with case("29") as server:
        done = run("collect", "455347834", "-u", server.uri, "-s", tmp_path, *QUICK)
    assert done.returncode == 0, done.stderr
    assert load_jobs(tmp_path)["state"].tolist()[-1] == "Completed"


def test_30_all_pages_are_read_whatever_size_the_server_honours():
    pages = [answer for _, _, answer in answers_of("30")]

    def answer(path, body):
        return says(pages[min(int(body.get("currentPage", 1)), len(pages)) - 1])

    with Canned(answer) as server:
        done = run("jobs", "-u", server.uri, "--output", "csv")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^job-\d+", done.stdout, re.MULTILINE) == [
        f"job-{number:03}" for number in range(25)
    ]


def test_35_numbers_as_text_are_stored_with_all_digits(tmp_path):
    with case("35") as server:
        done = [run("snapshot", "7", "-u", server.uri, "-s", tmp_path) for _ in range(2)]
    assert [each.returncode for each in done] == [0, 0]
    last = load_jobs(tmp_path).iloc[-1]
    assert last["imported_rows"] == 9_007_199_254_740_993
    assert last["total_rows"] == 9_007_199_254_740_999
    assert last["file_size_bytes"] == 81_234_567_890_123


@pytest.mark.parametrize("command", ["watch", "collect", "snapshot"])
def test_42_the_reason_of_a_job_is_printed(command, tmp_path):
    running = job("Importing", 40, importedRows=0, totalRows=0, reason=REASON)
    with answering([running, job("Failed", 0, reason=REASON)]) as server:
        more = QUICK if command == "collect" else ()
        where = ("-s", tmp_path) if command != "watch" else ()
        done = [run(command, "7", "-u", server.uri, *where, *more)]
        if command == "snapshot":
            done.append(run(command, "7", "-u", server.uri, *where))
    printed = "".join(each.stdout + each.stderr for each in done)
    assert done[-1].returncode == 8, printed
    assert "disk quota exceeded" in printed
