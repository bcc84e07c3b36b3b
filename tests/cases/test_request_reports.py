"""The cases that are about requests: the command line against a server that answers as reported."""

import re

import pytest
import warm
from canned import Canned, says
from replays import answers_of

from importstats.store.frames import load_jobs

QUICK = ("--min-interval", "0.02", "--max-interval", "0.2")


run = warm.run


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


def test_03_an_early_id_is_listed_and_collected(tmp_path):
    record = {"jobID": "448349928", "state": "Importing", "progress": 40}
    with case("03", [record]) as server:
        listed = run("jobs", "-u", server.uri, "--output", "csv")
        done = run("collect", "-u", server.uri, "-s", tmp_path, *QUICK)
    assert listed.stdout.splitlines()[1:] == ["448349928,,Importing,40.0,,"]
    assert done.returncode == 0, done.stderr
    jobs = load_jobs(tmp_path)
    assert jobs["job_id"].tolist() == ["448349928"] * 2
    assert jobs["imported_rows"].isna().all()


def test_05_a_refused_job_stops_no_other(tmp_path):
    """Thirty jobs are listed, the first is of another database."""
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
    saved = [f"saved job={number} state=Importing" for number in range(2, 31)]
    assert done.stdout.splitlines() == saved
    assert done.stderr == (
        "importstats: error: job 1: the user lacks the Import privilege in database 'default' "
        "(code 65535: rpc error: code = PermissionDenied desc = PrivilegeImport: permission deny "
        "to reader in the `default` database); have it granted, or name the database of the job, "
        "see --db\n"
    )
    assert done.returncode == 4
    assert set(load_jobs(tmp_path)["job_id"]) == {str(number) for number in range(2, 31)}


@pytest.mark.parametrize("command", ["collect", "snapshot"])
def test_06_a_job_listed_as_running_is_not_said_to_have_ended(command, tmp_path):
    record = {"jobId": "454366314212367666", "state": "Importing", "progress": 40}
    options = QUICK if command == "collect" else ()
    with case("06", [record]) as server:
        done = run(command, "-u", server.uri, "-s", tmp_path, *options)
    assert done.returncode == 5
    assert "or it belongs to another database, see --db" in done.stderr
    assert "missed" not in done.stderr


def test_08_a_slow_server_is_asked_again(tmp_path):
    with case("08") as server:
        done = run("collect", "J", "-u", server.uri, "-s", tmp_path, *QUICK)
    assert done.returncode == 0, done.stderr
    assert load_jobs(tmp_path)["state"].tolist() == ["Importing", "Completed"]


def test_08_a_server_that_is_always_slow_does_not_answer(tmp_path):
    slow = answers_of("08")[0]
    with answering([(slow[1], slow[2])]) as server:
        done = run("snapshot", "J", "-u", server.uri, "-s", tmp_path, "--timeout", "1")
    assert done.returncode == 3
    assert "408" in done.stderr
    assert "request timeout" in done.stderr


def test_16_the_first_api_of_the_cloud(tmp_path):
    with case("16") as server:
        options = ("--source", "cloud-v1")
        done = run("collect", "job-9", "-u", server.uri, "-s", tmp_path, *QUICK, *options)
    assert done.returncode == 0, done.stderr
    jobs = load_jobs(tmp_path)
    assert jobs["state"].tolist() == ["Importing", "Importing", "Completed"]
    assert jobs["progress_pct"].tolist() == [0, 40, 100]
    assert str(jobs["complete_time"].iloc[-1]) == "2026-05-18 08:01:58+00:00"
    assert {method for method, *_ in server.requests} == {"GET"}


def test_17_rows_that_are_not_sent_are_missing(tmp_path):
    with case("17") as server:
        for _ in answers_of("17"):
            done = run("snapshot", "job-7", "-u", server.uri, "-s", tmp_path)
            assert done.returncode == 0, done.stderr
    row = load_jobs(tmp_path).iloc[-1]
    assert row[["imported_rows"]].isna().all()
    assert row["total_rows"] == 100_000


def test_18_the_number_of_the_envelope_by_its_other_name(tmp_path):
    with case("18") as server:
        done = run("snapshot", "abc", "-u", server.uri, "-s", tmp_path)
    assert done.stdout == "saved job=abc state=Importing\n"
    row = load_jobs(tmp_path).iloc[0]
    assert (row["imported_rows"], row["total_rows"]) == (20_000, 40_000)


@pytest.mark.parametrize(
    ("name", "code", "says_so"),
    [
        ("19", 7, "a login page or a proxy stands in between"),
        ("19b", 3, "HTTP 502 to the last try: .*502 Bad Gateway"),
        ("19c", 3, r"HTTP 500 to the last try: Request failed with status code 403\n$"),
        ("31", 5, "does not know import job '7'"),
    ],
)
def test_what_stands_in_between_is_named(name, code, says_so, tmp_path):
    with case(name) as server:
        done = run("snapshot", "7", "-u", server.uri, "-s", tmp_path / "s", "--timeout", "1")
    assert done.returncode == code
    assert re.search(says_so, done.stderr)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "s").exists()


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


def test_42_the_reason_of_a_failure_is_printed(tmp_path):
    """A running job with a reason, that then fails and gives none but its files'."""
    quota = "quota exceeded[reason=disk quota exceeded]"
    running = {"jobId": "7", "state": "Importing", "progress": 40, "reason": "connection reset"}
    files = [{"fileName": "[a]", "state": "Failed", "reason": quota}]
    failed = {"jobId": "7", "state": "Failed", "progress": 0, "reason": "", "details": files}
    answers = [(200, {"code": 0, "data": data}) for data in (running, failed)]
    for command in ("collect", "watch"):
        with answering(answers) as server:
            done = run(command, "7", "-u", server.uri, "-s", tmp_path / command, *QUICK)
        assert done.returncode == 8
        first, last = (line for line in done.stderr.splitlines() if " saved " in line)
        assert first.endswith(" reason=connection reset")
        assert last.endswith(f" reason={quota}")
    with answering(answers) as server:
        for line in ("Importing reason=connection reset", f"Failed reason={quota}"):
            done = run("snapshot", "7", "-u", server.uri, "-s", tmp_path / "snapshot")
            assert done.stdout == f"saved job=7 state={line}\n"
