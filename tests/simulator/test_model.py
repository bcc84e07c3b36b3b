"""The simulated cluster does what the source of the servers says; its tables are its answers."""

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
    Polling,
    Restart,
    SimulatedCluster,
    TaskState,
    UnknownJobError,
    WrongPhaseError,
    make_shape,
    release_of,
    simulate_cluster,
    simulate_job,
    with_stragglers,
)
from importstats.simulator.layout import group_files, make_layout
from importstats.simulator.load import SteppedLoad, product
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


def states_of(
    cluster: ClusterSpec, job: JobSpec, every_s: float = 1.0, most_s: float = 20_000
) -> list[JobState]:
    live = SimulatedCluster(cluster)
    job_id = live.create(job)
    states = [live.describe(job_id)]
    while not states[-1].ended and live.now_s < most_s:
        live.advance(live.now_s + every_s)
        states.append(live.describe(job_id))
    return states


def importing(states: list[JobState]) -> list[JobState]:
    return [state for state in states if state.phase is Phase.IMPORTING]


def seconds(times: pd.Series) -> np.ndarray:
    return (times - pd.Timestamp("2026-01-05T08:00Z")).dt.total_seconds().to_numpy()


# The scales.

NAMES = {
    Phase.PENDING: "Pending",
    Phase.COMPLETED: "Completed",
    Phase.FAILED: "Failed",
}
#: First and last progress of each phase, by release: the table of the protocol.
SCALES = {
    "2.4.0-rc.1": {"PreImporting": (10, 50), "Importing": (50, 90), "IndexBuilding": (90, 90)},
    "2.4.0": {"PreImporting": (10, 40), "Importing": (40, 70), "IndexBuilding": (70, 70)},
    "2.4.12": {"PreImporting": (10, 40), "Importing": (40, 70), "IndexBuilding": (70, 70)},
    "2.4.13": {"PreImporting": (10, 40), "Importing": (40, 70), "IndexBuilding": (70, 90)},
    "2.4.23": {"PreImporting": (10, 40), "Importing": (40, 70), "IndexBuilding": (70, 90)},
    "2.5": {
        "PreImporting": (10, 40),
        "Importing": (40, 70),
        "Sorting": (70, 80),
        "IndexBuilding": (80, 90),
    },
    "2.6": {
        "PreImporting": (10, 40),
        "Importing": (40, 70),
        "Sorting": (70, 80),
        "IndexBuilding": (80, 90),
    },
    "3.0": {
        "PreImporting": (10, 40),
        "Importing": (40, 70),
        "Sorting": (70, 80),
        "IndexBuilding": (80, 90),
        "Uncommitted": (99, 99),
        "Committing": (99, 99),
    },
    "3.0-v3": {
        "PreImporting": (10, 15),
        "Resharding": (15, 45),
        "Planning": (45, 45),
        "Importing": (50, 60),
        "IndexBuilding": (60, 90),
        "Uncommitted": (99, 99),
        "Committing": (99, 99),
    },
}


@pytest.mark.parametrize("version", SCALES)
def test_each_release_has_its_scale(version: str) -> None:
    job = plain_job(
        files=files_of(*[GIB] * 40),
        early_index=False,
        index_rows_per_s=5e4,
        sort_rows_per_s=2e5,
        commit_s=5.0,
        pending_s=5.0,
    )
    states = states_of(ClusterSpec(release=version, slots_per_node=4), job)
    assert list(dict.fromkeys(state.phase.value for state in states)) == [
        "Pending",
        *SCALES[version],
        "Completed",
    ]
    for phase, (low, high) in SCALES[version].items():
        seen = [state.progress for state in states if state.phase.value == phase]
        assert seen[0] == low, phase
        assert low <= min(seen) <= max(seen) <= high
        assert seen == sorted(seen)
        if high > low:
            assert len(set(seen)) >= 3, phase
    assert {state.progress for state in states if state.phase is Phase.PENDING} == {0}


