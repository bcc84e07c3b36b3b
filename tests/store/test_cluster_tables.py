"""What a cluster does, on a disk: which files are read, merged, and tried again; and groups."""

import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest

from importstats.errors import StoreError, UsageError
from importstats.store import SnapshotStore
from importstats.store.cluster_frames import (
    ClusterOfJobs,
    load_cluster_of,
    load_cluster_table,
    load_tasks,
)
from importstats.store.cluster_runs import OpenRuns, join_runs
from importstats.store.cluster_schema import CLUSTER_SCHEMAS
from importstats.store.cluster_tables import ClusterTables
from importstats.store.files import Files
from importstats.store.groups import GroupFile, GroupJob, GroupManifest, read_group, write_group
from importstats.store.pieces import jobs_frames
from importstats.store.recorder import Recorder

BEGIN = datetime(2026, 5, 18, tzinfo=UTC)
HERE, THERE = "http://here:1", "http://there:1"


def at(second: float) -> datetime:
    return BEGIN + timedelta(seconds=second)


def rows_of(first: float, last: float, value: str = "60", server: str = HERE) -> pa.Table:
    """A setting with one value from one second to another."""
    runs = OpenRuns("settings", server)
    for second in dict.fromkeys((first, last)):
        runs.add([{"name": "interval", "value": value, "origin": "FileSource"}], at(second))
    return runs.take(everything=True)


@pytest.fixture
def tables(tmp_path):
    return ClusterTables(SnapshotStore(tmp_path))


def files(folder) -> list[str]:
    return sorted(file.name.rpartition("-")[0] for file in folder.glob("settings/*/*"))


def test_no_rows_are_no_file_and_a_name_has_the_first_and_the_last_time(tables, tmp_path):
    tables.append("settings", HERE, CLUSTER_SCHEMAS["settings"].empty_table())
    assert files(tmp_path) == []
    tables.append("settings", HERE, pa.concat_tables([rows_of(1.5, 3), rows_of(9, 60, "30")]))
    assert files(tmp_path) == ["20260518T000001.500000Z-20260518T000100.000000Z"]
    (file,) = tmp_path.glob("settings/*/*")
    assert re.fullmatch(r".*-[0-9a-f]{12}\.parquet", file.name)


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        (None, None, ["a", "b"]),
        (20, None, ["a", "b"]),
        (20.000001, None, ["b"]),
        (None, 30, ["a", "b"]),
        (None, 29.999999, ["a"]),
        (21, 29, []),
        (40.000001, None, []),
        (None, 9.999999, []),
    ],
)
def test_a_run_is_found_if_it_reaches_into_a_time_with_both_its_ends(since, until, found, tables):
    one, other = rows_of(10, 20, "a"), rows_of(30, 40, "b")
    ends = {
        name: None if second is None else at(second)
        for name, second in (("since", since), ("until", until))
    }
    tables.append("settings", HERE, one)
    tables.append("settings", HERE, other)
    assert tables.read("settings", **ends)["value"].to_pylist() == found
    # In one file their rows distinguish them.
    tables.append("settings", THERE, pa.concat_tables([one, other]))
    assert tables.read("settings", **ends)["value"].to_pylist() == found


def test_the_rows_of_a_server_are_its_own(tables):
    for server, value in ((HERE, "a"), (THERE, "b")):
        tables.append("settings", server, rows_of(0, 1, value, server))
    assert tables.read("settings", source_uri=THERE)["value"].to_pylist() == ["b"]
    assert tables.read("settings")["value"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("count", "final", "left"), [(15, False, 15), (16, False, 1), (1, True, 1), (2, True, 1)]
)
def test_files_are_merged_from_the_sixteenth_on_or_at_the_end(count, final, left, tables, tmp_path):
    for number in range(count):
        tables.append("settings", HERE, rows_of(number, number + 1))
    before = files(tmp_path)
    tables.compact("settings", HERE, final=final)
    assert len(files(tmp_path)) == left
    if left == count:
        assert files(tmp_path) == before
    assert tables.read("settings").num_rows == 1
    assert tables.read("settings")["last_observed_at"].to_pylist() == [at(count)]


def test_all_folders_are_merged_and_counted_before_and_after(tables, tmp_path):
    for number in range(3):
        tables.append("settings", HERE, rows_of(number, number + 1))
    tables.append("settings", THERE, rows_of(0, 1))
    (alone,) = tmp_path.glob("settings/*there*/*")
    assert tables.compact_all() == (4, 2)
    assert tables.compact_all() == (2, 2)
    assert alone.exists(), "what is one file is not written again"


def test_a_read_is_tried_five_times_while_files_vanish(tables, monkeypatch):
    tables.append("settings", HERE, rows_of(0, 1))
    tries, read = [], Files.read
    fails = [5]

    def vanishing(self, path):
        tries.append(path)
        if len(tries) <= fails[0]:
            raise FileNotFoundError(path)
        return read(self, path)

    monkeypatch.setattr(Files, "read", vanishing)
    with pytest.raises(StoreError, match="its files change all the time; try again"):
        tables.read("settings")
    assert len(tries) == 5
    tries.clear()
    fails[0] = 4
    assert tables.read("settings").num_rows == 1


