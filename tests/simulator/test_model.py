"""The simulated cluster follows the protocol, and its tables are those of its answers."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importstats.simulator import (
    DIALECTS,
    FAMILIES,
    RELEASES,
    SHAPES,
    Arrival,
    ClusterSpec,
    FileSpec,
    JobSpec,
    JobState,
    Phase,
    Restart,
    SimulatedCluster,
    TaskState,
    UnknownJobError,
    WrongPhaseError,
    make_shape,
    simulate_cluster,
    simulate_job,
    with_stragglers,
)
from importstats.simulator.layout import group_files
from importstats.simulator.load import SteppedLoad
from importstats.simulator.wire import describe_answer, encode
from importstats.sources.answers import parse_response
from importstats.sources.file_names import parse_file_name
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA, details_table, jobs_table

GIB = 2**30


def files_of(*sizes: int, **faults: object) -> tuple[FileSpec, ...]:
    return tuple(
        FileSpec((f"in/{i}.parquet",), size, size // 1000, **faults)  # type: ignore[arg-type]
        for i, size in enumerate(sizes)
    )


def plain_job(**changes: object) -> JobSpec:
    job = JobSpec(collection_name="products", files=files_of(*[GIB] * 8), noise=0.0)
    return replace(job, **changes)  # type: ignore[arg-type]


def states_of(cluster: ClusterSpec, job: JobSpec, every_s: float = 1.0) -> list[JobState]:
    live = SimulatedCluster(cluster)
    job_id = live.create(job)
    states = [live.describe(job_id)]
    while not states[-1].ended and live.now_s < 20_000:
        live.advance(live.now_s + every_s)
        states.append(live.describe(job_id))
    return states


# Progress follows the table of the protocol.

BANDS = {
    Phase.PENDING: ("Pending", 0, 10),
    Phase.PRE_IMPORTING: ("Importing", 10, 40),
    Phase.IMPORTING: ("Importing", 40, 70),
    Phase.SORTING: ("Importing", 70, 80),
    Phase.INDEX_BUILDING: ("Importing", 80, 90),
    Phase.UNCOMMITTED: ("Importing", 99, 99),
    Phase.COMMITTING: ("Importing", 99, 99),
    Phase.COMPLETED: ("Completed", 100, 100),
    Phase.FAILED: ("Failed", 0, 0),
}


@pytest.mark.parametrize("shape", [s for s in SHAPES if s not in ("two_phase_commit",)])
def test_state_and_progress_follow_the_phase(shape: str) -> None:
    cluster, job = make_shape(shape, files=9, seed=4)
    states = states_of(replace(cluster, release="3.0"), replace(job, negative_progress=False), 20.0)
    for state in states:
        name, low, high = BANDS[state.phase]
        assert state.state == name
        assert low <= state.progress <= high
        if state.phase in (Phase.PENDING, Phase.PRE_IMPORTING, Phase.FAILED):
            assert (state.imported_rows, state.total_rows) == (0, 0)
        elif state.phase is not Phase.IMPORTING:
            assert state.imported_rows == state.total_rows == state.layout.total_rows
        assert (state.tasks is None) == (state.phase in (Phase.PENDING, Phase.PRE_IMPORTING)) or (
            state.phase is Phase.FAILED
        )


def test_every_phase_of_a_release_is_seen_in_order() -> None:
    for release in RELEASES.values():
        states = states_of(ClusterSpec(release=release.name), plain_job(commit_s=5.0))
        seen = list(dict.fromkeys(state.phase for state in states))
        expected = sorted(release.weights, key=list(Phase).index)
        if release.two_phase:
            expected += [Phase.UNCOMMITTED, Phase.COMMITTING]
        assert seen == [*expected, Phase.COMPLETED]


def test_importing_progress_is_the_share_of_rows() -> None:
    states = [s for s in states_of(ClusterSpec(), plain_job()) if s.phase is Phase.IMPORTING]
    assert len({state.progress for state in states}) > 10
    for state in states:
        assert state.progress == 40 + 30 * state.imported_rows // state.total_rows


def test_early_releases_weigh_differently() -> None:
    states = states_of(ClusterSpec(release="2.4-early"), plain_job(early_index=False))
    highest = {s.phase: s.progress for s in states}
    assert 45 < highest[Phase.PRE_IMPORTING] <= 50
    assert 85 < highest[Phase.IMPORTING] <= 90
    assert Phase.SORTING not in highest


def test_files_of_a_task_share_its_progress_and_rows_are_its_percent() -> None:
    job = plain_job(files=files_of(*range(10**7, 4 * 10**7, 10**6)), segment_bytes=10**8)
    cluster = SimulatedCluster(ClusterSpec())
    job_id = cluster.create(job)
    while not (state := cluster.describe(job_id)).ended:
        cluster.advance(cluster.now_s + 1)
        answer = parse_response(encode(describe_answer(state, DIALECTS["2.6"])))
        details = answer.data.details
        for detail, task in zip(details, state.layout.task, strict=False):
            first = details[state.layout.first[task]]
            assert (detail.progress, detail.state) == (first.progress, first.state)
            assert detail.imported_rows == int(detail.progress or 0) * detail.total_rows // 100  # type: ignore[operator]
        if details:
            assert sum(d.imported_rows or 0 for d in details) <= state.layout.total_rows
            if state.phase is not Phase.IMPORTING:
                assert sum(d.imported_rows or 0 for d in details) == state.imported_rows


def test_rows_come_in_bursts_of_the_buffer() -> None:
    job = plain_job(files=files_of(GIB), buffer_bytes=128 * 2**20)
    rows = {s.imported_rows for s in states_of(ClusterSpec(), job, 0.5)}
    assert len(rows) == 9  # 0, seven buffers and the rest with the last


def test_small_files_share_a_task_up_to_the_cap() -> None:
    sizes = [5, 1, 9, 2, 30, 3]
    groups = list(group_files(sizes, cap=10))
    assert sorted(index for group in groups for index in group) == list(range(len(sizes)))
    assert all(len(group) == 1 or sum(sizes[i] for i in group) <= 10 for group in groups)
    assert [len(group) for group in groups] == [3, 1, 1, 1]


def test_tasks_beyond_the_slots_wait_in_pending() -> None:
    cluster = ClusterSpec(node_speeds=(1.0, 1.0), slots_per_node=2)
    states = [s for s in states_of(cluster, plain_job()) if s.phase is Phase.IMPORTING and s.tasks]
    assert max(np.sum(s.tasks.state == TaskState.IN_PROGRESS) for s in states if s.tasks) == 4
    assert any(np.any(s.tasks.state == TaskState.PENDING) for s in states if s.tasks)


# Luck and misfortune.


def falls(states: list[JobState]) -> int:
    rows = [state.imported_rows for state in states if state.phase is Phase.IMPORTING]
    return sum(after < before for before, after in pairwise(rows))


def test_rows_only_grow_without_misfortune() -> None:
    assert falls(states_of(ClusterSpec(), plain_job())) == 0


def test_a_retry_takes_rows_back_and_says_so() -> None:
    states = states_of(ClusterSpec(), plain_job(files=files_of(*[GIB] * 4, retries=2)))
    assert falls(states) > 0
    assert any(np.any(s.tasks.state == TaskState.RETRY) for s in states if s.tasks)
    assert states[-1].phase is Phase.COMPLETED


def test_a_restarted_node_takes_rows_back() -> None:
    cluster = ClusterSpec(restarts=(Restart(at_s=50.0, node=0, down_s=30.0),))
    assert falls(states_of(cluster, plain_job())) == 1
    live = SimulatedCluster(cluster)
    job_id = live.create(plain_job())
    live.advance(10_000)
    truth = live.truth(job_id)
    assert set(truth.files.loc[truth.files["retries"] > 0, "straggler"]) == {"retried"}


def test_load_steps_make_end_times_exact() -> None:
    job = plain_job(
        files=files_of(10**9), import_bytes_per_s=1e7, task_overhead_s=0.0, pending_s=0.0
    )
    live = SimulatedCluster(ClusterSpec(load=((50.0, 0.5),), check_interval_s=1.0))
    job_id = live.create(job)
    live.advance(10_000)
    truth = live.truth(job_id).files.iloc[0]
    began = (truth["started_at"] - pd.Timestamp(live.start)).total_seconds()
    ended = (truth["finished_at"] - pd.Timestamp(live.start)).total_seconds()
    assert began == 7.0  # 6.7 s to read the file, then the next whole second
    assert ended == pytest.approx(50 + (100 - 43) / 0.5, abs=1e-5)


@given(
    st.lists(st.tuples(st.floats(0.1, 1000), st.floats(0.05, 20)), max_size=6),
    st.floats(-100, 10_000),
)
def test_load_inverts(spans: list[tuple[float, float]], at_s: float) -> None:
    starts = np.cumsum([span for span, _ in spans]).tolist()
    load = SteppedLoad(tuple(zip(starts, [factor for _, factor in spans], strict=True)))
    assert load.time(load.work(at_s)) == pytest.approx(at_s, abs=1e-6)
    assert load.work(at_s + 1) > load.work(at_s)


def test_a_bad_file_fails_the_job_with_its_reason() -> None:
    files = list(files_of(*[GIB] * 6))
    files[3] = replace(files[3], error="bad vector")
    states = states_of(ClusterSpec(), plain_job(files=tuple(files)))
    assert any(state.imported_rows > 0 for state in states)
    last = states[-1]
    assert (last.phase, last.reason, last.progress) == (Phase.FAILED, "bad vector", 0)
    assert last.tasks is not None
    assert set(last.tasks.state) == {TaskState.FAILED}
    early = replace(files[3], error_phase="preimport")
    states = states_of(ClusterSpec(), plain_job(files=(early, *files[:3])))
    assert (states[-1].phase, states[-1].tasks) == (Phase.FAILED, None)


def test_progress_may_lie_and_rows_do_not() -> None:
    job = plain_job(negative_progress=True)
    snapshots = list(simulate_job(job, poll_every_s=0.25).snapshots())
    lies = [s for s in snapshots if s.response and "progress" in s.response.data.extra]
    assert lies
    for snapshot in lies:
        assert snapshot.response is not None
        data = snapshot.response.data
        assert data.progress is None
        assert data.extra["progress"] == -(2**63)
        assert data.imported_rows == 0
        assert all(d.progress is None and d.imported_rows == 0 for d in data.details)


def test_a_failed_job_gives_its_slots_to_others() -> None:
    bad = plain_job(files=files_of(*[GIB] * 20, error="bad"))
    live = SimulatedCluster(ClusterSpec(node_speeds=(1.0,), slots_per_node=2))
    live.create(bad)
    job_id = live.create(plain_job())
    live.advance(20_000)
    assert live.truth(job_id).outcome == "Completed"


def test_a_stuck_task_hangs_and_is_retried() -> None:
    files = list(files_of(*[GIB] * 3))
    files[0] = replace(files[0], stuck_s=600.0)
    simulation = simulate_job(plain_job(files=tuple(files)))
    truth = simulation.truth
    assert truth.outcome == "Completed"
    assert truth.files["straggler"].dropna().tolist() == ["stuck"]
    importing = truth.phases.set_index("phase").loc["Importing"]
    assert (importing["end"] - importing["start"]).total_seconds() > 600


def test_a_job_stuck_for_ever_is_watched_for_a_while() -> None:
    simulation = simulate_job(plain_job(files=files_of(GIB, stuck_s=math.inf)), poll_every_s=120)
    assert simulation.truth.outcome == "Importing"
    assert pd.isna(simulation.truth.end)
    assert 20 < len(simulation.polls) < 60


def test_index_building_can_take_longer_than_the_rest() -> None:
    truth = simulate_job(plain_job(index_rows_per_s=1000.0), poll_every_s=300).truth
    spans = truth.phases.set_index("phase")
    index_s = spans.loc["IndexBuilding", "end"] - spans.loc["IndexBuilding", "start"]
    assert index_s > 0.9 * (truth.end - spans["start"].iloc[0])


def test_other_jobs_hold_the_slots() -> None:
    other = plain_job(files=files_of(*[GIB] * 40))
    alone = ClusterSpec()
    shared = replace(alone, other_jobs=(Arrival(-5.0, other),))
    ends = [
        simulate_job((cluster, plain_job()), poll_every_s=600).truth.end
        for cluster in (alone, shared)
    ]
    assert ends[1] > ends[0]


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
    live.advance(5_010)
    assert live.describe(job_id).state == "Completed"
    with pytest.raises(WrongPhaseError, match="Completed"):
        live.abort(job_id)
    aborted = live.create(plain_job())
    live.abort(aborted)
    assert live.describe(aborted).state == "Failed"
    assert "abort" in live.describe(aborted).reason


def test_a_job_is_forgotten_after_its_retention() -> None:
    live = SimulatedCluster(ClusterSpec(retention_s=600.0))
    job_id = live.create(plain_job())
    live.advance(300)
    end_s = live.truth(job_id).phases["start"].iloc[-1] - pd.Timestamp(live.start)
    live.advance(end_s.total_seconds() + 599)
    assert [state.job_id for state in live.list()] == [job_id]
    live.advance(live.now_s + 2)
    assert live.list() == []
    with pytest.raises(UnknownJobError, match="does not exist"):
        live.describe(job_id)
    assert live.truth(job_id).outcome == "Completed"


def test_a_slow_collector_gets_an_error_for_a_forgotten_job() -> None:
    simulation = simulate_job(
        (ClusterSpec(retention_s=60.0), plain_job()), poll_every_s=1000, polls_after_end=5
    )
    last = list(simulation.snapshots())[-1]
    assert last.response is None
    assert "does not know" in str(last.error)
    jobs, _ = simulation.tables()
    assert jobs.equals(jobs_table(simulation.snapshots()))


def test_a_job_to_come_is_unknown_until_it_arrives() -> None:
    live = SimulatedCluster(ClusterSpec())
    job_id = live.create(plain_job(), at_s=100.0)
    with pytest.raises(UnknownJobError):
        live.describe(job_id)
    live.advance(100.0)
    assert live.describe(job_id).phase is Phase.PENDING
    with pytest.raises(ValueError, match="cannot go back"):
        live.advance(99.0)


def test_details_may_be_shuffled() -> None:
    job = plain_job(files=files_of(*range(10**8, 2 * 10**9, 10**8)))
    simulation = simulate_job((ClusterSpec(shuffled_details=True), job))
    answers = [s.response.data.details for s in simulation.snapshots() if s.response]
    orders = {tuple(d.file_name for d in details) for details in answers if details}
    assert len(orders) > 5
    assert len({frozenset(order) for order in orders}) == 1
    _, details = simulation.tables()
    assert details.equals(details_table(simulation.snapshots()))


# Truth.


def test_truth_agrees_with_what_is_seen() -> None:
    simulation = simulate_job(plain_job(), poll_every_s=5)
    phases, files = simulation.truth.phases, simulation.truth.files
    assert (phases["start"].iloc[1:].to_numpy() == phases["end"].iloc[:-1].to_numpy()).all()
    assert phases["start"].dtype == files["finished_at"].dtype == "datetime64[us, UTC]"
    spans = phases.set_index("phase")
    for poll in simulation.polls[:-1]:
        assert poll.state is not None
        span = spans.loc[poll.state.phase.value]
        asked_at = pd.Timestamp(poll.observed_at) - pd.Timedelta(seconds=poll.request_latency_s)
        assert span["start"] <= asked_at + pd.Timedelta("2us")
        assert asked_at <= span["end"] + pd.Timedelta("2us")
    assert (files["started_at"] >= spans.loc["Importing", "start"]).all()
    assert (files["finished_at"] <= spans.loc["Importing", "end"]).all()
    assert simulation.truth.end == phases["start"].iloc[-1]
    jobs, details = simulation.tables()
    assert jobs["complete_time"][-1].as_py() == simulation.truth.end.floor("s").to_pydatetime()
    last = details.filter(pa.compute.equal(details["snapshot_id"], jobs["snapshot_id"][-1]))
    assert last["file_name"].to_pylist() == files["file_name"].tolist()
    assert last["total_rows"].to_pylist() == files["total_rows"].tolist()


def test_stragglers_are_named_by_their_cause() -> None:
    job = plain_job(files=files_of(*[GIB] * 40), noise=0.05, max_task_bytes=GIB)
    slowed = with_stragglers(job, ["big", "slow", "retried", "stuck"], count=2, seed=7)
    truth = simulate_job(slowed, poll_every_s=600).truth
    assert truth.files["straggler"].value_counts().to_dict() == {
        "big": 2,
        "slow": 2,
        "retried": 2,
        "stuck": 2,
    }
    cluster = ClusterSpec(node_speeds=(1.0, 1.0, 1.0, 0.3))
    truth = simulate_job((cluster, job), poll_every_s=600).truth
    slow = truth.files[truth.files["node"] == 3]
    assert len(slow)
    assert set(slow["straggler"]) == {"slow"}
    assert truth.files.loc[truth.files["node"] != 3, "straggler"].isna().all()


# Snapshots and tables.


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("shape", ["retry_storm", "wrong_totals", "failing", "two_phase_commit"])
def test_tables_equal_those_of_the_snapshots(shape: str, dialect: str) -> None:
    cluster, job = make_shape(shape, seed=2, files=17)
    job = replace(job, db_name="stage", negative_progress=shape == "wrong_totals")
    simulation = simulate_job((cluster, job), dialect=dialect, poll_every_s=60, max_polls=60)
    snapshots = list(simulation.snapshots())
    jobs, details = simulation.tables()
    assert jobs.schema.equals(JOBS_SCHEMA, check_metadata=True)
    assert details.schema.equals(DETAILS_SCHEMA, check_metadata=True)
    assert jobs.to_pylist() == jobs_table(snapshots).to_pylist()
    assert details.to_pylist() == details_table(snapshots).to_pylist()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(list(SHAPES)),
    st.sampled_from(list(FAMILIES)),
    st.integers(0, 10**6),
    st.integers(1, 30),
)
def test_runs_expand_to_all_rows(shape: str, family: str, seed: int, files: int) -> None:
    simulation = simulate_job(
        shape, seed=seed, family=family, files=files, poll_every_s=90, max_polls=80
    )
    jobs, details = (table.to_pandas() for table in simulation.tables())
    runs = simulation.tables(runs=True)[1].to_pandas()
    assert len(runs) <= len(details)
    assert runs.equals(runs.sort_values(["snapshot_id", "file_index"], ignore_index=True))
    ids = jobs["snapshot_id"].to_numpy()
    first, last = (np.searchsorted(ids, runs[c]) for c in ("snapshot_id", "last_snapshot_id"))
    expanded = runs.loc[runs.index.repeat(last - first + 1)].reset_index(drop=True)
    offset = expanded.groupby(["file_index", "snapshot_id"]).cumcount()
    polls = np.searchsorted(ids, expanded["snapshot_id"]) + offset
    expanded["snapshot_id"] = expanded["last_snapshot_id"] = ids[polls]
    times = jobs["observed_at"].to_numpy()[polls]
    expanded["observed_at"] = expanded["last_observed_at"] = times
    expanded = expanded.sort_values(["snapshot_id", "file_index"], ignore_index=True)
    for column in ("observed_at", "last_observed_at"):
        expanded[column] = expanded[column].astype(details[column].dtype)
    pd.testing.assert_frame_equal(expanded, details)


def test_every_dialect_tells_of_the_same_job() -> None:
    job = plain_job(files=(FileSpec(("a/x.npy", 'a/"y".npy'), GIB, 10**6), *files_of(10**8)))
    live = SimulatedCluster(ClusterSpec())
    job_id = live.create(job)
    live.advance(45.0)
    state = live.describe(job_id)
    assert 0 < state.imported_rows < state.total_rows
    for dialect in DIALECTS.values():
        answer = parse_response(encode(describe_answer(state, dialect)))
        data = answer.data
        assert (data.job_id, data.state, data.collection_name) == (job_id, "Importing", "products")
        assert data.progress == state.progress
        assert (data.imported_rows, data.total_rows) == (state.imported_rows, state.total_rows)
        assert [d.file_size for d in data.details] == [10**8, GIB]
        assert [d.state for d in data.details] == ["Completed", "InProgress"]
        paths = parse_file_name(data.details[1].file_name).paths
        if dialect.name == "2.4-early":
            assert paths == ("a/x.npy", 'a/"y".npy')
        assert paths[0].startswith("a/x.npy")
        if dialect.detail_rows:
            assert data.details[1].total_rows == 10**6
        else:
            assert data.details[1].total_rows is None


def test_a_seed_decides_everything() -> None:
    first, again, other = (simulate_job("varying_load", seed=s, poll_every_s=60) for s in (8, 8, 9))
    assert [t.equals(u) for t, u in zip(first.tables(), again.tables(), strict=True)] == [True] * 2
    pd.testing.assert_frame_equal(first.truth.files, again.truth.files)
    assert not first.tables()[0].equals(other.tables()[0])


def test_snapshot_ids_ascend_and_polls_jitter() -> None:
    simulation = simulate_job("small_and_quick", seed=1, poll_every_s=2, polls_after_end=4)
    ids = [poll.snapshot_id for poll in simulation.polls]
    assert ids == sorted(set(ids))
    gaps = np.diff([poll.observed_at.timestamp() for poll in simulation.polls])
    assert len(set(gaps.round(3))) > 1
    assert sum(p.state is not None and p.state.ended for p in simulation.polls) == 4
    none = simulate_job("small_and_quick", seed=1, poll_every_s=2, polls_after_end=0)
    assert not any(p.state is None or p.state.ended for p in none.polls)
    assert len(simulate_job("small_and_quick", seed=1, max_polls=3, poll_every_s=2).polls) == 3
    until = simulate_job("small_and_quick", seed=1, until=11.0, poll_every_s=2)
    assert until.polls[-1].observed_at < datetime(2026, 1, 5, 8, 0, 12, tzinfo=UTC)


def test_shapes_differ_by_seed_and_family() -> None:
    for shape in SHAPES:
        drawn = [
            make_shape(shape, seed=seed, family=family) for seed in range(2) for family in FAMILIES
        ]
        assert len({job.files for _, job in drawn}) == 2 * len(FAMILIES)
        assert make_shape(shape, seed=1) == make_shape(shape, seed=1)
        assert len(make_shape(shape, files=3, seed=1)[1].files) == 3


def test_specs_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="no shape"):
        make_shape("round")
    with pytest.raises(ValueError, match="no family"):
        make_shape("steady", family="royal")
    with pytest.raises(ValueError, match="no release"):
        ClusterSpec(release="1.0")
    with pytest.raises(ValueError, match="greater than 0"):
        ClusterSpec(load=((0.0, 0.0),))
    with pytest.raises(ValueError, match="ascend"):
        ClusterSpec(load=((5.0, 1.0), (1.0, 1.0)))
    with pytest.raises(ValueError, match="at least one file"):
        JobSpec(collection_name="c", files=())
    with pytest.raises(ValueError, match="negative"):
        FileSpec(("a",), -1, 0)
    with pytest.raises(ValueError, match="no dialect"):
        simulate_job("steady", dialect="latin")