@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "huge"])
def test_state_and_rows_follow_the_phase(shape: str) -> None:
    cluster, job = make_shape(shape, files=9, seed=4)
    job = replace(job, negative_progress=False)
    before = (Phase.PENDING, Phase.PRE_IMPORTING)
    waits = {Phase.UNCOMMITTED, Phase.COMMITTING} if not job.auto_commit else set()
    for state in states_of(replace(cluster, release="3.0"), job, 60.0):
        name = state.phase.value if state.phase in waits else "Importing"
        assert state.state == NAMES.get(state.phase, name)
        if state.phase in (*before, Phase.FAILED):
            assert (state.imported_rows, state.total_rows) == (0, 0)
        elif state.phase is not Phase.IMPORTING:
            assert state.imported_rows == state.total_rows == state.layout.total_rows
        assert state.tasks is not None or state.phase in (*before, Phase.FAILED)
        assert state.phase not in before or state.tasks is None
        assert (state.complete_time != "") == (state.phase is Phase.COMPLETED)


def test_quotients_are_single_precision_and_cut() -> None:
    release = release_of("2.6")
    assert [release.progress(Phase.IMPORTING, rows, 100) for rows in (0, 53, 99, 100)] == [
        40,
        55,
        69,
        70,
    ]
    # Above 2**24 rows some may be missing from a whole percent.
    assert release.progress(Phase.IMPORTING, 10**9 - 20, 10**9) == 70
    files = (FileSpec(("a",), 53_000, 53), FileSpec(("b",), 47_000, 47, slowdown=3.0))
    job = plain_job(files=files, import_bytes_per_s=1000)
    shown = {
        (int(state.tasks.progress[0]), state.progress)
        for state in importing(states_of(ClusterSpec(), job, 0.5))
        if state.tasks is not None
    }
    assert shown == {(0, 40), (52, 55), (100, 70)}


def test_a_part_of_nothing_counts_as_done() -> None:
    states = states_of(ClusterSpec(), plain_job(waits_for_index=False))
    indexing = [state.progress for state in states if state.phase is Phase.INDEX_BUILDING]
    assert set(indexing) == {90}


def test_releases_between_those_named() -> None:
    assert release_of("2.4.2").success_code == 200
    assert release_of("2.4.3").success_code == 0
    assert [release_of(v).printed_name for v in ("2.4.4", "2.4.5")] == ["proto", "list"]
    assert [release_of(v).has_describe for v in ("2.4.13", "2.4.14")] == [False, True]
    assert [release_of(v).pool_per_core for v in ("2.5.16", "2.5.17")] == [False, True]
    assert [release_of(v).has_create_time for v in ("2.6.4", "2.6.5")] == [False, True]
    assert [release_of(v).ends_are_final for v in ("2.6.6", "2.6.10")] == [False, True]
    assert [release_of(v).keeps_rows for v in ("2.6.17", "2.6.18")] == [True, False]
    assert [release_of(v).unknown_job_code for v in ("2.6.18", "2.6.19")] == [2100, 2101]
    assert release_of("v2.5.3").sorts
    for wrong in ("1.0", "2.3.5", "new"):
        with pytest.raises(ValueError, match="no release"):
            release_of(wrong)


# Rows: whole files.


