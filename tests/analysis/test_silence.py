import numpy as np
import pandas as pd
import pytest
from frames import HEALTHY, START, scheduled

from importstats.analysis.ages import Ages
from importstats.analysis.forecast.silence import Silence
from importstats.analysis.forecast.spells import ENDED, WAITS, WORKS, Spells
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


# --- Of the forecast: where a silence supports no estimate ----------------------------------------


def spells(*rows):
    """Kind, when it was first seen, until when it lasts, and whether it went back."""
    columns = np.array(rows, float).reshape(-1, 4).T
    kind, since, until, back = columns
    job, other = np.zeros(len(kind), np.int64), np.zeros(len(kind))
    return Spells(
        job,
        kind.astype(np.int64),
        other,
        other,
        other,
        since,
        until,
        other,
        other,
        back.astype(bool),
    )


def timeline(*progress, every_s=60.0):
    """The snapshots of a job whose progress was so at each."""
    frame = pd.DataFrame({"progress_pct": progress, "job": 0, "place": 2})
    return frame.assign(now_s=every_s * np.arange(len(frame)), imported_rows=0, total_rows=100)


def silence_of(seen, found=None, quota=None):
    none = np.zeros(len(seen), np.bool_)
    return Silence.from_snapshots(seen, found, none if quota is None else quota)


def test_a_job_moves_with_any_of_its_numbers_and_with_any_file():
    seen = timeline(40.0, 40.0, None, None, 41.0, 41.0)
    assert silence_of(seen).moved.tolist() == [0, 0, 2, 2, 4, 4]
    assert silence_of(seen).seconds.tolist() == [0, 60, 0, 60, 0, 60]
    for name in ("imported_rows", "total_rows", "place"):
        moves = timeline(*[40.0] * 3).assign(**{name: [1, 1, 2]})
        assert silence_of(moves).moved.tolist() == [0, 0, 2]
    works = spells((WAITS, 0, 60, 0), (WORKS, 60, np.inf, 0))
    assert silence_of(timeline(*[40.0] * 4), works).moved.tolist() == [0, 1, 1, 1]
    two = pd.concat([timeline(40.0, 40.0), timeline(40.0, 40.0).assign(job=1)])
    assert silence_of(two.reset_index(drop=True)).moved.tolist() == [0, 0, 2, 2]


def test_no_file_has_a_slot_until_one_does_anything_but_wait():
    seen = timeline(*[40.0] * 4)
    waits = (WAITS, 0, np.inf, 0)
    assert silence_of(seen, spells(waits, waits)).no_slot.tolist() == [True] * 4
    later = spells(waits, (WAITS, 0, 120, 0), (WORKS, 120, np.inf, 0))
    assert silence_of(seen, later).no_slot.tolist() == [True, True, False, False]
    assert silence_of(seen, None).no_slot.tolist() == [False] * 4
    # Where nothing is listed as waiting nothing waits for a slot.
    assert silence_of(seen, spells((WAITS, 0, 60, 0))).no_slot.tolist() == [True, *[False] * 3]


@pytest.mark.parametrize(
    ("backs", "waiting", "goes_back"),
    [(2, 1, False), (3, 1, True), (5, 2, False), (6, 2, True), (9, 0, False)],
)
def test_tasks_go_back_again_and_again_if_each_has_done_so_three_times(backs, waiting, goes_back):
    rows = [(WAITS, 60, np.inf, 0)] * waiting + [(WAITS, 60, 60, 1)] * backs
    assert silence_of(timeline(40.0, 40.0), spells(*rows)).goes_back.tolist() == [False, goes_back]


def test_what_went_back_before_the_last_end_does_not_count():
    rows = [(WAITS, 0, np.inf, 0), *[(WAITS, 60, 60, 1)] * 3, (ENDED, 120, np.inf, 0)]
    rows += [(WAITS, 180, 180, 1)] * 3
    seen = timeline(*[40.0] * 4)
    assert silence_of(seen, spells(*rows)).goes_back.tolist() == [False, True, False, True]


HOUR = 3600.0


@pytest.mark.parametrize(
    ("phase", "silent_s", "interrupted", "history", "why"),
    [
        ("IndexBuilding", 6 * HOUR + 1, 0.91, False, "has stood still for longer than jobs do"),
        ("IndexBuilding", 6 * HOUR, 0.91, False, None),
        ("IndexBuilding", 6 * HOUR + 1, 0.9, False, None),
        ("Importing", 6 * HOUR + 1, 0.0, True, "has stood still for longer than jobs do"),
        ("Importing", 6 * HOUR, 0.0, True, None),
        ("Committing", 1801, 0.0, True, "Committing takes far longer than a commit does"),
        ("Committing", 1800, 0.0, True, None),
        ("Pending", 1, 0.0, False, "pending: no history"),
        ("Pending", 1, 0.0, True, None),
        ("PreImporting", 1, 0.0, False, "nothing has moved yet: no history"),
        ("PreImporting", 1, 0.0, True, None),
    ],
)
def test_there_is_no_estimate_where_nothing_supports_one(
    phase, silent_s, interrupted, history, why
):
    seen = timeline(40.0, 40.0, every_s=float(silent_s))
    rows = pd.DataFrame({"phase": [phase], "elapsed_s": [float(silent_s)], "reached": [0.0]})
    known = np.array([history])
    found = silence_of(seen).reasons(rows, np.array([1]), np.array([interrupted]), known)
    assert found.tolist() == [why]
    if phase == "PreImporting":
        moved = rows.assign(reached=0.1)
        assert silence_of(seen).reasons(moved, np.array([1]), np.zeros(1), known).tolist() == [None]


@pytest.mark.parametrize(("elapsed_s", "is_said"), [(300, False), (301, True)])
def test_a_slot_is_waited_for_five_minutes(elapsed_s, is_said):
    found = silence_of(timeline(40.0), spells((WAITS, 0, np.inf, 0)))
    rows = pd.DataFrame({"phase": ["Importing"], "elapsed_s": [float(elapsed_s)]})
    (why,) = found.reasons(rows, np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.bool_))
    assert (why == "no file has been given a slot yet") == is_said


def test_a_quota_is_the_first_thing_to_say():
    found = silence_of(timeline(40.0), spells((WAITS, 0, np.inf, 0)), np.array([True]))
    rows = pd.DataFrame({"phase": ["Importing"], "elapsed_s": [999.0]})
    (why,) = found.reasons(rows, np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.bool_))
    assert why == "a quota is reached: the job cannot end before it is lifted"
