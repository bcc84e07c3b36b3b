import numpy as np
import pandas as pd
import pytest
from frames import HEALTHY, START, scheduled

from importstats.analysis.ages import Ages
from importstats.analysis.silence import collapse_since, unusual_silence


def waves(count, slots=8, usual=120, *, pause=None, slower=None):
    """So many waves of tasks of some `usual` seconds, with a pause or a slower pace from a time."""
    rng = np.random.default_rng(7)
    spans = []
    free = np.zeros(slots)
    for _ in range(count * slots):
        slot = int(free.argmin())
        begin = free[slot]
        lasts = usual * float(np.exp(0.15 * rng.normal()))
        if pause and begin < pause[1] and begin + lasts > pause[0]:
            lasts += pause[1] - max(begin, pause[0])
        if slower and begin + lasts > slower[0]:
            lasts += (begin + lasts - max(begin, slower[0])) * (slower[1] - 1)
        spans.append((round(begin) + 1, round(begin + lasts)))
        free[slot] = begin + lasts + 1
    return spans


def at(spans, second, every=30):
    return Ages.from_details(
        scheduled(spans, second, every=every), START + pd.Timedelta(second, "s")
    )


def test_a_healthy_job_is_never_silent_nor_slow():
    spans = waves(5)
    for second in range(60, 601, 60):
        ages = at(spans, second)
        assert unusual_silence(ages, 0) is None, second
        assert collapse_since(ages, 0, 0.35) is None, second


def test_a_pause_is_a_silence_longer_than_any_task_took():
    spans = waves(6, pause=(300, 3000))
    quiet = unusual_silence(at(spans, 1200), 0)
    assert quiet.since == pytest.approx(START.timestamp() + 300, abs=61)
    assert quiet.lasts_s == pytest.approx(900, abs=61)
    assert quiet.running == 8
    assert 120 < quiet.longest_s < 240
    # Less than five minutes are never one.
    assert unusual_silence(at(spans, 540), 0) is None
    assert unusual_silence(at(spans, 660), 0) is not None


# The longest of them takes ten minutes; the others tell them from one task.
FOUR = [(1, 571), (1, 581), (1, 591), (1, 601)]


@pytest.mark.parametrize(("times", "silent"), [(1.15, False), (1.4, True)])
def test_a_silence_is_measured_by_the_longest_task(times, silent):
    spans = [*FOUR, *[(602, 9000)] * 4]
    assert (unusual_silence(at(spans, 601 + int(600 * times), every=10), 0) is not None) == silent


def test_a_silence_of_larger_tasks_may_last_longer():
    spans = [*FOUR, *[(602, 9000)] * 4]
    sizes = [200_000_000 + place for place in range(4)] + [900_000_000] * 4
    details = scheduled(spans, 1800, every=10, sizes=sizes)
    assert unusual_silence(Ages.from_details(details, START + pd.Timedelta("1800s")), 0) is None


def test_a_task_that_goes_back_is_no_end():
    spans = [*waves(6, pause=(300, 3000))]
    last = max(place for place, span in enumerate(spans) if span[0] < 300 < span[1])
    details = scheduled(spans, 1200, every=30, back={last: [(600, 630)]})
    assert unusual_silence(Ages.from_details(details, START + pd.Timedelta("1200s")), 0) is not None


def test_tasks_that_end_far_too_slowly_are_a_slump():
    spans = waves(12, slower=(400, 12.0))
    slump = collapse_since(at(spans, 2400), 0, 0.35)
    assert slump.ratio < 0.35
    assert START.timestamp() + 100 < slump.since < START.timestamp() + 700


def test_before_anything_has_ended_nobody_knows():
    spans = [(1, 9000)] * 8
    ages = at(spans, 6000, every=300)
    assert unusual_silence(ages, 0) is None
    assert collapse_since(ages, 0, 0.35) is None


def test_one_task_is_no_silence_of_the_job():
    spans = [*HEALTHY, (1, 9000)]
    assert unusual_silence(at(spans, 3000, every=60), 0) is None


@pytest.mark.parametrize(("slower", "found"), [(5.0, False), (6.0, True)])
def test_a_slump_must_be_too_unlikely_for_chance(slower, found):
    # The first has a chance of one in 2,200, the second of one in 4,300.
    slump = collapse_since(at(waves(12, slower=(400, slower)), 950), 0, 0.35)
    assert (slump is not None) == found


@pytest.mark.parametrize(("late", "found"), [(8, False), (9, True)])
def test_a_task_that_is_long_overdue_is_due_once(late, found):
    # Eight end in time and eight much later. With eight more that run on that is half of those due.
    quick = [(1, 100 + 5 * n) for n in range(8)]
    ends = [(1, 700 + 10 * n) for n in range(8)]
    ages = at([*quick, *ends, *[(1, 9000)] * late], 1000, every=10)
    assert (collapse_since(ages, 0, 0.35) is not None) == found