def test_a_file_is_at_0_until_it_has_ended() -> None:
    states = importing(states_of(ClusterSpec(), plain_job(max_task_bytes=1)))
    assert {int(p) for s in states if s.tasks for p in s.tasks.progress} == {0, 100}
    rows = {state.imported_rows for state in states}
    assert all(number is not None and number % (GIB // 1000) == 0 for number in rows)


def test_equal_files_end_together() -> None:
    # 8 files of one task in one pool: it goes from 0 to 100 in one step.
    states = importing(states_of(ClusterSpec(node_speeds=(1.0,)), plain_job(segment_bytes=9 * GIB)))
    progress = [int(p) for s in states if s.tasks for p in s.tasks.progress]
    assert set(progress) == {0, 100}


def test_a_file_that_ends_publishes_what_others_have_written() -> None:
    files = (*files_of(GIB), FileSpec(("big",), 4 * GIB, 4 * 10**6))
    job = plain_job(files=files, segment_bytes=9 * GIB, buffer_bytes=16 * 2**20)
    states = importing(states_of(ClusterSpec(node_speeds=(1.0,)), job))
    rows = sorted({state.imported_rows for state in states if state.imported_rows is not None})
    small = GIB // 1000
    # A quarter of the large file is written when the small one ends.
    assert rows[0] == 0
    assert rows[1] == pytest.approx(small + 10**6, rel=0.05)
    assert rows[1] > small + 0.9 * 10**6
    whole = importing(states_of(ClusterSpec(), replace(job, buffer_bytes=8 * GIB)))
    assert small in {state.imported_rows for state in whole}


def test_the_smooth_signal_shows_rows_as_they_are_written() -> None:
    job = plain_job(files=files_of(GIB), buffer_bytes=128 * 2**20)
    rows = {s.imported_rows for s in states_of(ClusterSpec(signal="smooth"), job, 0.5)}
    assert len(rows) == 9  # 0, seven buffers and the rest with the last
    with pytest.raises(ValueError, match="whole"):
        ClusterSpec(signal="bumpy")  # type: ignore[arg-type]


def test_v3_counts_hashed_rows_file_by_file() -> None:
    cluster = SimulatedCluster(ClusterSpec(release="3.0-v3"))
    job = plain_job(files=files_of(*range(10**7, 4 * 10**7, 10**6)), buffer_bytes=10**6)
    job_id = cluster.create(job)
    partly = 0
    while not (state := cluster.describe(job_id)).ended:
        cluster.advance(cluster.now_s + 0.3)
        details = parse_response(encode(describe_answer(state, DIALECTS["3.0-v3"]))).data.details
        for detail in details:
            assert detail.complete_time == ""
            assert detail.progress is not None
            assert detail.imported_rows is not None
            assert detail.total_rows is not None
            partly += detail.imported_rows != int(detail.progress) * detail.total_rows // 100
        if state.phase in (Phase.PLANNING, Phase.IMPORTING, Phase.INDEX_BUILDING):
            assert all(detail.imported_rows == detail.total_rows for detail in details)
    assert partly > 0


def test_files_of_a_task_share_its_progress_and_rows_are_its_percent() -> None:
    job = plain_job(files=files_of(*range(10**7, 4 * 10**7, 10**6)), segment_bytes=10**8)
    cluster = SimulatedCluster(ClusterSpec(shuffled_details=False))
    job_id = cluster.create(job)
    while not (state := cluster.describe(job_id)).ended:
        cluster.advance(cluster.now_s + 1)
        answer = parse_response(encode(describe_answer(state, DIALECTS["2.6"])))
        details = answer.data.details
        for detail, task in zip(details, state.layout.task, strict=False):
            first = details[state.layout.first[task]]
            assert (detail.progress, detail.state) == (first.progress, first.state)
            assert detail.imported_rows == int(detail.progress or 0) * detail.total_rows // 100  # type: ignore[operator]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([name for name in SHAPES if name not in ("huge", "delete_logs")]),
    st.sampled_from(list(FAMILIES)),
    st.sampled_from(["2.4.12", "2.5", "2.6", "3.0-v3"]),
    st.sampled_from(["whole", "smooth"]),
    st.integers(0, 10**6),
    st.integers(1, 30),
)
def test_no_row_is_lost_and_none_falls_without_a_cause(
    shape: str, family: str, release: str, signal: str, seed: int, files: int
) -> None:
    cluster, job = make_shape(shape, seed=seed, files=files, family=family)
    cluster = replace(cluster, release=release, signal=signal)  # type: ignore[arg-type]
    simulation = simulate_job((cluster, job), seed=seed, polling=Polling(every_s=60, most=200))
    states = [poll.state for poll in simulation.polls if poll.state is not None]
    total = sum(file.rows for file in job.files)
    truth = simulation.truth
    assert truth.files["total_rows"].sum() == truth.tasks["total_rows"].sum() == total
    rows_of_phase = [
        state.imported_rows
        for state in states
        if state.phase not in (Phase.PENDING, Phase.PRE_IMPORTING, Phase.FAILED)
    ]
    assert all(0 <= rows <= total for rows in rows_of_phase if rows is not None)
    may_fall = truth.tasks["retries"].sum() > 0 and not release_of(release).keeps_rows
    # What is seen as it is written is lost with the attempt.
    may_fall |= signal == "smooth" and (
        truth.tasks["retries"].sum() > 0 or any(file.error for file in job.files)
    )
    assert may_fall or rows_of_phase == sorted(rows_of_phase)
    if truth.outcome == "Completed":
        assert states[-1].imported_rows == total or simulation.polls[-1].state is None
        assert truth.tasks["state"].eq("Completed").all()


# Tasks: grouping, batches, pools.


def test_small_files_share_a_task_up_to_the_cap() -> None:
    sizes = [5, 1, 9, 2, 30, 3]
    groups = list(group_files(sizes, cap=10))
    assert sorted(index for group in groups for index in group) == list(range(len(sizes)))
    assert all(len(group) == 1 or sum(sizes[i] for i in group) <= 10 for group in groups)
    assert [len(group) for group in groups] == [3, 1, 1, 1]


def test_grouping_is_by_size_in_memory_with_the_cap_of_the_release() -> None:
    files = tuple(
        FileSpec((f"{i}.parquet",), GIB, 1000, memory_bytes=GIB * (5 - i)) for i in range(4)
    )
    job = plain_job(files=files, segment_bytes=100 * GIB)
    layout = make_layout(job, release_of("2.5"))
    assert [file.paths[0][0] for file in layout.files] == ["3", "2", "1", "0"]
    assert np.diff(layout.first).tolist() == [2, 1, 1]  # 2 + 3, 4, 5 GiB under 6
    assert make_layout(job, release_of("2.6")).task_count == 1  # 14 under 16
    assert make_layout(replace(job, segment_bytes=3 * GIB), release_of("2.6")).task_count == 4
    assert make_layout(replace(job, segment_bytes=3 * GIB, shards=2), release_of("2.6")).task_count
    assert make_layout(job, release_of("3.0-v3")).task_count == 4


def truth_of(cluster: ClusterSpec, job: JobSpec, seed: int = 0) -> pd.DataFrame:
    return simulate_job((cluster, job), seed=seed, poll_every_s=600).truth.tasks


def test_a_node_takes_no_further_task_until_its_batch_has_ended() -> None:
    cluster = ClusterSpec(node_speeds=(1.0, 1.0), slots_per_node=3)
    files = files_of(*[GIB] * 20, 5 * GIB)
    tasks = truth_of(cluster, plain_job(files=files, max_task_bytes=1, noise=0.4))
    waited = 0
    for _, of_node in tasks.groupby("node"):
        ends = of_node.groupby("batch")["ended_at"].max()
        begins = of_node.groupby("batch")["batch_began_at"].agg(["min", "max"])
        assert (begins["min"] == begins["max"]).all()
        assert (begins["min"].iloc[1:].to_numpy() >= ends.iloc[:-1].to_numpy()).all()
        assert (np.diff(begins["min"].index) >= 1).all()
        waited += (of_node["batch_began_at"] - of_node["handed_at"] > pd.Timedelta("2s")).sum()
    # Some tasks were handed out, and so InProgress, long before their batch began.
    assert waited > 3


def test_a_task_waits_for_those_written_before_it() -> None:
    files = files_of(*[GIB] * 11, 6 * GIB)
    job = plain_job(files=files, max_task_bytes=1)
    late = []
    for seed in range(6):
        tasks = truth_of(ClusterSpec(node_speeds=(1.0,)), job, seed)
        late.append((tasks["finished_at"] - tasks["ended_at"] > pd.Timedelta("10s"))[:-1].mean())
        slowest = tasks["ended_at"].max()
        # One that is late was written when the slowest of its batch was.
        held = tasks[tasks["finished_at"] - tasks["ended_at"] > pd.Timedelta("10s")]
        assert (held["finished_at"] >= slowest).all()
    assert len(set(late)) > 2  # the order is random
    assert 0 < np.mean(late) < 1


def test_such_a_task_stands_at_100_in_progress() -> None:
    job = plain_job(files=files_of(*[GIB] * 11, 6 * GIB), max_task_bytes=1)
    seen = [
        ((state.tasks.state == TaskState.IN_PROGRESS) & (state.tasks.progress == 100)).any()
        for state in importing(states_of(ClusterSpec(node_speeds=(1.0,)), job))
        if state.tasks is not None
    ]
    assert np.mean(seen) > 0.3


@pytest.mark.parametrize(
    ("release", "pool"), [("2.4", 16), ("2.5.16", 16), ("2.5.17", 8), ("2.6", 8)]
)
def test_the_files_of_a_node_share_a_pool(release: str, pool: int) -> None:
    cluster = ClusterSpec(node_speeds=(1.0,), cores_per_node=2, slots_per_node=64, release=release)
    job = plain_job(files=files_of(*[GIB] * 40), max_task_bytes=1)
    live = SimulatedCluster(cluster)
    job_id = live.create(job)
    live.advance(40_000)
    files = live.truth(job_id).files
    begun, ended = (np.sort(seconds(files[c])) for c in ("read_at", "ended_at"))
    most = max(np.sum(begun <= at) - np.sum(ended <= at) for at in np.concatenate([begun, ended]))
    assert most == pool


def test_files_beyond_the_cores_share_them() -> None:
    cluster = ClusterSpec(node_speeds=(1.0,), cores_per_node=2)
    job = plain_job(
        files=files_of(*[10**9] * 4), file_overhead_s=0.0, import_bytes_per_s=1e7, max_task_bytes=1
    )
    tasks = truth_of(cluster, job)
    took = (tasks["ended_at"] - tasks["batch_began_at"]).dt.total_seconds()
    assert took.to_numpy() == pytest.approx([200.0] * 4)


def test_the_coordinator_asks_every_two_seconds() -> None:
    tasks = truth_of(ClusterSpec(), plain_job(noise=0.3, max_task_bytes=1))
    for column in ("handed_at", "finished_at"):
        assert (seconds(tasks[column]) % 2 == 0).all()


def test_other_jobs_hold_the_slots() -> None:
    other = plain_job(files=files_of(*[GIB] * 80), max_task_bytes=1)
    shared = ClusterSpec(other_jobs=(Arrival(-5.0, other),), slots_per_node=4)
    alone = replace(shared, other_jobs=())
    ends = [
        simulate_job((cluster, plain_job()), poll_every_s=600).truth.end
        for cluster in (alone, shared)
    ]
    assert ends[1] > ends[0]


def test_nodes_that_join_take_tasks() -> None:
    job = plain_job(files=files_of(*[GIB] * 80), max_task_bytes=1)
    cluster = ClusterSpec(node_speeds=(1.0,), slots_per_node=4, added_nodes=((200.0, 1.0),))
    tasks = truth_of(cluster, job)
    assert set(tasks["node"]) == {0, 1}
    assert seconds(tasks.loc[tasks["node"] == 1, "handed_at"]).min() == 200.0
    assert (
        tasks["finished_at"].max()
        < truth_of(replace(cluster, added_nodes=()), job)["finished_at"].max()
    )


# Luck and misfortune.


def falls(states: list[JobState]) -> int:
    rows = [state.imported_rows or 0 for state in importing(states)]
    return sum(after < before for before, after in pairwise(rows))


def restarted(release: str) -> list[JobState]:
    cluster = ClusterSpec(
        restarts=(Restart(at_s=80.0, node=0, down_s=30.0),), slots_per_node=4, release=release
    )
    # Three files of a task end before the restart and the fourth does not.
    files = files_of(*[GIB // 2] * 3, 4 * GIB)
    return states_of(cluster, plain_job(files=files, segment_bytes=16 * GIB))


@pytest.mark.parametrize(("release", "count"), [("2.5", 0), ("2.6.17", 0), ("2.6.18", 1)])
def test_going_back_keeps_rows_before_2_6_18_and_resets_them_after(
    release: str, count: int
) -> None:
    states = restarted(release)
    assert falls(states) == count
    assert states[-1].phase is Phase.COMPLETED
    tasks = [state.tasks for state in importing(states) if state.tasks is not None]
    names = [TaskState(int(each.state[0])).wire_name for each in tasks]
    assert "Retry" not in names
    back = names.index("Pending", names.index("InProgress"))
    assert (tasks[back].progress[0] > 0) == (count == 0)
    assert "InProgress" in names[back:]


def test_retries_go_back_to_pending() -> None:
    states = states_of(ClusterSpec(release="2.5"), plain_job(files=files_of(*[GIB] * 4, retries=2)))
    assert falls(states) == 0
    live = SimulatedCluster(ClusterSpec())
    job_id = live.create(plain_job(files=files_of(*[GIB] * 4, retries=2)))
    live.advance(10_000)
    truth = live.truth(job_id)
    assert set(truth.tasks["retries"]) == {2}
    assert set(truth.files["straggler"]) == {"retried"}
    assert (truth.files["read_at"] >= truth.files["started_at"]).all()


def test_load_steps_make_end_times_exact() -> None:
    job = plain_job(
        files=files_of(10**9), import_bytes_per_s=1e7, file_overhead_s=0.0, pending_s=0.0
    )
    load = ((50.0, 0.5), (100.0, 0.0), (700.0, 1.0))
    live = SimulatedCluster(ClusterSpec(load=load))
    job_id = live.create(job)
    live.advance(10_000)
    truth = live.truth(job_id).files
    [began], [ended] = seconds(truth["started_at"]), seconds(truth["ended_at"])
    assert began == 12.0  # 6.7 s to read the file, the next question, check and hand-out
    assert ended == pytest.approx(700 + 100 - 38 - 25, abs=1e-5)


def test_a_noisy_neighbour_slows_one_node() -> None:
    job = plain_job(files=files_of(*[GIB] * 16), max_task_bytes=1)
    tasks = truth_of(ClusterSpec(node_load=((1, ((0.0, 0.25),)),)), job)
    took = (tasks["ended_at"] - tasks["batch_began_at"]).dt.total_seconds()
    by_node = took.groupby(tasks["node"]).median()
    assert by_node[1] == pytest.approx(4 * by_node[0], rel=0.01)


def test_an_index_pause_stands_still() -> None:
    job = plain_job(index_rows_per_s=20_000.0)
    cluster = ClusterSpec(index_load=((120.0, 0.0), (3000.0, 1.0)))
    states = states_of(cluster, job, 10.0)
    still = [s.progress for s in states if s.phase in (Phase.SORTING, Phase.INDEX_BUILDING)]
    assert max(np.unique(still, return_counts=True)[1]) > 250


@given(
    st.lists(st.tuples(st.floats(0.1, 1000), st.sampled_from([0.0, 0.05, 1.0, 20.0])), max_size=6),
    st.floats(-100, 10_000),
)
def test_load_inverts(spans: list[tuple[float, float]], at_s: float) -> None:
    starts = np.cumsum([span for span, _ in spans]).tolist()
    steps = tuple(zip(starts, [factor for _, factor in spans], strict=True))
    load = SteppedLoad(steps)
    work = load.work(at_s)
    reached = load.time(work)
    if math.isfinite(reached):
        assert load.work(reached) == pytest.approx(work, abs=1e-6)
    assert load.work(at_s + 1) >= work
    if load.work(at_s + 1e-3) > work and load.work(at_s - 1e-3) < work:
        assert reached == pytest.approx(at_s, abs=1e-2)
    twice = SteppedLoad(product([steps, ((0.0, 0.5),)]))
    assert twice.work(at_s + 100) - twice.work(max(at_s, 0.0)) >= 0


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
        poll_every_s=1000,
        polls_after_end=5,
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


def test_a_job_to_come_is_unknown_until_it_arrives() -> None:
    live = SimulatedCluster(ClusterSpec())
    job_id = live.create(plain_job(), at_s=100.0)
    with pytest.raises(UnknownJobError):
        live.describe(job_id)
    live.advance(100.0)
    assert live.describe(job_id).phase is Phase.PENDING
    with pytest.raises(ValueError, match="cannot go back"):
        live.advance(99.0)


def test_details_are_in_another_order_each_time() -> None:
    job = plain_job(files=files_of(*range(10**8, 2 * 10**9, 10**8)), max_task_bytes=1)
    simulation = simulate_job(job)
    answers = [s.response.data.details for s in simulation.snapshots() if s.response]
    orders = {tuple(d.file_name for d in details) for details in answers if details}
    assert len(orders) > 5
    assert len({frozenset(order) for order in orders}) == 1
    _, details = simulation.tables()
    assert details.equals(details_table(simulation.snapshots()))


def test_times_are_the_coordinators_with_its_offset() -> None:
    cluster = ClusterSpec(utc_offset_h=5.5)
    live = SimulatedCluster(cluster)
    job_id = live.create(plain_job())
    live.advance(1000)
    state = live.describe(job_id)
    assert state.create_time == "2026-01-05T13:30:00+05:30"
    assert state.complete_time.endswith("+05:30")
    simulation = simulate_job((cluster, plain_job()))
    jobs, _ = simulation.tables()
    assert jobs["complete_time"][-1].as_py() == simulation.truth.end.floor("s").to_pydatetime()


# Polling.


def test_cron_polls_gaps_and_late_starts() -> None:
    polling = Polling(every_s=60, jitter=0.1, cron=True, late_s=70, gaps=((200, 400),), most=8)
    simulation = simulate_job(plain_job(index_rows_per_s=1000.0), polling=polling)
    start = datetime(2026, 1, 5, 8, tzinfo=UTC)
    at_s = np.array([(poll.observed_at - start).total_seconds() for poll in simulation.polls])
    assert at_s[0] == pytest.approx(120, abs=1)
    assert ((at_s % 60) < 7).all()
    assert not ((at_s > 201) & (at_s < 400)).any()
    assert len(at_s) == 8
    with pytest.raises(ValueError, match="jitter"):
        Polling(jitter=1.5)
    with pytest.raises(ValueError, match="between two polls"):
        Polling(every_s=0)


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
    order = ["started_at", "read_at", "ended_at", "finished_at"]
    for earlier, later in pairwise(order):
        assert (files[earlier] <= files[later]).all()
    assert (files["started_at"] >= spans.loc["Importing", "start"]).all()
    assert (files["finished_at"] <= spans.loc["Importing", "end"]).all()
    assert simulation.truth.end == phases["start"].iloc[-1]
    jobs, details = simulation.tables()
    assert jobs["complete_time"][-1].as_py() == simulation.truth.end.floor("s").to_pydatetime()
    last = details.filter(pa.compute.equal(details["snapshot_id"], jobs["snapshot_id"][-1]))
    assert last["file_name"].to_pylist() == files["file_name"].tolist()
    assert last["total_rows"].to_pylist() == files["total_rows"].tolist()
    finished = files["finished_at"].dt.floor("s").dt.to_pydatetime().tolist()
    assert last["complete_time"].to_pylist() == finished


def test_stragglers_are_named_by_their_cause() -> None:
    job = plain_job(files=files_of(*[GIB] * 40), noise=0.05, max_task_bytes=1)
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
    st.sampled_from([name for name in SHAPES if name != "huge"]),
    st.sampled_from(list(FAMILIES)),
    st.sampled_from(["whole", "smooth"]),
    st.integers(0, 10**6),
    st.integers(1, 30),
)
def test_runs_expand_to_all_rows(
    shape: str, family: str, signal: str, seed: int, files: int
) -> None:
    simulation = simulate_job(
        shape,
        seed=seed,
        family=family,
        files=files,
        signal=signal,  # type: ignore[arg-type]
        poll_every_s=90,
        max_polls=80,
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


def test_every_dialect_reports_the_same_job() -> None:
    job = plain_job(
        files=(FileSpec(("a/x.npy", 'a/"y".npy'), GIB, 10**6), *files_of(10**8)), max_task_bytes=1
    )
    for dialect in DIALECTS.values():
        live = SimulatedCluster(ClusterSpec(release=dialect.release, shuffled_details=False))
        job_id = live.create(job)
        while not (live.describe(job_id).imported_rows or 0) > 0 and live.now_s < 30:
            live.advance(live.now_s + 1)
        state = live.describe(job_id)
        data = parse_response(encode(describe_answer(state, dialect))).data
        assert (data.job_id, data.collection_name) == (dialect.printed_id(job_id), "products")
        assert data.progress == state.progress
        assert [d.file_size for d in data.details] == [10**8, GIB]
        paths = parse_file_name(data.details[1].file_name).paths
        if dialect.printed_name == "proto":
            assert paths == ("a/x.npy", 'a/"y".npy')
        assert paths[0].startswith("a/x.npy")
        assert data.details[1].total_rows == (10**6 if dialect.detail_rows else None)
        assert data.total_rows == (state.total_rows if dialect.has_state else None)


def test_a_seed_decides_everything() -> None:
    first, again, other = (simulate_job("varying_load", seed=s, poll_every_s=60) for s in (8, 8, 9))
    assert [t.equals(u) for t, u in zip(first.tables(), again.tables(), strict=True)] == [True] * 2
    pd.testing.assert_frame_equal(first.truth.files, again.truth.files)
    assert not first.tables()[0].equals(other.tables()[0])


def test_shapes_differ_by_seed_and_family() -> None:
    for shape in SHAPES:
        drawn = [
            make_shape(shape, files=8, seed=seed, family=family)
            for seed in range(2)
            for family in FAMILIES
        ]
        assert len({job.files for _, job in drawn}) == 2 * len(FAMILIES)
        assert make_shape(shape, files=8, seed=1) == make_shape(shape, files=8, seed=1)
        assert len(make_shape(shape, files=3, seed=1)[1].files) == 3
    releases = {
        make_shape("steady", seed=seed, family=family)[0].release
        for seed in range(12)
        for family in FAMILIES
    }
    assert {"2.4.12", "2.4", "2.5", "2.6.4", "2.6", "3.0"} <= releases <= set(RELEASES)


def test_specs_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="no shape"):
        make_shape("round")
    with pytest.raises(ValueError, match="no family"):
        make_shape("steady", family="royal")
    with pytest.raises(ValueError, match="no release"):
        ClusterSpec(release="1.0")
    with pytest.raises(ValueError, match="greater than 0"):
        ClusterSpec(node_speeds=(0.0,))
    with pytest.raises(ValueError, match="0 or greater"):
        ClusterSpec(load=((0.0, -1.0),))
    with pytest.raises(ValueError, match="ascend"):
        ClusterSpec(load=((5.0, 1.0), (1.0, 1.0)))
    with pytest.raises(ValueError, match="numbered 0 to 1"):
        ClusterSpec(restarts=(Restart(0.0, 2),))
    with pytest.raises(ValueError, match="one core"):
        ClusterSpec(cores_per_node=0)
    with pytest.raises(ValueError, match="at least one file"):
        JobSpec(collection_name="c", files=())
    with pytest.raises(ValueError, match="negative"):
        FileSpec(("a",), -1, 0)
    with pytest.raises(ValueError, match="no dialect"):
        simulate_job("steady", dialect="latin")