def test_a_damaged_file_is_named_and_one_without_a_newer_column_is_read(tables, tmp_path):
    older = rows_of(0, 1).drop_columns(["origin"])
    tables.append("settings", HERE, older)
    (row,) = tables.read("settings").to_pylist()
    assert (row["value"], row["origin"]) == ("60", None)
    (file,) = tmp_path.glob("settings/*/*")
    file.write_bytes(b"garbage")
    with pytest.raises(StoreError, match=f"cannot read {file}: .*; move it away, the rest can be"):
        tables.read("settings")
    (file.parent / "notes.txt").write_text("mine")
    file.unlink()
    assert tables.read("settings").num_rows == 0


# --- Runs of what is listed -----------------------------------------------------------------------


def listed(value):
    return {"name": "interval", "value": value}


def test_a_run_that_was_written_and_did_not_go_on_is_not_written_again():
    runs = OpenRuns("settings", HERE)
    runs.add([listed("a")], at(0))
    assert runs.take(everything=False).num_rows == 1
    runs.written()
    assert runs.take(everything=False).num_rows == 0
    runs.add([listed("b")], at(1))
    assert runs.take(everything=False)["value"].to_pylist() == ["b"]
    runs.add([listed("b")], at(2))
    runs.written()
    # One that went on is written once more, with when it was last seen.
    runs.add([listed("c")], at(3))
    found = runs.take(everything=False)
    assert found["value"].to_pylist() == ["b", "c"]
    assert found["last_observed_at"].to_pylist() == [at(2), at(3)]
    assert runs.last() == [{"name": "interval", "value": "c", "origin": None}]


def test_a_run_that_ended_before_it_was_written_is_not_lost():
    runs = OpenRuns("settings", HERE)
    for second, value in enumerate("abba"):
        runs.add([listed(value)], at(second))
    found = runs.take(everything=False)
    assert found["value"].to_pylist() == ["a", "b", "a"]
    assert found["observed_at"].to_pylist() == [at(0), at(1), at(3)]


def test_a_value_that_is_no_number_does_not_change_by_that():
    runs = OpenRuns("gauges", HERE)
    for second in range(2):
        runs.add([{"process": "p", "name": "n", "value": float("nan")}], at(second))
    assert runs.take(everything=True)["last_observed_at"].to_pylist() == [at(1)]


def test_only_what_is_written_and_not_listed_since_is_forgotten():
    runs = OpenRuns("settings", HERE)
    runs.add([listed("a")], at(0))
    runs.forget(at(9))
    assert len(runs.last()) == 1, "it is not written yet"
    runs.written()
    runs.forget(at(0))
    assert len(runs.last()) == 1, "it was listed then"
    runs.forget(at(0.000001))
    assert runs.last() == []


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(0, 1, "a")], [(0, 1, "a")]),
        ([(0, 1, "a"), (1, 5, "a")], [(0, 5, "a")]),
        # One that is there twice, or of which a shorter part was written before.
        ([(0, 3, "a"), (0, 1, "a"), (0, 3, "a")], [(0, 3, "a")]),
        ([(0, 9, "a"), (2, 3, "a")], [(0, 9, "a")]),
        ([(6, 7, "a"), (0, 1, "a"), (3, 4, "b")], [(0, 1, "a"), (3, 4, "b"), (6, 7, "a")]),
    ],
)
def test_runs_of_equal_values_that_follow_each_other_become_one(parts, expected):
    found = join_runs("settings", pa.concat_tables([rows_of(*part) for part in parts]))
    assert [
        (row["observed_at"], row["last_observed_at"], row["value"]) for row in found.to_pylist()
    ] == [(at(first), at(last), value) for first, last, value in expected]


def test_runs_of_two_servers_stay_apart():
    found = join_runs("settings", pa.concat_tables([rows_of(0, 1, "a", s) for s in (THERE, HERE)]))
    assert found["source_uri"].to_pylist() == [HERE, THERE]


# --- Frames ---------------------------------------------------------------------------------------


def test_what_clusters_did_is_read_from_an_hour_before_their_jobs_on(tmp_path, tables):
    for server in (HERE, THERE):
        tables.append("settings", server, rows_of(0, 0, server, server))
    for second, servers, found in (
        (3600, [HERE, THERE], [HERE, THERE]),
        (3600, [THERE], [THERE]),
        (3600.000001, [HERE, THERE], []),
    ):
        jobs = pd.DataFrame({"source_uri": servers, "observed_at": at(second)})
        assert load_cluster_of(tmp_path, jobs).settings["value"].tolist() == found
    nothing = load_cluster_of(tmp_path, jobs.iloc[:0])
    assert [len(frame) for frame in nothing] == [0] * 7
    dtypes = load_cluster_table("settings", tmp_path).dtypes.astype("str").to_dict()
    assert dtypes == {
        "observed_at": "datetime64[us, UTC]",
        "last_observed_at": "datetime64[us, UTC]",
        "source_uri": "category",
        "name": "str",
        "value": "str",
        "origin": "str",
    }


