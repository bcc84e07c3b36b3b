"""Words at their edges: the second, the percent and the file from which a sentence is another."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from test_words import job

from importstats.analysis.ranking import (
    delay_text,
    file_sentence,
    rank_files,
    stragglers_text,
    verdict_text,
)
from importstats.analysis.words import clock, eta_text, headline, is_stale, left_text, phase_text

NOW = datetime(2026, 5, 18, 16, tzinfo=UTC)
NAN = np.nan


def estimate(low_s, middle_s, high_s, *, seen_s=0.0, **columns):
    names = ("observed_at", "eta_p10", "eta_p50", "eta_p90")
    offsets = (seen_s, low_s, middle_s, high_s)
    times = [NOW + timedelta(seconds=s) if s is not None else pd.NaT for s in offsets]
    return pd.DataFrame([times], columns=names).assign(**columns)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (599, "16:09:59 UTC"),
        (600, "16:10 UTC"),
        (-599, "15:50:01 UTC"),
        (-600, "15:50 UTC"),
        (8 * 3600, "2026-05-19 00:00 UTC"),
    ],
)
def test_seconds_are_shown_within_ten_minutes_and_the_date_on_other_days(seconds, text):
    assert clock(NOW + timedelta(seconds=seconds), NOW, UTC) == text


@pytest.mark.parametrize(
    ("every_s", "count", "age_s", "stale"),
    [
        (10, 3, 300, False),
        (10, 3, 301, True),
        (120, 3, 600, False),
        (120, 3, 601, True),
        (120, 1, 300, False),
        (120, 1, 301, True),
        (120, 2, 600, False),
        (120, 2, 601, True),
    ],
)
def test_a_job_is_stale_after_five_pauses_and_five_minutes(every_s, count, age_s, stale):
    times = pd.date_range("2026-05-18", periods=count, freq=f"{every_s}s", tz="UTC")
    jobs = pd.DataFrame({"observed_at": times})
    assert is_stale(jobs, times[-1] + pd.Timedelta(age_s, "s")) is stale


@pytest.mark.parametrize(
    ("low_s", "middle_s", "high_s", "text"),
    [
        (60, 0, 60, "should have ended by now (at most 1 min more)"),
        (60, 1, 60, "1 s left (1 min to 1 min)"),
        (-9, -1, 0, "should have ended by now"),
        (-9, -1, 1, "should have ended by now (at most 1 s more)"),
        (60, 119, 600, "1 min 59 s left (1 min to 10 min)"),
        (60, 120, 600, "2 min left (1 to 10)"),
        (-60, 120, 600, "2 min left (0 to 10)"),
        (60, 200, 7199, "3 min left (1 to 120)"),
        (60, 200, 7200, "3 min left (1 min to 2 h)"),
        (119, 3600, 90_000, "1 h left (1 min 59 s to 1 d 1 h)"),
        (None, 149, 600, "2 min left"),
        (60, 151, None, "3 min left"),
        (60, None, 60, "no ETA"),
    ],
)
def test_what_is_left_is_as_exact_as_it_is_short(low_s, middle_s, high_s, text):
    assert left_text(estimate(low_s, middle_s, high_s), NOW) == text


def test_the_latest_estimate_counts_and_says_why_there_is_none():
    both = pd.concat([estimate(60, 120, 180, seen_s=5), estimate(1, 2, 3)])
    assert left_text(both, NOW) == "2 min left (1 to 3)"
    assert eta_text(both, UTC) == "ends 16:02:00 UTC (16:01:00 to 16:03:00)"
    none = estimate(None, None, None, reason="no history")
    assert (left_text(none, NOW), eta_text(none, UTC)) == (
        "no ETA: no history",
        "end unknown (no history)",
    )
    assert eta_text(estimate(None, 1200, 1800), UTC) == "ends 16:20 UTC"
    assert eta_text(estimate(600, 1200, None), UTC) == "ends 16:20 UTC"
    assert eta_text(estimate(60, 1200, 1800), UTC) == "ends 16:20 UTC (16:01 to 16:30)"


def test_an_unknown_phase_is_the_word_of_the_server_as_far_as_there_is_room():
    assert phase_text("Unknown", "x" * 40) == "x" * 40
    assert phase_text("Unknown", "x" * 41) == "x" * 39 + "…"
    assert phase_text("Unknown", " ") == "Unknown"
    assert phase_text("Unknown", "None") == "Unknown"
    assert phase_text("Importing", "InProgress") == "Importing"


def finding(name, severity, message="It is so.", evidence="{}"):
    return pd.DataFrame(
        [[name, severity, message, evidence]],
        columns=["finding", "severity", "message", "evidence"],
    )


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (finding("commit_hangs", "warning"), "Importing, 55 %. It is so."),
        (finding("collector_gap", "info"), "Importing, 55 %"),
        (finding("waiting_for_index", "info", evidence='{"waited_s": 119.9}'), "Importing, 55 %"),
        (
            finding("waiting_for_index", "info", evidence='{"waited_s": 120}'),
            "Importing, 55 %. It is so.",
        ),
        (
            finding("waiting_for_index", "warning", evidence='{"waited_s": 1}'),
            "Importing, 55 %. It is so.",
        ),
        (finding("stalled", "warning", "x" * 240), f"Importing, 55 %. {'x' * 240}"),
        (finding("stalled", "warning", "x" * 241), f"Importing, 55 %. {'x' * 239}…"),
    ],
)
def test_the_headline_says_what_is_grave_or_explains_a_wait_of_two_minutes(found, text):
    jobs = job(["Importing"], [55.0], detail_count=3, imported_rows=5, total_rows=10)
    assert headline(jobs, findings=found, zone=UTC) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (300, "Importing, 55 %"),
        (301, "Was Importing, 55 %, when last seen at 08:00 UTC, 5 min 1 s ago"),
        (86_400, "Was Importing, 55 %, when last seen on 18 May"),
        (366 * 86_400, "Was Importing, 55 %, when last seen on 18 May 2026"),
    ],
)
def test_the_headline_of_a_job_not_seen_for_long_is_about_the_past(seconds, text):
    jobs = job(["Importing"], [55.0], detail_count=3, imported_rows=5, total_rows=10)
    at = jobs["observed_at"].iloc[0] + pd.Timedelta(seconds, "s")
    none = finding("stalled", "info").iloc[:0]
    said = headline(jobs, estimate(60, 120, 180), findings=none, at=at, zone=UTC)
    expected = text if seconds > 300 else f"{text}: ends 16:02:00 UTC (16:01:00 to 16:03:00)"
    # A duration of exactly ten minutes or more is without seconds.
    assert said.replace("08:00:00", "08:00") == expected


@pytest.mark.parametrize(
    ("state", "progress", "text"),
    [
        ("Odd", 0.0, "Odd, 0 %"),
        ("Odd", NAN, "Odd"),
        ("", 0.0, "Unknown"),
        ("", 100.0, "Unknown, 100 %"),
    ],
)
def test_the_headline_without_a_state_has_the_progress_if_there_is_some(state, progress, text):
    said = headline(job([state], [progress]), findings=finding("x", "info").iloc[:0], zone=UTC)
    assert said == text


@pytest.mark.parametrize(
    ("created_s", "took"),
    [(0, "1 min"), (60, "0 s"), (61, "1 min of recording"), (-1, "1 min 1 s")],
)
def test_a_creation_after_the_end_is_not_believed(created_s, took):
    begin = pd.Timestamp("2026-05-18T08:00:00Z").as_unit("us")
    created = begin + pd.Timedelta(created_s, "s")
    jobs = job(["Importing", "Completed"], [55.0, 100.0], create_time=created)
    text = headline(jobs, findings=finding("x", "info").iloc[:0], zone=UTC)
    assert text == f"Completed at 08:01:00 UTC after {took}"


# --- Which file matters ---------------------------------------------------------------------------


def files(*rows):
    columns = ["file", "state", "verdict", "delay_s", "score", "is_straggler"]
    return pd.DataFrame(rows, columns=columns)


RANKED = files(
    ("on time", "InProgress", "ok", 0.0, 9.0, False),
    ("was late", "Completed", "slow", 900.0, 9.0, True),
    ("late by 1 min", "InProgress", "slow", 60.0, 9.0, True),
    ("late by 2 min", "InProgress", "slow", 120.0, 1.0, True),
    ("as late, worse", "InProgress", "slow", 60.0, 10.0, True),
    ("stuck", "InProgress", "stuck", NAN, 1.0, True),
    ("stuck for nothing", "InProgress", "stuck", 0.0, 2.0, True),
    ("failed", "Failed", "failed", NAN, 0.0, False),
)


def test_files_are_ranked_by_what_failed_is_stuck_is_late_and_was_late():
    ranked = rank_files(RANKED)
    assert list(zip(ranked["file"], ranked["matters"], strict=True)) == [
        ("failed", "failed"),
        ("stuck for nothing", "now"),
        ("stuck", "now"),
        ("late by 2 min", "now"),
        ("as late, worse", "now"),
        ("late by 1 min", "now"),
        ("was late", "was"),
        ("on time", "no"),
    ]
    assert pd.isna(ranked["delay_s"].iloc[1])
    assert rank_files(RANKED.iloc[:0]).empty


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (RANKED, "failed failed"),
        (RANKED.iloc[[0]], ""),
        (RANKED.iloc[[1]], "was late was slow and delayed the end by 15 min"),
        (RANKED.iloc[[1, 1]], "was late was slow and delayed the end by 15 min; 1 more was late"),
        (RANKED.iloc[[1] * 3], "was late was slow and delayed the end by 15 min; 2 more were late"),
        (
            RANKED.iloc[[2, 3]],
            "late by 2 min is slow and delays the end by 2 min; 1 more is late",
        ),
        (
            RANKED.iloc[[2, 3, 4]],
            "late by 2 min is slow and delays the end by 2 min; 2 more are late",
        ),
        (RANKED.iloc[[7, 7]], "failed failed; 1 more failed"),
        (RANKED.iloc[[2]].assign(delay_s=0.9), ""),
        (RANKED.iloc[[2]].assign(delay_s=1.0), "late by 1 min is slow and delays the end by 1 s"),
        (RANKED.iloc[[2, 3]].assign(task=7), "late by 2 min is slow and delays the end by 2 min"),
        (
            RANKED.iloc[[2]].assign(file="x" * 61),
            f"{'x' * 59}… is slow and delays the end by 1 min",
        ),
    ],
)
def test_the_first_file_is_named_and_those_like_it_are_counted(shown, text):
    assert stragglers_text(shown) == text


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ({"verdict": "slow", "matters": "now", "delay_s": 0.9}, "f is slow, which does not delay"),
        ({"verdict": "slow", "matters": "was", "delay_s": 0.9}, "f was slow, which did not delay"),
        ({"verdict": "slow", "matters": "was", "delay_s": NAN}, "f was slow"),
        (
            {"verdict": "stuck", "matters": "now", "delay_s": 60.0, "idle_s": NAN},
            "f is stuck and delays the end by at least 1 min",
        ),
        (
            {"verdict": "stuck", "matters": "was", "delay_s": 60.0, "idle_s": 9.0},
            "f was stuck and delayed the end by 1 min",
        ),
        ({"verdict": "failed", "matters": "now", "delay_s": 60.0}, "f failed"),
        (
            {"verdict": "odd", "matters": "now", "delay_s": 1.0},
            "f is odd and delays the end by 1 s",
        ),
    ],
)
def test_a_file_is_spoken_of_by_its_verdict_and_delay(file, text):
    end = " the end" if "which" in text else ""
    assert file_sentence({"file": "f", **file}) == text + end


def test_a_delay_and_a_verdict_in_a_table():
    assert [delay_text(s) for s in (0, 0.5, None)] == ["nothing", "0.5 s", "unknown"]
    shown = [("slow", "now"), ("slow", "was"), ("goes back", "was")]
    texts = [verdict_text({"verdict": verdict, "matters": when}) for verdict, when in shown]
    assert texts == ["slow", "was slow", "goes back"]
