"""Words: the headline says phase, end and why; a time is as exact as it is near."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from frames import jobs_of

from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.words import clock, headline
from importstats.text import excerpt


def job(states, progress, **columns):
    known = dict.fromkeys(("imported_rows", "total_rows", "file_size_bytes", "detail_count"), 0)
    known |= {"source_uri": "http://localhost:19530", "reason": None}
    rows = list(zip(states, progress, strict=True))
    return jobs_of(rows, ("state", "progress_pct"), **{**known, **columns})


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(3, "16:03:00 UTC"), (60, "17:00 UTC"), (24 * 60, "2026-05-19 16:00 UTC")],
)
def test_a_time_is_as_exact_as_it_is_near(minutes, text):
    now = datetime(2026, 5, 18, 16, tzinfo=UTC)
    assert clock(now + timedelta(minutes=minutes), now, UTC) == text


def test_the_headline_names_phase_progress_end_and_stragglers():
    jobs = job(["Importing"], [83.0], detail_count=3, imported_rows=9, total_rows=9)
    times = [datetime(2026, 5, 18, 16, minute, tzinfo=UTC) for minute in (30, 42, 59)]
    estimate = pd.DataFrame([times], columns=["eta_p10", "eta_p50", "eta_p90"]).assign(
        observed_at=jobs["observed_at"].to_numpy(), reason=None
    )
    late = pd.DataFrame(
        {
            "file": ["in/a", "in/b", "in/c"],
            "state": ["InProgress", "InProgress", "Completed"],
            "verdict": ["slow", "stuck", "slow"],
            "delay_s": [480.0, np.nan, 900.0],
            "idle_s": [0.0, 509.0, np.nan],
            "is_straggler": True,
        }
    )
    assert headline(jobs, estimate, late, zone=UTC) == (
        "IndexBuilding, 83 %: ends 16:42 UTC (16:30 to 16:59); in/b is stuck, "
        "idle for 8 min 29 s; how much it delays the end is unknown; 1 more is late"
    )


def test_the_headline_says_why_there_is_no_eta():
    jobs = job(["Pending"], [5.0])
    assert headline(jobs, eta(jobs), zone=UTC) == (
        "Pending, 5 %: end unknown (pending: no history)"
    )


def test_the_headline_of_a_recording_that_began_late_does_not_claim_a_duration():
    jobs = job(["Importing", "Completed"], [80.0, 100.0])
    assert headline(jobs, zone=UTC) == ("Completed at 08:01:00 UTC after 1 min of recording")


def test_the_headline_shows_a_state_that_is_not_known():
    assert headline(job(["Defragmenting"], [50.0]), zone=UTC) == "Defragmenting, 50 %"


def test_the_headline_of_a_failed_job_masks_secrets_in_its_reason():
    jobs = job(["Pending", "Failed"], [5, 0], reason=[None, "no bucket, token: abc123"])
    assert "abc123" not in headline(jobs, zone=UTC)


def stood(progress, minutes, **columns):
    """A job that has stood at a progress for so long, all rows in."""
    states, values = ["Importing"] * (minutes + 1), [60.0, *[progress] * minutes]
    jobs = job(states, values, detail_count=3, total_rows=1000, **columns)
    jobs["imported_rows"] = pd.array([700, *[1000] * minutes], "Int64")
    return jobs


@pytest.mark.parametrize(
    ("progress", "minutes", "begins", "says"),
    [
        (80.0, 90, "IndexBuilding, 80 %. ", "All 1,000 rows are in; the job has been building"),
        (70.0, 90, "Sorting or indexing, 70 %. ", "All 1,000 rows are in; the job has been sort"),
        (
            99.0,
            90,
            "Committing, 99 %. ",
            "Committing for 1 h 30 min. A commit takes minutes at most",
        ),
        (80.0, 1, "IndexBuilding, 80 %", ""),
    ],
)
def test_the_headline_names_the_wait(progress, minutes, begins, says):
    text = headline(stood(progress, minutes), zone=UTC)
    assert text.startswith(begins)
    assert says in text
    assert bool(says) or text == begins


def test_the_headline_shows_the_reason_of_a_running_job():
    jobs = job(["Importing"] * 3, [20.0] * 3, reason="disk quota exceeded")
    assert headline(jobs, zone=UTC).endswith("gives a reason: disk quota exceeded")


def test_the_headline_of_a_failed_job_takes_the_reason_of_its_files():
    jobs = job(["Importing", "Failed"], [35.0, 0.0], reason="")
    details = pd.DataFrame(
        {
            **{name: jobs[name].iloc[[1, 1]].to_numpy() for name in ("source_uri", "job_id")},
            "observed_at": jobs["observed_at"].iloc[[1, 1]].to_numpy(),
            "file_index": [0, 1],
            "file_name": ["[a]", "[b]"],
            "state": "Failed",
            "progress_pct": 0.0,
            "imported_rows": 0,
            "total_rows": 9,
            "file_size_bytes": 1,
            "reason": ["no such bucket", None],
        }
    )
    details["observed_at"] = pd.to_datetime(details["observed_at"], utc=True)
    text = headline(jobs, findings=diagnose(jobs, details), zone=UTC)
    assert text == "Failed at 08:01:00 UTC, in PreImporting at 35 %: no such bucket"
    assert headline(jobs, zone=UTC).endswith(": the server gives no reason")


def test_the_headline_of_a_failed_job_names_the_file_that_its_reason_has_no_room_for():
    jobs = job(["Importing", "Failed"], [35.0, 0.0])

    def said(reason):
        evidence = json.dumps({"reason": reason, "culprit": "in/7.parquet"})
        findings = diagnose(jobs).assign(evidence=evidence)
        assert findings["finding"].tolist() == ["failed"]
        return headline(jobs, findings=findings, zone=UTC).split(" 35 %: ")[1]

    assert said("cannot read in/7.parquet") == "cannot read in/7.parquet"
    long = f"value is {'too ' * 30}long"
    assert said(f"{long}: in/7.parquet") == f"in/7.parquet: {excerpt(long)}"


def test_a_job_took_the_time_since_its_creation():
    created = pd.Timestamp("2026-05-18T06:00:00Z").as_unit("us")
    jobs = job(["Importing", "Completed"], [55.0, 100.0], create_time=created)
    assert headline(jobs, zone=UTC).startswith("Completed at 08:01:00 UTC after 2 h 1 min")


def test_a_job_without_a_state_has_no_progress():
    text = headline(job(["", ""], [0.0, 0.0]), zone=UTC)
    assert text.startswith("Unknown. The server gives no state: it does not know the job")
