"""Units: which files are one task, and how many run, wait and have ended."""

import numpy as np
import pytest

from importstats.analysis.forecast.backlog import (
    Backlog,
    Ended,
    Load,
    _groups,
    _packed,
    log_work,
    typical_bytes,
)
from importstats.analysis.forecast.spells import ENDED, WAITS, WORKS, Spells

GB = 1e9
NEVER, NOT_YET = np.nan, np.inf


def spells(*rows):
    """Kind, size, share, after, since, until, handed after and handed by of each spell."""
    columns = np.array(rows, float).reshape(-1, 8).T
    kind, size, share, *times = columns
    zeros = np.zeros(len(kind), np.int64)
    return Spells(zeros, kind.astype(np.int64), size, share, *times, zeros.astype(bool))


@pytest.mark.parametrize(
    ("size", "files", "typical"),
    [
        ([], [], 3 * GB),
        # More than a quarter of the files are alone: each is a unit.
        ([1, 4], [1, 2], 1.0),
        ([1, 3], [1, 3], 1),
        ([1, 4], [1, 4], 4),
        # A quarter of the files, counted from the smallest group on.
        ([4, 2, 9], [4, 2, 2], 2),
        ([4, 2, 9], [4, 2, 3], 4),
        ([9], [3], 9),
    ],
)
def test_a_usual_unit_is_that_of_the_smaller_groups(size, files, typical):
    assert typical_bytes(np.array(size, float), np.array(files, np.int64)) == typical


@pytest.mark.parametrize(
    ("size", "typical", "packed"),
    [
        ([5.0, 6.0], 1.0, [5, 6]),
        ([1.0] * 6, 3.0, [3, 3]),
        ([1.0] * 7, 3.0, [7 / 3] * 3),
        # From two thirds of a unit on a file is one by itself.
        ([2.0, 1.0, 1.0], 3.0, [2, 2]),
        ([1.9, 1.0], 3.0, [2.9]),
    ],
)
def test_small_files_are_put_together_up_to_the_usual_size(size, typical, packed):
    assert _packed(np.array(size), typical) == pytest.approx(packed)


@pytest.mark.parametrize(
    ("size", "typical", "together", "groups"),
    [
        ([1 * GB] * 6, 3 * GB, True, [(3 * GB, 2)]),
        ([1 * GB] * 6, 1.0, True, [(1 * GB, 6)]),
        ([1 * GB], 9 * GB, True, [(1 * GB, 1)]),
        ([1 * GB] * 6, 3 * GB, False, [(3 * GB, 1), (3 * GB, 1)]),
        ([5 * GB, 4 * GB], 3 * GB, False, [(4 * GB, 1), (5 * GB, 1)]),
    ],
)
def test_files_that_moved_together_are_units_of_one_size(size, typical, together, groups):
    found = _groups(np.array(size), typical, together=together)
    sizes, counts = zip(*groups, strict=True)
    assert [count for _, count in found] == list(counts)
    assert [work for work, _ in found] == pytest.approx(log_work(np.array(sizes)).tolist())


def test_units_that_have_shown_nothing_are_summed_up_in_twelve_groups():
    found = _groups(np.full(30, 2 * GB), 1 * GB, together=False)
    assert [count for _, count in found] == [3] * 6 + [2] * 6


def test_work_grows_with_the_bytes_by_less_than_they_do():
    one, ten = log_work(np.array([1e12, 1e13]))
    assert ten - one == pytest.approx(0.8 * np.log(10), rel=1e-4)
    # A task of nothing is opened and flushed as well: as long as one of 8 MB takes by its bytes.
    assert log_work(np.array([0.0]))[0] == pytest.approx(0.8 * np.log(8e6))


