"""One file of several servers: who wins, what is wrong with it, and collecting from all of them."""

import json
import signal
import subprocess
import sys
import time

import pytest
from warm import run

from importstats.simulator import SimulatorServer, make_shape
from importstats.store.frames import load_jobs

QUICK = ("--min-interval", "0.02", "--max-interval", "0.2")
TOKEN = "root:canary-91c7"


def server_of(seed, token=None, acceleration=60):
    cluster, job = make_shape("small_and_quick", seed=seed)
    return SimulatorServer(cluster, [job], acceleration=acceleration, token=token, seed=seed)


@pytest.fixture
def two(tmp_path):
    """Two servers, one with a token, and the file that names them."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    with server_of(1) as north, server_of(2, TOKEN) as south:
        (tmp_path / "importstats.toml").write_text(
            f"""
            store = "all"
            [[servers]]
            name = "north"
            uri = "{north.uri}"
            [[servers]]
            name = "south"
            uri = "{south.uri}"
            token-file = "token"
            store = "of-south"
            """
        )
        yield north, south


def test_all_servers_are_collected_each_to_its_store(two, tmp_path):
    north, south = two
    done = run("collect", "--config", "importstats.toml", *QUICK, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for server, store, name in ((north, "all", "north"), (south, "of-south", "south")):
        jobs = load_jobs(tmp_path / store)
        assert set(jobs["source_uri"]) == {server.uri}
        assert jobs["state"].iloc[-1] == "Completed"
        assert f" [{name}] saved job={server.job_ids[0]} " in done.stderr
    assert TOKEN not in done.stderr


def test_one_server_is_chosen_and_options_and_environment_win(two, tmp_path):
    north, south = two
    config = ("--config", "importstats.toml")
    listed = run("jobs", *config, "--server", "south", "--output", "json", cwd=tmp_path)
    assert [job["job_id"] for job in json.loads(listed.stdout)["jobs"]] == south.job_ids
    wins = run("jobs", *config, "--server", "south", "--uri", north.uri, cwd=tmp_path)
    assert north.job_ids[0] in wins.stdout
    wins = run("jobs", *config, "--server", "south", cwd=tmp_path, MILVUS_TOKEN="root:wrong-one")
    assert (wins.returncode, wins.stdout) == (4, "")
    stored = run(
        "snapshot",
        "--server",
        "north",
        "-s",
        "mine",
        cwd=tmp_path,
        IMPORTSTATS_CONFIG="importstats.toml",
    )
    assert stored.returncode == 0, stored.stderr
    assert len(load_jobs(tmp_path / "mine")) == 1


def test_the_trouble_of_one_server_is_not_that_of_the_other(two, tmp_path):
    north, _ = two
    (tmp_path / "token").write_text("root:another-one\n")
    for command in ("snapshot", "collect"):
        done = run(command, "--config", "importstats.toml", cwd=tmp_path)
        assert done.returncode == 4
        assert "importstats: error: server south: http" in done.stderr
        assert "refused the token" in done.stderr
    assert set(load_jobs(tmp_path / "all")["source_uri"]) == {north.uri}


def test_a_signal_stops_all_servers(tmp_path):
    with server_of(1, acceleration=0) as north, server_of(2, acceleration=0) as south:
        (tmp_path / "both.toml").write_text(
            "".join(
                f'[[servers]]\nname = "{s.uri[-3:]}"\nuri = "{s.uri}"\n' for s in (north, south)
            )
        )
        command = [sys.executable, "-m", "importstats", "collect", "--follow", "--config"]
        with subprocess.Popen(
            [*command, "both.toml"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        ) as process:
            saved = set()
            while len(saved) < 2:
                line = process.stderr.readline()
                assert line, process.wait()
                if " saved " in line:
                    saved.add(line.split()[2])
            process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            process.communicate(timeout=100)
            assert process.returncode == 0, time.monotonic() - started


WRONG = {
    "no file": (None, "cannot read the configuration c.toml: No such file or directory"),
    "no TOML": ("servers = [", "c.toml is not TOML: "),
    "no servers": ("", "c.toml: object missing required field `servers`"),
    "an unknown key": (
        '[[servers]]\ntoken = "x"\n',
        "c.toml: object contains unknown field `token` in servers[0]",
    ),
    "a wrong type": (
        "[[servers]]\nuri = 7\n",
        "c.toml: expected `str | null`, got `int` in servers[0].uri",
    ),
    "a wrong choice": ('[[servers]]\nsource = "soap"\n', "c.toml: invalid enum value 'soap'"),
    "a wrong port": ("[[servers]]\nmetrics-port = 99999\n", "c.toml: expected `int` <= 65535"),
    "a wrong address": (
        '[[servers]]\nname = "a"\nuri = "ftp://x"\n',
        "c.toml: server a: 'ftp://x' is not a server URI",
    ),
    "a password": (
        f'[[servers]]\nuri = "http://{TOKEN}@x"\n',
        "c.toml: the uri of server default has a user or password in it",
    ),
    "one name twice": (
        '[[servers]]\nname = "a"\n[[servers]]\nname = "a"\n',
        "c.toml: two servers have the name a; give each its own name",
    ),
    "no such server": ('[[servers]]\nname = "a"\n', "c.toml has no server b; it has a"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_the_file_is_one_line(case, tmp_path):
    text, said = WRONG[case]
    if text is not None:
        (tmp_path / "c.toml").write_text(text)
    ended = run("snapshot", "--config", "c.toml", "--server", "b", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"importstats: error: {said}")
    assert ended.stderr.count("\n") == 1
    assert TOKEN not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["jobs", "--config", "c.toml"], {}, "c.toml has 2 servers (a, b): choose one with"),
        (["jobs", "--server", "a"], {}, "--server names a server of a configuration file: give"),
        (["collect", "7", "--config", "c.toml"], {}, "job ids and --metrics-port belong to one"),
        (["snapshot", "7", "--config", "c.toml"], {}, "job ids belong to one server: choose it"),
        (
            ["collect", "--config", "c.toml"],
            {"MILVUS_TOKEN": TOKEN},
            "an option or the environment (MILVUS_TOKEN) gives one token to the 2 servers of",
        ),
        (
            ["collect", "--config", "c.toml", "--uri", "http://x"],
            {},
            "an option or the environment (MILVUS_URI) gives one address to the 2 servers of",
        ),
    ],
)
def test_what_is_meant_for_one_server_goes_to_no_other(arguments, environment, said, tmp_path):
    (tmp_path / "c.toml").write_text('[[servers]]\nname = "a"\n[[servers]]\nname = "b"\n')
    ended = run(*arguments, cwd=tmp_path, **environment)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"importstats: error: {said}")
    assert TOKEN not in ended.stderr
