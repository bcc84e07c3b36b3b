"""Submitting, committing, aborting and waiting, as commands against a server that takes them."""

import json

import pytest
from warm import run

from importstats.simulator import ClusterSpec, SimulatorServer
from importstats.simulator.specs import FileSpec, JobSpec

TOKEN = "root:Milvus"
QUICK = ("--min-interval", "0.02", "--max-interval", "0.1")
bulk_writer = pytest.importorskip("pymilvus.bulk_writer", exc_type=ImportError)


def server_of(dialect="3.0", acceleration=0, **options):
    return SimulatorServer(
        ClusterSpec(),
        dialect=dialect,
        token=TOKEN,
        acceleration=acceleration,
        seed=2,
        collections=["books"],
        **options,
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of its own for store and manifests, and the token in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILVUS_TOKEN", TOKEN)
    return tmp_path


def test_pymilvus_sees_what_was_submitted(here):
    with server_of() as server:
        sent = run(
            *("submit", "--collection", "books", "--uri", server.uri),
            *("--files", "in/1.parquet", "in/2.parquet", "x.npy,y.npy"),
        )
        listed = bulk_writer.list_import_jobs(
            url=server.uri, api_key=TOKEN, collection_name="books"
        ).json()["data"]["records"]
        [job] = [record["jobId"] for record in listed]
        assert (sent.returncode, sent.stdout, sent.stderr) == (
            0,
            f"submitted job={job} 3 files\n",
            "",
        )
        server.advance(60)
        seen = bulk_writer.get_import_progress(url=server.uri, job_id=job, api_key=TOKEN).json()
    files = {detail["fileName"] for detail in seen["data"]["details"]}
    assert files == {"[in/1.parquet]", "[in/2.parquet]", "[x.npy y.npy]"}


def test_many_files_make_several_jobs_and_a_manifest(here):
    (here / "load.csv").write_text("file,rows\na.parquet,10\nb.parquet,20\nc.parquet,\n")
    with server_of("2.6") as server:
        sent = run(
            *("submit", "--collection", "books", "--manifest", "load.csv", "--per-job", "2"),
            *("--save", "load.json", "--output", "json", "--uri", server.uri),
        )
        known = [job.job_id for job in server.cluster.list()]
    assert sent.returncode == 0
    assert [line.split()[2:] for line in sent.stderr.splitlines()] == [
        ["2", "files"],
        ["1", "file"],
    ]
    answer = json.loads(sent.stdout)
    assert answer["format"] == "importstats.submit/1"
    assert [(job["job_id"], job["files"]) for job in answer["jobs"]] == list(
        zip(sorted(known), [2, 1], strict=True)
    )
    saved = json.loads((here / "load.json").read_text())
    assert saved["format"] == "importstats.load/1"
    assert [[file["rows"] for file in job["files"]] for job in saved["jobs"]] == [[10, 20], [None]]


REFUSED = {
    "no files": (["submit", "--collection", "books"], 2, "no files to import: give --files, "),
    "no collection": (["submit", "--files", "a.parquet"], 2, 'Command "submit" parameter'),
    "an unknown collection": (
        ["submit", "--collection", "nope", "--files", "a.parquet"],
        7,
        "server error 100: collection not found[database=default][collection=nope]",
    ),
    "an unknown type": (
        ["submit", "--collection", "books", "--files", "a.xml"],
        7,
        "server error 2100: unexpected file type, files=[a.xml]: importing data failed",
    ),
    "an option that is none": (
        ["submit", "--collection", "books", "--files", "a.parquet", "--option", "timeout"],
        2,
        "--option 'timeout' is not NAME=VALUE",
    ),
    "no list of files": (
        ["submit", "--collection", "books", "--files-from", "missing"],
        2,
        "cannot read missing: No such file or directory",
    ),
    "a manifest without files": (
        ["submit", "--collection", "books", "--manifest", "empty.csv"],
        2,
        "the manifest empty.csv names no file",
    ),
    "a manifest that is none": (
        ["submit", "--collection", "books", "--manifest", "load.yaml"],
        2,
        "load.yaml is not a manifest: its ending is .yaml, and not .csv, .parquet or .json",
    ),
    "an unknown job": (["commit", "7"], 5, "the server does not know this import job"),
    "no job": (["commit"], 2, "name one or more jobs"),
    "an unknown job to abort": (["abort", "7", "--yes"], 5, "the server does not know"),
    "an empty job": (["abort", "", "--yes"], 2, "a job id is empty"),
    "nothing to wait for": (["wait"], 2, "name one or more jobs to wait for"),
    "no time to wait": (
        ["wait", "7", "--timeout", "soon"],
        2,
        "soon is not a time to wait; write 2h, 90s or 1h30m",
    ),
    "nothing like that to wait for": (["wait", "7", "--for", "lunch"], 2, 'Invalid value "lunch"'),
    "rows of several jobs": (
        ["wait", "7", "8", "--expect-rows", "5"],
        2,
        "--expect-rows and --manifest check one job that ends",
    ),
    "rows in two ways": (
        ["wait", "7", "--expect-rows", "5", "--manifest", "empty.csv"],
        2,
        "give --expect-rows or --manifest, not both: the manifest has the sum",
    ),
    "sources of nothing": (["wait", "7", "--sources", "."], 2, "--sources needs a --manifest"),
    "no time for an answer": (["wait", "7", "--request-timeout", "0"], 2, 'Invalid value "0.0"'),
    "a job nobody knows": (["wait", "7", *QUICK], 5, "the server does not know this import job"),
}


@pytest.fixture(scope="module")
def idle():
    """A server without jobs."""
    with server_of() as server:
        yield server.uri


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_one_line_and_its_exit_code(case, here, idle):
    (here / "empty.csv").write_text("file,rows\n")
    (here / "load.yaml").write_text("a: 1\n")
    arguments, code, said = REFUSED[case]
    ended = run(*arguments, MILVUS_URI=idle)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert said in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("importstats: error: ")
    assert "Traceback" not in ended.stderr


def submitted(uri, *options):
    sent = run("submit", "--collection", "books", "--files", "a.parquet", "-u", uri, *options)
    return sent.stdout.split("job=")[1].split()[0]


def test_a_two_phase_import_from_submit_to_commit(here):
    with server_of(acceleration=600) as server:
        job = submitted(server.uri, "--option", "auto_commit=false")
        waited = run("wait", job, "--for", "committable", "-u", server.uri, *QUICK)
        assert waited.returncode == 0, waited.stderr
        assert waited.stdout.splitlines()[-1].split()[2:4] == [f"job={job}", "state=Uncommitted"]
        refused = run("abort", job, "--yes", "-u", server.uri)
        assert refused.returncode == 2
        assert "are written (state Uncommitted): an abort discards them" in refused.stderr
        done = run("commit", job, "-u", server.uri)
        assert (done.returncode, done.stdout) == (0, f"committed job={job}\n")
        ended = run("wait", job, "-u", server.uri, "--quiet", "--output", "json", *QUICK)
        assert ended.returncode == 0, ended.stderr
        [row] = json.loads(ended.stdout)["jobs"]
        assert (row["job_id"], row["state"], row["reached"]) == (job, "Completed", True)
        again = run("abort", job, "--yes", "-u", server.uri)
        assert again.stderr == (
            f"importstats: error: job {job} has ended (Completed): there is nothing to abort\n"
        )


def test_abort_asks_and_the_job_fails(here):
    with server_of() as server:
        job = submitted(server.uri, "--option", "auto_commit=false")
        asked = run("abort", job, "-u", server.uri)
        assert (asked.returncode, asked.stdout) == (2, "")
        assert asked.stderr == (
            "importstats: error: abort asks for confirmation, and nobody can answer here: "
            "give --yes\n"
        )
        done = run("abort", job, "--yes", "-u", server.uri)
        assert (done.returncode, done.stdout) == (0, f"aborted job={job}\n")
        server.advance(30)
        ended = run("wait", job, "-u", server.uri, *QUICK)
    assert ended.returncode == 8
    assert "reason=aborted by user" in ended.stdout.splitlines()[-1]


def test_a_job_that_commits_by_itself_cannot_be_aborted_and_older_servers_cannot_at_all(here):
    with server_of() as server, server_of("2.6") as older:
        job = submitted(server.uri)
        refused = run("abort", job, "--yes", "-u", server.uri)
        assert refused.returncode == 7
        assert "has auto_commit and cannot be aborted" in refused.stderr
        refused = run("commit", submitted(older.uri), "-u", older.uri)
        assert (refused.returncode, refused.stderr) == (
            7,
            f"importstats: error: {older.uri} cannot commit an import: two-phase imports need "
            "Milvus 3.0\n",
        )


def job_of(*rows):
    files = tuple(FileSpec((f"in/{n}.parquet",), 10**6, count) for n, count in enumerate(rows))
    return JobSpec(collection_name="books", files=files)


@pytest.mark.parametrize(
    ("expected", "code", "said"),
    [
        (["--expect-rows", "700"], 0, ["rows: 700 of 700 rows (equal)"]),
        (["--expect-rows", "701"], 10, ["rows: 700 of 701 rows (fewer)"]),
        (["--manifest", "right.json"], 0, ["rows: 700 of 700 rows (equal)"]),
        (
            ["--manifest", "wrong.csv"],
            10,
            [
                "rows: 700 of 700 rows (equal)",
                "rows: in/0.parquet: 300 of 200 (more)",
                "rows: in/1.parquet: 400 of 500 (fewer)",
            ],
        ),
    ],
)
def test_rows_that_were_expected(here, expected, code, said):
    (here / "right.json").write_text('{"0.parquet": 300, "1.parquet": 400}')
    (here / "wrong.csv").write_text("path,row_count\nin/0.parquet,200\nin/1.parquet,500\n")
    with SimulatorServer(ClusterSpec(), [job_of(300, 400)], acceleration=60) as server:
        event = "exec:tee -a events"
        ended = run(
            *("wait", *server.job_ids, "-u", server.uri, *QUICK, *expected, "--on-event", event)
        )
    assert ended.returncode == code, ended.stderr
    lines = [line for line in ended.stdout.splitlines() if line.startswith("rows: ")]
    assert lines == said
    assert ("rows_differ" in (here / "events").read_text()) == (code == 10)


def test_rows_that_watch_and_report_expect(here):
    with SimulatorServer(ClusterSpec(), [job_of(300, 400)], acceleration=60) as server:
        [job] = server.job_ids
        watched = run("watch", job, "-u", server.uri, *QUICK, "--expect-rows", "701")
    assert watched.returncode == 10, watched.stderr
    assert watched.stdout.splitlines()[-1] == "rows: 700 of 701 rows (fewer)"
    (here / "load.csv").write_text("file,rows\n0.parquet,300\n1.parquet,401\n")
    found = run("report", job, "--manifest", "load.csv", "--output", "json")
    assert found.returncode == 10
    assert "rows_differ" in [each["finding"] for each in json.loads(found.stdout)["diagnosis"]]
    right = run("report", job, "--expect-rows", "700", "--output", "json")
    assert right.returncode == 0


def test_what_a_pending_job_waits_for(here):
    with server_of() as server:
        first, second, third = (submitted(server.uri) for _ in range(3))
        listed = run("jobs", "-u", server.uri)
        heading, *lines = listed.stdout.splitlines()
        assert heading.split() == ["job", "collection", "state", "progress", "ahead", "reason"]
        shown = {line.split()[0]: line.split()[-1] for line in lines}
        assert shown == {first: "0", second: "1", third: "2"}
        ahead = run("jobs", "--ahead-of", third, "-u", server.uri, "--output", "json")
        assert [job["job_id"] for job in json.loads(ahead.stdout)["jobs"]] == [first, second]
        none = run("jobs", "--ahead-of", first, "-u", server.uri)
        assert (none.returncode, none.stdout) == (0, "no job is ahead of it\n")
        unknown = run("jobs", "--ahead-of", "7", "-u", server.uri)
        assert (unknown.returncode, unknown.stderr) == (
            5,
            f"importstats: error: {server.uri} does not list job 7\n",
        )


def test_what_was_submitted_is_watched_or_waited_for(here):
    with server_of(acceleration=60) as server:
        submit = ("submit", "--collection", "books", "--watch", "-u", server.uri)
        one = run(*submit, "--files", "a.parquet")
        assert one.returncode == 0, one.stderr
        assert "snapshots saved in" in one.stdout or "snapshot saved in" in one.stdout
        several = run(*submit, "--files", "b.parquet", "c.parquet", "--per-job", "1")
        assert several.returncode == 0, several.stderr
        assert several.stdout.count("state=Completed") == 2


def test_waiting_comes_to_an_end(here):
    with server_of() as server:
        job = submitted(server.uri)
        ended = run("wait", job, "--timeout", "0.5s", "-u", server.uri, *QUICK)
        logged = run("snapshot", job, "-v", "-u", server.uri)
    assert ended.returncode == 124, ended.stderr
    assert ended.stdout.splitlines()[-1] == "gave up: 1 of 1 jobs have not reached the goal"
    assert ended.stderr == ""
    assert f" INFO saved job={job} " in logged.stderr
