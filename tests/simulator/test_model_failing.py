"""The model of Milvus: failures, retention and what never ends."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from model_jobs import GIB, files_of, importing, plain_job, states_of

from importstats.simulator import (
    DIALECTS,
    Arrival,
    ClusterSpec,
    FileSpec,
    Phase,
    Polling,
    Restart,
    SimulatedCluster,
    TaskState,
    UnknownJobError,
    WrongPhaseError,
    simulate_cluster,
    simulate_job,
)
from importstats.simulator.wire import describe_answer, encode
from importstats.sources.answers import parse_response
from importstats.store.schema import details_table, jobs_table


def test_a_bad_file_fails_the_job_and_every_file_gets_the_reason() -> None:
    files = list(files_of(*[GIB] * 6))
    files[3] = replace(files[3], error="bad vector", slowdown=3.0)
    states = states_of(ClusterSpec(), plain_job(files=tuple(files), max_task_bytes=1))
    assert any(state.imported_rows for state in states)
    # For up to two seconds the task alone has failed.
    first = next(s for s in states if s.tasks is not None and s.tasks.reasons)
    assert first.state == "Importing"
    assert first.tasks is not None
    assert [r for r in first.tasks.reasons or () if r] == ["bad vector"]
    last = states[-1]
    assert (last.phase, last.reason, last.progress) == (Phase.FAILED, "bad vector", 0)
    assert last.tasks is not None
    assert set(last.tasks.state) == {TaskState.FAILED}
    assert last.tasks.reasons == ("bad vector",) * 6
    early = replace(files[3], error_phase="preimport")
    states = states_of(ClusterSpec(), plain_job(files=(early, *files[:3])))
    assert (states[-1].phase, states[-1].tasks) == (Phase.FAILED, None)


def test_a_failed_job_loses_its_rows_soon_and_keeps_the_times_of_tasks() -> None:
    files = (*files_of(*[GIB] * 6), FileSpec(("bad",), 4 * GIB, 1000, error="bad vector"))
    live = SimulatedCluster(ClusterSpec())
    job_id = live.create(plain_job(files=files, max_task_bytes=1))
    while not live.describe(job_id).ended:
        live.advance(live.now_s + 1)
    tasks = live.describe(job_id).tasks
    assert tasks is not None
    assert sorted(set(tasks.progress.tolist())) == [0, 100]
    ended = tasks.timed.copy()
    live.advance(live.now_s + 10)
    later = live.describe(job_id)
    assert later.tasks is not None
    assert set(later.tasks.progress.tolist()) == {0}
    assert later.tasks.timed.tolist() == ended.tolist()
    assert ended.any()
    details = parse_response(encode(describe_answer(later, DIALECTS["2.6"]))).data.details
    assert sum(bool(detail.complete_time) for detail in details) == ended.sum()
    assert {detail.reason for detail in details} == {"bad vector"}


def test_details_fall_to_0_once_the_segments_before_sorting_are_deleted() -> None:
    job = plain_job(index_rows_per_s=300.0)
    for release, falls_to_0 in (("2.6", True), ("2.4", False)):
        live = SimulatedCluster(ClusterSpec(release=release, dropped_segments_s=1000.0))
        job_id = live.create(job)
        live.advance(600)
        before = live.describe(job_id)
        live.advance(3000)
        state = live.describe(job_id)
        assert state.tasks is not None
        assert before.tasks is not None
        assert set(before.tasks.progress.tolist()) == {100}
        assert state.phase is before.phase is Phase.INDEX_BUILDING
        assert set(state.tasks.progress.tolist()) == {0 if falls_to_0 else 100}
        assert set(state.tasks.state) == {TaskState.COMPLETED}
        assert state.imported_rows == state.layout.total_rows
        assert state.tasks.timed.all()


def test_in_2_4_0_a_failed_file_ends_the_imports_of_its_node() -> None:
    outcomes = {}
    for release in ("2.4.0", "2.4.1"):
        live = SimulatedCluster(ClusterSpec(node_speeds=(1.0,), release=release))
        live.create(plain_job(files=files_of(GIB, error="bad")))
        live.advance(300)
        job_id = live.create(plain_job())
        live.advance(20_000)
        outcomes[release] = live.truth(job_id).outcome
    assert outcomes == {"2.4.0": "PreImporting", "2.4.1": "Completed"}


def test_a_failed_job_gives_its_slots_to_others() -> None:
    bad = plain_job(files=files_of(*[GIB] * 20, error="bad"))
    live = SimulatedCluster(ClusterSpec(node_speeds=(1.0,), slots_per_node=2))
    live.create(bad)
    job_id = live.create(plain_job())
    live.advance(20_000)
    assert live.truth(job_id).outcome == "Completed"


def test_time_outs_quotas_and_dropped_collections() -> None:
    late = states_of(ClusterSpec(), plain_job(timeout_s=50.0))
    assert (late[-1].phase, late[-1].reason) == (Phase.FAILED, "import timeout")
    assert len(late) == 121  # time-outs are looked for every 120 s
    dropped = states_of(ClusterSpec(), plain_job(dropped_after_s=30.0, index_rows_per_s=1.0))
    assert "dropped" in dropped[-1].reason
    over = states_of(ClusterSpec(), plain_job(quota_reason="quota exceeded[reason=disk]"))
    assert over[-1].reason.startswith("quota exceeded")
    assert over[-1].tasks is None
    assert over[-2].phase is Phase.PRE_IMPORTING


@pytest.mark.parametrize(("release", "state"), [("2.6.6", "Failed"), ("2.6.10", "Completed")])
def test_a_completed_job_could_fail_later(release: str, state: str) -> None:
    live = SimulatedCluster(ClusterSpec(release=release))
    job_id = live.create(plain_job(timeout_s=2000.0))
    live.advance(1000)
    completed = live.describe(job_id)
    assert completed.state == "Completed"
    live.advance(2400)
    later = live.describe(job_id)
    assert later.state == state
    assert later.complete_time == completed.complete_time


def test_a_job_without_a_row_ends_without_a_time() -> None:
    empty = plain_job(files=tuple(FileSpec((f"{i}.parquet",), 1000, 0) for i in range(3)))
    last = states_of(ClusterSpec(release="2.5.14"), empty)[-1]
    assert (last.state, last.complete_time, last.tasks) == ("Completed", "", None)
    assert (last.imported_rows, last.total_rows) == (0, 0)
    assert states_of(ClusterSpec(release="2.5.13"), empty)[-1].complete_time


def test_delete_logs_are_never_counted_as_imported() -> None:
    states = states_of(ClusterSpec(), plain_job(delete_logs=True))
    assert {(s.progress, s.imported_rows) for s in importing(states)} == {(40, 0)}
    assert Phase.SORTING not in {s.phase for s in states}
    last = states[-1]
    assert last.phase is Phase.COMPLETED
    assert last.tasks is not None
    assert set(last.tasks.progress.tolist()) == {0}


def test_negative_progress_is_kept_out_of_the_numbers() -> None:
    snapshots = list(simulate_job(plain_job(negative_progress=True), poll_every_s=1).snapshots())
    pending = [
        s.response.data for s in snapshots if s.response and s.response.data.state == "Pending"
    ]
    assert pending
    for data in pending:
        assert data.progress is None
        assert data.extra["progress"] == -(2**63)


def test_a_stuck_file_holds_its_batch_and_what_waits_behind_it() -> None:
    files = (FileSpec(("stuck",), GIB - 1, 10**6, stuck_s=600.0), *files_of(*[GIB] * 12))
    cluster = ClusterSpec(node_speeds=(1.0,), slots_per_node=4)
    simulation = simulate_job((cluster, plain_job(files=files, max_task_bytes=1)))
    truth = simulation.truth
    assert truth.outcome == "Completed"
    assert truth.tasks["straggler"].dropna().tolist() == ["stuck"]
    [hung] = truth.tasks.index[truth.tasks["straggler"].eq("stuck")]
    behind = truth.tasks[truth.tasks["batch"] > truth.tasks.loc[hung, "batch"]]
    assert len(behind)
    assert (behind["batch_began_at"] >= truth.tasks.loc[hung, "ended_at"]).all()


def test_a_file_stuck_for_ever_goes_on_after_a_restart() -> None:
    job = plain_job(files=files_of(GIB, stuck_s=math.inf))
    simulation = simulate_job(job, poll_every_s=120)
    assert simulation.truth.outcome == "Importing"
    assert pd.isna(simulation.truth.end)
    assert 20 < len(simulation.polls) < 60
    cluster = ClusterSpec(node_speeds=(1.0,), restarts=(Restart(at_s=1000.0, node=0),))
    truth = simulate_job((cluster, job), poll_every_s=120).truth
    assert truth.outcome == "Completed"
    assert truth.tasks["straggler"].tolist() == ["stuck"]


def test_jobs_of_a_cluster_are_simulated_together() -> None:
    job = plain_job()
    first, second = simulate_cluster(ClusterSpec(), [Arrival(0.0, job), Arrival(30.0, job)])
    assert first.job_id < second.job_id
    assert second.polls[0].observed_at > first.polls[0].observed_at
    alone = simulate_cluster(ClusterSpec(), [Arrival(30.0, job)])[0]
    assert second.truth.end > alone.truth.end


def test_commit_and_abort() -> None:
    live = SimulatedCluster(ClusterSpec(release="3.0"))
    job_id = live.create(plain_job(auto_commit=False))
    with pytest.raises(WrongPhaseError, match="Pending"):
        live.commit(job_id)
    live.advance(5_000)
    state = live.describe(job_id)
    assert (state.state, state.progress) == ("Uncommitted", 99)
    live.commit(job_id)
    assert live.describe(job_id).state == "Committing"
    with pytest.raises(WrongPhaseError, match="Committing"):
        live.abort(job_id)
    live.advance(5_010)
    assert live.describe(job_id).state == "Completed"
    with pytest.raises(WrongPhaseError, match="Completed"):
        live.abort(job_id)
    aborted = live.create(plain_job(auto_commit=False))
    live.abort(aborted)
    assert live.describe(aborted).state == "Pending"  # a little later
    live.advance(5_013)
    assert (live.describe(aborted).state, live.describe(aborted).reason) == (
        "Failed",
        "aborted by user",
    )
    by_itself = live.create(plain_job())
    for change in (live.commit, live.abort):
        with pytest.raises(WrongPhaseError, match="auto_commit"):
            change(by_itself)


def test_a_job_is_forgotten_after_its_retention() -> None:
    live = SimulatedCluster(ClusterSpec(retention_s=600.0))
    job_id = live.create(plain_job())
    live.advance(300)
    end_s = live.truth(job_id).phases["start"].iloc[-1] - pd.Timestamp(live.start)
    live.advance(end_s.total_seconds() + 599)
    assert [state.job_id for state in live.list()] == [job_id]
    live.advance(live.now_s + 121)  # looked for every two minutes
    assert live.list() == []
    with pytest.raises(UnknownJobError, match="does not exist"):
        live.describe(job_id)
    assert live.truth(job_id).outcome == "Completed"


@pytest.mark.parametrize(("release", "failed"), [("2.6", False), ("2.4.8", True)])
def test_a_slow_collector_asks_for_a_forgotten_job(release: str, failed: bool) -> None:
    simulation = simulate_job(
        (ClusterSpec(retention_s=60.0, release=release), plain_job()),
        polling=Polling(every_s=1000, after_end=5),
    )
    last = list(simulation.snapshots())[-1]
    if failed:
        assert last.response is not None
        assert last.response.data.state == "Failed"
        assert "does not exist" in str(last.response.data.reason)
    else:
        assert last.response is None
        assert "does not know" in str(last.error)
    jobs, details = simulation.tables()
    assert jobs.equals(jobs_table(simulation.snapshots()))
    assert details.equals(details_table(simulation.snapshots()))
