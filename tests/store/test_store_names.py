"""Hostile names in a store, and the tools of others that read it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored_snapshots import JOB, MEMORY, assert_holds, snapshot

from importstats.store import (
    SnapshotStore,
    slug,
)
from importstats.store.schema import (
    DETAILS_SCHEMA,
)

HOSTILE_IDS = [
    "../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/b\\c",
    "x" * 5000,
    "Ünï\u202ecode \U0001f4a9",
    "__HIVE_DEFAULT_PARTITION__",
    "a=b/job=c",
    "%2e%2e%2f",
    "nul\x00byte\nnewline",
    "Job",
    "job",
    "JOB",
    "007",
    "7",
    "99999999999999999999999",
    "1e5",
    "nan",
    "2024-01-01",
    "*.parquet",
    "x.parquet",
    "~0123456789abcdef0123",
]


# --- Hostile names --------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_slugs_are_safe(identifier: str) -> None:
    assert len(slug(identifier)) <= 80
    assert slug(identifier) == slug(identifier).lower()
    assert set(slug(identifier)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.~")
    assert slug(identifier) not in {"", ".", ".."}


@given(st.sets(st.text("aA1.-_~/é", max_size=6), min_size=2, max_size=20))
def test_slugs_are_one_to_one(identifiers: set[str]) -> None:
    slugs = {slug(identifier) for identifier in identifiers}
    assert len(slugs) == len(identifiers)
    assert {slug(each) for each in slugs}.isdisjoint(slugs - {s for s in slugs if "~" not in s})


def test_plain_ids_stay_readable() -> None:
    for plain in (JOB, "0", "job-01fa0e5d42cjxs", "my_job"):
        assert slug(plain) == plain


def test_hostile_ids_stay_inside_and_apart(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "inner" / "store")
    snapshots = [
        snapshot(i, [i], job=identifier, server=identifier)
        for i, identifier in enumerate(HOSTILE_IDS)
    ]
    store.append(snapshots)
    assert_holds(store, snapshots)
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
    assert [path.name for path in (tmp_path / "inner").iterdir()] == ["store"]
    for each in snapshots:
        rows = store.jobs(job_id=each.job_id, source_uri=each.source_uri)
        assert rows["snapshot_id"].to_pylist() == [each.snapshot_id]


# --- Other tools ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["300 plain ids", "hostile ids"])
def foreign(request: pytest.FixtureRequest) -> Iterator[tuple[Path, int]]:
    """A store with one compacted and one fresh segment a job, and its number of jobs."""
    ids = HOSTILE_IDS if request.param == "hostile ids" else [str(10**17 + i) for i in range(300)]
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        store = SnapshotStore(folder)
        for seconds in ((0, 1), (2,)):
            store.append([snapshot(s, [s, 1], job=job) for s in seconds for job in ids])
        store.compact(ids[0], final=True)
        yield Path(folder), len(ids)


def test_pandas_reads_it(foreign: tuple[Path, int]) -> None:
    root, jobs = foreign
    assert pd.read_parquet(root / "jobs")["job_id"].nunique() == jobs
    assert len(pd.read_parquet(root / "jobs")) == 3 * jobs
    assert pd.read_parquet(root / "details").groupby("job_id").file_index.max().eq(1).all()


def test_pyarrow_dataset_reads_it(foreign: tuple[Path, int]) -> None:
    root, jobs = foreign
    table = ds.dataset(root / "details", partitioning="hive").to_table()
    assert pc.count_distinct(table["job"]).as_py() == jobs
    assert pc.count_distinct(table["job_id"]).as_py() == jobs
    assert table.select(DETAILS_SCHEMA.names).schema.equals(DETAILS_SCHEMA)


def test_duckdb_reads_it(foreign: tuple[Path, int]) -> None:
    root, jobs = foreign
    for options in ("", ", hive_partitioning=true"):
        source = f"read_parquet('{root}/jobs/**/*.parquet'{options})"
        query = f"select count(distinct job_id), count(*) from {source}"
        assert duckdb.sql(query).fetchall() == [(jobs, 3 * jobs)]
    query = f"select count(distinct job) from read_parquet('{root}/details/**/*.parquet')"
    assert duckdb.sql(query).fetchall() == [(jobs,)]


def test_polars_reads_it(foreign: tuple[Path, int]) -> None:
    root, jobs = foreign
    for source in (root / "jobs", root / "jobs" / "**" / "*.parquet"):
        frame = pl.scan_parquet(source).collect()
        assert frame["job_id"].n_unique() == jobs
        assert frame.height == 3 * jobs
    partitioned = pl.scan_parquet(root / "details", hive_partitioning=True).collect()
    assert partitioned["job"].n_unique() == jobs
