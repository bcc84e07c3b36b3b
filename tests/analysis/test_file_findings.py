import json

import pandas as pd
import pytest
from frames import HEALTHY, START, job_of, recording, scheduled

from importstats import diagnose


def found(spans, second, **options):
    details = scheduled(spans, second, **options)
    findings = diagnose(job_of(details), details, at=START + pd.Timedelta(second, "s"))
    return findings.set_index(findings["finding"].astype("str"))


def warned(findings):
    return set(findings.index[findings["severity"].ne("info")])


def test_a_healthy_job_has_no_warning():
    for second in range(30, 361, 30):
        assert not warned(found(HEALTHY, second)), second


def test_files_that_wait_while_none_is_at_work_are_a_warning_after_three_minutes():
    spans = [(2000, 2100)] * 5
    assert "no_free_slot" not in warned(found(spans, 150))
    findings = found(spans, 180)
    assert warned(findings) == {"no_free_slot"}
    assert json.loads(findings.loc["no_free_slot", "evidence"])["waiting_tasks"] == 5


def test_a_file_that_hangs_holds_the_job_up():
    findings = found([*HEALTHY, (1, 9000)], 1500)
    assert "one_file_holds_up" in warned(findings)
    evidence = json.loads(findings.loc["one_file_holds_up", "evidence"])
    assert evidence["file"] == "12.parquet"
    assert evidence["verdict"] == "stuck"
    assert evidence["delay_s"] == pytest.approx(1500 - 363, abs=60)
    assert "has not moved" not in findings.loc["one_file_holds_up", "message"]


def test_tasks_of_a_slow_node_count_together():
    slow = [(1, 1200 + place) for place in range(4)]
    findings = found([*HEALTHY, *slow], 690)
    assert {"slow_node", "one_file_holds_up"} <= warned(findings)
    assert json.loads(findings.loc["slow_node", "evidence"])["tasks_at_work"] == 4
    # Each of them ends with the others: only all of them together hold the job up.
    assert "more tasks are late" in findings.loc["one_file_holds_up", "message"]


def test_a_pause_of_all_is_a_standstill():
    spans = [*HEALTHY[:8], *[(begin, end + 5000) for begin, end in HEALTHY[8:]]]
    assert "stalled" in warned(found(spans, 2000))


@pytest.mark.parametrize(("times", "between", "slow"), [(2.4, 0, 0), (2.75, 4, 1), (2.75, 5, 0)])
def test_a_slow_nodes_tasks_take_far_longer_and_few_lie_in_between(times, between, slow):
    quick = [(1, 100 + place) for place in range(20)]
    some = [(1, 210 + place) for place in range(between)]
    late = [(1, 5000)] * 4
    spans = [*quick, *some, *late]
    sizes = [200_000_000 + place for place in range(len(spans))]
    findings = found(spans, round(times * 112), every=10, sizes=sizes)
    assert ("slow_node" in findings.index) == bool(slow)


@pytest.mark.parametrize(("begin", "slow"), [(1, True), (150, False)])
def test_tasks_that_are_all_late_from_some_time_on_are_no_slow_node(begin, slow):
    quick = [(1, 100 + place) for place in range(20)]
    sizes = [200_000_000 + place for place in range(20)] + [200_000_100 + n for n in range(4)]
    findings = found([*quick, *[(begin, 9000)] * 4], begin + 400, every=10, sizes=sizes)
    assert ("slow_node" in findings.index) == slow


@pytest.mark.parametrize(("second", "severity"), [(270, "info"), (330, "warning")])
def test_what_holds_up_for_less_than_five_minutes_is_no_warning(second, severity):
    quick = [(1, 100 + 3 * place) for place in range(12)]
    findings = found([*quick, (1, 20_000)], second, every=10)
    assert findings.loc["one_file_holds_up", "severity"] == severity


@pytest.mark.parametrize(("second", "severity"), [(2000, "info"), (2250, "warning")])
def test_one_late_file_is_a_warning_from_four_times_the_usual_time_on(second, severity):
    # A file of four times the size is at work beside it, so nothing has waited for it alone.
    quick = [(1, 500 + 9 * place) for place in range(12)]
    sizes = [400_000_000 + place for place in range(12)] + [1_600_000_000, 400_000_050]
    findings = found([*quick, (1, 2700), (1, 20_000)], second, every=20, sizes=sizes)
    assert findings.loc["one_file_holds_up", "severity"] == severity


def test_a_file_that_is_waited_for_alone_is_a_warning_from_twice_the_usual_time_on():
    quick = [(1, 500 + 9 * place) for place in range(12)]
    severities = {}
    for second in range(900, 1300, 20):
        findings = found([*quick, (1, 20_000)], second, every=10).loc["one_file_holds_up"]
        severities[json.loads(findings["evidence"])["times_usual"]] = str(findings["severity"])
    assert set(severities.values()) == {"info", "warning"}
    assert max(times for times, said in severities.items() if said == "info") < 2
    assert 2 <= min(times for times, said in severities.items() if said == "warning") < 2.06


def test_only_a_file_without_rows_shows_no_progress():
    silent = found([*HEALTHY, (1, 2000)], 390).loc["one_file_holds_up", "message"]
    assert silent.startswith("12.parquet has been at work 3.5 times as long as others of its size")
    assert "its size, and shows no progress; " in silent
    spans = [*((1, 700 + 9 * place) for place in range(8)), (1, 1100)]
    moving = found(spans, 840, smooth=True).loc["one_file_holds_up", "message"]
    assert moving.startswith(
        "8.parquet takes 1.5 times as long as others of its size, by its progress so far;"
    )


@pytest.mark.parametrize("seen_before", [False, True])
def test_tasks_that_were_at_work_when_recording_began_have_no_known_start(seen_before):
    # Twelve are at work at the first poll and soon end; those after them take twenty minutes.
    spans = [(-1000, 31 + 3 * place) for place in range(12)]
    spans += [(end + 1, end + 1200) for _, end in spans]
    details = scheduled(spans, 700)
    jobs = job_of(details)
    if seen_before:  # Then their list has just appeared, and they were as quick as they look.
        earlier = jobs.iloc[:1].assign(
            observed_at=START - pd.Timedelta(30, "s"), progress_pct=20.0, total_rows=0
        )
        jobs = pd.concat([earlier, jobs], ignore_index=True)
    findings = diagnose(jobs, details, at=START + pd.Timedelta(700, "s"))
    warned = set(findings.loc[findings["severity"].ne("info"), "finding"])
    assert ("stalled" in warned) == seen_before


@pytest.mark.parametrize("rows_come", [True, False])
def test_rows_of_tasks_with_several_files_show_that_they_go_on(rows_come):
    def shown(task, second):
        share = second / (60 + 3 * task if task < 2 else 700 + 60 * task)
        return "done" if share >= 1 else [0, 33, 66][int(3 * share)]

    polls = {
        second: [shown(file // 3, second) if second else None for file in range(42)]
        for second in range(0, 601, 30)
    }
    details = recording(polls, [100_000_000 + 1000 * (file // 3) for file in range(42)])
    jobs = job_of(details)
    if not rows_come:
        jobs["imported_rows"] = jobs["imported_rows"].clip(upper=700)
    findings = diagnose(jobs, details, at=START + pd.Timedelta(600, "s"))
    assert findings["finding"].eq("throughput_collapsed").any() != rows_come
