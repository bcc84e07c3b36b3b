"""Findings of what the cluster does, on simulated clusters whose culprit is known."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import culprits
import numpy as np
import pandas as pd
import pytest
from clusters import HOUR, IMPORT, build, gauge, history, state

from importstats import ImportJob, SnapshotStore, report
from importstats.analysis.cluster_findings import diagnose_cluster
from importstats.analysis.cluster_state import ClusterState
from importstats.analysis.findings import diagnose
from importstats.analysis.words import headline
from importstats.simulator import ClusterSpec
from importstats.simulator.specs import Compaction
from importstats.sources.management_metrics import parse_samples
from importstats.store.cluster_frames import cluster_frame, no_cluster
from importstats.store.cluster_runs import OpenRuns
from importstats.store.cluster_schema import CLUSTER_TABLES
from importstats.store.cluster_tables import ClusterTables


def test_a_job_at_work_is_held_up_and_one_that_has_ended_leaves_builds_behind():
    waits = [gauge("datacoord_index_task_count", 3, index_task_status="unissued")]
    rows = {
        "tasks": [IMPORT],
        "builds": [(0, HOUR, build("b", "Retry", tries=2))],
        "gauges": [(0, HOUR, each) for each in waits],
    }
    now = state(HOUR, **rows)
    at_work, ended = history(), history("Completed", 100.0)
    assert [each.finding for each in diagnose_cluster(at_work, now)] == ["index_build_fails"]
    assert [each.finding for each in diagnose_cluster(ended, now)] == ["builds_go_on"]
    # Where no management port was asked nothing is known.
    assert diagnose_cluster(at_work, state(HOUR)) == []


@pytest.mark.parametrize("name", culprits.CASES)
def test_the_culprit_is_named_and_nobody_else(name):
    verdict = culprits.judge(name, 1, every=4)
    assert (verdict.named, verdict.wrong) == (True, ())


@pytest.fixture(scope="module")
def queued():
    """A job whose segments wait to be sorted while compactions hold all slots."""
    case = culprits.Case(
        ClusterSpec(compactions=(Compaction(0.0, 5000.0, 4),)),
        culprits.job_of(np.random.default_rng(2)),
    )
    seen = culprits.Watched(case, 2)
    while "sort_queued" not in set(seen.findings()["finding"]):
        seen.poll()
    for _ in range(13):
        seen.poll()
    return seen


def test_a_wait_is_reported_with_its_evidence_and_its_setting(queued):
    found = queued.findings().set_index("finding").loc["sort_queued"]
    evidence = json.loads(found["evidence"])
    assert found["severity"] == "warning"
    assert "segments of the job wait to be sorted, the first for 2 min" in found["message"]
    assert found["message"].endswith("while 4 other compactions are at work")
    assert "dataCoord.slot.mixCompactionUsage" in found["advice"]
    assert evidence["other_compactions"] == 4
    assert evidence["segments_at_work"] == 0
    assert evidence["waited_s"] >= 120


def test_the_headline_and_the_report_name_it(queued):
    cluster, at = queued.watch.frames(), queued.jobs["observed_at"].iloc[-1]
    job = ImportJob(queued.jobs, cluster=cluster)
    assert "segments of the job wait to be sorted" in job.headline
    assert "segments of the job wait to be sorted" in job.looks[0].text
    text = report(queued.jobs, at=at.to_pydatetime(), form="md", cluster=cluster)
    assert "while 4 other compactions are at work" in text
    assert "wait to be sorted" not in headline(queued.jobs)


def test_nothing_of_later_is_used(queued):
    jobs, cluster = queued.jobs, queued.watch.frames()
    before = jobs["observed_at"].iloc[2]
    early = diagnose(jobs, at=before, cluster=cluster)
    cut = type(cluster)(*(frame[frame["observed_at"] <= before] for frame in cluster))
    assert early.equals(diagnose(jobs, at=before, cluster=cut))
    assert "sort_queued" not in set(early["finding"].astype("str"))


def test_a_store_with_these_tables_names_it(queued, tmp_path):
    store = SnapshotStore(tmp_path)
    store.append(queued.snapshots)
    tables = ClusterTables(store)
    for table in CLUSTER_TABLES:
        rows = queued.watch._runs[table].take(everything=True)
        tables.append(table, culprits.URI, rows)
    assert "wait to be sorted" in ImportJob.load(store).headline


def test_without_these_tables_findings_are_as_before(queued):
    plain = diagnose(queued.jobs)
    assert plain.equals(diagnose(queued.jobs, cluster=no_cluster()))


def test_another_server_explains_nothing(queued):
    elsewhere = queued.watch.frames()
    moved = type(elsewhere)(
        *(frame.assign(source_uri="http://elsewhere:19530") for frame in elsewhere)
    )
    assert diagnose(queued.jobs).equals(diagnose(queued.jobs, cluster=moved))


def test_a_wait_below_the_patience_is_none(queued):
    state = ClusterState.from_cluster(
        queued.watch.frames(), culprits.URI, queued.jobs["observed_at"].iloc[-1]
    )
    waiting = state.sorts_of(queued.job_id)
    short = replace(state, compactions=waiting.assign(since=state.at - pd.Timedelta(seconds=19)))
    long = replace(state, compactions=waiting.assign(since=state.at - pd.Timedelta(seconds=21)))
    from importstats.analysis.cluster_slots import sort_queued
    from importstats.analysis.job_history import job_histories

    [job] = job_histories(queued.jobs, None)
    assert sort_queued(job, short) is None
    assert sort_queued(job, long) is not None


def recorded(name):
    """What a watcher had of the metrics that a real Milvus 2.3.5 sent during bulk inserts."""
    path = Path(__file__).parents[1] / "sources" / "recorded" / f"{name}.prom"
    runs = OpenRuns("gauges", culprits.URI)
    rows = [{**row, "process": "standalone"} for row in parse_samples(path.read_bytes())]
    runs.add(rows, datetime(2026, 5, 18, 0, 0, 18, tzinfo=UTC))
    return no_cluster()._replace(gauges=cluster_frame(runs.take(everything=True)))


def completed(at):
    """A bulk insert that was seen twice, the second time when it had completed."""
    end = pd.Timestamp(at)
    return pd.DataFrame(
        {
            "source_uri": culprits.URI,
            "job_id": "7",
            "observed_at": [end - pd.Timedelta(seconds=15), end],
            "state": ["Importing", "Completed"],
            "progress_pct": [60.0, 100.0],
            "imported_rows": [0, 270_000],
            "total_rows": 270_000,
            "detail_count": 0,
        }
    )


def test_a_real_server_builds_indexes_long_after_its_jobs_have_completed():
    jobs = completed("2026-05-18T00:00:20Z")
    found = diagnose(jobs, cluster=recorded("milvus-2.3.5-t18s")).set_index("finding")
    assert found.loc["builds_go_on", "message"] == (
        "The job has completed, and 8 index builds of its cluster go on, 1 of them at work; one "
        "takes 5 s on average"
    )
    assert "builds_go_on" not in set(
        diagnose(jobs, cluster=recorded("milvus-2.3.5-end"))["finding"].astype("str")
    )


def test_the_last_look_at_a_cluster_counts_although_the_job_had_ended_before():
    def found(ended_at, **options):
        cluster = recorded("milvus-2.3.5-t18s")  # As of 18 s after midnight.
        return set(
            diagnose(completed(ended_at), cluster=cluster, **options)["finding"].astype("str")
        )

    assert "builds_go_on" in found("2026-05-18T00:00:10Z")
    # Nothing of later is used if the time is given, nor what may be of other jobs by then.
    assert "builds_go_on" not in found(
        "2026-05-18T00:00:10Z", at=pd.Timestamp("2026-05-18T00:00:12Z")
    )
    assert "builds_go_on" not in found("2026-05-17T23:59:10Z")


def test_a_job_is_shown_with_the_last_look_at_its_cluster():
    def shown(**options):
        job = ImportJob(
            completed("2026-05-18T00:00:10Z"), cluster=recorded("milvus-2.3.5-t18s"), **options
        )
        return set(job.diagnosis["finding"].astype("str"))

    assert "builds_go_on" in shown()
    assert "builds_go_on" not in shown(at=pd.Timestamp("2026-05-18T00:00:12Z"))
