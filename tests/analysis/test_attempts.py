"""Attempts: what each sequence of states of a file says of when it began, ended and went back."""

from math import inf, isinf, isnan

import pytest
from frames import recording, seconds

from importstats.analysis.spans import Spans

NAMES = ("handed_after", "handed_by", "ended_after", "ended_by", "released_by", "back_by")
RETRY = ("Retry", 0)


def attempts(polls, **options):
    """Per attempt its file, its times in seconds, and after when it went back."""
    details = recording(polls, [5] * len(next(iter(polls.values()))), **options)
    found = Spans.from_details(details, by="file").attempts
    lines = []
    for place, unit in enumerate(found.unit.tolist()):
        times = [getattr(found, name)[place] for name in (*NAMES, "back_after")]
        shown = [
            None if isnan(time) else inf if isinf(time) else seconds([time])[0] for time in times
        ]
        lines.append((unit, *shown))
    return lines


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        # All rows are the end of the work, Completed that of the wait.
        ([None, 0, 50, 100, "done"], [(0, 0, 10, 20, 30, 40, inf, inf)]),
        ([None, 0, 50, "done"], [(0, 0, 10, 20, 30, 30, inf, inf)]),
        # It went back: to fewer rows, to the queue, or to be tried again.
        (
            [0, 50, 20, "done"],
            [(0, -10, 0, inf, inf, inf, 20, 10), (0, 10, 20, 20, 30, 30, inf, inf)],
        ),
        (
            [0, 50, None, None, 0, "failed"],
            [(0, -10, 0, inf, inf, inf, 20, 10), (0, 30, 40, 40, 50, 50, inf, inf)],
        ),
        (
            [0, 50, RETRY, 0, "done"],
            [(0, -10, 0, inf, inf, inf, 20, 10), (0, 20, 30, 30, 40, 40, inf, inf)],
        ),
        # Also when all of it was written, which then was no end.
        (
            [0, 100, None, 0],
            [(0, -10, 0, inf, inf, inf, 20, 10), (0, 20, 30, inf, inf, inf, inf, inf)],
        ),
        (
            [0, 100, 100, 50, "done"],
            [(0, -10, 0, inf, inf, inf, 30, 20), (0, 20, 30, 30, 40, 40, inf, inf)],
        ),
        # What a server says of a file after its end is no news.
        ([0, "done", None, 0], [(0, -10, 0, 0, 10, 10, inf, inf)]),
        # It was not seen at work.
        ([None, "failed"], [(0, 0, 10, 0, 10, 10, inf, inf)]),
        (["failed", "failed"], [(0, None, 0, None, 0, 0, inf, inf)]),
        # A file that had moved when first seen began just before; one that had ended, who knows.
        ([50, 60, "done"], [(0, -10, 0, 10, 20, 20, inf, inf)]),
        (["done", "done"], [(0, None, 0, None, 0, 0, inf, inf)]),
        ([None, None], []),
        ([0], [(0, 0, 0, inf, inf, inf, inf, inf)]),
        ([1], [(0, 0, 0, inf, inf, inf, inf, inf)]),
    ],
)
def test_what_was_shown_every_ten_seconds_says_when_it_began_and_ended(shown, expected):
    assert attempts({10 * place: [what] for place, what in enumerate(shown)}) == expected


def test_before_the_first_snapshot_lies_the_shortest_time_between_two_that_differ():
    polls = {0: [0, None], 10: [0, 0], 15: [3, 0], 16: [3, 0], 18: ["done", 0]}
    assert [line[:3] for line in attempts(polls)] == [(0, -2, 0), (1, 0, 10)]
    # Not if anything had moved by then: recording began in the middle.
    assert attempts({0: [0, "done"], 10: [5, "done"]})[0][:3] == (0, None, 0)


@pytest.mark.parametrize(
    ("second", "by"), [(9, 20), (20, 20), (20.5, 20.5), (30, 30), (31, 30), (None, 30)]
)
def test_the_servers_end_counts_between_the_polls_that_saw_it_at_work_and_done(second, by):
    polls = {0: [None], 10: [0], 20: [50], 30: ["done"]}
    ended = {} if second is None else {0: second}
    expected = (0, 0, 10, 20, by, by, inf, inf)
    assert attempts(polls, ended=ended) == [expected]
