"""The fleet: what its tables say, its parts, the command and the figure."""

from __future__ import annotations

import io
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import warm
from fleet_stores import NOW, SOURCES, START
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from pandas.testing import assert_frame_equal
from rich.console import Console

from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.phase import phases
from importstats.analysis.rates import throughput
from importstats.analysis.totals import summary
from importstats.fleets import (
    Fleet,
    Part,
    analyse,
    combine,
    eta_batches,
    fleet,
    rows_by_day,
    summarise,
    totals,
)
from importstats.names import JOB_KEY
from importstats.plots.fleet import plot_fleet
from importstats.show.terminal import print_fleet
from importstats.sources.answers import parse_response
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs

# --- What the tables say --------------------------------------------------------------------------


def test_jobs_are_those_of_the_whole_store(store: SnapshotStore, alone: Fleet) -> None:
    jobs, details = load_jobs(store, until=NOW), load_details(store, until=NOW, runs=True)
    whole = summary(jobs, details)
    assert_frame_equal(alone.jobs[whole.columns], whole)
    assert len(whole) == 35
    found = diagnose(jobs, details, at=NOW)
    assert_frame_equal(alone.findings, found)


def test_a_summary_of_few_jobs_at_a_time(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = summary(load_jobs(store), load_details(store, runs=True))
    for rows in (1, 500, 10**6):
        monkeypatch.setattr(totals, "_ROWS_AT_ONCE", rows)
        assert_frame_equal(summarise(store), whole)


def test_every_status_is_there(store: SnapshotStore, alone: Fleet) -> None:
    counts = alone.jobs["status"].value_counts()
    assert (counts > 0).all(), counts
    last = load_jobs(store, until=NOW).groupby(JOB_KEY, observed=True)["observed_at"].max()
    for job in alone.jobs.itertuples():
        ended = job.phase in ("Completed", "Failed")
        unseen = NOW - last[(job.source_uri, job.job_id)]
        status = job.phase.lower() if ended else "lost"
        if not ended and unseen < timedelta(hours=3):
            status = "running"
        assert job.status == status


def test_etas_are_those_with_the_whole_store_as_history(store: SnapshotStore, alone: Fleet) -> None:
    jobs, details = load_jobs(store, until=NOW), load_details(store, until=NOW, runs=True)
    assert len(alone.running) >= 2
    assert alone.running["eta_p50"].notna().any()
    for job in alone.running.itertuples():
        own = (jobs["job_id"] == job.job_id) & (jobs["source_uri"] == job.source_uri)
        files = details[details["job_id"] == job.job_id]
        expected = eta(jobs[own], files, history=jobs, at=NOW).iloc[-1]
        for name in ("eta_p10", "eta_p50", "eta_p90"):
            assert getattr(job, name) == expected[name] or pd.isna(expected[name])
        assert job.method == expected["method"]


def test_collections_count_each_job_once(alone: Fleet) -> None:
    table, jobs = alone.collections, alone.jobs
    assert table["jobs"].sum() == len(jobs)
    for status in ("running", "lost", "failed", "completed"):
        assert table[status].sum() == (jobs["status"] == status).sum()
    rates = table["rows_per_s"].dropna()
    assert rates.is_monotonic_increasing
    one = table.iloc[0]
    same = jobs["source_uri"].eq(one["source_uri"]) & jobs["status"].eq("completed")
    done = jobs[same & jobs["collection_name"].eq(one["collection_name"])]
    assert one["rows"] == done["rows"].sum()
    assert one["rows_per_s"] == pytest.approx(done["rows"].sum() / done["duration_s"].sum())
    assert one["median_duration_s"] == done["duration_s"].median()


def test_failures_are_grouped_by_cause(store: SnapshotStore, alone: Fleet) -> None:
    table = alone.failures
    assert table["jobs"].sum() == (alone.jobs["status"] == "failed").sum() >= 3
    assert len(table) < table["jobs"].sum()
    assert table["jobs"].is_monotonic_decreasing
    assert not table["cause"].str.contains(r"\d").any()
    jobs = load_jobs(store)
    for cause in table.itertuples():
        reasons = jobs.loc[jobs["job_id"] == cause.example_job_id, "reason"].dropna()
        assert cause.example_reason in set(reasons)


def test_throughput_adds_up_to_what_the_jobs_wrote(store: SnapshotStore, alone: Fleet) -> None:
    table = alone.throughput
    rates = throughput(load_jobs(store, until=NOW))
    assert table["rows"].sum() == rates["rows_delta"].sum()
    for source in SOURCES:
        own = rates["source_uri"].astype("str") == source
        mine = table["source_uri"] == source
        assert table.loc[mine, "rows"].sum() == rates.loc[own, "rows_delta"].sum()
    assert table["day"].nunique() == 3
    assert (table["importing_s"] <= 86_400).all()
    assert np.allclose(table["rows_per_s"], table["rows"].astype(float) / table["importing_s"])


def test_phase_shares_are_of_all_time(store: SnapshotStore, alone: Fleet) -> None:
    table = alone.phases
    assert np.allclose(table.groupby("source_uri")["share"].sum(), 1)
    runs = phases(load_jobs(store, until=NOW))
    assert table["duration_s"].sum() == pytest.approx(runs["duration_s"].sum())


def test_since_leaves_out_jobs_not_their_rows(store: SnapshotStore, alone: Fleet) -> None:
    since = NOW - timedelta(hours=12)
    recent = fleet(store, at=NOW, since=since)
    expected = alone.jobs[alone.jobs["last_observed_at"] >= since].reset_index(drop=True)
    assert 0 < len(expected) < len(alone.jobs)
    assert_frame_equal(recent.jobs, expected)


def test_a_store_without_such_jobs_has_empty_tables(store: SnapshotStore, alone: Fleet) -> None:
    nothing = fleet(store, at=START - timedelta(days=1))
    for field in fields(Fleet):
        if field.name != "at":
            table, full = getattr(nothing, field.name), getattr(alone, field.name)
            assert len(table) == 0, field.name
            assert list(table) == list(full)
            assert (table.dtypes == full.dtypes).all(), field.name


# --- Parts ----------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(data=st.data())
def test_however_jobs_are_spread_over_parts(
    store: SnapshotStore, alone: Fleet, parts_of_one: list[Part], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(parts_of_one))
    mixed = combine(order, [], NOW)
    for name in ("jobs", "collections", "failures", "throughput", "phases", "findings"):
        assert_frame_equal(getattr(mixed, name), getattr(alone, name), obj=name)


@pytest.fixture(scope="module")
def parts_of_one(store: SnapshotStore) -> list[Part]:
    jobs, details = load_jobs(store, until=NOW), load_details(store, until=NOW, runs=True)
    return [
        analyse(jobs[jobs["job_id"] == job], details[details["job_id"] == job], at=NOW)
        for job in jobs["job_id"].unique()
    ]


@given(
    st.lists(
        st.tuples(st.integers(1, 5 * 86_400 * 10**6), st.integers(0, 10**12)),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 2 * 86_400),
)
def test_days_lose_no_row(steps: list[tuple[int, int]], begin_s: int) -> None:
    lengths, rows = (np.array(column, np.int64) for column in zip(*steps, strict=True))
    begin = pd.Timestamp(START) + pd.Timedelta(seconds=begin_s)
    rates = pd.DataFrame(
        {
            "source_uri": "u",
            "job_id": "7",
            "observed_at": begin + pd.to_timedelta(np.cumsum(lengths), unit="us"),
            "interval_s": lengths / 1e6,
            "rows_delta": pd.array(rows, "Int64"),
            "bytes_per_s": np.nan,
        }
    )
    days = rows_by_day(rates)
    assert days["rows"].sum() == rows.sum()
    assert days["bytes"].isna().all()
    assert (days["rows"] >= 0).all()
    assert (days["day"] == days["day"].dt.normalize()).all()
    assert days["day"].is_unique


def test_two_jobs_at_once_count_their_common_time_once() -> None:
    jobs = pd.DataFrame(
        {
            "source_uri": "u",
            "job_id": ["7", "7", "8", "8"],
            "db_name": None,
            "collection_name": "c",
            "snapshot_id": [1, 3, 2, 4],
            "observed_at": pd.to_datetime(
                ["2026-05-18T22:00Z", "2026-05-19T02:00Z", "2026-05-18T23:00Z", "2026-05-19T01:00Z"]
            ).as_unit("us"),
            "state": "Importing",
            "progress_pct": [40.0, 55.0, 40.0, 55.0],
            "imported_rows": [0, 400, 0, 200],
            "total_rows": [800, 800, 400, 400],
            "file_size_bytes": [8000, 8000, 4000, 4000],
            "detail_count": 1,
            "reason": None,
            "error": None,
        }
    )
    at = datetime(2026, 5, 19, 3, tzinfo=UTC)
    table = combine([analyse(jobs, None, at=at)], [], at).throughput
    assert table["importing_s"].tolist() == [7200.0, 7200.0]
    assert table["rows"].tolist() == [300, 300]
    assert table["jobs"].tolist() == [2, 2]


def test_earlier_jobs_are_few_and_had_ended(alone: Fleet) -> None:
    jobs = alone.jobs
    ended = jobs.set_index(JOB_KEY)["completed_seen_at"]
    seen = jobs.set_index(JOB_KEY)["last_observed_at"]
    batches = eta_batches(jobs)
    assert sorted(key for batch in batches for key in batch.running) == sorted(
        alone.running[JOB_KEY].itertuples(index=False, name=None)
    )
    for batch in batches:
        assert len({source for source, _ in batch.running}) == 1
        for key in batch.earlier:
            assert ended[key] <= max(seen[own] for own in batch.running)


# --- Command line and figure ----------------------------------------------------------------------


def test_command_line(store: SnapshotStore, tmp_path: Path) -> None:
    figure = tmp_path / "fleet.png"
    options = ["--scheduler", "synchronous", "--plot", figure, "--since", "2026-05-19"]
    done = warm.run("fleet", store.uri, *options)
    assert done.returncode == 0, done.stderr
    for title in ("running", "slowest collections", "failure causes", "throughput", "phases"):
        assert title in done.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")


def append_healthy_job(store: SnapshotStore, at: datetime) -> None:
    """A job that has been importing for a quarter of an hour, and of which nothing is to report."""
    for minutes in range(16):
        done = minutes * 1_000_000
        files = [
            {"fileName": f"[{name}]", "fileSize": 10**9, "totalRows": 30_000_000, "state": state}
            | {"importedRows": rows, "progress": rows // 300_000}
            for name, state, rows in [("a", "InProgress", done), ("b", "InProgress", done)]
        ]
        answer = {"jobId": "7", "collectionName": "products", "state": "Importing"}
        answer |= {"progress": 40 + minutes, "importedRows": 2 * done, "totalRows": 60_000_000}
        answer |= {"fileSize": 2 * 10**9, "details": files}
        response = parse_response({"code": 0, "data": answer})
        when = at - timedelta(minutes=15 - minutes)
        store.append(Snapshot(when, "7", SOURCES[0], response, snapshot_id=minutes))


def printed(found: Fleet, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    print_fleet(console, found, zone=UTC)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


def test_the_whole_output_of_a_healthy_job(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    append_healthy_job(store, START)
    found = fleet(store, at=START)
    assert found.findings.empty, "this job was to be one without a finding"
    times = {"eta_p50": START + timedelta(hours=1), "eta_p90": START + timedelta(hours=2)}
    running = found.running.assign(**{name: pd.Timestamp(time) for name, time in times.items()})
    assert printed(replace(found, running=running), 140) == HEALTHY


HEALTHY = """\
1 running, 0 lost, 0 failed, 0 completed

running now
cluster                  job  collection  phase      done                      ETA             90 % sure by
https://milvus-eu:19530  7    products    Importing  55 %  2026-05-18 07:00:00 UTC  2026-05-18 08:00:00 UTC

slowest collections
cluster                  collection  jobs  failed     rows   median     rate
https://milvus-eu:19530  products       1       0  unknown  unknown  unknown

failure causes
none

throughput by day (UTC) and cluster
day         cluster                  jobs  rows  bytes  importing           rate
2026-05-18  https://milvus-eu:19530     1  30 M   1 GB     15 min  33.3 k rows/s

phases
cluster                  phase      jobs    time  share
https://milvus-eu:19530  Importing     1  15 min  100 %"""  # noqa: E501


def test_the_command_prints_a_healthy_job(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    append_healthy_job(store, datetime.now(UTC))
    done = warm.run("fleet", store.uri, COLUMNS="140", TZ="UTC")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert "\n".join(lines) == printed(fleet(store), 140)


@pytest.mark.parametrize("zone", [UTC, None])
def test_figure(alone: Fleet, zone: object) -> None:
    figure = plot_fleet(alone, zone=zone)
    assert isinstance(figure, Figure)
    running, days, shares = figure.axes[:3]
    assert len(running.get_yticklabels()) == len(alone.running)
    assert running.get_title(loc="left")
    assert days.get_ylabel()
    assert shares.get_xlabel()


def test_figure_of_nothing(store: SnapshotStore) -> None:
    figure = plot_fleet(fleet(store, at=START - timedelta(days=1)))
    assert all(ax.get_title(loc="left").startswith("No ") for ax in figure.axes)
