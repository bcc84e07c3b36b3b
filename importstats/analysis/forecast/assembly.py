"""The estimate put together: model and twin, waits and interruptions, at rows of a timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.forecast.calibration import (
    PACE,
    beside_interruptions,
    learned_stretch,
    stretched,
)
from importstats.analysis.forecast.chance import DRAWS
from importstats.analysis.forecast.importing import PacePrior, rest_of_importing
from importstats.analysis.forecast.interruption import (
    chance_interrupted,
    rest_of_queue,
    with_interruptions,
)
from importstats.analysis.forecast.levels import condition, given_earlier, job_variables
from importstats.analysis.forecast.limits import at_quota
from importstats.analysis.forecast.line import with_line
from importstats.analysis.forecast.memory import Memory, condition_on_memory
from importstats.analysis.forecast.past import Past, Stretch
from importstats.analysis.forecast.priors import PHASES, QUANTILES, VARIABLES, Priors
from importstats.analysis.forecast.remaining import (
    later_phases,
    observe_pace,
    phase_places,
    rest_by_pace,
    shows_pace,
    weighted,
)
from importstats.analysis.forecast.silence import Silence
from importstats.analysis.forecast.spells import Spells
from importstats.analysis.forecast.twin import (
    learned_odds,
    twin_logs,
    twin_quantiles,
    twin_weight,
)
from importstats.arrays import Bools, Floats, Ints, floats
from importstats.names import WORK_PHASES

_IMPORTING: Final = PHASES.index("Importing")
_BYTES: Final = VARIABLES.index("bytes")
# How much more uncertain the pace of tasks is than the time of Importing.
_PACE_SPREAD: Final = 0.5
# How much the schedule of tasks counts in the rest of Importing; the rest is its pace's.
_BY_TASKS: Final = 0.6
#: From this many ended jobs of a cluster on, up to so many are replayed, with so many others each.
LEAST_REPLAYED: Final = 2
MOST_REPLAYED: Final = 10
MOST_OTHERS: Final = 12
# Model and twin that lie this far apart (log) contradict each other.
_APART: Final = 0.5
# However well the twin did for earlier jobs, the model counts a little.
_MOST_TWIN: Final = 0.95
_SHUFFLED: Final = (np.arange(DRAWS) * 27) % DRAWS


@dataclass(frozen=True)
class Outlook:
    """The time left at some rows of a timeline.

    Attributes
    ----------
    rows : ndarray of int64
        Places in the timeline.
    quantiles : ndarray of float64, (rows, 3)
        Seconds; NaN if nothing supports an estimate.
    any_history : ndarray of bool
        Whether earlier jobs counted.
    reason : ndarray of object
        Why there is no estimate, None if there is one.
    parts : dict of ndarray
        What ``explain`` shows, see :func:`importstats.analysis.forecast.ends.eta`.
    """

    rows: Ints
    quantiles: Floats
    any_history: Bools
    reason: npt.NDArray[np.object_]
    parts: dict[str, Floats]


@dataclass(frozen=True)
class _Belief:
    """The belief about each row's job by :func:`given_earlier`, and how many jobs it rests on.

    `has_memory` says whether the cluster remembers how long its jobs took.
    """

    mean: Floats
    covariance: Floats
    any_history: Bools
    same_collection: Floats
    has_memory: Bools

    @classmethod
    def from_priors(cls, priors: Priors, stretches: list[Stretch], rows: int) -> _Belief:
        size = len(VARIABLES)
        belief = cls(
            np.empty((rows, size)),
            np.empty((rows, size, size)),
            np.zeros(rows, np.bool_),
            np.zeros(rows),
            np.zeros(rows, np.bool_),
        )
        for stretch in stretches:
            earlier, at = stretch.earlier, stretch.rows
            belief.mean[at], belief.covariance[at] = given_earlier(
                priors, earlier, stretch.cluster, stretch.collection
            )
            belief.any_history[at] = len(earlier) > 0
            belief.same_collection[at] = (earlier.collection == stretch.collection).sum()
        return belief

    def remember(
        self,
        priors: Priors,
        rows: pd.DataFrame,
        stretches: list[Stretch],
        memories: Mapping[int, Memory],
    ) -> None:
        """Add what clusters remember of their jobs, if none of these jobs is known otherwise."""
        job, now = rows["job"].to_numpy(), floats(rows, "now_s")
        for stretch in stretches:
            memory = memories.get(int(job[stretch.rows[0]]))
            if memory is None or (stretch.earlier.cluster == stretch.cluster).any():
                continue
            at = stretch.rows[now[stretch.rows] >= memory.known_s]
            condition_on_memory(priors, memory, at, self.mean, self.covariance)
            self.has_memory[at] = True


def outlook(
    seen: pd.DataFrame,
    details: pd.DataFrame | None,
    history: Sequence[pd.DataFrame],
    wanted: Bools,
    priors: Priors,
    memories: Mapping[int, Memory] | None = None,
) -> Outlook:
    """The time left at the wanted rows of a timeline whose job is at work.

    Parameters
    ----------
    seen : DataFrame
        The result of :func:`importstats.analysis.forecast.observed.observe`.
    details : DataFrame or None
    history : sequence of DataFrame
        Earlier jobs' results of the same function.
    wanted : ndarray of bool
        Whether each row of `seen` is wanted.
    priors : Priors
    memories : mapping of int to Memory, optional
        What each job's cluster remembers of its jobs, by the job's number in `seen`.
    """
    at_work = seen["phase"].isin(WORK_PHASES).to_numpy(np.bool_)
    spells = None if details is None or not len(details) else Spells.from_details(seen, details)
    silence = Silence.from_snapshots(seen, spells, at_quota(seen, details))
    needed = wanted.copy()
    needed[silence.moved[wanted]] = True
    needed[_first_of_importing(seen, needed)] = True
    places = np.flatnonzero(at_work & needed)
    rows = seen.iloc[places].reset_index(drop=True)
    within = np.full(len(seen), -1)
    within[places] = np.arange(len(places))
    past = Past.from_snapshots(rows, history)
    stretches = list(past.stretches(floats(rows, "now_s"), np.arange(len(rows))))
    belief = _Belief.from_priors(priors, stretches, len(rows))
    belief.remember(priors, rows, stretches, memories or {})
    found = _Forecast.from_snapshots(priors, seen, rows, belief, spells, at_work & needed)
    twin = _twins(past, stretches, rows, found.log_bytes)
    queue = _queue(past, stretches, rows)
    waits = rows["phase"].eq("Pending").to_numpy(np.bool_)
    stretch, odds = _learned(priors, past, stretches, rows)
    left, weight, apart = _model_with_twin(rows, found, twin, queue, belief.has_memory, odds)
    moved = within[silence.moved[places]]
    moved = np.where(moved >= 0, moved, np.arange(len(rows)))
    chance = chance_interrupted(silence.seconds[places], found.next_s[moved])
    chance = np.where(waits, 0.0, chance)
    certain = with_interruptions(left, moved, silence.seconds[places], chance)
    quantiles = _interval(rows, left, apart, belief, stretch)
    jobs = belief.same_collection
    quantiles = beside_interruptions(quantiles, _quantiles(certain), chance, jobs)
    reason = silence.reasons(rows, places, chance, belief.any_history)
    silent = np.array([text is not None for text in reason], np.bool_)
    quantiles[silent] = np.nan
    parts = {
        "phase_rest_s": np.median(found.rest_s, axis=1),
        "later_phases_s": np.median(found.later_s, axis=1),
        "model_s": np.median(found.left_s, axis=1),
        "twin_s": np.median(twin, axis=1),
        "twin_weight": weight,
        "earlier_jobs": belief.same_collection,
        "interrupted": chance,
        "slots": found.slots,
        "if_all_goes_well_s": np.median(left, axis=1),
        "if_a_node_restarts_s": np.median(left, axis=1) + found.running_age_s,
    }
    kept = wanted[places]
    return Outlook(
        places[kept],
        quantiles[kept],
        belief.any_history[kept],
        reason[kept],
        {name: np.where(silent, np.nan, values)[kept] for name, values in parts.items()},
    )


@dataclass(frozen=True)
class _Forecast:
    """The model's draws at each row: the rest of the phase, the later phases, and both.

    The rest of a wait in the queue is not among them: it says nothing about what comes after.
    """

    rest_s: Floats
    later_s: Floats
    left_s: Floats
    next_s: Floats
    log_bytes: Floats
    slots: Floats
    running_age_s: Floats

    @classmethod
    def from_snapshots(
        cls,
        priors: Priors,
        seen: pd.DataFrame,
        rows: pd.DataFrame,
        belief: _Belief,
        spells: Spells | None,
        needed: Bools,
    ) -> _Forecast:
        mean, covariance = belief.mean.copy(), belief.covariance.copy()
        values, noise = job_variables(rows)
        condition(mean, covariance, values, noise)
        phase = phase_places(rows)
        before = mean.copy(), covariance.copy()
        observe_pace(priors, rows, phase, mean, covariance)
        rest, next_s = rest_by_pace(rows, phase, mean, covariance)
        rest[phase < 0] = 0.0
        known = ~np.isnan(values[:, _BYTES])
        log_bytes = np.where(known, values[:, _BYTES], mean[:, _BYTES])
        slots, age = np.full(len(rows), np.nan), np.zeros(len(rows))
        if spells is not None and len(spells):
            by_tasks = _by_tasks(seen, rows, needed, spells, before, log_bytes)
            for at, place, found in by_tasks:
                by_pace = np.log(np.maximum(np.sort(rest[at], axis=1), 1e-3))
                by_task = np.log(np.maximum(np.sort(found.draws[place], axis=1), 1e-3))
                rest[at] = np.exp((1 - _BY_TASKS) * by_pace + _BY_TASKS * by_task)
                next_s[at] = found.next_end[place]
                slots[at], age[at] = found.slots[place], found.running_age_s[place]
        later = later_phases(rows, phase, mean, covariance, rest)
        left = weighted(rest + later, floats(rows, "lived_s"))
        return cls(rest, later, left, next_s, log_bytes, slots, age)


def _interval(
    rows: pd.DataFrame, left: Floats, apart: Floats, belief: _Belief, stretch: Floats
) -> Floats:
    """The quantiles of the draws, stretched as calibration requires, (rows, 3)."""
    return stretched(_quantiles(left), apart, _kinds(rows), belief.same_collection, stretch)


def _kinds(rows: pd.DataFrame) -> npt.NDArray[np.str_]:
    """The phases as calibration knows them."""
    return np.where(shows_pace(rows), PACE, rows["phase"].astype("str").to_numpy(dtype=np.str_))


def _quantiles(draws: Floats) -> Floats:
    found = np.quantile(np.maximum(draws, 1e-3), QUANTILES, axis=1)
    return np.asarray(found.T.reshape(-1, len(QUANTILES)), np.float64)


def _learned(
    priors: Priors, past: Past, stretches: list[Stretch], rows: pd.DataFrame
) -> tuple[Floats, Floats]:
    """What earlier jobs of its cluster teach each row: its interval's stretch, the twin's odds.

    Each of them is replayed, with the others as its history and without its files.
    """
    found, kinds = np.ones((2, len(rows))), _kinds(rows)
    known: dict[tuple[int, ...], tuple[dict[str, float], dict[str, float]]] = {}
    for stretch in stretches:
        near = np.flatnonzero(stretch.earlier.cluster == stretch.cluster)[-MOST_REPLAYED:]
        if len(near) < LEAST_REPLAYED:
            continue
        keys = (stretch.collection, *stretch.earlier.key.tolist())
        if keys not in known:
            known[keys] = _replayed(priors, past, stretch, near)
        for column, learned in zip(found, known[keys], strict=True):
            column[stretch.rows] = [learned.get(kind, learned[""]) for kind in kinds[stretch.rows]]
    return found[0], found[1]


def _replayed(
    priors: Priors, past: Past, stretch: Stretch, near: Ints
) -> tuple[dict[str, float], dict[str, float]]:
    """The stretch and the odds in each phase; only jobs of the collection teach the odds."""
    frames: list[pd.DataFrame] = []
    replays: list[Stretch] = []
    begin = 0
    for place in near.tolist():
        course = past.courses.get(int(stretch.earlier.key[place]))
        if course is None or course.replay.empty:
            continue
        collection = int(stretch.earlier.collection[place])
        others = stretch.earlier.take(np.arange(len(stretch.earlier)) != place)
        others = others.nearest(stretch.cluster, collection, MOST_OTHERS)
        at = np.arange(begin, begin + len(course.replay))
        replays.append(Stretch(at, others, stretch.cluster, collection))
        frames.append(course.replay)
        begin += len(at)
    if not frames:
        return {"": 1.0}, {"": 1.0}
    job = np.repeat(np.arange(len(replays)), [len(replay.rows) for replay in replays])
    # Jobs of different frames may have the same number.
    rows = pd.concat(frames, ignore_index=True).assign(job=job)
    belief = _Belief.from_priors(priors, replays, begin)
    found = _Forecast.from_snapshots(priors, rows, rows, belief, None, np.ones(begin, np.bool_))
    twin = _twins(past, replays, rows, found.log_bytes)
    queue = _queue(past, replays, rows)
    even = np.ones(begin)
    left, _, apart = _model_with_twin(rows, found, twin, queue, belief.has_memory, even)
    quantiles = _interval(rows, left, apart, belief, even)
    true_s, kinds = floats(rows, "true_left_s"), _kinds(rows)
    same = np.array([replay.collection == stretch.collection for replay in replays])[job]
    at = np.flatnonzero(same & ~np.isnan(twin[:, 0]))
    model_s, twin_s = (np.median((draws + queue)[at], axis=1) for draws in (found.left_s, twin))
    return (
        learned_stretch(quantiles, true_s, kinds, job),
        learned_odds(model_s, twin_s, true_s[at], kinds[at], job[at]),
    )


def _first_of_importing(seen: pd.DataFrame, needed: Bools) -> Ints:
    """The first snapshot in Importing of each job that is asked for in it."""
    importing = np.flatnonzero(seen["phase"].eq("Importing").to_numpy(np.bool_))
    job = seen["job"].to_numpy()
    jobs, first = np.unique(job[importing], return_index=True)
    asked = np.isin(jobs, job[importing[needed[importing]]])
    return np.asarray(importing[first[asked]], np.int64)


def _by_tasks(
    seen: pd.DataFrame,
    rows: pd.DataFrame,
    needed: Bools,
    spells: Spells,
    belief: tuple[Floats, Floats],
    log_bytes: Floats,
) -> list[tuple[Ints, Ints, Any]]:
    """For each job in Importing, its places in `rows` and among its snapshots, and its rest."""
    importing = seen["phase"].eq("Importing").to_numpy(np.bool_)
    place_of = np.full(len(seen), -1)
    place_of[needed] = np.arange(len(rows))
    job, now = seen["job"].to_numpy(), floats(seen, "now_s")
    found = []
    for number in np.unique(job[importing & needed]):
        mine = spells.of_job(int(number))
        first, stop = np.searchsorted(job, [number, number + 1])
        snapshots = first + np.flatnonzero(importing[first:stop])
        if not len(mine):
            continue
        wanted = needed[snapshots]
        at = place_of[snapshots[wanted]]
        seconds = np.zeros(len(snapshots))
        size = np.zeros(len(snapshots))
        seconds[wanted], size[wanted] = belief[0][at, _IMPORTING], log_bytes[at]
        sd = float(np.sqrt(belief[1][at[0], _IMPORTING, _IMPORTING] + _PACE_SPREAD**2))
        rest = rest_of_importing(mine, now[snapshots], wanted, PacePrior(seconds, size, sd))
        found.append((at, np.flatnonzero(wanted), rest))
    return found


def _queue(past: Past, stretches: list[Stretch], rows: pd.DataFrame) -> Floats:
    """The rest of each row's wait in the queue, (rows, draws); 0 in other phases."""
    found = np.zeros((len(rows), DRAWS))
    waits, waited = rows["phase"].eq("Pending").to_numpy(np.bool_), floats(rows, "elapsed_s")
    for stretch in stretches:
        at = stretch.rows[waits[stretch.rows]]
        if len(at):
            near = stretch.earlier.key[stretch.earlier.cluster == stretch.cluster].tolist()
            known = [past.courses[key].waited_s for key in near if key in past.courses]
            earlier = np.array([wait for wait in known if np.isfinite(wait)][-MOST_REPLAYED:])
            found[at] = rest_of_queue(waited[at], earlier)[:, _SHUFFLED]
    return found


