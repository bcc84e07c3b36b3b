"""What a disk is asked for and in which order, and what is left of a write that fails."""

from __future__ import annotations

import errno
import os
import pickle
import re
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from importstats.errors import StoreError
from importstats.store import disk
from importstats.store.disk import Disk
from importstats.store.files import _REASONS, Files


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Every call that changes or syncs something, with its paths, as one text each."""
    calls, opened = [], {}

    def shown(path):
        return re.sub(r"[0-9a-f]{12}$", "XX", os.path.relpath(path, tmp_path))

    def record(name):
        real = getattr(os, name)

        def call(*arguments, **options):
            result = real(*arguments, **options)
            paths = [opened[each] if isinstance(each, int) else each for each in arguments]
            calls.append(" ".join([name, *map(shown, paths)]))
            return result

        monkeypatch.setattr(os, name, call)

    def opening(path, *arguments, _open=os.open, **options):
        descriptor = _open(path, *arguments, **options)
        opened[descriptor] = path
        return descriptor

    monkeypatch.setattr(os, "open", opening)
    for name in ("mkdir", "fsync", "rename", "link", "unlink"):
        record(name)
    return calls


WRITTEN = ["fsync store/_tmp/x.XX", "rename store/_tmp/x.XX store/a/x", "fsync store/a"]


def test_a_folder_is_synced_once_from_the_top_down_and_a_file_before_and_after_its_rename(
    tmp_path, asked
):
    root = Disk(str(tmp_path / "deep" / "store"))
    root.put("a/x", b"1")
    deep = [each.replace("store/", "deep/store/") for each in WRITTEN]
    made = ["mkdir deep", "fsync .", "mkdir deep/store", "fsync deep"]
    made += ["mkdir deep/store/_tmp", "fsync deep/store", "mkdir deep/store/a", "fsync deep/store"]
    assert asked == [*made, *deep[:2], "fsync deep/store/a"]
    asked.clear()
    root.put("a/x", b"2")
    assert asked == [*deep[:2], "fsync deep/store/a"]
    assert (tmp_path / "deep" / "store" / "a" / "x").read_bytes() == b"2"
    asked.clear()
    # Its parents are known to be safe.
    root.put("a/b/x", b"3")
    assert asked[:2] == ["mkdir deep/store/a/b", "fsync deep/store/a"]
    assert not list((tmp_path / "deep" / "store" / "_tmp").iterdir())


def test_folders_of_others_are_synced_and_with_them_all_that_are_beside(tmp_path, asked):
    for folder in ("store", "store/_tmp", "store/a", "store/b"):
        os.mkdir(tmp_path / folder)  # noqa: PTH102 - as the recorder expects it
    asked.clear()
    root = Disk(str(tmp_path / "store"))
    root.put("a/x", b"1")
    assert asked == ["fsync .", "fsync store", *WRITTEN]
    asked.clear()
    root.put("b/x", b"1")
    assert asked == [each.replace("/a", "/b") for each in WRITTEN]


def test_a_folder_that_somebody_deleted_is_made_and_synced_again(tmp_path, asked):
    root = Disk(str(tmp_path / "store"))
    root.put("a/x", b"1")
    (tmp_path / "store" / "a" / "x").unlink()
    (tmp_path / "store" / "a").rmdir()
    asked.clear()
    root.put("a/x", b"2")
    assert (tmp_path / "store" / "a" / "x").read_bytes() == b"2"
    made = asked.index("mkdir store/a")
    assert asked[made + 1] == "fsync store"
    assert asked[-3:] == WRITTEN
    assert root.put_new("b/x", b"1")
    (tmp_path / "store" / "b" / "x").unlink()
    (tmp_path / "store" / "b").rmdir()
    assert root.put_new("b/x", b"2")
    assert (tmp_path / "store" / "b" / "x").read_bytes() == b"2"


def test_no_more_folders_are_remembered_than_there_is_room_for(tmp_path, asked, monkeypatch):
    assert disk._MOST_FOLDERS == 100_000
    monkeypatch.setattr(disk, "_MOST_FOLDERS", 3)
    root = Disk(str(tmp_path))
    root.put("a/x", b"1")
    root.put("b/x", b"1")
    asked.clear()
    root.put("a/x", b"1")
    assert asked == [each.replace("store/", "") for each in WRITTEN], "four are known: all stay"
    root.put("c/x", b"1")
    asked.clear()
    root.put("c/y", b"1")
    root.put("a/x", b"1")
    assert "fsync ." in asked, "all were forgotten when a fifth came, but for this one"
    assert asked[-3:] == [each.replace("store/", "") for each in WRITTEN]


def test_a_new_file_is_linked_once_it_is_safe_and_never_replaces_one(tmp_path, asked):
    root = Disk(str(tmp_path / "store"))
    assert root.put_new("a/x", b"1") is True
    assert asked[-4:] == [
        "fsync store/a/.x.XX",
        "link store/a/.x.XX store/a/x",
        "fsync store/a",
        "unlink store/a/.x.XX",
    ]
    assert asked[-6:-4] == ["mkdir store/a", "fsync store"]
    assert root.put_new("a/x", b"2") is False
    assert [(each.name, each.read_bytes()) for each in (tmp_path / "store" / "a").iterdir()] == [
        ("x", b"1")
    ]
    assert all(disk.is_temporary(each) for each in (".x.0123456789ab", ".x.parquet.0123456789ab"))


def test_what_is_written_in_parts_is_written_whole(tmp_path, monkeypatch):
    def some(descriptor, content, _write=os.write):
        return _write(descriptor, content[:3])

    monkeypatch.setattr(os, "write", some)
    Disk(str(tmp_path)).put("x", b"1234567")
    assert (tmp_path / "x").read_bytes() == b"1234567"


@pytest.mark.parametrize("call", ["fsync", "rename"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    call, number, tmp_path, monkeypatch
):
    root = Disk(str(tmp_path))
    root.put("a/old", b"old")
    count, real = [], getattr(os, call)

    def fails(*arguments):
        count.append(1)
        if len(count) % 2 == number % 2:
            raise OSError(errno.EIO, "broken")
        return real(*arguments)

    monkeypatch.setattr(os, call, fails)
    for name in ("old", "new"):
        count.clear()
        count.extend([1] * (number == 2 and call == "rename"))
        with pytest.raises(OSError, match="broken"):
            root.put(f"a/{name}", b"new")
    monkeypatch.undo()
    assert [each.name for each in (tmp_path / "a").iterdir()] == ["old"]
    # Once it was renamed, the new one has taken the old one's place.
    is_renamed = (call, number) == ("fsync", 2)
    assert (tmp_path / "a" / "old").read_bytes() == (b"new" if is_renamed else b"old")
    assert not list((tmp_path / "_tmp").iterdir())


def test_a_file_is_begun_beside_its_place_if_that_is_on_another_file_system(
    tmp_path, monkeypatch, asked
):
    def across(source, target, _rename=os.rename):
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "another file system")
        return _rename(source, target)

    monkeypatch.setattr(os, "rename", across)
    root = Disk(str(tmp_path))
    root.put("a/x", b"1")
    assert asked[-3:] == ["fsync a/.x.XX", "rename a/.x.XX a/x", "fsync a"]
    assert [each.name for each in tmp_path.rglob("*") if each.is_file()] == ["x"]


def test_a_copy_for_another_process_writes_to_the_same_folder(tmp_path):
    pickle.loads(pickle.dumps(Disk(str(tmp_path)))).put("a/x", b"1")
    assert (tmp_path / "a" / "x").read_bytes() == b"1"


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", sorted(_REASONS))
def test_an_error_of_the_system_names_the_file_and_what_to_do(number, tmp_path):
    files = Files(tmp_path, None)
    with (
        pytest.raises(StoreError) as caught,
        files.explained("write", "a/x"),
    ):
        raise OSError(number, "said by the system")
    assert str(caught.value) == f"cannot write {tmp_path}/a/x: {_REASONS[number]}"


def test_an_error_of_another_kind_is_shown_without_the_buckets_request(tmp_path):
    files = Files(tmp_path, None)
    text = "AWS Error (Request ID: 7)"
    with pytest.raises(StoreError) as caught, files.explained("list", ""):
        raise OSError(errno.EIO, text)
    assert str(caught.value) == f"cannot list {tmp_path}: [Errno 5] AWS Error"
    with pytest.raises(StoreError, match=r"x{297}\.\.\.$|x{299}…$"), files.explained("list", ""):
        raise OSError("x" * 400)


def bucket(folder: Path) -> Files:
    """A file system that is no disk for the store, with its files on one."""
    return Files("store", pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem()))


def test_an_empty_file_is_not_yet_whole_in_a_bucket_alone(tmp_path):
    (tmp_path / "store" / "folder").mkdir(parents=True)
    (tmp_path / "store" / "empty").write_bytes(b"")
    (tmp_path / "store" / "full").write_bytes(b"1")
    (tmp_path / "store" / "folder" / "deeper").write_bytes(b"1")
    for files, empty in ((bucket(tmp_path), True), (Files(tmp_path / "store", None), False)):
        found = {files.relative(info): files.is_not_yet_whole(info) for info in files.entries("")}
        assert found == {"empty": empty, "folder": False, "full": False}


def test_a_bucket_has_a_file_once_and_knows_when_it_was_written(tmp_path):
    (tmp_path / "store").mkdir()
    for files in (bucket(tmp_path), Files(tmp_path / "store", None)):
        assert files.modified_ms("x") == 0
        assert not files.exists("x")
        assert files.put_new("x", b"1") is True
        assert files.put_new("x", b"2") is False
        assert files.read("x").to_pybytes() == b"1"
        os.utime(tmp_path / "store" / "x", ns=(0, 1_234_567_899_999))
        assert files.modified_ms("x") == 1_234_567
        files.delete("x")
        files.delete("x")
    assert files.entries("nowhere") == []


def test_a_file_is_moved_into_a_folder_that_is_not_there(tmp_path, monkeypatch):
    files = Files(tmp_path, None)
    files.put("x", b"1")
    files.move("x", "a/b/x")
    files.move("a/b/x", "a/b/y")
    assert files.read("a/b/y").to_pybytes() == b"1"

    def across(self, target):
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(Path, "rename", across)
    files.move("a/b/y", "c/y")
    assert (files.exists("a/b/y"), files.read("c/y").to_pybytes()) == (False, b"1")
    with pytest.raises(StoreError, match="cannot move"):
        files.move("nothing", "c/z")


def test_a_file_may_be_read_and_written_by_whom_the_process_lets_and_run_by_nobody(tmp_path):
    before = os.umask(0)
    try:
        Files(tmp_path, None).put("file", b"rows")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666
