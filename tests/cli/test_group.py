"""A load of many jobs as one, from a manifest, a collection, ids and patterns."""

import json
import re

import pandas as pd
import pytest
from warm import run

from importstats.simulator import ClusterSpec, SimulatorServer, simulate_job
from importstats.simulator.simulation import Arrival, simulate_cluster
from importstats.simulator.specs import FileSpec, JobSpec
from importstats.store import SnapshotStore

QUICK = ("--min-interval", "0.02", "--max-interval", "0.1")


def job_of(collection, *rows):
    files = tuple(FileSpec((f"in/{n}.parquet",), 10**8, count) for n, count in enumerate(rows))
    return JobSpec(collection_name=collection, files=files)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store of two jobs of a collection, the second half done, and one of another; their ids."""
    store = SnapshotStore(tmp_path_factory.mktemp("group") / "store")
    arrivals = [Arrival(0.0, job_of("sales", 10**6, 10**6)), Arrival(9e3, job_of("sales", 10**7))]
    first, second = simulate_cluster(ClusterSpec(), arrivals, seed=1, poll_every_s=20)
    other = simulate_job(job_of("books", 1000), seed=2, poll_every_s=20)
    half = [each for each in second.snapshots() if each.response.data.state != "Completed"]
    for snapshots in (first.snapshots(), half, other.snapshots()):
        store.append(snapshots)
    return store.uri, first.job_id, second.job_id, other.job_id


def group_of(store, *arguments):
    ended = run("group", *arguments, "--store", store, "--output", "json")
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def test_the_same_jobs_by_id_by_pattern_and_by_collection(stored):
    store, first, second, other = stored
    chosen = [
        group_of(store, first, second),
        group_of(store, "--collection", "sal*"),
        group_of(store, f"{first[:-3]}*", second),
    ]
    for code, found in chosen:
        assert code == 0
        assert found["format"] == "importstats.group/1"
        assert {job["job_id"] for job in found["jobs"]} == {first, second}
        [group] = found["group"]
        assert (group["completed"], group["failed"], group["running"]) == (1, 0, 1)
        assert group["total_rows"] == 12_000_000
    assert {job["job_id"] for job in group_of(store, "*")[1]["jobs"]} == {first, second, other}


def test_a_job_that_was_never_seen_waits_and_counts(stored, tmp_path):
    store, first, second, _ = stored
    load = tmp_path / "load.json"
    jobs = [
        {"job_id": first, "files": [{"file": "0.parquet", "rows": 1_000_001}]},
        {"job_id": second},
        {"job_id": "999", "files": [{"file": "z.parquet", "rows": 500}]},
    ]
    load.write_text(json.dumps({"format": "importstats.load/1", "jobs": jobs}))
    code, found = group_of(store, "--file", load)
    [group] = found["group"]
    assert (group["completed"], group["running"], group["waiting"]) == (1, 1, 1)
    assert group["total_rows"] == 12_000_500
    assert code == 10, "a file has fewer rows than the manifest says"
    assert "rows_differ" in {finding["finding"] for finding in found["findings"]}


def test_the_table_and_the_report(stored, tmp_path):
    store, first, second, other = stored
    shown = run("group", other, first, "--store", store, TZ="UTC")
    assert (shown.returncode, shown.stderr) == (0, "")
    headline, _, heading, *rows = shown.stdout.splitlines()
    assert headline.startswith("2 jobs: 2 completed; 2 M of 2 M rows (100 %)")
    assert heading.split() == ["job", "collection", "phase", "done", "rows", "duration", "end"]
    assert {row.split()[0] for row in rows[:2]} == {first, other}
    written = run("group", first, second, "--store", store, "-o", tmp_path / "load.md")
    assert written.returncode == 0
    text = (tmp_path / "load.md").read_text()
    assert text.startswith("# 2 import jobs\n\n**2 jobs: 1 completed, 1 at work; ")
    assert f"`{second}`" in text


def test_the_page_links_the_page_of_every_job_that_was_seen(stored, tmp_path):
    store, first, second, _ = stored
    load, page = tmp_path / "load.json", tmp_path / "load.html"
    jobs = [
        {"job_id": first, "files": [{"file": "0.parquet", "rows": 1_000_001}]},
        {"job_id": second},
        {"job_id": "999<b>", "files": [{"file": "z.parquet", "rows": 500}]},
    ]
    load.write_text(json.dumps({"format": "importstats.load/1", "jobs": jobs}))
    ended = run("group", "--file", load, "--store", store, "-o", page)
    assert ended.returncode == 10
    assert ended.stderr == f"wrote {page} and the pages of 2 jobs\n"
    text = page.read_text(encoding="utf-8")
    headline = ended.stdout.splitlines()[0].split(";")[0]
    assert f'<p class="headline">{headline}; ' in text
    links = dict(re.findall(r'<th scope="row"><a href="([^"]+)">([^<]+)</a></th>', text))
    assert set(links.values()) == {first, second}
    for link, name in links.items():
        own = (tmp_path / link).read_text(encoding="utf-8")
        assert f"Import job <code>{name}</code>" in own
    assert '<th scope="row">999&lt;b&gt;</th>' in text
    assert f"</span>: job {first}: " in text
    assert "<script" not in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "name the jobs of the group: ids or patterns, --file or --collection"),
        (["7"], 5, "holds no snapshot of job 7"),
        (["7*"], 5, "holds no snapshot of any job of the group"),
        (["--collection", "nope"], 5, "holds no snapshot of any job of the group"),
        (["--file", "missing.json"], 2, "cannot read the group missing.json"),
        (["*", "--out", "load.pdf"], 2, "is Markdown or a page: name the file load.md or .html"),
        (["*", "--source", "http://nowhere"], 2, "has no job of the server http://nowhere"),
    ],
)
def test_what_is_no_group(arguments, code, said, stored):
    ended = run("group", *arguments, "--store", stored[0])
    assert (ended.returncode, ended.stdout) == (code, "")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_submitted_jobs_are_waited_for_and_shown_together(tmp_path):
    pd.DataFrame({"file": ["a.parquet", "b.parquet"]}).to_csv(tmp_path / "load.csv")
    with SimulatorServer(ClusterSpec(), collections=["books"], acceleration=600) as server:
        here = {"cwd": tmp_path, "MILVUS_URI": server.uri}
        sent = run(
            *("submit", "--collection", "books", "--manifest", "load.csv", "--per-job", "1"),
            *("--save", "load.json"),
            **here,
        )
        assert sent.returncode == 0, sent.stderr
        waited = run("wait", "--file", "load.json", *QUICK, **here)
        assert waited.returncode == 0, waited.stderr
    shown = run("group", "--file", "load.json", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("2 jobs: 2 completed; ")
