"""Cases from public reports that are about requests, through the command line and a real socket."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from canned import Canned, says

from importstats.store.frames import load_jobs

CASES = Path(__file__).parents[1] / "cases"


def case(name):
    [path] = CASES.glob(f"{name}*.json")
    answers = [(status, answer) for _, status, answer in json.loads(path.read_text())]
    return [
        says(answer.encode() if isinstance(answer, str) else answer, status)
        for status, answer in answers
    ]


class Replayed(Canned):
    """A server that answers one describe after the other, the last one for ever, and a list."""

    def __init__(self, answers, listed=()):
        left = list(answers)

        def answer(path, body):
            if "/list" in path:
                return says({"code": 0, "data": {"records": list(listed)}})
            return left.pop(0) if len(left) > 1 else left[0]

        super().__init__(answer)


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "importstats", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


QUICK = ("--min-interval", "0.01", "--max-interval", "0.02")


def collect(server, store, job, *options):
    return run("collect", job, "-u", server.uri, "-s", store, *QUICK, *options)


def test_03_a_job_by_its_early_name_is_listed_and_collected(tmp_path):
    listed = [{"jobID": "448349928", "state": "Importing"}]
    with Replayed(case("03"), listed) as server:
        shown = run("jobs", "-u", server.uri)
        done = run("collect", "-u", server.uri, "-s", tmp_path / "s", *QUICK)
    assert "448349928" in shown.stdout
    assert (done.returncode, done.stdout) == (0, "")
    jobs = load_jobs(tmp_path / "s")
    assert jobs["state"].tolist() == ["Importing", "Completed"]
    assert jobs["imported_rows"].isna().all()
    assert set(jobs["job_id"]) == {"448349928"}


def test_05_one_refused_job_stops_no_other(tmp_path):
    """Thirty jobs are listed, the first is of another database."""
    [refused] = case("05")
    ids = [str(number) for number in range(100, 130)]

    def answer(path, body):
        if path.endswith("/list"):
            records = [{"jobId": job_id, "state": "Importing"} for job_id in ids]
            return says({"code": 0, "data": {"records": records}})
        if body["jobId"] == ids[0]:
            return refused
        return says({"code": 0, "data": {"jobId": body["jobId"], "state": "Importing"}})

    with Canned(answer) as server:
        done = run("snapshot", "-u", server.uri, "-s", tmp_path / "s")
    lines = [f"saved job={job_id} state=Importing" for job_id in ids[1:]]
    assert done.stdout.splitlines() == lines
    assert done.stderr == (
        "importstats: error: job 100: the user lacks the Import privilege in database 'default' "
        "(code 65535: rpc error: code = PermissionDenied desc = PrivilegeImport: permission deny "
        "to reader in the `default` database); have it granted, or name the database of the job, "
        "see --db\n"
    )
    assert done.returncode == 4
    assert sorted(load_jobs(tmp_path / "s")["job_id"]) == ids[1:]


@pytest.mark.parametrize("command", ["collect", "snapshot"])
def test_06_a_job_of_another_database_is_not_one_whose_end_was_missed(command, tmp_path):
    job_id = "454366314212367666"
    listed = [{"jobId": job_id, "state": "Importing"}]
    options = QUICK if command == "collect" else ()
    with Replayed(case("06"), listed) as server:
        done = run(command, "-u", server.uri, "-s", tmp_path / "s", *options)
    assert done.returncode == 5
    assert "or it belongs to another database, see --db" in done.stderr


def test_08_a_busy_server_is_asked_again(tmp_path):
    with Replayed(case("08")) as server:
        done = collect(server, tmp_path / "s", "J")
    assert done.returncode == 0, done.stderr
    assert load_jobs(tmp_path / "s")["state"].tolist() == ["Importing", "Completed"]
    with Replayed(case("08")[:1]) as server:
        done = run("snapshot", "J", "-u", server.uri, "-s", tmp_path / "t", "--timeout", "2")
    assert done.returncode == 3
    assert "request timeout" in done.stderr


def test_16_the_first_api_of_the_cloud(tmp_path):
    with Replayed(case("16")) as server:
        done = collect(server, tmp_path / "s", "job-9", "--source", "cloud-v1")
    assert done.returncode == 0, done.stderr
    jobs = load_jobs(tmp_path / "s")
    assert jobs["state"].tolist() == ["Importing", "Importing", "Completed"]
    assert jobs["progress_pct"].tolist() == [0, 40, 100]
    assert str(jobs["complete_time"].iloc[-1]) == "2026-05-18 08:01:58+00:00"
    assert {method for method, *_ in server.requests} == {"GET"}


@pytest.mark.parametrize(
    ("name", "job", "imported", "total"),
    [("17", "job-7", None, 100_000), ("35", "7", 9007199254740993, 9007199254740999)],
)
def test_17_35_numbers_are_exact_and_those_not_sent_are_missing(
    name, job, imported, total, tmp_path
):
    *answers, last = case(name)
    with Replayed([*answers, last]) as server:
        for _ in range(len(answers) + 1):
            done = run("snapshot", job, "-u", server.uri, "-s", tmp_path / "s")
            assert done.returncode == 0, done.stderr
    row = load_jobs(tmp_path / "s").iloc[-1]
    assert (None if imported is None else row["imported_rows"]) == imported
    assert row["total_rows"] == total


def test_18_the_number_of_the_envelope_by_its_other_name(tmp_path):
    with Replayed(case("18")) as server:
        done = run("snapshot", "abc", "-u", server.uri, "-s", tmp_path / "s")
    assert done.stdout == "saved job=abc state=Importing\n"
    row = load_jobs(tmp_path / "s").iloc[0]
    assert (row["imported_rows"], row["total_rows"]) == (20_000, 40_000)


@pytest.mark.parametrize(
    ("name", "code", "says_what"),
    [
        ("19-login", 7, "a login page or a proxy stands in between"),
        ("19b", 3, r"HTTP 502 to the last try: .*502 Bad Gateway"),
        ("19c", 3, r"HTTP 500 to the last try: Request failed with status code 403\n$"),
    ],
)
def test_19_what_stands_in_between_is_named(name, code, says_what, tmp_path):
    with Replayed(case(name)) as server:
        done = run("snapshot", "7", "-u", server.uri, "-s", tmp_path / "s", "--timeout", "1")
    assert done.returncode == code
    assert re.search(says_what, done.stderr)
    assert len(done.stderr.splitlines()) == 1


def test_30_a_list_in_pages_is_read_to_its_end():
    pages = case("30")

    def answer(_, body):
        return pages[min(int(body["currentPage"]), len(pages)) - 1]

    with Canned(answer) as server:
        done = run("jobs", "-u", server.uri, "--output", "csv")
    assert len(re.findall(r"job-0\d\d", done.stdout)) == 25


def test_31_a_job_without_a_state_is_not_known_and_not_stored(tmp_path):
    with Replayed(case("31")) as server:
        done = collect(server, tmp_path / "s", "7")
    assert done.returncode == 5
    assert not (tmp_path / "s").exists()


def test_42_the_reason_of_a_failure_is_printed(tmp_path):
    """A running job with a reason, that then fails and gives none but its files'."""
    quota = "quota exceeded[reason=disk quota exceeded]"
    running = {"jobId": "7", "state": "Importing", "progress": 40, "reason": "connection reset"}
    files = [{"fileName": "[a]", "state": "Failed", "reason": quota}]
    failed = {"jobId": "7", "state": "Failed", "progress": 0, "reason": "", "details": files}
    answers = [says({"code": 0, "data": data}) for data in (running, failed)]
    for command in ("collect", "watch"):
        with Replayed(answers) as server:
            done = run(command, "7", "-u", server.uri, "-s", tmp_path / command, *QUICK)
        assert done.returncode == 8
        first, last = (line for line in done.stderr.splitlines() if " saved " in line)
        assert first.endswith(" reason=connection reset")
        assert last.endswith(f" reason={quota}")
    with Replayed(answers) as server:
        for line in ("Importing reason=connection reset", f"Failed reason={quota}"):
            done = run("snapshot", "7", "-u", server.uri, "-s", tmp_path / "snapshot")
            assert done.stdout == f"saved job=7 state={line}\n"


