"""Events: what happens to a job, when, and under which id."""

import json

import numpy as np
import pandas as pd
import pytest
from frames import START, jobs_of, simulated
from hypothesis import given, settings
from hypothesis import strategies as st

from importstats.analysis.job_events import EVENTS, events, payloads
from importstats.simulator import Polling

LAST = ["finished", "failed"]


def recorded(shape, *, seed=3, **options):
    return simulated(shape, seed=seed, polling=Polling(every_s=60, most=600), **options)


def frame(*rows, **columns):
    """A jobs frame of one job, from (state, progress, imported rows, total rows)."""
    known = {"source_uri": "http://localhost:19530", "error": None}
    return jobs_of(rows, **{**known, **columns})


def after(jobs, seconds=1):
    return jobs["observed_at"].max() + pd.Timedelta(seconds=seconds)


WORKING = [("Pending", 5, 0, 0), ("Importing", 40, 0, 900), ("Importing", 55, 450, 900)]


def test_a_job_that_completes_has_started_and_finished():
    jobs = frame(*WORKING, ("Completed", 100, 900, 900))
    found = events(jobs, None, after(jobs))
    assert found["event"].to_list() == ["started", "finished"]
    assert found["snapshot_id"].to_list() == [2, 4]
    assert (found["occurred_at"] == jobs["observed_at"].iloc[[1, 3]].to_list()).all()
    assert found["message"].iloc[1] == "900 rows imported in 3 min (5 rows/s)"


def test_a_job_that_fails_is_reported_with_its_reason_and_how_far_it_got():
    jobs = frame(*WORKING, ("Failed", 0, 0, 0), reason=[None, None, None, "disk full"])
    found = events(jobs, None, after(jobs))
    assert found["event"].to_list() == ["started", "failed"]
    assert "450 of 900 rows" in found["message"].iloc[1]
    assert "disk full" in found["message"].iloc[1]


def test_a_job_seen_only_after_its_end_has_not_started_before_our_eyes():
    jobs = frame(("Completed", 100, 900, 900))
    assert events(jobs, None, after(jobs))["event"].to_list() == ["finished"]


def test_a_pending_job_has_not_started():
    jobs = frame(("Pending", 0, 0, 0), ("Pending", 5, 0, 0))
    assert events(jobs, None, after(jobs)).empty


def test_nothing_has_no_events_and_the_same_columns_and_types():
    jobs = frame(*WORKING)
    some, none = events(jobs, None, after(jobs)), events(jobs.iloc[:0], None, START)
    assert none.empty
    pd.testing.assert_series_equal(none.dtypes, some.dtypes)
    assert list(payloads(none)) == []


@pytest.mark.parametrize(
    ("shape", "seed"),
    [("stragglers", 3), ("failing", 7), ("stuck_file", 7), ("two_phase_commit", 3)],
)
def test_ids_never_change_as_a_history_grows_and_no_fact_is_taken_back(shape, seed):
    jobs, details = recorded(shape, seed=seed)
    seen = {}
    for place in [*np.linspace(1, len(jobs) - 1, 6).astype(int), len(jobs) - 1]:
        at = jobs["observed_at"].iloc[place]
        found = events(jobs, details, at).set_index("event_id")
        facts = {key: event for key, event in seen.items() if event in ("started", *LAST)}
        assert set(facts) <= set(found.index)
        assert found.index.is_unique
        seen |= found["event"].to_dict()
    per_kind = pd.Series(seen).value_counts()
    assert per_kind["started"] == 1
    assert per_kind.reindex(LAST).sum() == 1


@pytest.mark.parametrize("shape", ["stuck_file", "stragglers"])
def test_runs_and_expanded_details_have_the_same_events(shape):
    (jobs, runs), (_, expanded) = recorded(shape), recorded(shape, runs=False)
    for place in np.linspace(2, len(jobs) - 1, 4).astype(int):
        at = jobs["observed_at"].iloc[place]
        pd.testing.assert_frame_equal(events(jobs, runs, at), events(jobs, expanded, at))


def test_a_file_that_is_stuck_makes_the_job_late_under_one_id_while_it_lasts():
    jobs, details = recorded("stuck_file", seed=7)
    late = set()
    for place in range(20, 50, 5):
        at = jobs["observed_at"].iloc[place]
        found = events(jobs, details, at)
        assert (found.loc[found["event"].eq("late"), "occurred_at"] == at).all()
        late |= set(found.loc[found["message"].str.contains("as long as others"), "event_id"])
    assert len(late) == 1
    ended = events(jobs, details, jobs["observed_at"].iloc[-1])
    assert not ended["event"].isin(["stalled", "late"]).any()


def test_standing_still_at_other_numbers_is_another_event():
    rows = [("Importing", 40 + 3 * step, 90 * step, 900) for step in range(4)]
    first = frame(*rows, *[rows[-1]] * 40)
    second = frame(*rows, *[rows[-1]] * 40, ("Importing", 60, 600, 900), *[rows[-1]] * 0)
    moved = pd.concat([second, frame(*[("Importing", 60, 600, 900)] * 400)])
    moved = moved.assign(
        snapshot_id=np.arange(len(moved)),
        observed_at=pd.date_range(START, periods=len(moved), freq="60s", unit="us"),
    )
    found = [events(jobs, None, after(jobs)) for jobs in (first, second, moved)]
    ids = [set(each.loc[each["event"] == "stalled", "event_id"]) for each in found]
    assert [len(each) for each in ids] == [1, 0, 1]
    assert ids[0] != ids[2]