def test_what_was_read_for_an_older_job_is_cut_to_the_time_of_a_newer_one(tmp_path, tables):
    tables.append("settings", HERE, pa.concat_tables([rows_of(0, 0, "a"), rows_of(60, 60, "b")]))
    reader = ClusterOfJobs(tmp_path, HERE)
    for second, found in ((3600, ["a", "b"]), (3660, ["b"]), (3660.000001, []), (3600, ["a", "b"])):
        jobs = pd.DataFrame({"source_uri": [HERE], "observed_at": at(second)})
        settings = reader.frames_for(jobs).settings
        assert settings["value"].tolist() == found
        assert (list(settings), list(settings.index)) == (
            CLUSTER_SCHEMAS["settings"].names,
            list(range(len(found))),
        )
    assert reader.frames_for(jobs.iloc[:0]).settings.empty


def test_the_tasks_of_a_job_are_its_own(tmp_path, tables):
    runs = OpenRuns("tasks", HERE)
    runs.add([{"task_id": str(n), "job_id": str(n % 2), "kind": "k"} for n in range(3)], at(0))
    tables.append("tasks", HERE, runs.take(everything=True))
    assert load_tasks(tmp_path)["task_id"].tolist() == ["0", "1", "2"]
    found = load_tasks(tmp_path, job_id="0")
    assert (found["task_id"].tolist(), found.index.tolist()) == (["0", "2"], [0, 1])
    assert list(found) == CLUSTER_SCHEMAS["tasks"].names


# --- Groups, recorders and pieces -----------------------------------------------------------------


def test_a_group_is_read_as_it_was_written_or_from_a_text_of_ids(tmp_path):
    path = tmp_path / "group.json"
    jobs = [GroupJob(job_id="7", files=[GroupFile(file="a", rows=3)]), GroupJob(job_id="8")]
    write_group(path, jobs)
    assert read_group(path).jobs == jobs
    assert path.read_text().splitlines()[:2] == ["{", '  "format": "importstats.load/1",']
    assert path.read_text().endswith("}\n")
    path.write_text("\n 7 \n\n8\n")
    assert [job.job_id for job in read_group(path).jobs] == ["7", "8"]
    for text in ("", " \n", '{"format": "importstats.load/1", "jobs": []}'):
        path.write_text(text)
        with pytest.raises(UsageError, match="has no jobs"):
            read_group(path)
    path.write_text(" [1]")
    with pytest.raises(
        UsageError, match=r"is not a group of jobs: .*; `importstats submit --save`"
    ):
        read_group(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_group(path)
    with pytest.raises(UsageError, match=r"cannot read the group .*: No such file"):
        read_group(tmp_path / "nothing")
    for kind, values in ((GroupJob, ("7",)), (GroupFile, ("a",)), (GroupManifest, ("x", []))):
        with pytest.raises(TypeError, match="positional"):
            kind(*values)


def test_a_recorder_keeps_and_stores_each_answer_with_its_time(tmp_path):
    recorder = Recorder(tmp_path, source_uri=HERE)
    answer = {"code": 0, "data": {"jobId": "7", "state": "Importing", "progress": 50}}
    before = datetime.now(UTC)
    recorder.add(answer)
    recorder.extend([(answer, at(0)), (answer, at(1))])
    now, *times = recorder.jobs["observed_at"].sort_values(ascending=False)
    assert before <= now <= datetime.now(UTC)
    assert times == [at(1), at(0)]
    assert SnapshotStore(tmp_path).jobs().num_rows == 3
    assert recorder.details.empty
    with pytest.raises(ValueError, match="the answer has no jobId"):
        recorder.add({"code": 0, "data": {"state": "Importing"}})
    assert len(Recorder(SnapshotStore(tmp_path)).jobs) == 0


@pytest.mark.parametrize(("most", "pieces"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (4, [3])])
def test_pieces_end_when_they_have_enough_snapshots(most, pieces, tmp_path, monkeypatch):
    monkeypatch.setattr("importstats.store.pieces._SNAPSHOTS_AT_ONCE", most)
    recorder = Recorder(tmp_path)
    for job in "789":
        recorder.add({"code": 0, "data": {"jobId": job, "state": "Importing"}}, at(0))
    found = list(jobs_frames(SnapshotStore(tmp_path), columns=["job_id"]))
    assert [len(piece) for piece in found] == pieces
    assert [list(piece) for piece in found] == [["job_id"]] * len(pieces)


def test_a_store_without_jobs_is_one_empty_piece(tmp_path):
    SnapshotStore(tmp_path)._marker.check(create=True)
    (piece,) = jobs_frames(SnapshotStore(tmp_path))
    assert piece.empty
    assert "progress_pct" in piece
