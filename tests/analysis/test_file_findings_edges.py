"""Findings of files at their edges: seconds of a wait, tasks that go back, rows in all."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from frames import START, job_of, scheduled

from importstats import diagnose
from importstats.analysis.file_findings import _no_rows_come, _unlikely


def found(details, second, **columns):
    findings = diagnose(
        job_of(details).assign(**columns), details, at=START + pd.Timedelta(second, "s")
    )
    return findings.set_index(findings["finding"].astype("str"))


def evidence(findings, name):
    return json.loads(findings.loc[name, "evidence"])


@pytest.mark.parametrize(
    ("second", "severity"), [(59, None), (60, "info"), (179, "info"), (180, "warning")]
)
def test_files_wait_for_a_slot_from_a_minute_on(second, severity):
    findings = found(scheduled([(2000, 2100)] * 3, second, every=second), second)
    assert findings["severity"].to_dict().get("no_free_slot") == severity
    if severity is not None:
        assert evidence(findings, "no_free_slot") == {"waited_s": second, "waiting_tasks": 3}


@pytest.mark.parametrize(("since", "waited_s"), [(60, 150), (90, 120)])
def test_the_wait_begins_when_the_last_task_has_ended_or_gone_back(since, waited_s):
    ended = scheduled([(1, since), *[(2000, 2100)] * 3], 210)
    assert evidence(found(ended, 210), "no_free_slot")["waited_s"] == waited_s
    back = scheduled([(1, 999), *[(2000, 2100)] * 3], 210, back={0: [(since, 999)]})
    assert evidence(found(back, 210), "no_free_slot")["waited_s"] == waited_s
    at_work = scheduled([(1, 999), *[(2000, 2100)] * 3], 210)
    assert "no_free_slot" not in found(at_work, 210).index


def going_back(files, *groups):
    """What is found of so many files at work, of which groups go back, two minutes apart."""
    moments = [120 * (number + 1) for number, size in enumerate(groups) for _ in range(size)]
    back = {place: [(at, at + 30)] for place, at in enumerate(moments)}
    second = 120 * len(groups) + 90
    return found(scheduled([(1, 5000)] * files, second, back=back), second)


@pytest.mark.parametrize(
    ("files", "groups", "tasks"),
    [
        # Two together, if that is over a fifth of the slots.
        (9, [2], 2),
        (10, [2], None),
        (14, [3], 3),
        (15, [3], None),
        (4, [1], None),
        (9, [2, 2], 4),
        # If others went back alone, three.
        (9, [2, 1], None),
        (14, [3, 1], 3),
    ],
)
def test_tasks_that_go_back_together_are_a_restart(files, groups, tasks):
    findings = going_back(files, *groups)
    restarted = "node_restarted" in findings.index
    assert restarted == (tasks is not None)
    if restarted:
        events = sum(size >= 2 for size in groups)
        assert evidence(findings, "node_restarted") == {"tasks": tasks, "events": events}
        assert findings.loc["node_restarted", "severity"] == "warning"
        said = findings.loc["node_restarted", "message"]
        assert ("in 2 events" in said) == (events == 2)
        # Seen at work, then waiting.
        assert findings.loc["node_restarted", "since"] == START + pd.Timedelta(120 * events, "s")
    assert ("retries" in findings.index) == (tasks != sum(groups))


@pytest.mark.parametrize(
    ("files", "groups", "severity"),
    [
        (20, [1, 1], "info"),
        (20, [1] * 3, "warning"),
        (30, [1] * 3, "warning"),
        (31, [1] * 3, "info"),
    ],
)
def test_a_tenth_of_all_tasks_and_three_are_many_that_go_back(files, groups, severity):
    findings = going_back(files, *groups)
    assert findings.loc["retries", "severity"] == severity
    assert evidence(findings, "retries") == {
        "tasks": len(groups),
        "times": len(groups),
        "all_tasks": files,
    }


@pytest.mark.parametrize(
    ("together", "lone", "intervals", "unlikely"),
    [
        (3, 0, 100, True),
        (2, 0, 100, False),
        # One in a thousand: 2 - ln 4 - ln n = ln 0.001, so n = 1848.
        (2, 0, 1800, False),
        (2, 0, 1900, True),
        (2, 1, 1900, True),
        (2, 2, 1900, False),
        (1, 0, 10**6, False),
        (0, 0, 10**6, False),
        # Fewer than usual are no restart.
        (2, 5000, 100, False),
        (100, 5000, 100, True),
    ],
)
def test_chance_sends_few_back_together(together, lone, intervals, unlikely):
    spans = SimpleNamespace(samples=SimpleNamespace(moment_job=np.zeros(intervals + 5)))
    spans.samples.moment_job[intervals:] = 1
    assert _unlikely(np.array([together]), lone, spans, 0).tolist() == [unlikely]


@pytest.mark.parametrize(
    ("total", "has_wrong_totals"),
    [(200, False), (199, True), (1, True), (0, False), (pd.NA, False)],
)
def test_files_with_half_as_many_rows_again_as_the_job_have_wrong_totals(total, has_wrong_totals):
    details = scheduled([(1, 900)] * 3, 60)
    totals = pd.array([total] * 3, "Int64")
    findings = found(details, 60, total_rows=totals)
    assert ("wrong_totals" in findings.index) == has_wrong_totals
    if has_wrong_totals:
        assert evidence(findings, "wrong_totals") == {
            "files_total_rows": 300,
            "job_total_rows": total,
        }
        assert findings.loc["wrong_totals", "since"] == START


@pytest.mark.parametrize(
    ("idle_s", "longest_s", "poll_s", "moves", "running", "is_found"),
    [
        (300, 10, 5, 5, 2, True),
        (299, 10, 5, 5, 2, False),
        (300, np.nan, 5, 5, 2, True),
        # Four times the longest pause or the usual time between two snapshots.
        (400, 100, 5, 5, 2, True),
        (399, 100, 5, 5, 2, False),
        (400, 10, 100, 5, 2, True),
        (399, 10, 100, 5, 2, False),
        (999, 10, 5, 4, 2, False),
        (999, 10, 5, 5, 0, False),
        (np.nan, 10, 5, 5, 2, False),
    ],
)
def test_rows_stand_still_after_five_minutes_and_four_of_their_pauses(
    idle_s, longest_s, poll_s, moves, running, is_found
):
    job = SimpleNamespace(
        standstill=(idle_s, longest_s, moves), poll_s=poll_s, last_seen=START, phase="Importing"
    )
    at_work = np.arange(6) < running
    spans = SimpleNamespace(
        job=np.array([0, 0, 0, 0, 1, 1]),
        running=at_work | (np.arange(6) > 3),
        smooth=np.array([True, True]),
    )
    finding = _no_rows_come(job, SimpleNamespace(spans=spans), 0)
    assert (finding is not None) == is_found
    if is_found:
        assert finding.evidence["tasks_at_work"] == running
        assert finding.since == START - pd.Timedelta(idle_s, "s")
