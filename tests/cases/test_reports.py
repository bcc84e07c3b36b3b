"""What people needed to know, in cases rebuilt from public reports (see ``data``)."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from replays import Replay, answers_of, time_of

from importstats.analysis.finding_kinds import KIND_OF
from importstats.errors import (
    BadResponseError,
    JobNotFoundError,
    PrivilegeError,
    ServerError,
    UnreachableError,
)
from importstats.sources.answers import parse_response

REPLAYED = [
    "01", "02", "02b", "03", "04", "09", "10", "12", "13", "16", "17", "18", "22", "24", "25",
    "26", "27", "28", "29", "31", "33", "35", "37", "38", "39",
]  # fmt: skip
ALL_ROWS_IN = ["01", "02", "02b", "12", "22", "38"]


@pytest.mark.parametrize("name", REPLAYED)
def test_every_case_has_findings_a_headline_and_a_report(name):
    case = Replay.load(name)
    assert case.headline
    assert len(case.report) > 200
    assert pd.isna(case.eta["eta_p50"]) == pd.notna(case.eta["reason"])
    assert not re.search(r"\babort", case.texts, re.IGNORECASE)


@pytest.mark.parametrize("name", ALL_ROWS_IN)
def test_nothing_speaks_of_a_stall_or_a_new_import_when_all_rows_are_in(name):
    case = Replay.load(name)
    assert "stalled" not in case.findings.index
    assert "import again" not in case.texts.replace("not import again", "")
    assert re.search(r"All [\d., kM]+ ?rows are in|All rows are in", case.headline)


def test_01_stuck_at_80_waits_for_the_index():
    case = Replay.load("01")
    assert case.phases[-2:] == ["SortingOrIndexing", "IndexBuilding"]
    advice = case.findings.loc["waiting_for_index", "advice"]
    assert "No hang" in advice
    assert "slot of an index worker" in advice
    assert "milvus_datacoord_index_task_count" in advice
    last = case.jobs["observed_at"].iloc[-1]
    assert not case.eta["eta_p50"] < last


@pytest.mark.parametrize("name", ["02", "02b"])
def test_02_stuck_at_70_says_what_is_waited_for_by_release(name):
    case = Replay.load(name)
    assert case.phases[-1] == "SortingOrIndexing"
    assert "2.5 and later sort here, 2.4 builds indexes" in case.headline
    assert case.headline.startswith("Sorting or indexing, 70 %")
    assert case.severity("waiting_for_sorting") == "warning"


def test_03_an_early_answer_has_an_id_and_no_rows():
    case = Replay.load("03")
    assert case.jobs["job_id"].unique().tolist() == ["448349928"]
    assert case.phases[-1] == "Completed"
    assert pd.isna(case.summary["rows"])
    assert pd.isna(case.summary["total_rows"])
    assert case.findings.empty


def test_04_a_progress_that_is_none():
    case = Replay.load("04")
    assert case.phases == ["Pending"]
    assert case.jobs["progress_pct"].isna().all()
    assert "Pending for 29 min" in case.headline
    assert "-9223372036854775808" in case.findings.loc["progress_unreadable", "message"]
    assert pd.isna(case.eta["eta_p50"])


def test_05_a_missing_privilege_is_no_refused_token():
    ((_, _, answer),) = answers_of("05")
    with pytest.raises(PrivilegeError) as caught:
        parse_response(answer)
    text = str(caught.value)
    assert "Import privilege in database 'default'" in text
    assert "--db" in text
    assert "MILVUS_TOKEN" not in text


def test_06_a_job_of_another_database():
    ((_, _, answer),) = answers_of("06")
    with pytest.raises(JobNotFoundError, match=r"another database.*--db"):
        parse_response(answer)


def test_08_a_slow_answer_is_tried_again():
    with pytest.raises(UnreachableError):
        parse_response(answers_of("08")[0][2])


def test_09_failed_without_a_reason_says_where_to_look():
    case = Replay.load("09")
    found = case.findings.loc["failed"]
    assert found["message"].endswith("2 of 20 rows written: the server gives no reason")
    assert "data nodes and the stats tasks" in found["advice"]
    assert "Correct" not in found["advice"]
    assert case.headline.endswith("the server gives no reason")


def test_10_completed_without_a_row_is_a_warning():
    case = Replay.load("10")
    assert case.warned == {"completed_empty"}
    assert "81.2 MB" in case.headline


def test_12_a_commit_that_hangs():
    case = Replay.load("12")
    assert case.phases == ["Importing", "Committing"]
    assert case.warned == {"commit_hangs"}
    assert "takes minutes at most, so it hangs" in case.headline
    assert pd.isna(case.eta["eta_p50"])


def test_13_no_slot_is_ever_given():
    case = Replay.load("13")
    assert case.warned == {"no_free_slot"}
    advice = case.findings.loc["no_free_slot", "advice"]
    assert "slotCap" in advice
    assert "dataNode.import.maxConcurrentTaskNum" in advice
    assert pd.isna(case.eta["eta_p90"])
    assert "slot" in case.eta["reason"]
    assert "free slot" in case.headline


def test_16_an_answer_without_a_state():
    case = Replay.load("16")
    assert case.phases == ["Importing", "Completed"]
    assert case.summary["ended_at"] == time_of("08:01:58")
    assert case.findings.empty


def test_17_rows_that_were_not_counted_are_not_0():
    case = Replay.load("17")
    assert case.phases[-1] == "Completed"
    assert (case.summary["rows"], case.summary["total_rows"]) == (100_000, 100_000)
    assert not re.search(r"\b0 of 100,000", case.report)


def test_18_a_file_in_importing():
    case = Replay.load("18")
    assert case.phases == ["Importing"]
    assert (case.summary["rows"], case.summary["total_rows"]) == (20_000, 40_000)
    assert case.warned == set()


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("19", BadResponseError, "login page or a proxy"),
        ("19c", ServerError, "403"),
    ],
)
def test_19_somebody_in_between(name, error, says):
    with pytest.raises(error, match=says):
        parse_response(answers_of(name)[0][2])


def test_22_rows_of_files_that_fall_are_not_lost():
    case = Replay.load("22")
    assert "node_restarted" not in case.findings.index
    assert "retries" not in case.findings.index
    assert case.severity("rows_of_files_fell") == "info"
    assert "Nothing was lost" in case.texts
    assert case.summary["retries"] == 0


def test_24_a_running_job_shows_its_reason():
    case = Replay.load("24")
    assert case.warned == {"reason_given"}
    assert "disk quota exceeded" in case.headline
    assert "disk" in case.findings.loc["reason_given", "advice"]


def test_25_a_quota_has_advice_of_its_own():
    case = Replay.load("25")
    found = case.findings.loc["failed"]
    assert found["message"].startswith("Failed in PreImporting: quota exceeded")
    assert found["advice"] == (
        "Give the cluster more disk, delete data that is not needed, or raise "
        "quotaAndLimits.limitWriting.diskProtection; before that, a new import of the same files "
        "fails too. A failed job leaves no visible rows, so its files can be imported again."
    )


def test_26_times_of_another_zone():
    assert Replay.load("26").summary["ended_at"] == time_of("08:00:50")


def test_27_the_same_file_twice_is_no_retry():
    case = Replay.load("27")
    assert case.summary["retries"] == 0
    assert not {"retries", "node_restarted"} & set(case.findings.index)
    assert "a.json is listed 2 times" in case.findings.loc["same_file_twice", "message"]


def test_28_completed_is_final():
    case = Replay.load("28")
    assert case.phases == ["IndexBuilding", "Completed"]
    assert case.summary["ended_at"] == time_of("08:00:50")
    assert "failed" not in case.findings.index
    assert case.warned == set()
    assert case.headline.startswith("Completed at 08:00:50 UTC")
    assert "collection was dropped later" in case.headline


def test_29_a_server_that_was_away_goes_on():
    case = Replay.load("29")
    assert case.phases == ["Pending", "Completed"]
    assert case.summary["ended_at"] == time_of("08:02:50")


def test_31_an_empty_state_is_an_unknown_job():
    case = Replay.load("31")
    assert case.phases == []
    assert case.warned == {"not_known"}
    assert "does not know the job" in case.headline


def test_33_a_progress_of_0_to_1():
    assert Replay.load("33").phases == ["PreImporting", "Importing", "Completed"]


def test_35_numbers_keep_all_digits():
    case = Replay.load("35")
    assert case.summary["rows"] == 9_007_199_254_740_993
    assert case.summary["total_rows"] == 9_007_199_254_740_999
    assert case.summary["bytes"] == 81_234_567_890_123


def test_37_a_job_took_the_time_since_its_creation():
    case = Replay.load("37")
    assert case.summary["duration_s"] == 7200
    assert case.headline.startswith("Completed at 10:00:00 UTC after 2 h")


def test_38_early_releases_stand_at_90():
    case = Replay.load("38")
    assert case.phases == ["Pending", "PreImporting", "Importing", "IndexBuilding"]


def test_39_a_job_seen_once_after_its_end():
    case = Replay.load("39")
    assert case.summary["ended_at"] == time_of("08:00:55")
    assert np.isnan(case.summary["duration_s"])
    assert case.summary["rows"] == 100_000
    assert case.details["file"].iloc[0] == "a6fb/1.parquet"
    assert " after " not in case.headline


@pytest.mark.parametrize("name", REPLAYED)
def test_findings_carry_the_evidence_and_the_severity_of_the_table(name):
    for finding, row in Replay.load(name).findings.iterrows():
        kind = KIND_OF[finding]
        assert set(json.loads(row["evidence"])) <= set(kind.evidence)
        assert row["severity"] in kind.severities
