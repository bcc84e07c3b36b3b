"""Damaged answers: refused with a typed error, or analysed without one and without a lie.

The long form is benchmarks/fuzz.py. Below it are the cases that it found, each on its own.
"""

from __future__ import annotations

import json
import random
from contextlib import suppress
from datetime import timedelta

import pandas as pd
import pytest
from fuzzing import Tally, batch, check_findings, parsed, refuse, rounds
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from mutations import START, history

from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.lateness import stragglers
from importstats.analysis.rates import throughput
from importstats.analysis.totals import summary
from importstats.errors import BadResponseError, ImportStatsError
from importstats.plots import overview
from importstats.reports import report
from importstats.sources.answers import parse_job_page, parse_response
from importstats.sources.snapshot import Snapshot
from importstats.store.frames import details_frame, flatten_details, flatten_jobs
from importstats.store.schema import details_table, jobs_table

INT64_MAX = 2**63 - 1


def test_thousands_of_damaged_answers_are_parsed_or_refused():
    dice, tally = random.Random(11), Tally()
    while tally.answers < 5000:
        for _, body in history(dice):
            parsed(body, tally)
    assert tally.accepted > 1000
    assert tally.refused > 300


@pytest.mark.timeout(300)
def test_no_analysis_fails_or_lies_about_damaged_answers():
    *_, tally = rounds(0, 600, histories=24)
    assert tally.accepted > 300


