"""The door of the public functions: any kind of frame in, the same answer out, or a clear error."""

import inspect
import io

import pandas as pd
import polars
import polars.testing
import pyarrow as pa
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import server_of

import importstats
from importstats.names import JOB_KEY
from importstats.sources.rest import ImportClient
from importstats.store import datasets
from importstats.store.inputs import PARAMETERS, at_the_door, normalised

JOBS, DETAILS = datasets.load("stragglers")
OF_JOBS = ("phases", "with_phase", "summary", "compare", "throughput", "eta", "diagnose")
OF_DETAILS = ("stragglers", "infer_tasks", "throughput")


def csv(frame):
    return pd.read_csv(io.StringIO(frame.to_csv(index=False)))


def plain(frame):
    """A frame with one dtype for text, categories and missing text."""
    text = {
        name: "object"
        for name, dtype in frame.dtypes.items()
        if isinstance(dtype, pd.CategoricalDtype) or dtype == "str"
    }
    return frame.astype(text).convert_dtypes().reset_index(drop=True)


def same(one, other):
    pd.testing.assert_frame_equal(plain(one), plain(other), check_dtype=False)


KINDS = {
    "csv": csv,
    "arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "polars": polars.from_pandas,
    "polars lazy": lambda frame: polars.from_pandas(frame).lazy(),
    "texts": lambda frame: frame.astype(dict.fromkeys(JOB_KEY, "object")),
    "local times": lambda frame: frame.assign(
        observed_at=frame["observed_at"].dt.tz_convert("Asia/Tokyo")
    ),
}


def back(answer):
    if isinstance(answer, polars.DataFrame):
        return answer.to_pandas()
    return answer.to_pandas() if isinstance(answer, pa.Table) else answer


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ([1.0, 2.0], [1, 2]),
        ([1.0, None], [1, None]),
        (["12", None], [12, None]),
        (["9007199254740993", None], [9007199254740993, None]),
        ([None, 2.0], [None, 2]),
        ([float("inf"), 1.0], None),
        ([2.0**63, None], None),
        ([1.5, 2.0], None),
        ([3.5], None),
        (["many"], None),
    ],
)
def test_counts_are_whole_numbers(values, fits):
    jobs = JOBS.head(len(values)).assign(imported_rows=values)
    if fits is None:
        with pytest.raises(ValueError, match=r"^jobs\['imported_rows'\] must hold whole numbers"):
            normalised(jobs, "jobs", "jobs")
        return
    frame, _ = normalised(jobs, "jobs", "jobs")
    assert frame["imported_rows"].dtype == "Int64"
    assert [None if each is pd.NA else each for each in frame["imported_rows"]] == fits


def test_numbers_may_be_text_and_numbers_stay_as_they_are():
    jobs = JOBS.head(2)
    frame, _ = normalised(jobs.assign(progress_pct=["1.5", None]), "jobs", "jobs")
    assert frame["progress_pct"].fillna(-1).tolist() == [1.5, -1]
    assert normalised(jobs, "jobs", "jobs")[0] is jobs
    with pytest.raises(ValueError, match=r"^jobs\['progress_pct'\] must hold numbers"):
        normalised(jobs.assign(progress_pct=["half", None]), "jobs", "jobs")


@pytest.mark.parametrize(
    ("values", "texts"),
    [([7, 8], ["7", "8"]), ([7.0, None], ["7", None]), ([None, None], [None, None])],
)
def test_ids_of_digits_are_texts_again(values, texts):
    frame, _ = normalised(JOBS.head(2).assign(job_id=values), "jobs", "jobs")
    assert frame["job_id"].dtype == "str"
    assert [None if pd.isna(each) else each for each in frame["job_id"]] == texts


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["2026-05-18T08:00:00Z", "2026-05-18T08:00:00+0200"], None),
        (["2026-05-18T08:00:00Z", None], None),
        ([None, None], None),
        (
            ["2026-05-18T08:00:00Z", "2026-05-18T09:00:00"],
            "has times without a zone, such as '2026-05-18T09:00:00'; write",
        ),
        (
            ["2026-05-18T08:00:00Z", "soon+01:00"],
            r"has values that are no times, such as 'soon\+01:00'; write",
        ),
        ([1, 2], "has no time zone; say which it is in"),
        (pd.to_datetime(["2026-05-18", "2026-05-19"]), "has no time zone; say which it is in"),
    ],
)
def test_times_have_a_zone(values, says):
    jobs = JOBS.head(2).assign(observed_at=values)
    if says is not None:
        with pytest.raises(ValueError, match=rf"^jobs\['observed_at'\] {says}"):
            normalised(jobs, "jobs", "jobs")
        return
    times = normalised(jobs, "jobs", "jobs")[0]["observed_at"]
    assert str(times.dt.tz) == "UTC"
    hours = [None if pd.isna(each) else each.hour for each in times]
    assert hours == [None if each is None else 6 if "+" in each else 8 for each in values]


