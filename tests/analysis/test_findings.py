import json

import numpy as np
import pandas as pd
import pytest
from frames import START, simulated
from frames import jobs_of as made_jobs

from importstats import datasets
from importstats.analysis.finding_kinds import FINDING_KINDS, FINDINGS
from importstats.analysis.findings import _json, diagnose
from importstats.simulator import (
    Arrival,
    ClusterSpec,
    FileSpec,
    JobSpec,
    Restart,
    make_shape,
    simulate_job,
)
from importstats.store.frames import flatten_details, flatten_jobs

FILES = tuple(FileSpec((f"in/{i}.parquet",), 400_000_000, 100_000) for i in range(40))
JOB = JobSpec(collection_name="c", files=FILES, max_task_bytes=1, noise=0.05)


def found_in(shape, *, at_share=1.0, **options):
    jobs, details = simulated(shape, seed=3, runs=False, **options)
    times = jobs["observed_at"]
    at = times.iloc[0] + (times.iloc[-1] - times.iloc[0]) * at_share
    return diagnose(jobs, details, at=at).set_index("finding")


def jobs_of(states, **options):
    """A jobs frame of (state, progress, imported rows of 1000)."""
    fields = ("state", "progress_pct", "imported_rows")
    return made_jobs(
        states, fields, **{"total_rows": 1000, "detail_count": 3, "reason": None, **options}
    )


@pytest.mark.parametrize(
    "shape", ["steady", "few_big_files", "many_small_files", "small_and_quick", "index_bound"]
)
@pytest.mark.parametrize("seed", [1, 2])
def test_healthy_jobs_raise_no_alarm_at_any_time(shape, seed):
    jobs, details = simulated(shape, seed=seed, poll_every_s=30, runs=False)
    times = jobs["observed_at"]
    for place in np.linspace(0, len(times) - 1, 6).astype(int):
        found = diagnose(jobs, details, at=times.iloc[place])
        assert found["severity"].eq("info").all()


def test_every_finding_has_its_numbers_and_a_sentence():
    jobs, details = simulated(seed=2, poll_every_s=30, runs=False)
    found = diagnose(jobs, details)
    assert len(found)
    assert set(found["finding"]) <= set(FINDINGS)
    for row in found.to_dict("records"):
        assert isinstance(json.loads(row["evidence"]), dict)
        assert row["message"][0].isupper() or row["message"][0].isdigit()
        assert row["advice"].endswith(".")
        assert row["since"] <= jobs["observed_at"].max()


def test_index_building_is_explained():
    states = [("Importing", 60, 700), *[("Importing", 80, 1000)] * 20]
    found = diagnose(jobs_of(states))
    assert found["finding"].tolist() == ["waiting_for_index"]
    assert found["severity"].tolist() == ["info"]
    assert "indexes" in found["message"].item()
    assert json.loads(found["evidence"].item())["progress_pct"] == 80


def test_index_building_without_end_is_a_warning():
    states = [("Importing", 60, 700), *[("Importing", 80, 1000)] * 200]
    assert diagnose(jobs_of(states))["severity"].tolist() == ["warning"]


def test_a_failure_has_its_cause_and_how_far_it_came():
    jobs = jobs_of([("Importing", 50, 300), ("Importing", 61, 700), ("Failed", 0, 0)])
    jobs["reason"] = [None, None, "cannot read in/17.parquet: unexpected EOF"]
    found = diagnose(jobs)
    assert found["finding"].tolist() == ["failed"]
    assert found["severity"].tolist() == ["critical"]
    evidence = json.loads(found["evidence"].item())
    assert evidence["cause"] == "cannot read <path>: unexpected EOF"
    assert (evidence["imported_rows"], evidence["phase"]) == (700, "Importing")


def test_a_standstill_far_longer_than_before_is_a_stall():
    moving = [("Importing", 40 + i, 33 * i) for i in range(20)]
    assert len(diagnose(jobs_of(moving))) == 0
    found = diagnose(jobs_of([*moving, *[moving[-1]] * 15]))
    assert found["finding"].tolist() == ["stalled"]
    assert json.loads(found["evidence"].item())["idle_s"] == 15 * 60


def test_a_gap_of_the_collector_is_reported_with_what_it_may_cost():
    jobs = jobs_of([("Importing", 40 + i, 33 * i) for i in range(20)])
    later = jobs["observed_at"].iloc[-1]
    assert len(diagnose(jobs, at=later + pd.Timedelta("3min"))) == 0
    gap = diagnose(jobs, at=later + pd.Timedelta("20min"))
    assert gap["finding"].tolist() == ["collector_gap"]
    soon = diagnose(jobs, at=later + pd.Timedelta("2h")).set_index("finding")
    assert soon.loc["forgotten_soon", "severity"] == "warning"
    late = diagnose(jobs, at=later + pd.Timedelta("4h")).set_index("finding")
    assert late.loc["forgotten_soon", "severity"] == "critical"