def test_what_is_accepted_can_be_stored_and_framed():
    snapshots = batch(random.Random(5), Tally(), histories=20)
    assert jobs_table(snapshots).num_rows == len(snapshots)
    assert len(details_frame(details_table(snapshots))) == sum(
        len(s.response.data.details) for s in snapshots if s.response
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_answer_or_a_typed_error(body):
    for parse in (parse_response, parse_job_page):
        with suppress(ImportStatsError):
            parse(body)


# --- What the long form has found -----------------------------------------------------------------


def snapshots_of(*answers, job="7", every_s=30):
    """Polls that brought these ``data``."""
    return [
        Snapshot(
            START + timedelta(seconds=every_s * number),
            job,
            "http://x",
            parse_response({"code": 0, "data": data}),
        )
        for number, data in enumerate(answers)
    ]


def importing(**rows):
    """A job that imports files of 1,000 rows, of which these are done."""
    details = [
        {
            "fileName": f"[{name}]",
            "fileSize": 10_000,
            "state": "InProgress",
            "importedRows": done,
            "totalRows": 1000,
            "progress": done / 10,
        }
        for name, done in rows.items()
    ]
    done = sum(rows.values())
    return {
        "jobId": "7",
        "state": "Importing",
        "importedRows": done,
        "totalRows": 1000 * len(rows),
        "progress": 40 + 30 * done / 1000 / len(rows),
        "details": details,
    }


@pytest.fixture
def other_files_in_the_places():
    """The files of a job are others from some time on, as those of a job whose id is used again."""
    first = [importing(a=10 * n, b=12 * n, c=9 * n) for n in range(30)]
    second = [importing(d=20 * n, e=18 * n, f=n) for n in range(30)]
    return snapshots_of(*first, *second)


def test_files_that_gave_their_places_to_others_are_judged_apart(other_files_in_the_places):
    details = flatten_details(other_files_in_the_places)
    files = stragglers(details)
    assert sorted(files["file"].astype("str")) == list("abcdef")
    found = diagnose(flatten_jobs(other_files_in_the_places), details)
    check_findings(found)


def test_files_that_gave_their_places_to_others_are_drawn(other_files_in_the_places):
    jobs, details = (
        flatten_jobs(other_files_in_the_places),
        flatten_details(other_files_in_the_places),
    )
    overview(jobs, details, at=jobs["observed_at"].max())
    plt.close("all")
    json.loads(report(jobs, details, at=jobs["observed_at"].max(), form="json"))


def test_jobs_without_a_collection_have_an_eta_and_no_warning():
    named, nameless = importing(a=100), importing(a=100)
    named["collectionName"] = "products"
    jobs = pd.concat(
        [
            flatten_jobs(snapshots_of(*[data] * 3, job=job))
            for job, data in (("1", named), ("2", nameless))
        ]
    )
    assert len(eta(jobs, history=jobs)) == 6


def test_the_greatest_count_is_not_a_negative_one():
    most = importing(a=INT64_MAX, b=INT64_MAX)
    snapshots = snapshots_of(
        importing(a=0, b=0),
        {**most, "importedRows": INT64_MAX, "totalRows": INT64_MAX, "fileSize": INT64_MAX},
    )
    jobs, details = flatten_jobs(snapshots), flatten_details(snapshots)
    found = summary(jobs, details)
    for name in ("rows", "total_rows", "bytes"):
        assert not (found[name] < 0).any(), name
    for frame in (jobs, details):
        rates = throughput(frame)
        assert not (rates[["imported_rows", "rows_delta", "rows_lost"]] < 0).any(axis=None)


@pytest.mark.parametrize("by", ["job", "file", "task", "collection"])
def test_an_absurd_count_of_one_job_leaves_the_others_exact(by):
    """The jobs of a frame are added up together, in floating point."""
    absurd, sane = ({**importing(a=n), "collectionName": name} for n, name in ((0, "z"), (0, "b")))
    lied = [absurd, {**absurd, **importing(a=4_611_686_018_427_387_904), "collectionName": "a"}]
    true = [{**sane, **importing(a=n), "collectionName": "b"} for n in (1, 7, 333, 1000)]
    snapshots = snapshots_of(*lied, job="1") + snapshots_of(*true, job="2")
    rates = throughput(flatten_details(snapshots), by)
    key, value = ("collection_name", "b") if by == "collection" else ("job_id", "2")
    assert rates.loc[rates[key] == value, "imported_rows"].tolist() == [1, 7, 333, 1000]


@pytest.mark.parametrize("state", ["\x1b[31m", "\x00", "<b>&amp;", "]]>"])
def test_a_report_of_files_in_a_hostile_state(state):
    answer = importing(a=10, b=20)
    for detail in answer["details"]:
        detail["state"] = state
    snapshots = snapshots_of(importing(a=1, b=2), answer)
    jobs, details = flatten_jobs(snapshots), flatten_details(snapshots)
    page = report(jobs, details, at=jobs["observed_at"].max())
    assert all(c.isprintable() or c == "\n" for c in page)


def test_half_characters_of_file_names_can_be_stored():
    body = '{"code": 0, "data": {"state": "Importing", "details": [{"fileName": "\\ud800x"}]}}'
    [row] = details_table([Snapshot(START, "7", "http://x", parse_response(body))]).to_pylist()
    assert row["file_name"] == "\ufffdx"


def test_numbers_that_are_none_are_kept_as_text():
    odd = '"progress": NaN, "importedRows": 1e400, "x": -Infinity'
    body = f'{{"code": 0, "data": {{"state": "Importing", {odd}}}}}'
    data = parse_response(body).data
    assert (data.progress, data.imported_rows) == (None, None)
    assert data.extra == {"progress": "NaN", "importedRows": "1e400", "x": "-Infinity"}
    [row] = jobs_table([Snapshot(START, "7", "http://x", parse_response(body))]).to_pylist()
    assert json.loads(row["extra"], parse_constant=refuse) == data.extra


@pytest.mark.parametrize("depth", [90, 101])
def test_nesting_is_kept_up_to_a_depth_and_refused_beyond(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    body = {"code": 0, "data": {"state": "Importing", "x": value}}
    if depth > 100:
        with pytest.raises(BadResponseError, match="nested"):
            parse_response(body)
    else:
        assert parse_response(body).data.extra == {"x": value}
