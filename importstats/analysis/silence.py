"""Whether a job's tasks end far more slowly than before, or not at all.

Either the job's tasks go on as before, apart from the load on its cluster, or since some time all
take several times as long. Under each of the two, what has been seen since has a probability: which
tasks ended and when, and for how long the others have been at work. The odds of a change are the
ratio of the two. While a job goes on as before, they exceed 100 with a probability of at most 1 in
100, however often they are looked at (Ville's inequality), as far as the model of its durations
holds. Odds for several times of the change are averaged (Shiryaev, Theory of Probability and Its
Applications 1963; Robbins, Annals of Mathematical Statistics 1970).

A silence that lasts longer than any task took is too long as well: all should have ended in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from importstats.analysis.ages import Ages
from importstats.analysis.durations import Durations, fit_durations
from importstats.analysis.interval_chances import SLOW_SCATTER, SLOW_SHARE, SLOW_SHIFT
from importstats.arrays import Bools, Floats

#: The odds from which on a change is believed. Ours: of 543 healthy jobs of tuning seeds, 477 of
#: ``benchmarks/worlds`` and 66 of the simulator, one had higher ones at one of twelve looks.
LEAST_ODDS: Final = 100.0
# How much the pace of all tasks may change with a cluster's load (standard deviation of the
# logarithm; ours), and how many of these deviations are tried, with their weights.
_PACE_SD: Final = 0.5
_STEPS: Final = np.linspace(-3.0, 2.0, 11)
_WEIGHTS: Final = np.exp(-0.5 * _STEPS**2) / np.exp(-0.5 * _STEPS**2).sum()
# A changed pace is this many times below the highest that counts as one; the last is a standstill.
_BELOW: Final = np.array([1.0, 2.0, 4.0, 12.0, 1e6])
# How many times are tried for a change of pace, and how long ago it must be.
_CHANGES: Final = 10
_LEAST_S: Final = 5 * 60.0
_LEAST_RUNNING: Final = 2
# A silence this many times as long as the longest task took, for its size, needs no odds: all tasks
# that were at work before should have ended (ours: in 153 healthy jobs of ``benchmarks/worlds`` the
# longest was 1.07 times as long).
_TIMES_LONGEST: Final = 1.25
# The least scatter of durations that is believed: tasks of one batch end together.
_LEAST_SCATTER: Final = 0.15
# Tasks that were handed over together share a node's batch, and so are late together: those that
# had not ended before the change count as the root of their number.
_TOGETHER: Final = 0.5
_LEAST_TOOK_S: Final = 0.5
_LEAST_APART: Final = 0.05
# How many tasks are looked at; more do not make it surer.
_MOST_TASKS: Final = 500


@dataclass(frozen=True)
class Slump:
    """A time since which tasks go on at only a share of their pace before, or not at all.

    Attributes
    ----------
    since, lasts_s : float
        When it began, in seconds since 1970, and how long it lasts.
    silent : bool
        Whether no task has shown anything since, and that alone is enough.
    tasks, running : int
        Tasks that ended since then or are at work, and those at work.
    ratio : float
        The mean pace since then, divided by the pace before.
    usual_s : float
        How long the median of those at work takes at the pace before.
    odds : float
        How much more probable a change of pace makes what was seen.
    """

    since: float
    lasts_s: float
    silent: bool
    tasks: int
    running: int
    ratio: float
    usual_s: float
    odds: float


def slump_of(ages: Ages, job: int, factor: float) -> Slump | None:
    """The change to less than `factor` of the pace before, if the odds are high; else ``None``."""
    tasks = _Tasks.from_ages(ages, job)
    times = np.unique(np.append(tasks.late[tasks.ended], tasks.last_sign))
    times = times[times <= tasks.now - _LEAST_S]
    running = ~tasks.ended
    if not len(times) or running.all() or np.count_nonzero(running) < _LEAST_RUNNING:
        return None
    times = times[np.unique(np.linspace(0, len(times) - 1, _CHANGES).round().astype(np.int64))]
    known = tasks.known_at(times)
    below = factor / _BELOW
    odds = np.array([tasks.odds(known, place, at, below) for place, at in enumerate(times)])
    size = tasks.size + known.fixed_bytes[-1]
    longest_s = ((tasks.late - tasks.handed) / size)[~running].max() * np.median(size[running])
    silent = odds[-1].mean() >= LEAST_ODDS
    silent |= tasks.now - tasks.last_sign > _TIMES_LONGEST * longest_s
    silent &= tasks.last_sign <= times[-1]
    if not silent and odds.mean() < LEAST_ODDS:
        return None
    best = -1 if silent else int(odds.mean(axis=1).argmax())
    since = float(times[best])
    return Slump(
        since,
        tasks.now - since,
        bool(silent),
        int(np.count_nonzero(tasks.late > since)),
        int(np.count_nonzero(running)),
        float(below @ odds[best] / odds[best].sum()),
        float(np.exp(known.pace[best]) * np.median(size[running])),
        float(odds.mean()),
    )


@dataclass(frozen=True)
class _Tasks:
    """One job's begun tasks whose start was seen: sizes, when they began, and ended or not yet.

    An end lies between `early` and `late`, both of which are now for a task at work.
    """

    size: Floats
    begin: Floats
    early: Floats
    late: Floats
    ended: Bools
    handed: Floats
    now: float
    last_sign: float

    @classmethod
    def from_ages(cls, ages: Ages, job: int) -> _Tasks:
        spans = ages.spans
        mine = (spans.job == job) & spans.begun & ~spans.failed
        now = float(spans.now[job])
        late = np.where(spans.done, spans.ended_by, now)
        # A task that goes back and is handed over again shows that the coordinator is at work.
        signs = np.concatenate(
            [spans.moved_at[mine], late[mine & spans.done], spans.first_handed_by[mine]]
        )
        signs = signs[np.isfinite(signs)]
        used = np.flatnonzero(mine & ~np.isnan(spans.handed_after))
        used = used[:: -(-len(used) // _MOST_TASKS) or 1]
        late, ended = late[used], spans.done[used]
        early = np.minimum(spans.end_least()[used], late)
        handed = (spans.handed_after[used] + spans.handed_by[used]) / 2
        took = np.where(ended, (early + late) / 2, now) - handed
        return cls(
            spans.size_bytes[used],
            np.minimum(handed + np.maximum(took - ages.worked_s[used], 0.0), early),
            early,
            late,
            ended,
            handed,
            now,
            float(signs.max()) if len(signs) else now,
        )

    def known_at(self, times: Floats) -> Durations:
        """The durations of tasks, as known at each of these times."""
        job, task = np.nonzero(self.begin < times[:, None])
        at = times[job]
        ended = self.ended[task] & (self.late[task] <= at)
        least = np.where(ended, self.early[task], at) - self.begin[task]
        most = np.where(ended, self.late[task] - self.begin[task], np.inf)
        return fit_durations(job, len(times), self.size[task], least, most)

    def odds(self, known: Durations, place: int, since: float, below: Floats) -> Floats:
        """The odds of each changed pace against the unchanged one, by what was seen since."""
        seen = self.late > since
        begin = self.begin[seen]
        usual = known.pace[place] + np.log(self.size[seen] + known.fixed_bytes[place])
        scatter = max(float(known.scatter[place]), _LEAST_SCATTER)
        spread = float(np.hypot(_PACE_SD, known.pace_sd[place]))
        paces = np.append(np.exp(spread * _STEPS), below)[:, None]
        before = np.maximum(since - begin, 0.0)
        start = np.maximum(begin, since)
        after = [np.maximum(end[seen] - start, 0.0) * paces for end in (self.early, self.late)]
        least, most = (np.log(np.maximum(before + work, _LEAST_TOOK_S)) - usual for work in after)
        shown = _hazard(np.log(np.maximum(before, 1e-3)) - usual, scatter)
        low = _hazard(least, scatter)
        high = _hazard(np.maximum(most, least + _LEAST_APART), scatter)
        ending = np.log(-np.expm1(np.minimum(low - high, -1e-12)))
        log = shown - low + np.where(self.ended[seen], ending, 0.0)
        _, group, count = np.unique(self.handed[seen], return_inverse=True, return_counts=True)
        total = log @ count[group] ** -_TOGETHER
        chance = np.exp(np.maximum(total - total.max(), -600.0))
        return np.asarray(chance[len(_STEPS) :] / (_WEIGHTS @ chance[: len(_STEPS)]), np.float64)


def _hazard(log_times: Floats, scatter: float) -> Floats:
    """The cumulative hazard of a task after some multiple of the usual time, by its logarithm."""
    usual = 0.5 - 0.5 * np.tanh(0.5 * log_times / scatter)
    slow = 0.5 - 0.5 * np.tanh(0.5 * (log_times - SLOW_SHIFT) / SLOW_SCATTER)
    share = (1 - SLOW_SHARE) * usual + SLOW_SHARE * slow
    return np.asarray(-np.log(np.maximum(share, 1e-300)), np.float64)
