"""What pages, panels and jobs show of a cluster that was watched: its cause, and its picture."""

import base64
import io
import json
import re
from datetime import UTC

import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import date2num
from matplotlib.image import imread
from rich.console import Console

from importstats import ImportJob, report
from importstats.analysis.cluster_causes import cause_text
from importstats.cli.demo_why import demo_cluster
from importstats.show.panel import job_view
from importstats.show.widget import view_data
from importstats.simulator.watching import WatchedJob
from importstats.store.cluster_frames import no_cluster
from importstats.store.frames import flatten_details, flatten_jobs

CAUSE = "8 segments to be sorted after 4 other compactions"


@pytest.fixture(scope="module")
def seen():
    """Frames of a job whose sorts wait behind compactions, and of its cluster."""
    job = WatchedJob(*demo_cluster(), seed=6)
    for _ in range(54):
        job.poll(15.0)
    return flatten_jobs(job.snapshots), job.watch.frames()


def test_the_first_line_names_what_the_cluster_proves(seen):
    jobs, cluster = seen
    job = ImportJob(jobs, cluster=cluster, zone=UTC)
    assert job.cause == CAUSE
    page = report(jobs, at=job.at, cluster=cluster)
    [first] = re.findall(r'<p class="headline">(.*?)</p>', page)
    assert re.fullmatch(rf'<span id="left">\d+ min left \(\d+ to \d+\)</span>: {CAUSE}', first)
    console = Console(width=120, file=io.StringIO())
    console.print(job_view(jobs, flatten_details(()), at=job.at, cluster=cluster, zone=UTC))
    when = console.file.getvalue().splitlines()[2]
    assert re.fullmatch(rf"│ \d+ min left \(.*\), ends 08:.*\): {CAUSE} +│", when)
    assert view_data(job, UTC, 5.0)["first"]["cause"] == CAUSE


def test_without_a_watched_cluster_a_page_has_neither(seen):
    jobs, _ = seen
    for cluster in (None, no_cluster()):
        page = report(jobs, at=jobs["observed_at"].max(), cluster=cluster)
        assert re.search(r'<p class="headline"><span id="left">[^<]+</span></p>', page)
        assert "<h2>Cluster</h2>" not in page
        assert "img-src" not in page
        with pytest.raises(ValueError, match="collect with --management-uri"):
            ImportJob(jobs, cluster=cluster).plot_cluster()


def images(page):
    """The pictures of a page, on dark and on light paper, as arrays of pixels from 0 to 1."""
    found = re.findall(r'(?:srcset|src)="data:image/png;base64,([^"]+)"', page)
    return [imread(io.BytesIO(base64.b64decode(code)))[..., :3] for code in found]


def test_the_page_has_the_picture_on_light_and_on_dark_paper(seen):
    jobs, cluster = seen
    page = report(jobs, at=jobs["observed_at"].max(), cluster=cluster)
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert "; img-src data:; " in policy
    dark, light = images(page)
    assert dark.shape == light.shape
    assert light[0, 0].tolist() == [1, 1, 1]
    assert dark[0, 0] * 255 == pytest.approx([0x15, 0x19, 0x1F], abs=1)
    # What is black on the one is pale on the other, and never dark on dark.
    ink = (light.max(axis=2) < 0.05) & (light.min(axis=2) < 0.05)
    assert ink.sum() > 1000
    assert np.quantile(dark[ink].max(axis=1), 0.05) > 0.6
    [alt] = re.findall(r'<img [^>]*alt="([^"]+)"', page)
    assert alt.startswith("datanode102 was at work ")
    assert alt.endswith("32 segments listed at the last look: 24 sorted and 8 written")


def test_a_job_draws_its_cluster_while_it_was_there(seen):
    jobs, cluster = seen
    at = jobs["observed_at"].iloc[20]
    figure = ImportJob(jobs, at=at.to_pydatetime(), cluster=cluster, zone=UTC).plot_cluster()
    last = max(axes.dataLim.x1 for axes in figure.axes)
    assert last == pytest.approx(date2num(at), abs=1e-9)
    assert len(figure.axes) == 3


@pytest.mark.parametrize(
    ("finding", "severity", "evidence", "said"),
    [
        ("no_data_node", "critical", {"data_nodes": 0}, "no data node is up"),
        (
            "quota_near",
            "critical",
            {"quota_bytes": 10.0, "stored_bytes": 8.0, "file_size_bytes": 5.0},
            "the disk quota is too small for it",
        ),
        (
            "quota_near",
            "warning",
            {"quota_bytes": 10.0, "stored_bytes": 9.5, "file_size_bytes": None},
            "the disk quota is nearly used up",
        ),
        (
            "no_slot",
            "warning",
            {"held_by_jobs": {"7": 3, "8": 1}},
            "job 7 and 1 more hold the slots it waits for",
        ),
        (
            "no_slot",
            "warning",
            {"held_by_jobs": {}, "held_by_compactions": 1, "held_by_index_builds": 2},
            "1 compaction and 2 index builds hold the slots it waits for",
        ),
        (
            "sort_queued",
            "warning",
            {"waiting_segments": 1, "other_compactions": 0, "index_builds": 3},
            "1 segment to be sorted after 3 index builds",
        ),
        ("index_queue", "info", {"waited_s": 119.0}, ""),
        (
            "index_queue",
            "info",
            {"waited_s": 120.0, "builds_before": 0, "waiting_builds": 9},
            "9 index builds of its own still to come",
        ),
        (
            "index_queue",
            "warning",
            {"waited_s": 1.0, "builds_before": 1},
            "1 index build of others comes before its own",
        ),
        (
            "long_index_build",
            "warning",
            {"node_id": "103"},
            "one index build on node 103 takes far longer than others",
        ),
        (
            "index_build_fails",
            "critical",
            {"node_id": None, "reason": "no space\x1b left"},
            "an index build fails: no space left",
        ),
        (
            "node_slower",
            "warning",
            {"node_id": "102", "times_peers": 3.24},
            "node 102 is 3.2 times as slow as its peers",
        ),
        ("stalled", "critical", {}, ""),
    ],
)
def test_a_cause_is_said_in_a_few_words(finding, severity, evidence, said):
    row = {"finding": finding, "severity": severity, "evidence": json.dumps(evidence)}
    assert cause_text(pd.DataFrame([row])) == said
