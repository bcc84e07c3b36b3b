"""Ages of tasks beside plain loops: by how much each ends after all others."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from frames import recording

from importstats.analysis.ages import Ages, _moving

MB = 10**6


def two_jobs():
    """One whose tasks wait for two slots, one in which none waits any more."""
    waits = recording(
        {
            0: [0, 0, None, None, None],
            100: ["done", 0, 0, None, None],
            150: ["done", 0, 0, None, None],
        },
        [900 * MB, 950 * MB, 2000 * MB, 700 * MB, 3000 * MB],
    )
    works = recording(
        {0: [0, 0, 0, 0], 50: ["done", 0, 0, 0], 90: ["done", "done", 0, 0]},
        [500 * MB, 900 * MB, 1000 * MB, 2000 * MB],
    )
    alone = recording({0: [0, None], 60: ["done", 0]}, [500 * MB, 800 * MB])
    parts = [waits, works.assign(job_id="8"), alone.assign(job_id="9")]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("pooled", [True, False])
def test_a_task_ends_after_the_last_of_the_others_or_after_what_the_slots_have_left(pooled):
    ages = Ages.from_details(two_jobs(), pooled=pooled)
    spans = ages.spans
    assert [spans.waits.sum(), spans.running.sum()] == [2, 5]
    lead, share = [], []
    for unit, job in enumerate(spans.job):
        mine = spans.job == job
        running = [n for n in np.flatnonzero(mine & spans.running) if n != unit]
        waiting = ages.usual_s[mine & spans.waits]
        others = max((ages.remaining_s[n] for n in running), default=0.0)
        if len(waiting):
            left = sum(ages.remaining_s[n] for n in running) + waiting.sum()
            others = max(others, left / spans.slots[job] + waiting.max())
        after = ages.remaining_s[unit] - others if spans.running[unit] else np.nan
        lead.append(after)
        share.append(after / (spans.now[job] - ages.since[job] + ages.remaining_s[unit]))
    np.testing.assert_allclose(ages.lead_s, lead)
    np.testing.assert_allclose(ages.lead_share, share)
    assert np.isfinite(ages.lead_s[spans.running]).all()


def test_without_an_end_and_without_other_jobs_nothing_is_usual():
    ages = Ages.from_details(recording({0: [0, 0], 50: [0, 0]}, [5 * MB, 9 * MB]))
    assert not ages.has_usual.any()
    for name in ("usual_s", "as_long_p", "remaining_s", "lead_s", "lead_share", "times_usual"):
        assert np.isnan(getattr(ages, name)).all(), name
    assert ages.worked_s.tolist() == [50, 50]


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        ({}, True),
        ({"smooth": False, "files": 127}, False),
        ({"smooth": False, "files": 128}, True),
        ({"smooth": False, "files": 128, "steps": 2}, False),
        ({"steps": 1}, True),
        ({"steps": 0}, False),
        ({"fraction": 0.05}, True),
        ({"fraction": 0.049}, False),
        ({"running": False}, False),
        ({"retries": 1}, False),
    ],
)
def test_a_task_moves_if_its_own_progress_shows_how_long_it_takes(changes, moves):
    usual = {"smooth": True, "files": 1, "steps": 3, "running": True, "retries": 0, "fraction": 0.5}
    values = {name: np.array([value]) for name, value in {**usual, **changes}.items()}
    assert _moving(SimpleNamespace(job=np.zeros(1, int), **values)).tolist() == [moves]


@pytest.mark.parametrize(("files", "known"), [(127, False), (128, True)])
def test_only_very_many_files_that_end_one_by_one_show_how_long_a_task_takes(files, known):
    # With the pool of their node to themselves they end one after the other, else all at the end.
    shown = {0: 0, 10: 5, 20: 10, 30: 15, 40: 20}
    details = recording({second: [part] * files for second, part in shown.items()}, [MB] * files)
    ages = Ages.from_details(details)
    assert ages.spans.files.tolist() == [files]
    assert not ages.spans.smooth.any()
    assert ages.known.tolist() == [known]
    assert ages.whole_s.tolist() == [200.0 if known else 40.0]
