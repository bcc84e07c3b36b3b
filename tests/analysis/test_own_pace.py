import numpy as np
import pandas as pd
import pytest
from frames import MB, START, job_of, recording

from importstats import diagnose
from importstats.analysis.ages import Ages
from importstats.analysis.own_pace import slowdown

# Eight files whose rows grow, half of them from the beginning on and half from 200 s on.
WORK = [(1 + 200 * (place % 2), 900 + 10 * place) for place in range(8)]


def grown(until, *, work=WORK, paces=((0, 1.0),), every=30, files=1):
    """Files that need so many seconds of a pace of one, which changes at these seconds.

    Of tasks of several `files` rows come when a whole file has ended.
    """
    times, speeds = np.array(paces).T

    def done_by(second):
        lasts = np.diff(np.minimum(np.append(times, np.inf), second))
        return float((lasts * speeds).sum())

    polls = {}
    for second in range(0, until + 1, every):
        shown = []
        for begin, needs in work:
            share = max(done_by(second) - done_by(begin), 0.0) / needs
            part = np.floor(share * files) / files if files > 1 else share
            what = "done" if share >= 1 else int(100 * part)
            shown += [None if second < begin else what] * files
        polls[second] = shown
    sizes = [100 * MB + place for place in range(len(work) * files)]
    return recording(polls, sizes)


def found(until, **how):
    details = grown(until, **how)
    findings = diagnose(job_of(details), details, at=START + pd.Timedelta(until, "s"))
    warned = findings[findings["severity"].ne("info")]
    return warned.set_index(warned["finding"].astype("str"))


def slow(until, **how):
    return slowdown(Ages.from_details(grown(until, **how)), 0, 0.35)


def test_tasks_that_keep_their_pace_are_no_slowdown():
    for second in range(60, 961, 60):
        assert slow(second) is None, second
        assert found(second).empty, second


@pytest.mark.parametrize(("pace", "is_one"), [(0.45, False), (0.25, True)])
def test_a_slowdown_is_a_third_of_the_pace_before(pace, is_one):
    found = slow(1000, paces=((0, 1.0), (500, pace)))
    assert (found is not None) == is_one
    if found is not None:
        assert found.ratio == pytest.approx(pace, abs=0.05)
        assert found.since == pytest.approx(START.timestamp() + 500, abs=61)
        assert found.lasts_s == pytest.approx(1000 - 500, abs=61)
        assert found.tasks == 8


def test_a_slowdown_that_is_over_is_none():
    paces = ((0, 1.0), (400, 0.05), (900, 1.0))
    assert slow(900, paces=paces) is not None
    assert slow(1500, paces=paces) is None


def test_what_was_done_before_the_recording_began_is_no_pace():
    details = grown(700)
    late = details[details["observed_at"] >= START + pd.Timedelta(350, "s")]
    assert slowdown(Ages.from_details(late), 0, 0.35) is None


def test_one_task_alone_is_no_slowdown():
    assert slow(1000, work=WORK[:1], paces=((0, 1.0), (500, 0.1))) is None
    assert slow(1000, work=WORK[:2], paces=((0, 1.0), (500, 0.1))) is not None


@pytest.mark.parametrize(("files", "seen"), [(130, True), (100, False)])
def test_tasks_of_very_many_files_have_a_pace_as_well(files, seen):
    """Files that end one by one say nearly as much as rows that grow, until the last of them."""
    work = [(1, 900), (1, 910)]
    found = slow(1000, work=work, paces=((0, 1.0), (500, 0.05)), files=files, every=60)
    assert (found is not None) == seen
    assert slow(1400, work=work, paces=((0, 1.0), (800, 0.05)), files=files, every=60) is None


def test_a_slowdown_is_a_warning_and_says_at_what_pace_tasks_go_on():
    findings = found(1000, paces=((0, 1.0), (500, 0.1)))
    assert list(findings.index) == ["throughput_collapsed"]
    message = findings.loc["throughput_collapsed", "message"]
    assert message == "8 tasks have worked at 10.8 % of their earlier pace for 7 min 52 s"
    advice = findings.loc["throughput_collapsed", "advice"]
    assert advice.startswith("All tasks at work have slowed down: look at what they share, ")


def test_rows_that_stop_are_a_standstill_after_five_minutes():
    """A pause ends no file either, but rows say so long before a file would have."""
    paces = ((0, 1.0), (500, 0.0))
    assert "stalled" not in found(780, paces=paces).index
    findings = found(840, paces=paces)
    assert findings.loc["stalled", "message"] == (
        "No row has come for 5 min 30 s while 8 tasks are at work; before, rows came at least "
        "every 30 s"
    )
    # A poll that comes seldom says so later.
    assert "stalled" not in found(800, paces=paces, every=100).index
    assert "stalled" in found(1000, paces=paces, every=100).index
