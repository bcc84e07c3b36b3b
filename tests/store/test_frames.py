"""Frames: the same rows as the tables, with the dtypes that are promised."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from importstats.simulator import simulate_job
from importstats.sources.answers import parse_response
from importstats.sources.file_names import parse_file_name
from importstats.store import SnapshotStore, datasets, frames
from importstats.store.frames import (
    details_frame,
    display_names,
    flatten_details,
    flatten_jobs,
    jobs_frame,
    load_details,
    load_jobs,
)
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA

FILE_NAMES = st.none() | st.sampled_from(
    ["[a/1.parquet]", "[x.npy y.npy]", "bare", "", "[x.npy z]"]
)
COUNTS = st.none() | st.integers(0, 2**63 - 1)
FILES = st.lists(
    st.fixed_dictionaries({"fileName": FILE_NAMES, "fileSize": COUNTS, "importedRows": COUNTS})
)


@pytest.fixture(scope="module")
def simulation():
    return simulate_job("stragglers", files=20, seed=4, poll_every_s=30)


@pytest.fixture(scope="module")
def store(simulation, tmp_path_factory):
    store = SnapshotStore(tmp_path_factory.mktemp("store"))
    store.append(simulation.snapshots())
    return store


@pytest.mark.parametrize(
    ("printed", "display"),
    [
        ([], []),
        (["[a b.csv]", "[c.csv d.csv]"], ["a b.csv", "c.csv +1"]),
        (["[a.csv]", "[b.csv]"], ["a.csv", "b.csv"]),
        (["[a.csv b.csv]", "[c.csv d.csv]"], ["a.csv +1", "c.csv +1"]),
        (["[a.csv b.csv c.csv]", "[d.csv]"], ["a.csv +2", "d.csv"]),
        # A quote, a letter beyond ASCII and a path that is only an extension are no plain paths.
        (['["a.csv" "b.csv"]', "[c.csv]"], ["a.csv +1", "c.csv"]),
        (["[\u00e9.csv b.csv]"], ["\u00e9.csv +1"]),
        (["[.csv b.csv]"], [".csv b.csv"]),
        (["[]", "[a.csv]"], ["", "a.csv"]),
        (["a.csv", "[b.csv]", 'id:7 paths:"c.csv"'], ["a.csv", "b.csv", "c.csv"]),
        (["[a.csv", "b.csv]"], ["[a.csv", "b.csv]"]),
        (["id:7", "paths:"], ["", "paths:"]),
    ],
)
def test_a_display_name_is_the_first_path_and_how_many_more(printed, display):
    assert [parse_file_name(name).display for name in printed] == display
    assert display_names(pa.array(printed, pa.string())).to_pylist() == display


@pytest.mark.parametrize(
    ("texts", "is_plain"),
    [
        ([], True),
        ([""], True),
        (["a"], True),
        ([" ~"], True),
        (["a", "\x1f"], False),
        (["\x7f"], False),
        (["\u00e9"], False),
        (['a"'], False),
    ],
)
def test_plain_letters_are_printable_and_no_quotes(texts, is_plain):
    assert frames._has_plain_letters(pa.array(texts, pa.string())) == is_plain


def test_only_the_letters_of_a_slice_count():
    texts = pa.array(["\u00e9", "a", "b", '"'])
    assert frames._has_plain_letters(texts.slice(1, 2))
    assert not frames._has_plain_letters(texts.slice(1, 3))
    assert not frames._has_plain_letters(texts.slice(0, 2))


@pytest.mark.parametrize(
    ("paths", "are_files"),
    [
        ([], True),
        (["a.parquet"], True),
        (["a.parquet", "b.npy", "c.zst"], True),
        ([".parquet"], False),
        (["a.PARQUET"], False),
        (["a.csv", "b"], False),
    ],
)
def test_a_path_is_a_file_by_an_extension_after_a_name(paths, are_files):
    assert frames._are_files(pa.array(paths, pa.string())) == are_files


@pytest.mark.parametrize(
    ("texts", "ascends"),
    [
        ([], False),
        (["a"], False),
        (["a", "b"], True),
        (["a", "a"], False),
        (["b", "a"], False),
        (["a", "b", "b"], False),
        (["a", "b", "c"], True),
        (["a", None], False),
    ],
)
def test_texts_ascend_if_each_is_greater_than_the_one_before(texts, ascends):
    assert frames._is_ascending(pa.array(texts, pa.string())) == ascends


def test_several_dictionaries_become_one_and_missing_stays_missing():
    chunks = [["a", None, "b"], ["b", "c"]]
    encoded = pa.chunked_array([pa.array(each).dictionary_encode() for each in chunks])
    plain = pa.chunked_array(chunks)
    for column in (encoded, plain):
        codes, names = frames._codes_and_names(column)
        texts = [None if code < 0 else names[int(code)].as_py() for code in codes]
        assert texts == ["a", None, "b", "b", "c"]
    assert frames._dictionaries(encoded) == 2
    assert frames._dictionaries(pa.chunked_array([encoded.chunk(0), encoded.chunk(0)])) == 1


@pytest.mark.parametrize("missing", [False, True])
def test_numbers_are_plain_only_if_they_may_never_be_missing(missing):
    column = pa.chunked_array([[1, None if missing else 0]], pa.int64())
    assert frames._integer_array(column, "imported_rows").dtype == "Int64"
    ids = frames._integer_array(column, "snapshot_id")
    assert ids.dtype == ("Int64" if missing else "int64")
    assert pd.Series(ids).isna().tolist() == [False, missing]
    ids[0] = 7
    assert ids[0] == 7, "what Arrow owns cannot be written to"


def test_an_answer_without_a_time_has_none_and_one_with_a_time_keeps_its_id():
    answer = parse_response({"code": 0, "data": {"jobId": "7", "details": [{}]}})
    assert frames.as_snapshot(answer).snapshot_id == 0
    at = pd.Timestamp("2026-05-18", tz="UTC").to_pydatetime()
    timed = frames.as_snapshot(answer, at, "http://here")
    assert (timed.observed_at, timed.source_uri, timed.job_id) == (at, "http://here", "7")
    assert timed.snapshot_id >> 10 == 1_779_062_400 * 10**6
    both = flatten_details([answer, timed])
    assert both["observed_at"].isna().tolist() == [True, False]
    assert both["snapshot_id"].isna().tolist() == [True, False]
    assert flatten_jobs(timed)["observed_at"].tolist() == [at]


def test_a_frame_is_the_same_from_snapshots_and_from_the_store(simulation, store):
    snapshots = list(simulation.snapshots())
    pd.testing.assert_frame_equal(
        flatten_details(snapshots), load_details(store), check_categorical=False
    )
    pd.testing.assert_frame_equal(
        flatten_jobs(snapshots), load_jobs(store, gaps=True), check_categorical=False
    )


def test_columns_and_dtypes_are_those_promised(store):
    jobs, details = load_jobs(store), load_details(store)
    assert list(jobs) == JOBS_SCHEMA.names
    assert [name for name in details if name != "file"] == DETAILS_SCHEMA.names
    for frame in (jobs, details):
        assert frame["snapshot_id"].dtype == "int64"
        assert frame["observed_at"].dtype == "datetime64[us, UTC]"
        assert frame["imported_rows"].dtype == "Int64"
        assert frame["progress_pct"].dtype == "float64"
        assert isinstance(frame["state"].dtype, pd.CategoricalDtype)
        assert frame["reason"].dtype == "str"
    assert details["file_index"].dtype == "int64"
    assert list(details).index("file") == list(details).index("file_name") + 1


def test_filters_choose_the_same_rows_as_pandas_would(simulation, store):
    everything = load_details(store)
    times = everything["observed_at"].drop_duplicates().sort_values()
    since, until = times.iloc[3], times.iloc[8]
    chosen = load_details(store, since=since.to_pydatetime(), until=until.to_pydatetime())
    expected = everything[everything["observed_at"].between(since, until)]
    pd.testing.assert_frame_equal(chosen, expected.reset_index(drop=True), check_categorical=False)
    assert load_jobs(store, job_id="another").empty
    assert len(load_jobs(store, job_id=simulation.job_id)) == len(load_jobs(store))


def test_recorded_gaps_are_left_out_unless_asked_for(store, simulation):
    with_gaps, without = load_jobs(store, gaps=True), load_jobs(store)
    assert len(with_gaps) >= len(without)
    assert without["error"].isna().all()


def test_only_the_columns_that_are_asked_for(store):
    wanted = ["progress_pct", "job_id"]
    pd.testing.assert_frame_equal(load_jobs(store, columns=wanted), load_jobs(store)[wanted])
    some = load_details(store, columns=["file_index", "file_name"])
    pd.testing.assert_frame_equal(some, load_details(store)[["file_index", "file_name", "file"]])
    with pytest.raises(ValueError, match="no column 'rows' in jobs"):
        load_jobs(store, columns=["rows"])


@pytest.mark.parametrize("recording", ["healthy", "many_jobs", "real_milvus_2_3"])
def test_a_store_that_an_older_release_wrote_reads_as_one_written_now(recording, tmp_path):
    """The recordings were written when every column was compressed with zstd."""
    old, new = SnapshotStore(datasets.path(recording)), SnapshotStore(tmp_path)
    new.append_tables(old.jobs(), old.details(runs=True))
    assert codecs(old) == {"ZSTD"}
    assert "SNAPPY" in codecs(new)
    for runs in (True, False):
        pd.testing.assert_frame_equal(load_details(old, runs=runs), load_details(new, runs=runs))
    pd.testing.assert_frame_equal(load_jobs(old, gaps=True), load_jobs(new, gaps=True))


def codecs(store):
    groups = [pq.read_metadata(path).row_group(0) for path in store.files("details")]
    return {group.column(place).compression for group in groups for place in range(17)}


def test_what_a_footer_says_is_what_the_rows_say(tmp_path):
    """Columns of one value or of nulls are taken from it; of others the rows are read."""
    old = SnapshotStore(datasets.path("healthy"))
    jobs, details = old.jobs().to_pandas(), old.details(runs=True).to_pandas()
    details["collection_name"] = None
    details["reason"] = ["first", *["other"] * (len(details) - 1)]
    details["extra"] = ["{}", *[None] * (len(details) - 1)]
    details["complete_time"] = pd.NaT
    tables = [
        pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
        for frame, schema in ((jobs, JOBS_SCHEMA), (details, DETAILS_SCHEMA))
    ]
    store = SnapshotStore(tmp_path)
    store.append_tables(*tables)
    kept = ["collection_name", "reason", "extra", "complete_time", "source_uri", "job_id"]
    read = store.details(runs=True).select(kept)
    assert read.to_pylist() == tables[1].select(kept).to_pylist()
    assert read["collection_name"].null_count == read.num_rows


def test_bare_responses_say_nothing_of_time():
    answer = {"code": 0, "data": {"jobId": "7", "details": [{"fileName": "[a b.npy]"}]}}
    frame = flatten_details([answer, parse_response(answer)])
    assert frame["observed_at"].isna().all()
    assert frame["snapshot_id"].isna().all()
    assert frame["file"].tolist() == ["a b.npy", "a b.npy"]
    assert frame["job_id"].tolist() == ["7", "7"]


@given(FILES)
def test_one_row_per_file_with_missing_kept_missing(files):
    frame = flatten_details({"code": 0, "data": {"jobId": "7", "details": files}})
    assert len(frame) == len(files)
    files = sorted(files, key=lambda file: (file["fileName"] is None, file["fileName"] or ""))
    for column, wire in [("file_size_bytes", "fileSize"), ("imported_rows", "importedRows")]:
        sent = [file[wire] for file in files]
        assert [None if pd.isna(v) else v for v in frame[column]] == sent
    assert frame["file_index"].tolist() == list(range(len(files)))
    names = [None if pd.isna(name) else name for name in frame["file_name"]]
    assert names == [file["fileName"] for file in files]


def test_the_random_order_of_a_server_does_not_show():
    details = [{"fileName": name, "fileSize": size} for name, size in [("b", 2), ("a", 1)]]
    for order in (details, details[::-1]):
        frame = flatten_details({"code": 0, "data": {"jobId": "7", "details": order}})
        assert frame["file"].tolist() == ["a", "b"]
        assert frame["file_size_bytes"].tolist() == [1, 2]
        assert frame["file_index"].tolist() == [0, 1]


def test_empty_frames_keep_their_columns():
    assert list(details_frame(DETAILS_SCHEMA.empty_table())) != []
    assert list(jobs_frame(JOBS_SCHEMA.empty_table())) == JOBS_SCHEMA.names
    assert flatten_details([]).empty


PIECES = st.sampled_from(
    ["[", "]", '"', " ", "\t", "\n", "a", "a/b", ".npy", ".CSV", "id:7", "paths:", '"x"', "\u00e9",
     "\u00a0", "\x85", "\\", "+1", ":", "insert_log/1"]
)  # fmt: skip


@given(st.lists(st.one_of(st.lists(PIECES, max_size=8).map("".join), st.text(max_size=12))))
def test_display_names_are_those_of_the_parser(names: list[str]) -> None:
    expected = [parse_file_name(name).display for name in names]
    assert display_names(pa.array(names, pa.string())).to_pylist() == expected