def test_later_snapshots_are_not_used():
    jobs = jobs_of([("Importing", 50, 300), ("Failed", 0, 0)])
    assert len(diagnose(jobs, at=START + pd.Timedelta("30s"))) == 0


def test_a_job_that_waits_for_its_commit():
    states = [("Importing", 85, 1000), *[("Uncommitted", 99, 1000)] * 10]
    found = diagnose(jobs_of(states))
    assert found["finding"].tolist() == ["waits_for_commit"]
    assert found["severity"].tolist() == ["warning"]
    assert found["message"].item() == (
        "All rows are imported; the job has waited 9 min 30 s for a commit"
    )


def test_one_stuck_file_holds_up_the_job():
    files = (FileSpec(("in/stuck.parquet",), 400_000_001, 100_000, stuck_s=np.inf), *FILES)
    job = JobSpec(collection_name="c", files=files, max_task_bytes=1, noise=0.05)
    found = found_in(job, until=1500)
    assert found.loc["one_file_holds_up", "severity"] == "warning"
    evidence = json.loads(found.loc["one_file_holds_up", "evidence"])
    assert (evidence["file"], evidence["verdict"]) == ("in/stuck.parquet", "stuck")


def test_a_restarted_node_is_distinguished_from_retries():
    cluster = ClusterSpec(restarts=(Restart(at_s=40.0, node=0, down_s=60.0),))
    found = found_in((cluster, JOB), poll_every_s=5)
    assert "node_restarted" in found.index
    assert "retries" not in found.index
    assert json.loads(found.loc["node_restarted", "evidence"])["tasks"] == 16

    retried = [FileSpec(file.paths, file.size_bytes, file.rows, retries=1) for file in FILES[:2]]
    job = JobSpec(collection_name="c", files=(*retried, *FILES[2:]), max_task_bytes=1)
    found = found_in(job, poll_every_s=5)
    assert "node_restarted" not in found.index
    assert json.loads(found.loc["retries", "evidence"])["tasks"] == 2


def test_the_restart_of_a_small_node_of_many_is_seen():
    """Three of thirty slots go back at once: too many for chance."""
    cluster = ClusterSpec(
        node_speeds=(1.0,) * 10,
        slots_per_node=3,
        restarts=(Restart(at_s=60.0, node=0, down_s=60.0),),
    )
    files = tuple(FileSpec((f"in/{i}.parquet",), 1_600_000_000, 400_000) for i in range(90))
    job = JobSpec(collection_name="c", files=files, max_task_bytes=1, noise=0.05)
    found = found_in((cluster, job), poll_every_s=5)
    assert json.loads(found.loc["node_restarted", "evidence"])["tasks"] == 3
    assert "retries" not in found.index


def test_a_collapse_of_the_speed_is_dated():
    cluster, job = make_shape("steady", seed=21, files=200)
    job = JobSpec(
        collection_name="c", files=job.files, import_bytes_per_s=20e6, max_task_bytes=1, noise=0.05
    )
    whole = simulate_job((cluster, job), seed=3, poll_every_s=60)
    spans = whole.truth.phases.set_index("phase")
    begin, end = spans.loc["Importing", "start"], spans.loc["Importing", "end"]
    zero = spans["start"].iloc[0]
    drop_s = ((begin - zero) + (end - begin) / 2).total_seconds()
    length_s = (end - begin).total_seconds()
    slower = ClusterSpec(
        node_speeds=cluster.node_speeds,
        slots_per_node=cluster.slots_per_node,
        load=((0.0, 1.0), (drop_s, 0.15)),
    )
    jobs, details = simulated(
        (slower, job),
        runs=False,
        seed=3,
        poll_every_s=length_s / 100,
        until=drop_s + length_s / 2,
    )
    found = diagnose(jobs, details).set_index("finding")
    since = found.loc["throughput_collapsed", "since"]
    assert abs((since - zero).total_seconds() - drop_s) < length_s / 10
    before = diagnose(jobs, details, at=zero + pd.Timedelta(drop_s - 1, "s"))
    assert "throughput_collapsed" not in set(before["finding"])


def test_files_that_all_wait_have_no_slot():
    other = JobSpec(
        collection_name="other",
        files=tuple(FileSpec((f"{i}.parquet",), 10**11, 10**6) for i in range(16)),
        max_task_bytes=1,
        preimport_bytes_per_s=1e12,
        pending_s=0.0,
    )
    cluster = ClusterSpec(other_jobs=(Arrival(-0.5, other),), slots_per_node=4)
    quick = JobSpec(collection_name="c", files=FILES[:4], max_task_bytes=1, pending_s=0.0)
    found = found_in((cluster, quick), until=3000)
    assert found.loc["no_free_slot", "severity"] == "warning"
    assert json.loads(found.loc["no_free_slot", "evidence"])["waiting_tasks"] == 4