def test_files_that_ended_together_are_one_group():
    done = spells(
        (ENDED, 2, 0, 50, 60, NOT_YET, 0, 10),
        (ENDED, 3, 0, 50, 60, NOT_YET, 0, 10),
        (ENDED, 7, 0, 110, 120, NOT_YET, 60, 70),
        (ENDED, 1, 0, 110, 120, NOT_YET, NEVER, 110),
        (WORKS, 9, 0, 50, 60, NOT_YET, 0, 10),
    )
    found = Ended.from_spells(done)
    assert found.files.tolist() == [2, 1, 1]
    assert found.size.tolist() == [5, 7, 1]
    assert found.by_s.tolist() == [60, 120, 120]
    # Handed over between 0 and 10, and ended between 50 and 60.
    assert found.least_s.tolist() == [40, 40, 0.5]
    assert found.most_s[:2].tolist() == [60, 60]
    assert np.isnan(found.most_s[2])
    # By 60 there was one group; by 120 half of the files were alone.
    assert found.typical.tolist() == [5, 1, 1]
    assert found.units.tolist() == [1, 1, 1]
    assert Ended.from_spells(done.take(done.kind == WORKS)).files.tolist() == []


def at(second, *rows):
    """The backlog at a time, of files of which none has ended."""
    found = spells(*rows)
    return Backlog.from_spells(found, Ended.from_spells(found), 0, float(second))


def test_what_runs_and_waits_is_what_had_begun_and_not_gone_on():
    rows = (
        (WAITS, 4 * GB, 0, NEVER, 0, 20, NEVER, NEVER),
        (WORKS, 4 * GB, 0, 10, 20, 50, 10, 20),
        (WORKS, 4 * GB, 0.5, 40, 50, NOT_YET, 10, 20),
        (WAITS, 5 * GB, 0, NEVER, 0, NOT_YET, NEVER, NEVER),
    )
    early = at(19, *rows)
    assert (early.units, len(early.waiting), early.files) == (0, 2, 0)
    running = at(35, *rows)
    # Handed over at 15, as far as is known, and nothing has moved.
    assert (running.age_s.tolist(), running.share.tolist()) == ([20], [0])
    assert (running.step_age_s.tolist(), running.size) == ([20], 4 * GB)
    moved = at(65, *rows)
    # It was half done at 45.
    assert (moved.age_s.tolist(), moved.share.tolist(), moved.step_age_s.tolist()) == (
        [50],
        [0.5],
        [20],
    )
    assert len(moved.waiting) == 1


def test_a_unit_whose_beginning_was_not_seen_began_when_it_was_first_seen():
    seen = at(65, (WORKS, 4 * GB, 0.5, NEVER, 20, NOT_YET, NEVER, 20))
    assert (seen.age_s.tolist(), seen.step_age_s.tolist()) == ([45], [45])


def test_the_work_of_a_unit_is_that_of_what_runs_or_else_waits():
    work = float(log_work(np.array([4 * GB]))[0])
    runs = (WORKS, 4 * GB, 0, 10, 20, NOT_YET, 10, 20)
    waits = (WAITS, 6 * GB, 0, NEVER, 0, NOT_YET, NEVER, NEVER)
    assert at(30, runs, waits).unit_work == pytest.approx(work)
    waiting = float(log_work(np.array([6 * GB]))[0])
    assert at(30, waits).unit_work == pytest.approx(waiting)
    # Nothing is known of any: the usual size.
    assert at(30).unit_work == pytest.approx(float(log_work(np.array([3 * GB]))[0]))


def test_the_load_is_how_many_run_while_others_wait():
    rows = [
        (WAITS, 1, 0, NEVER, 0, NOT_YET, NEVER, NEVER),
        (WORKS, 2, 0, 0, 10, 40, 0, 10),
        (WORKS, 2, 0, 0, 10, 20, 0, 10),
    ]
    now = np.array([0.0, 10, 20, 30, 40])
    found = Load.from_spells(spells(*rows), now)
    # Two at first; then a quarter of the way to one, and again; where none runs nothing changes.
    assert found.files.tolist() == [0, 2, 1.75, 1.5625, 1.5625]
    assert found.size.tolist() == [0, 4, 3.5, 3.125, 3.125]
    # Where none waits it is the most that ever ran.
    alone = Load.from_spells(spells(*rows[1:]), now)
    assert alone.files.tolist() == [0, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("typical", "files", "size", "slots"),
    [(1.0, 3.0, 99.0, 3), (1.0, 0.0, 99.0, 1), (4.0, 9.0, 12.0, 3), (4.0, 9.0, 2.0, 1)],
)
def test_slots_are_units_at_work_at_once(typical, files, size, slots):
    state = Backlog(*[np.zeros(0)] * 6, typical, 0.0, 0.0)
    assert Load(np.array([files]), np.array([size])).slots(0, state) == slots