def _twins(past: Past, stretches: list[Stretch], rows: pd.DataFrame, log_bytes: Floats) -> Floats:
    """The time left by the twin at even levels, (rows, draws); NaN if there is no twin."""
    found = np.full((len(rows), DRAWS), np.nan)
    # For a job in the queue, the twin predicts the time from the queue's end on.
    waits = rows["phase"].eq("Pending").to_numpy(np.bool_)
    point = np.maximum(floats(rows, "point"), np.where(waits, 1.0, 0.0))
    stood = np.where(waits, 0.0, np.maximum(floats(rows, "stood_s"), 0.0))
    segments = rows["phase"].isin(["Sorting", "IndexBuilding"]).to_numpy(np.bool_)
    for stretch in stretches:
        same = stretch.earlier.collection == stretch.collection
        keys = stretch.earlier.key[same].tolist()
        courses = [past.courses[key] for key in keys if key in past.courses]
        if courses:
            at = stretch.rows
            mean, spread = twin_logs(courses, point[at], stood[at], log_bytes[at], segments[at])
            found[at] = twin_quantiles(mean, spread)
    return found


def _model_with_twin(
    rows: pd.DataFrame,
    found: _Forecast,
    twin: Floats,
    queue_s: Floats,
    has_memory: Bools,
    odds: Floats,
) -> tuple[Floats, Floats, Floats]:
    """Model and twin mixed geometrically, quantile by quantile; the twin's weight; their distance.

    If there is no twin and the cluster remembers no jobs, the line is mixed in. The rest of a wait
    in the queue is added.
    """
    model = with_line(rows, found.left_s, np.isnan(twin[:, 0]) & ~has_memory)
    log = np.log(np.maximum(model, 1e-3))
    other = np.where(np.isnan(twin), log, np.log(np.maximum(twin, 1e-3)))
    apart = np.abs(np.median(log, axis=1) - np.median(other, axis=1))
    # An index's pace shows how long it takes; a twin that contradicts it is from before a change.
    contradicts = np.where(shows_pace(rows), apart / _APART, 0.0)
    weight = twin_weight(rows["phase"], twin) * np.exp(-(contradicts**2) / 2)
    weight = np.minimum(weight * odds / (1 - weight + weight * odds), _MOST_TWIN)
    left = np.exp((1 - weight)[:, None] * log + weight[:, None] * other) + queue_s
    return np.asarray(np.sort(left, axis=1), np.float64), weight, apart
