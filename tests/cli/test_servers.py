"""A store of one server under two addresses, or of two servers that gave the same job id."""

import dataclasses
import json

import pytest
from warm import run

from importstats.simulator import make_shape, simulate_job
from importstats.store import SnapshotStore

ONE, OTHER = "http://milvus:19530", "http://10.0.0.7:19530"


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """A store of one job under two addresses, and the id of the job."""
    store = SnapshotStore(tmp_path_factory.mktemp("twice") / "store")
    recording = simulate_job(make_shape("small_and_quick", seed=3), seed=3, poll_every_s=20)
    for source in (ONE, OTHER):
        store.append(
            dataclasses.replace(snapshot, source_uri=source, snapshot_id=-1)
            for snapshot in recording.snapshots()
        )
    return store.uri, next(recording.snapshots()).job_id


def test_a_summary_says_which_server(twice):
    store, job = twice
    shown = run("summary", store)
    assert shown.returncode == 0, shown.stderr
    heading, *lines = shown.stdout.splitlines()
    assert heading.split()[:2] == ["server", "job"]
    shown_as = [line.split()[:2] for line in lines]
    assert [name for _, name in shown_as] == [job, job]
    # In 80 columns a server is known by its end, so that no number is left out.
    for server, (end, _) in zip((OTHER, ONE), shown_as, strict=True):
        assert server.endswith(end.removeprefix("…"))
        assert len(end) > 10
    chosen = run("summary", store, "--source", f"{ONE}/", "--output", "json")
    [row] = json.loads(chosen.stdout)["jobs"]
    assert row["source_uri"] == ONE
    assert "server" not in run("summary", store, "--source", ONE).stdout


@pytest.mark.parametrize("command", [["report", "{job}"], ["compare", "{job}", "{job}"]])
def test_a_job_of_two_servers_has_to_be_chosen(twice, command):
    store, job = twice
    arguments = [word.replace("{job}", job) for word in command]
    refused = run(*arguments, "--store", store)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"importstats: error: {store} holds job {job} of 2 servers; choose one: "
        f"--source {OTHER} or --source {ONE}\n"
    )
    chosen = run(*arguments, "--store", store, "--source", ONE)
    assert chosen.returncode == 0, chosen.stderr
    assert job in chosen.stdout


def test_one_job_of_two_servers_is_compared(twice):
    store, job = twice
    found = run("compare", job, job, "--store", store, "--source", ONE, "--source", OTHER)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("command", ["fleet", "backtest"])
def test_all_jobs_of_one_server(twice, command):
    store, _ = twice
    found = run(command, store, "--source", ONE, "--output", "json")
    assert found.returncode == 0, found.stderr
    assert OTHER not in found.stdout


@pytest.mark.parametrize(
    "command", [["summary"], ["fleet"], ["backtest"], ["report", "7", "--store"]]
)
def test_a_server_that_the_store_does_not_have(twice, command):
    store, _ = twice
    refused = run(*command, store, "--source", "milvus-2:19530")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"importstats: error: {store} has no job of the server http://milvus-2:19530; "
        f"it has jobs of {OTHER}, {ONE}\n"
    )
