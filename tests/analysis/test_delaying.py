"""The chance that a task delays the end, beside plain loops, and when it is worth a look."""

import numpy as np
import pandas as pd
import pytest
from frames import HEALTHY, recording, scheduled

from importstats.analysis.ages import Ages
from importstats.analysis.delaying import delay_chances
from importstats.analysis.interval_chances import SLOW_SCATTER, SLOW_SHARE, SLOW_SHIFT
from importstats.analysis.lateness import Limits, straggler_table

MB = 10**6


def jobs():
    """One whose tasks wait, one in which three are at work, one whose last task is alone."""
    waits = recording(
        {0: [0, 0, None, None], 100: ["done", 0, 0, None], 150: ["done", 0, 0, None]},
        [900 * MB, 950 * MB, 2000 * MB, 700 * MB],
    )
    works = recording(
        {0: [0, 0, 0, 0], 50: ["done", 0, 0, 0], 90: ["done", 0, 0, 0]},
        [500 * MB, 900 * MB, 1000 * MB, 2000 * MB],
    )
    alone = recording(
        {0: [0, 0, 0], 50: [0, 0, 0], 60: ["done", "done", 0], 80: ["done", "done", 0]},
        [800 * MB] * 3,
    )
    parts = [waits, works.assign(job_id="8"), alone.assign(job_id="9")]
    return pd.concat(parts, ignore_index=True)


def survival_of(times_usual, scatter):
    def share(log, scale):
        return 1 / (1 + np.exp(log / scale))

    log = np.log(times_usual)
    slow = share(log - SLOW_SHIFT, SLOW_SCATTER)
    return (1 - SLOW_SHARE) * share(log, scatter) + SLOW_SHARE * slow


def test_the_chance_is_that_of_taking_as_long_as_a_delay_needs():
    ages = Ages.from_details(jobs(), pooled=False)
    spans = ages.spans
    usual, worked = ages.usual_s, ages.worked_s
    spread = np.maximum(ages.durations.scatter, 0.08) ** 2
    spread = np.sqrt(spread + 3 / np.pi**2 * ages.durations.pace_sd**2)
    chances = []
    for unit, job in enumerate(spans.job):
        running = [n for n in np.flatnonzero((spans.job == job) & spans.running) if n != unit]
        waiting = np.flatnonzero((spans.job == job) & spans.waits)
        if not spans.running[unit]:
            chances.append(0.0)
            continue
        ended = spans.ended_by[(spans.job == job) & spans.done]
        others = ended.max() - spans.now[job]
        for n in running:
            # Beyond this time it goes on with this probability.
            wanted = 1 - 0.5 ** (1 / len(running))
            at = np.exp(np.linspace(np.log(worked[n] / usual[n]), 8, 200_000))
            left = survival_of(at, spread[job]) / survival_of(at[0], spread[job])
            others = max(others, usual[n] * at[(left > wanted).sum()] - worked[n])
        if len(waiting):
            left = sum(ages.remaining_s[n] for n in running) + usual[waiting].sum()
            others = max(others, left / spans.slots[job] + usual[waiting].max())
        before = spans.now[job] - ages.since[job] - worked[unit]
        needed = max(usual[unit], worked[unit] + others)
        needed = max((needed + 0.1 * before) / 0.9, worked[unit])
        chance = survival_of(needed / usual[unit], spread[job])
        chances.append(chance / survival_of(worked[unit] / usual[unit], spread[job]))
    found = delay_chances(ages, 0.1)
    np.testing.assert_allclose(found, chances, rtol=1e-3)
    assert (found[spans.running] > 0).all()
    # The last of the third job is already so late that it needs no longer.
    assert (found == 1).tolist() == [*[False] * (len(found) - 1), True]


def test_where_rows_grow_it_is_sure_whether_a_task_delays_the_end():
    details = scheduled([*HEALTHY, (1, 800), (1, 90)], 60, smooth=True, every=2)
    ages = Ages.from_details(details)
    assert delay_chances(ages, 0.1)[12:].tolist() == [1, 0]


def test_nothing_is_likely_while_nothing_is_usual():
    ages = Ages.from_details(recording({0: [0, 0], 50: [0, 0]}, [5 * MB, 9 * MB]))
    assert delay_chances(ages, 0.1).tolist() == [0, 0]


@pytest.mark.parametrize(("second", "late"), [(430, False), (432, True)])
def test_a_task_that_is_likely_to_delay_the_end_is_worth_a_look(second, late):
    details = scheduled([*HEALTHY, (350, 1200)], second, every=2)
    ages = Ages.from_details(details)
    assert abs(delay_chances(ages, 0.1)[-1] - 0.4) < 0.05
    # Neither does it take twice as long as others, nor is its end expected after all others by far.
    assert not straggler_table(ages, Limits(likely=1.0))["is_straggler"].any()
    assert straggler_table(ages, Limits())["is_straggler"].tolist() == [*[False] * 12, late]
