"""Commands end, refuse what cannot be meant, and look in every database that is named."""

import pytest
import warm
from canned import Canned, says

from importstats.store.frames import load_jobs

QUICK = ("--min-interval", "0.01", "--max-interval", "0.02")
run = warm.run


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
        (("jobs", "--timeout", "0"), "not a positive number of seconds"),
        (("jobs", "--timeout", "-1"), "not a positive number of seconds"),
        (("jobs", "--timeout", "nan"), "not a positive number of seconds"),
        (("jobs", "-u", "http://root:S3cret-pw@h"), "--uri has a user or password in it"),
        (("collect", "--min-interval", "0"), "not a positive number of seconds"),
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
    warning, _ = done.stderr.splitlines()
    assert warning == (
        "importstats: WARNING: the token is sent to http://milvus.invalid unencrypted; use https"
    )
    assert "S3cret" not in done.stderr