def test_a_frame_that_is_not_given_does_not_end_the_search_for_others():
    seen = {}

    @at_the_door
    def note(jobs=None, details=None):
        seen.update(jobs=jobs, details=details)

    note(None, DETAILS.rename(columns={}).assign(job_id="7"))
    assert seen["jobs"] is None
    assert seen["details"]["job_id"].dtype == "str"
    for wrong in (JOBS, JOBS.drop(columns="state")):
        with pytest.raises(ValueError, match="details"):
            note(None, wrong)


def test_snapshots_that_were_read_twice_count_once_and_files_are_not_snapshots():
    twice = pd.concat([JOBS.head(3), JOBS.head(2)])
    assert len(normalised(twice, "jobs", "jobs")[0]) == 3
    untimed = twice.assign(snapshot_id=pd.array([None] * 5, "Int64"))
    assert len(normalised(untimed, "jobs", "jobs")[0]) == 5
    files = pd.concat([DETAILS.head(3), DETAILS.head(2)])
    assert len(normalised(files, "details", "details")[0]) == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OF_JOBS)
def test_every_kind_of_jobs_frame_gives_the_same_answer(name, kind):
    function = getattr(importstats, name)
    given = KINDS[kind](JOBS)
    answer = function(given)
    if kind in ("arrow", "polars"):
        assert type(answer) is type(given)
    asked = function(JOBS)
    # What a function hands through is as it came: a number of text, a time in its zone.
    for column in set(asked.columns) & set(JOBS.columns) - {"observed_at"}:
        asked = asked.drop(columns=column) if kind == "csv" and name == "with_phase" else asked
    same(back(answer)[list(asked.columns)], asked)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OF_DETAILS)
def test_every_kind_of_details_frame_gives_the_same_answer(name, kind):
    function = getattr(importstats, name)
    same(back(function(KINDS[kind](DETAILS))), function(DETAILS))


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    order=st.randoms(use_true_random=False),
    share=st.floats(0.2, 1.0),
    kind=st.sampled_from(["csv", "arrow", "polars"]),
)
def test_any_order_and_any_part_of_a_frame_gives_the_same_answer(order, share, kind):
    part = JOBS.head(max(2, int(len(JOBS) * share)))
    places = list(range(len(part)))
    order.shuffle(places)
    same(back(importstats.phases(KINDS[kind](part.iloc[places]))), importstats.phases(part))


def test_rows_given_twice_count_once():
    same(importstats.phases(pd.concat([JOBS, JOBS])), importstats.phases(JOBS))
    same(importstats.stragglers(pd.concat([DETAILS, DETAILS])), importstats.stragglers(DETAILS))


@pytest.mark.parametrize("name", [name for name in OF_JOBS if name != "diagnose"])
def test_the_keys_of_an_answer_have_the_dtype_they_came_with(name):
    answer = getattr(importstats, name)(JOBS)
    for key in JOB_KEY:
        assert answer[key].dtype == JOBS[key].dtype
    assert len(JOBS.merge(answer[JOB_KEY].drop_duplicates(), on=JOB_KEY)) == len(JOBS)


def test_an_answer_joins_by_time_and_job():
    rates = importstats.throughput(JOBS)
    joined = pd.merge_asof(
        JOBS[[*JOB_KEY, "observed_at"]],
        rates[[*JOB_KEY, "observed_at", "rows_per_s_window"]],
        on="observed_at",
        by=JOB_KEY,
    )
    assert len(joined) == len(JOBS)


def test_polars_answers_join_the_frame_that_was_given():
    given = polars.from_pandas(JOBS).with_columns(polars.col(JOB_KEY).cast(polars.String))
    answer = importstats.phases(given)
    assert given.join(answer, on=JOB_KEY).height == len(JOBS) * answer.height