def test_wrong_totals_are_pointed_out():
    found = found_in("wrong_totals", at_share=0.9)
    assert found.loc["wrong_totals", "severity"] == "info"


def test_two_servers_with_one_job_id_are_two_jobs():
    first = jobs_of([("Importing", 50, 300), ("Failed", 0, 0)])
    found = diagnose(pd.concat([first, first.assign(source_uri="v")]))
    assert found["source_uri"].tolist() == ["u", "v"]


def test_nothing_is_found_in_nothing():
    found = diagnose(flatten_jobs([]), flatten_details([]))
    assert len(found) == 0
    assert found["since"].dtype == "datetime64[us, UTC]"


def stands_at(progress, minutes, **columns):
    """A job that writes rows for five minutes and then stands at a progress, all rows in."""
    writing = [("Importing", 43 + 3 * n, 100 * (n + 1)) for n in range(5)]
    return jobs_of([*writing, *[("Importing", progress, 1000)] * minutes], **columns)


@pytest.mark.parametrize("progress", [70, 76, 80, 87, 99])
@pytest.mark.parametrize("minutes", [5, 50, 700])
def test_no_advice_is_to_abort_or_import_again_while_all_rows_are_in(progress, minutes):
    found = diagnose(stands_at(progress, minutes))
    assert "stalled" not in found["finding"].tolist()
    assert not found["advice"].str.contains("abort|and import again", case=False).any()
    late = minutes > 100 or (progress == 99 and minutes > 10)
    assert found["severity"].eq("warning").any() == late


def test_a_wait_is_judged_by_earlier_jobs_of_the_collection():
    usual = stands_at(80, 60, collection_name="c").assign(job_id="1")
    end = usual.iloc[[-1]].assign(state="Completed", progress_pct=100.0)
    end["observed_at"] += pd.Timedelta("1min")
    history = pd.concat([usual, end])
    later = stands_at(80, 200, collection_name="c")
    later["observed_at"] += pd.Timedelta("1D")
    at = later["observed_at"].iloc[5]
    severity = [
        diagnose(later, at=at + pd.Timedelta(minutes, "min"), history=history)["severity"].item()
        for minutes in (100, 185)
    ]
    assert severity == ["info", "warning"]
    # Those of another collection say nothing.
    other = history.assign(collection_name="d")
    assert "earlier jobs" not in diagnose(later, history=other)["message"].item()


def test_an_empty_reason_is_none():
    jobs = jobs_of([("Importing", 50, 300), ("Failed", 0, 0)])
    found = diagnose(jobs.assign(reason=" "))
    assert found["message"].item().endswith("the server gives no reason")
    assert json.loads(found["evidence"].item())["reason"] is None
    assert len(diagnose(jobs.head(1).assign(reason=""))) == 0


def test_the_first_finding_is_the_one_that_matters_most():
    jobs = stands_at(80, 700).assign(reason="disk quota exceeded")
    found = diagnose(jobs, at=jobs["observed_at"].iloc[-1] + pd.Timedelta("1h"))
    ranks = [FINDINGS.index(name) for name in found["finding"]]
    assert found["finding"].iloc[0] == "reason_given"
    assert ranks == sorted(ranks)


def test_every_finding_of_the_table_is_complete_and_named_once():
    assert len(set(FINDINGS)) == len(FINDINGS)
    for kind in FINDING_KINDS:
        assert kind.advice.endswith(".")
        assert kind.severities
        assert set(kind.severities) <= {"info", "warning", "critical"}
        assert not kind.when.endswith(".")


def test_only_the_failed_tasks_of_a_bulk_insert_are_to_be_imported_again():
    jobs, details = datasets.load("real_milvus_2_3")
    assert details["state"].eq("Completed").any()
    advice = diagnose(jobs, details).set_index("finding").loc["failed", "advice"]
    assert "the rows of those that completed are in the collection" in advice
    assert "leaves no visible rows" not in advice


def test_evidence_keeps_whole_numbers_whole_and_nine_digits_of_others():
    # The last digits of a fraction depend on which other jobs are analysed beside it.
    evidence = {"rows": 12_345_678_901.0, "share": 1 / 3, "p": np.float64(2e-18) / 3, "x": np.nan}
    assert _json(evidence) == (
        '{"rows": 12345678901.0, "share": 0.333333333, "p": 6.66666667e-19, "x": null}'
    )
