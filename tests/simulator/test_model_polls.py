"""The model of Milvus: polls, truth, tables and seeds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_jobs import GIB, files_of, plain_job

from importstats.simulator import (
    DIALECTS,
    FAMILIES,
    RELEASES,
    SHAPES,
    ClusterSpec,
    FileSpec,
    JobSpec,
    Phase,
    Polling,
    Restart,
    SimulatedCluster,
    UnknownJobError,
    make_shape,
    simulate_job,
    with_stragglers,
)
from importstats.simulator.wire import describe_answer, encode
from importstats.sources.answers import parse_response
from importstats.sources.file_names import parse_file_name
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA, details_table, jobs_table


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
    simulation = simulate_job("small_and_quick", seed=1, polling=Polling(every_s=2, after_end=4))
    ids = [poll.snapshot_id for poll in simulation.polls]
    assert ids == sorted(set(ids))
    gaps = np.diff([poll.observed_at.timestamp() for poll in simulation.polls])
    assert len(set(gaps.round(3))) > 1
    assert sum(p.state is not None and p.state.ended for p in simulation.polls) == 4
    none = simulate_job("small_and_quick", seed=1, polling=Polling(every_s=2, after_end=0))
    assert not any(p.state is None or p.state.ended for p in none.polls)
    three = simulate_job("small_and_quick", seed=1, polling=Polling(every_s=2, most=3))
    assert len(three.polls) == 3
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
    polling = Polling(every_s=60, most=60)
    simulation = simulate_job((cluster, job), dialect=dialect, polling=polling)
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
        polling=Polling(every_s=90, most=80),
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
