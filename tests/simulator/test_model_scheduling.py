"""The model of Milvus: who works when, and how fast."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_jobs import GIB, files_of, importing, plain_job, states_of

from importstats.simulator import (
    Arrival,
    ClusterSpec,
    JobSpec,
    JobState,
    Phase,
    Restart,
    SimulatedCluster,
    TaskState,
    simulate_job,
)
from importstats.simulator.load import SteppedLoad, product


def seconds(times: pd.Series) -> np.ndarray:
    return (times - pd.Timestamp("2026-01-05T08:00Z")).dt.total_seconds().to_numpy()


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
