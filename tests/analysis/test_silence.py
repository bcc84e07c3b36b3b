import numpy as np
import pandas as pd
import pytest
from frames import HEALTHY, START, scheduled

from importstats.analysis.ages import Ages
from importstats.analysis.forecast.silence import Silence
from importstats.analysis.forecast.spells import ENDED, WAITS, WORKS, Spells
from importstats.analysis.silence import LEAST_ODDS, slump_of


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


def test_a_healthy_job_never_slows_down():
    for second in range(60, 601, 60):
        assert slump_of(at(waves(5), second), 0, 0.35) is None, second


def test_a_pause_is_a_silence_that_is_unlikely_at_the_pace_before():
    spans = waves(6, pause=(300, 3000))
    # Less than five minutes are never one.
    assert slump_of(at(spans, 570), 0, 0.35) is None
    quiet = slump_of(at(spans, 630), 0, 0.35)
    assert quiet.silent
    assert quiet.since == pytest.approx(START.timestamp() + 300, abs=31)
    assert quiet.lasts_s == pytest.approx(330, abs=31)
    assert (quiet.tasks, quiet.running) == (8, 8)
    assert quiet.ratio < 0.1
    assert quiet.usual_s == pytest.approx(100, abs=20)
    # The longer it lasts, the surer.
    assert slump_of(at(spans, 1200), 0, 0.35).odds > 1000 * quiet.odds


# The longest of them takes ten minutes; that only four have ended makes odds low.
FOUR = [(1, 571), (1, 581), (1, 591), (1, 601)]


@pytest.mark.parametrize(("times", "silent"), [(1.15, False), (1.4, True)])
def test_a_silence_is_measured_by_the_longest_task_as_well(times, silent):
    spans = [*FOUR, *[(602, 9000)] * 4]
    found = slump_of(at(spans, 601 + int(600 * times), every=10), 0, 0.35)
    assert (found is not None) == silent
    if found is not None:
        assert found.silent
        assert found.odds < LEAST_ODDS


@pytest.mark.parametrize(("size", "silent"), [(200_000_000, True), (900_000_000, False)])
def test_a_silence_of_larger_tasks_may_last_longer(size, silent):
    spans = [*FOUR, *[(602, 9000)] * 4]
    sizes = [200_000_000 + place for place in range(4)] + [size] * 4
    details = scheduled(spans, 1800, every=10, sizes=sizes)
    found = slump_of(Ages.from_details(details, START + pd.Timedelta("1800s")), 0, 0.35)
    assert (found is not None) == silent


def test_a_task_that_goes_back_is_a_sign_and_no_end():
    spans = waves(6, pause=(300, 3000))
    last = max(place for place, span in enumerate(spans) if span[0] < 300 < span[1])
    details = scheduled(spans, 1200, every=30, back={last: [(600, 630)]})
    found = slump_of(Ages.from_details(details, START + pd.Timedelta("1200s")), 0, 0.35)
    assert found.odds > LEAST_ODDS


# With 5.75 times as long the odds are 74, with 5.8 times 140.
@pytest.mark.parametrize(
    ("slower", "found"), [(4.0, False), (5.75, False), (5.8, True), (8.0, True)]
)
def test_tasks_that_take_far_longer_than_before_are_a_slump(slower, found):
    slump = slump_of(at(waves(12, slower=(400, slower)), 2400), 0, 0.35)
    assert (slump is not None) == found
    if slump is not None:
        assert not slump.silent
        assert slump.ratio == pytest.approx(1 / slower, abs=0.06)
        assert START.timestamp() + 300 < slump.since < START.timestamp() + 900


def test_only_a_change_to_less_than_the_factor_counts():
    ages = at(waves(12, slower=(400, 8.0)), 1500)
    assert slump_of(ages, 0, 0.35).ratio < 0.35
    assert slump_of(ages, 0, 0.02).ratio < 0.02
    assert slump_of(at(waves(12, slower=(400, 3.0)), 2400), 0, 0.02) is None


def test_before_anything_has_ended_nobody_knows():
    assert slump_of(at([(1, 9000)] * 8, 6000, every=300), 0, 0.35) is None


def test_one_task_is_no_silence_of_the_job():
    assert slump_of(at([*HEALTHY, (364, 9000)], 6000, every=60), 0, 0.35) is None
    assert slump_of(at([*HEALTHY, (364, 9000), (425, 9000)], 6000, every=60), 0, 0.35) is not None


def test_tasks_that_were_handed_over_together_count_as_fewer():
    """A node takes them as one batch, whose ends are written one after the other."""
    apart = [*FOUR, *[(602 + 30 * place, 9000) for place in range(9)]]
    together = [*FOUR, *[(602, 9000)] * 9]
    odds = [slump_of(at(spans, 4000, every=10), 0, 0.35).odds for spans in (apart, together)]
    assert odds[0] > 10 * odds[1]
    # Those that had ended before the change take nothing from those that have not.
    early = [(1, 300 + 20 * place) for place in range(16)]
    assert slump_of(at([*early, *[(1, 9000)] * 10], 1500, every=10), 0, 0.35).odds > LEAST_ODDS


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