# --- Commands end, and refuse what cannot be meant ------------------------------------------------


@pytest.mark.parametrize("command", ["watch", "collect", "snapshot"])
def test_a_server_that_was_never_reached_is_given_up(command, tmp_path):
    options = () if command == "snapshot" else QUICK
    done = run(
        *(command, "7", "-u", "http://127.0.0.1:1", "-s", tmp_path / "s", "--timeout", "0.5"),
        *options,
    )
    assert done.returncode == 3
    assert "Connection refused" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "says_what"),
    [
        (("watch", ""), "a job id is empty"),
        (("snapshot", "7", " "), "a job id is empty"),
        (("collect", ""), "a job id is empty"),
        (("jobs", "--timeout", "0"), "no positive number of seconds"),
        (("jobs", "--timeout", "-1"), "no positive number of seconds"),
        (("jobs", "--timeout", "nan"), "no positive number of seconds"),
        (("jobs", "-u", "http://root:S3cret-pw@h"), "--uri has a user or password in it"),
        (("collect", "--min-interval", "0"), "no positive number of seconds"),
        (("collect", "--min-interval", "9", "--max-interval", "3"), "above --max-interval"),
        (("jobs", "--source", "grpc", "--db", "a", "--db", "b"), "takes one --db"),
    ],
)
def test_what_cannot_be_meant_is_a_wrong_command_line(arguments, says_what):
    done = run(*arguments, *(() if "-u" in arguments else ("-u", "http://127.0.0.1:1")))
    assert done.returncode == 2, done.stderr
    assert says_what in done.stderr
    assert "Traceback" not in done.stderr
    assert "S3cret" not in done.stderr


def test_jobs_of_several_databases_are_collected(tmp_path):
    jobs_of = {"sales": "1", "ads": "2"}

    def answer(path, body):
        own = jobs_of[body["dbName"]]
        if path.endswith("/list"):
            return says({"code": 0, "data": {"records": [{"jobId": own, "state": "Importing"}]}})
        if body["jobId"] != own:
            return says({"code": 2100, "message": "import job does not exist"})
        return says({"code": 0, "data": {"jobId": own, "state": "Completed", "progress": 100}})

    with Canned(answer) as server:
        options = ("--db", "sales", "--db", "ads", "--collection", "c")
        done = run("snapshot", "-u", server.uri, "-s", tmp_path / "s", *options)
    assert done.returncode == 0, done.stderr
    jobs = load_jobs(tmp_path / "s").sort_values("job_id")
    assert jobs["db_name"].tolist() == ["sales", "ads"]


def test_a_token_that_goes_in_clear_is_warned_of_by_the_command(tmp_path):
    token = tmp_path / "token"
    token.write_text("root:S3cret-pass")
    options = ("-u", "http://milvus.invalid", "--timeout", "1", "--token-file", token)
    done = run("jobs", *options)
    assert done.returncode == 3
    assert done.stderr.startswith("importstats: WARNING: the token goes to http://milvus.invalid ")
    assert "S3cret" not in done.stderr
