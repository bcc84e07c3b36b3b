"""The simulated cluster does what the source of the servers says; its tables are its answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_jobs import GIB, files_of, importing, plain_job, states_of

from importstats.simulator import (
    DIALECTS,
    FAMILIES,
    SHAPES,
    ClusterSpec,
    FileSpec,
    Phase,
    Polling,
    SimulatedCluster,
    make_shape,
    release_of,
    simulate_job,
)
from importstats.simulator.layout import group_files, make_layout
from importstats.simulator.wire import describe_answer, encode
from importstats.sources.answers import parse_response

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