def estimates(jobs, phases, p50_s, p90_s):
    """What an eta frame would say, in seconds since the start."""
    return pd.DataFrame(
        {
            **{name: jobs[name] for name in ("source_uri", "job_id", "snapshot_id", "observed_at")},
            "phase": phases,
            "eta_p10": jobs["observed_at"],
            "eta_p50": START + pd.to_timedelta(p50_s, unit="s"),
            "eta_p90": START + pd.to_timedelta(p90_s, unit="s"),
        }
    )


@pytest.mark.parametrize(
    ("p50_s", "is_late"),
    [
        ([900, 900, 1100, 1100, 1100], True),
        ([900, 900, 900, 1100, 1100], False),
        ([900, 1100, 1100, 900, 1100], False),
        ([900, 1100, 1100, 1100, 900], False),
        ([900, 900, 1100, np.nan, 1100], False),
    ],
)
def test_late_is_who_passes_the_first_deadline_of_the_import_three_times_running(p50_s, is_late):
    jobs = frame(("Importing", 20, 0, 0), *[("Importing", 50, 300, 900)] * 4)
    phases = ["PreImporting", *["Importing"] * 4]
    # The narrow deadline before the import is not the one that counts, nor are later ones.
    eta = estimates(jobs, phases, p50_s, [500, 1000, 9000, 9000, 9000])
    found = events(jobs, None, after(jobs), estimates=eta)
    assert ("late" in found["event"].to_list()) == is_late
    if is_late:
        [late] = found[found["event"] == "late"].itertuples()
        assert "2026-05-18 08:18:20 UTC, 1 min 40 s after" in late.message
        assert late.eta_p50 == START + pd.Timedelta(seconds=1100)


def test_a_two_phase_import_that_waits_for_its_commit_is_reported():
    jobs = frame(*WORKING, *[("Uncommitted", 99, 900, 900)] * 3)
    assert events(jobs, None, after(jobs))["event"].to_list() == ["started", "waits_for_commit"]


def test_silence_is_a_gap_and_each_silence_another():
    jobs = frame(*WORKING)
    assert "gap" not in set(events(jobs, None, after(jobs, 800))["event"])
    first, again = (events(jobs, None, after(jobs, silent_s)) for silent_s in (1000, 5000))
    assert first["event"].to_list() == ["started", "gap"]
    assert "16 min 40 s" in first["message"].iloc[1]
    assert first["event_id"].to_list() == again["event_id"].to_list()
    later = frame(*WORKING, WORKING[-1])
    assert set(events(later, None, after(later, 1000))["event_id"]) != set(first["event_id"])
    ended = frame(*WORKING, ("Completed", 100, 900, 900))
    assert "gap" not in set(events(ended, None, after(ended, 9000))["event"])


NOT_KNOWN = "http://h does not know import job '7'; wrong id, or it ended and was forgotten"


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([None, None, None, NOT_KNOWN, NOT_KNOWN], ["started", "forgotten"]),
        ([None, None, None, "http://h does not answer", NOT_KNOWN], ["started", "forgotten"]),
        ([None, None, None, None, NOT_KNOWN], ["started"]),
        ([None, None, NOT_KNOWN, NOT_KNOWN, None], ["started"]),
        ([None, None, None, "http://h does not answer", "http://h does not answer"], ["started"]),
    ],
)
def test_forgotten_is_a_job_that_was_given_up_and_not_one_that_a_restart_hid(errors, expected):
    jobs = frame(*WORKING, *[WORKING[-1]] * 2, error=pd.array(errors, "str"))
    assert events(jobs, None, after(jobs))["event"].to_list() == expected


def test_a_gap_says_why_if_the_collector_knew():
    errors = pd.array([None, None, "http://h does not answer (timed out)"], "str")
    found = events(frame(*WORKING, error=errors), None, START + pd.Timedelta("1h"))
    assert found["message"].iloc[-1].endswith(": http://h does not answer (timed out)")


def test_jobs_together_have_the_events_of_each_alone_in_any_order():
    parts = [
        tuple(rows.assign(job_id=shape) for rows in recorded(shape))
        for shape in ("stuck_file", "failing", "small_and_quick")
    ]
    at = parts[0][0]["observed_at"].iloc[40]
    alone = pd.concat([events(jobs, details, at) for jobs, details in parts])
    jobs, details = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    together = events(jobs.sample(frac=1, random_state=1), details.sample(frac=1), at)
    assert together["event_id"].is_unique
    pd.testing.assert_frame_equal(
        alone.set_index("event_id").sort_index(), together.set_index("event_id").sort_index()
    )


def test_the_same_job_id_on_two_servers_is_two_jobs():
    jobs = frame(*WORKING)
    both = pd.concat([jobs, jobs.assign(source_uri="http://other:19530")])
    assert events(both, None, after(jobs))["event_id"].nunique() == 2


# Half characters end at the parser, and no frame can hold them.
texts = st.text(st.characters(codec="utf-8"), max_size=40)


@settings(max_examples=25)
@given(job_id=texts, collection=texts, reason=texts)
def test_whatever_a_server_calls_things_a_payload_is_json_and_its_text_one_harmless_line(
    job_id, collection, reason
):
    jobs = frame(
        *WORKING,
        ("Failed", 0, 0, 0),
        reason=[None, None, None, reason],
        job_id=job_id,
        collection_name=collection,
    )
    found = list(payloads(events(jobs, None, after(jobs))))
    assert [event["event"] for event in found] == ["started", "failed"]
    for event in json.loads(json.dumps(found, allow_nan=False)):
        assert event["text"].isprintable()
        assert not set("<>") & set(event["text"])
        assert event["event"] in EVENTS
        assert event["job_id"] == job_id
