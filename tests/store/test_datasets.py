"""The recordings: that they are there, can be read, and are what their command makes."""

from __future__ import annotations

import runpy
from pathlib import Path

import pyarrow as pa
import pytest

from importstats.errors import StoreError
from importstats.store import SnapshotStore, datasets
from importstats.store.cluster_frames import load_cluster
from importstats.store.schema import details_table, jobs_table

DATA = Path(__file__).parents[2] / "data"
MAKE = runpy.run_path(str(DATA / "make.py"))
SIMULATED = sorted([*MAKE["SIMULATIONS"], *MAKE["WATCHED"]])
REAL = "real_milvus_2_3"


def tables(store: SnapshotStore) -> tuple[pa.Table, pa.Table]:
    return store.jobs(), store.details(runs=True)


def test_the_files_of_a_recording_are_runs():
    jobs, details = datasets.load("failed")
    lasts = details["last_snapshot_id"] > details["snapshot_id"]
    assert lasts.any()
    assert len(details) < details["file_index"].nunique() * len(jobs)


@pytest.mark.parametrize("name", SIMULATED)
def test_a_recording_is_what_its_command_makes(name, tmp_path):
    MAKE["make"](name, tmp_path)
    made, kept = tables(SnapshotStore(tmp_path / name)), tables(SnapshotStore(DATA / name))
    assert made[0].equals(kept[0])
    assert made[1].equals(kept[1])
    clusters = [load_cluster(folder / name) for folder in (tmp_path, DATA)]
    assert all(mine.equals(theirs) for mine, theirs in zip(*clusters, strict=True))
    assert bool(len(clusters[0].tasks)) == (name in MAKE["WATCHED"])


def test_the_names_are_those_of_the_folder_and_of_its_readme():
    assert datasets.names() == sorted([*SIMULATED, REAL])
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert [name for name in datasets.names() if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("name", [*SIMULATED, REAL])
def test_load_gives_the_frames_of_the_store(name):
    jobs, details = datasets.load(name)
    assert set(details["job_id"]) == set(jobs["job_id"])
    assert jobs["error"].isna().all()
    assert len(jobs) == SnapshotStore(datasets.path(name)).jobs(columns=["state"]).num_rows


@pytest.mark.parametrize("name", [*SIMULATED, REAL])
def test_rows_are_by_file_name_and_file_index_is_the_rank(name):
    _, details = datasets.load(name)
    files = details.drop_duplicates(["source_uri", "job_id", "file_index"])
    for _, of_job in files.groupby(["source_uri", "job_id"], observed=True):
        ranked = of_job.sort_values("file_index")
        assert ranked["file_index"].tolist() == list(range(len(ranked)))
        assert ranked["file_name"].astype("str").is_monotonic_increasing


def test_the_real_recording_has_the_schema_of_today_and_what_the_server_said():
    jobs, details = tables(SnapshotStore(DATA / REAL))
    assert jobs.column_names == jobs_table([]).column_names
    assert details.column_names == details_table([]).column_names
    last = jobs.slice(jobs.num_rows - 1).to_pylist()[0]
    assert (last["state"], last["imported_rows"], last["detail_count"]) == ("Failed", 1_625_000, 12)


def test_all_recordings_together_are_small():
    assert sum(file.stat().st_size for file in DATA.rglob("*") if file.is_file()) < 2_000_000


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(ValueError, match="no recording 'helthy'; there are failed, healthy"):
        datasets.load("helthy")


def test_an_installation_without_recordings_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "_PACKAGE", tmp_path / "importstats")
    with pytest.raises(StoreError, match="no recordings at"):
        datasets.names()


def test_an_installed_package_has_them_inside(monkeypatch, tmp_path):
    installed = tmp_path / "importstats"
    MAKE["make"]("failed", installed / "data")
    (installed / "data" / "README.md").touch()
    monkeypatch.setattr(datasets, "_PACKAGE", installed)
    assert datasets.names() == ["failed"]
