"""Manifests: the forms in which they come, and rows that are counted from footers."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from importstats.errors import UsageError
from importstats.store.groups import GroupFile, GroupJob, read_group, write_group
from importstats.store.manifests import read_manifest

FORMS = {
    "a.csv": "file,rows\nin/1.parquet,500\nin/2.parquet,\n",
    "b.tsv": "path\trow_count\nin/1.parquet\t500\nin/2.parquet\t\n",
    "c.json": '{"in/1.parquet": 500, "in/2.parquet": null}',
    "d.json": '[{"file": "in/1.parquet", "rows": 500}, {"file": "in/2.parquet"}]',
    "e.jsonl": '{"file_name": "in/1.parquet", "count": 500}\n{"file_name": "in/2.parquet"}\n',
}


@pytest.mark.parametrize("name", [*FORMS, "f.parquet"])
def test_every_form_says_the_same_and_footers_say_the_rest(name, tmp_path):
    path = tmp_path / name
    if name in FORMS:
        path.write_text(FORMS[name])
    else:
        table = {"file": ["in/1.parquet", "in/2.parquet"], "rows": pa.array([500, None], "int64")}
        pq.write_table(pa.table(table), path)
    rows = read_manifest(path)
    assert rows.index.tolist() == ["in/1.parquet", "in/2.parquet"]
    assert rows.iloc[0] == 500
    assert rows.iloc[1] is pd.NA
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"id": range(321)}), tmp_path / "in" / "2.parquet")
    assert read_manifest(path, sources=str(tmp_path)).tolist() == [500, 321]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,rows\na,1\n", "it has no column for the file"),
        ("file,rows\na,many\n", "is not a manifest"),
        ("file,rows\na,1.5\n", "is not a manifest"),
        ("file,rows\na,-1\n", "has a count of rows below 0"),
        ("file,rows\na,1\na,2\n", "names a twice"),
        ("", "is not a manifest"),
    ],
)
def test_what_is_no_manifest(text, says, tmp_path):
    path = tmp_path / "load.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        read_manifest(path)


def test_a_source_that_is_not_there(tmp_path):
    path = tmp_path / "load.csv"
    path.write_text("file\nin/1.parquet\n")
    with pytest.raises(UsageError, match=r"cannot count the rows of .*1.parquet.*check where"):
        read_manifest(path, sources=str(tmp_path))


def test_a_group_is_written_and_read_or_a_list_of_ids(tmp_path):
    jobs = [GroupJob(job_id="7", files=[GroupFile(file="a.parquet", rows=5)]), GroupJob(job_id="8")]
    write_group(tmp_path / "load.json", jobs)
    assert read_group(tmp_path / "load.json").jobs == jobs
    (tmp_path / "ids.txt").write_text("7\n\n8\n")
    assert [job.job_id for job in read_group(tmp_path / "ids.txt").jobs] == ["7", "8"]
    (tmp_path / "bad.json").write_text('{"format": "importstats.load/1", "jobs": [{"id": 7}]}')
    with pytest.raises(UsageError, match=r"bad.json is not a group of jobs: Object missing"):
        read_group(tmp_path / "bad.json")


def test_a_manifest_that_cannot_be_read_says_why_in_the_systems_words(tmp_path):
    path = tmp_path / "nothing.csv"
    with pytest.raises(UsageError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"cannot read the manifest {path}: ")
    with pytest.raises(UsageError) as caught:
        read_manifest(path.with_suffix(".json"))
    assert str(caught.value) == (
        f"cannot read the manifest {path.with_suffix('.json')}: No such file or directory"
    )


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.json", '["a", "b", "c"]', {"a": None, "b": None, "c": None}),
        ("b.json", '{"files": ["a"]}', {"a": None}),
        ("c.json", '{"files": 3}', {"files": 3}),
        ("d.json", '{"files": [{"uri": "a", "records": "4"}]}', {"a": 4}),
        ("e.ndjson", '"a"\n\n"b"\n', {"a": None, "b": None}),
        ("f.txt", "file\na\nb\n", {"a": None, "b": None}),
        ("g.csv", "count, URL \n5,a\n0,b\n", {"a": 5, "b": 0}),
        # Of several columns the one that is named first in the module is taken.
        ("h.csv", "path,file,count,rows\nx,a,1,2\n", {"a": 2}),
    ],
)
def test_files_and_rows_are_found_in_every_form(name, text, rows, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    found = read_manifest(path)
    assert found.index.tolist() == list(rows)
    assert [None if each is pd.NA else each for each in found] == list(rows.values())


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "3", "the JSON is neither an object nor a list"),
        ("a.json", '["a", {"file": "b"}]', "its list holds neither paths nor objects"),
        ("a.json", "[]", "names no file"),
        ("a.xml", "", "its ending is .xml, and not .csv, .parquet or .json"),
        ("a", "", "its ending is none, and not .csv, .parquet or .json"),
        ("a.csv", "name\na\n", r"no column for the file \(file, path, file_name, ...\)"),
    ],
)
def test_a_manifest_of_another_form_says_what_is_wrong(name, text, says, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        read_manifest(path)


def test_only_parquet_files_without_rows_are_counted_where_they_lie(tmp_path):
    pq.write_table(pa.table({"id": range(3)}), tmp_path / "a.PARQUET")
    elsewhere = f"file://{tmp_path}/a.PARQUET"
    path = tmp_path / "load.csv"
    path.write_text(f"file,rows\na.PARQUET,\nb.csv,\nc.parquet,7\n{elsewhere},\n")
    found = read_manifest(path, sources=f"{tmp_path}/")
    assert [None if each is pd.NA else each for each in found] == [3, None, 7, 3]
    assert read_manifest(path).isna().tolist() == [True, True, False, True]


@pytest.mark.parametrize("letters", [100, 500])
def test_a_long_error_is_cut_to_200_letters(letters, tmp_path):
    word = "x" * letters
    group, manifest = tmp_path / "group.json", tmp_path / "load.csv"
    group.write_text(f'{{"format": "{word}", "jobs": []}}')
    manifest.write_text(f"file,rows\na,{word}\n")
    for read, path in ((read_group, group), (read_manifest, manifest)):
        with pytest.raises(UsageError) as raised:
            read(path)
        said = str(raised.value).partition(": ")[2].partition("; `importstats")[0]
        assert (len(said) == 200) == (letters == 500)
        assert (word in said) == (letters == 100)