WRONG = {
    "no frame": (
        lambda: importstats.phases({"state": "Importing"}),
        TypeError,
        "jobs must be a pandas, polars or Arrow frame, not dict; make one with "
        "importstats.load_jobs or importstats.flatten_jobs",
    ),
    "details for jobs": (
        lambda: importstats.eta(DETAILS),
        ValueError,
        "jobs has the column 'file_index', so it is a details frame; a jobs frame comes from "
        "importstats.load_jobs or importstats.flatten_jobs",
    ),
    "jobs for details": (
        lambda: importstats.stragglers(JOBS),
        ValueError,
        "details has no column 'file_index', so it is a jobs frame; a details frame comes from "
        "importstats.load_details or importstats.flatten_details",
    ),
    "details of eta": (
        lambda: importstats.eta(JOBS, JOBS),
        ValueError,
        "details has no column 'file_index', so it is a jobs frame; a details frame comes from "
        "importstats.load_details or importstats.flatten_details",
    ),
    "a column is missing": (
        lambda: importstats.phases(JOBS.drop(columns="observed_at")),
        ValueError,
        "jobs has no column 'observed_at'; make the frame with "
        "importstats.load_jobs or importstats.flatten_jobs",
    ),
    "a column that not every function needs is missing": (
        lambda: importstats.phases(JOBS.drop(columns="state")),
        ValueError,
        "jobs has no column 'state'; make the frame with "
        "importstats.load_jobs or importstats.flatten_jobs",
    ),
    "a column of the other frame is missing": (
        lambda: importstats.eta(JOBS, DETAILS.drop(columns="state")),
        ValueError,
        "details has no column 'state'; make the frame with "
        "importstats.load_details or importstats.flatten_details",
    ),
    "a column that pandas does not find in an index is missing": (
        lambda: importstats.diagnose(JOBS, DETAILS.drop(columns="file_index")),
        ValueError,
        "details has no column 'file_index'; make the frame with "
        "importstats.load_details or importstats.flatten_details",
    ),
    "naive times": (
        lambda: importstats.phases(
            JOBS.assign(observed_at=JOBS["observed_at"].dt.tz_localize(None))
        ),
        ValueError,
        "jobs['observed_at'] has no time zone; say which it is in: "
        "jobs['observed_at'].dt.tz_localize('UTC')",
    ),
    "naive texts": (
        lambda: importstats.phases(JOBS.assign(observed_at="2026-05-18 08:00:00")),
        ValueError,
        "jobs['observed_at'] has times without a zone, such as '2026-05-18 08:00:00'; "
        "write them as 2026-05-18T08:00:00Z",
    ),
    "no times": (
        lambda: importstats.phases(JOBS.assign(observed_at="lunch Z")),
        ValueError,
        "jobs['observed_at'] has values that are no times, such as 'lunch Z'; "
        "write them as 2026-05-18T08:00:00Z",
    ),
    "rows of text": (
        lambda: importstats.summary(JOBS.assign(imported_rows="many")),
        ValueError,
        "jobs['imported_rows'] must hold whole numbers or be missing; it is str and holds others",
    ),
    "half a row": (
        lambda: importstats.summary(JOBS.assign(imported_rows=0.5)),
        ValueError,
        "jobs['imported_rows'] must hold whole numbers or be missing; "
        "it is float64 and holds others",
    ),
    "progress of text": (
        lambda: importstats.phases(JOBS.assign(progress_pct="half")),
        ValueError,
        "jobs['progress_pct'] must hold numbers; it is str and holds others",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_remedy(case):
    call, kind, message = WRONG[case]
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == message


def test_frames_of_the_store_go_through_as_they_are():
    assert normalised(JOBS, "jobs", "jobs")[0] is JOBS
    assert normalised(DETAILS, "details", "details")[0] is DETAILS


def test_every_public_function_of_frames_has_the_door():
    for name in importstats.__all__:
        value = getattr(importstats, name)
        if inspect.isfunction(value) and PARAMETERS.keys() & inspect.signature(value).parameters:
            assert hasattr(value, "__wrapped__"), name


def test_answers_of_any_http_library_flatten():
    with server_of("small_and_quick", seconds=20) as server:
        [job_id] = server.job_ids
        answer = requests.post(
            f"{server.uri}/v2/vectordb/jobs/import/describe", json={"jobId": job_id}, timeout=10
        )
        with ImportClient(server.uri) as client:
            described = client.describe(job_id)
    for response in (answer, answer.content, answer.json(), described, [answer, described]):
        assert set(importstats.flatten_jobs(response)["job_id"].astype("str")) == {job_id}
        assert "file" in importstats.flatten_details(response)


def test_a_recorder_leads_to_an_eta(tmp_path):
    recorder = importstats.Recorder(tmp_path / "store", source_uri="http://localhost:19530")
    start = pd.Timestamp("2026-05-18T08:00:00Z")
    for minute, progress in enumerate([41, 45, 49, 53, 57]):
        answer = {
            "code": 0,
            "data": {
                "jobId": "7",
                "state": "Importing",
                "progress": progress,
                "importedRows": (progress - 40) * 1000,
                "totalRows": 30_000,
                "fileSize": 10**9,
                "details": [],
            },
        }
        recorder.add(answer, observed_at=start + pd.Timedelta(minutes=minute))
    last = importstats.eta(recorder.jobs, recorder.details).iloc[-1]
    assert last["eta_p10"] < last["eta_p50"] < last["eta_p90"]
    same(importstats.load_jobs(tmp_path / "store"), recorder.jobs)


def test_a_recorder_refuses_what_names_no_job():
    with pytest.raises(ValueError, match="no jobId"):
        importstats.Recorder().add({"code": 0, "data": {"state": "Importing"}})


def test_what_a_caller_noted_in_attrs_is_in_every_answer():
    jobs = JOBS.copy()
    jobs.attrs["origin"] = "backup of Monday"
    for function in (
        importstats.phases,
        importstats.summary,
        importstats.eta,
        importstats.diagnose,
    ):
        assert function(jobs).attrs == {"origin": "backup of Monday"}
    assert importstats.phases(JOBS).attrs == {}


def test_each_frame_of_a_list_is_normalised():
    jobs, _ = datasets.load("healthy")
    given = [jobs, polars.from_pandas(jobs)]

    @at_the_door
    def kinds(jobs, history):
        return [type(each) for each in history]

    assert kinds(jobs, history=given) == [pd.DataFrame] * 2
    assert kinds(jobs, history=tuple(given)) == [pd.DataFrame] * 2
