"""Earlier jobs: which of them count at a snapshot, and what they say of the job at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.forecast.model import (
    MOST_HISTORY,
    Earlier,
    given_history,
    given_progress,
    job_variables,
)
from importstats.analysis.forecast.priors import VARIABLES, Priors
from importstats.analysis.phase import job_codes
from importstats.arrays import Bools, Floats, Ints, floats, seconds
from importstats.names import JOB_KEY, WORK_PHASES

#: A history's errors widen or narrow the intervals from this many jobs of the cluster on.
LEAST_REPLAYED: Final = 3
#: At most so many jobs are replayed, the latest, at so many snapshots each.
MOST_REPLAYED: Final = 12
REPLAYED_SNAPSHOTS: Final = 12

# How many jobs the shipped calibration weighs as, and the bounds of what a history may do to it.
_SHIPPED_WEIGHT: Final = 2.0
_SCALE_BOUNDS: Final = (0.5, 5.0)


@dataclass(frozen=True)
class Belief:
    """What history says of the job of each row, before the job's own snapshots.

    Attributes
    ----------
    mean, covariance : ndarray of float64, (rows, 9) and (rows, 9, 9)
        Of the model's variables.
    any_history, near_history : ndarray of bool
        Whether there is any history, and whether there is some of the same cluster.
    """

    mean: Floats
    covariance: Floats
    any_history: Bools
    near_history: Bools


class Past:
    """Earlier jobs, and what they say of the jobs at hand.

    Parameters
    ----------
    earlier : Earlier
    replay : DataFrame
        Some snapshots of each earlier job, of
        :func:`~importstats.analysis.forecast.timeline.observe`, with the
        job's number in `earlier` (``key``) and ``true_remaining_s``.
    job, cluster, collection : ndarray of int64
        Per snapshot at hand, numbered as in `earlier`.
    """

    def __init__(
        self, earlier: Earlier, replay: pd.DataFrame, job: Ints, cluster: Ints, collection: Ints
    ) -> None:
        self.earlier = earlier
        self.replay = replay
        self.job = job
        self.cluster = cluster
        self.collection = collection

    @classmethod
    def of(cls, seen: pd.DataFrame, observed: Sequence[pd.DataFrame]) -> Past:
        """Of frames of :func:`~importstats.analysis.forecast.timeline.observe`: jobs at hand, and
        history.

        Jobs, clusters and collections are numbered alike in all of them.
        """
        # An empty part keeps the columns where there is no history.
        done = pd.concat([seen.iloc[:0], *map(_completed, observed)], ignore_index=True)
        replay = pd.concat([seen.iloc[:0], *map(_replayed, observed)], ignore_index=True)
        columns = [*JOB_KEY, "collection_name"]
        parts = [_named(frame)[columns] for frame in (seen, done, replay)]
        both = pd.concat(parts, ignore_index=True)
        cluster = pd.factorize(both["source_uri"])[0].astype(np.int64)
        job, _ = job_codes(both)
        named = both["collection_name"].notna().to_numpy()
        group = both.groupby(["source_uri", "collection_name"], sort=False).ngroup()
        # A collection without a name is no other job's.
        collection = np.where(named, group.fillna(-1).to_numpy(dtype=np.int64), -1 - job)
        here, there = slice(0, len(seen)), slice(len(seen), len(seen) + len(done))
        values, noise = job_variables(done)
        ended = seconds(done)
        earlier = Earlier(job[there], cluster[there], collection[there], ended, values, noise)
        # The same job may be in two of the frames; it counts once, from when its end was known.
        earlier = earlier.take(np.argsort(ended, kind="stable"))
        _, first = np.unique(earlier.key, return_index=True)
        replay = replay.assign(key=job[there.stop :]).drop_duplicates(["key", "snapshot_id"])
        earlier = earlier.take(np.sort(first))
        return cls(earlier, replay, job[here], cluster[here], collection[here])

    def belief(self, priors: Priors, seen: pd.DataFrame, rows: Bools) -> Belief:
        """What history says of each of some rows of `seen`."""
        count, size = int(rows.sum()), len(VARIABLES)
        belief = Belief(
            np.empty((count, size)),
            np.empty((count, size, size)),
            np.zeros(count, np.bool_),
            np.zeros(count, np.bool_),
        )
        for at, used, cluster, collection in self._stretches(seen, rows):
            mean, covariance = given_history(priors, used, cluster, collection)
            belief.mean[at], belief.covariance[at] = mean, covariance
            belief.any_history[at] = len(used) > 0
            belief.near_history[at] = bool((used.cluster == cluster).any())
        return belief

    def scale(self, priors: Priors, seen: pd.DataFrame, rows: Bools) -> Floats:
        """By how much the cluster's own earlier jobs stretch the shipped intervals, per row.

        Each earlier job of the cluster is replayed with the others as its history, and an error
        measured in distances from the calibrated median to the calibrated quantile on its side;
        the 80 % quantile of these is the factor that an 80 % interval had needed (split conformal
        prediction with a normalised score). Few jobs are no distribution: the factor's logarithm
        is shrunk by ``jobs / (jobs + 2)``, ours.
        """
        scale = np.ones(int(rows.sum()))
        known: dict[tuple[int, ...], float] = {}
        for at, used, cluster, _ in self._stretches(seen, rows):
            near = np.flatnonzero(used.cluster == cluster)[-MOST_REPLAYED:]
            if len(near) < LEAST_REPLAYED:
                continue
            jobs = tuple(used.key.tolist())
            if jobs not in known:
                known[jobs] = self._needed(priors, used, near)
            scale[at] = known[jobs]
        return scale

    def _needed(self, priors: Priors, used: Earlier, near: Ints) -> float:
        rows, means, covariances = [], [], []
        for place in near:
            others = used.take(np.arange(len(used)) != place)
            mean, covariance = given_history(
                priors, others, int(used.cluster[place]), int(used.collection[place])
            )
            snapshots = self.replay[self.replay["key"] == used.key[place]]
            rows.append(snapshots)
            means.append(np.tile(mean, (len(snapshots), 1)))
            covariances.append(np.tile(covariance, (len(snapshots), 1, 1)))
        replay = pd.concat(rows, ignore_index=True)
        if replay.empty:
            return 1.0
        median, spread, phase, strata = given_progress(
            priors, replay, np.concatenate(means), np.concatenate(covariances)
        )
        error = np.log(floats(replay, "true_remaining_s") / median) / spread
        low, middle, high = priors.calibration[1, phase, strata].T
        away = np.where(error > middle, (error - middle) / (high - middle), 0.0)
        away = np.where(error < middle, (middle - error) / (middle - low), away)
        needed = float(np.clip(np.quantile(away, 0.8), *_SCALE_BOUNDS))
        return float(needed ** (len(near) / (len(near) + _SHIPPED_WEIGHT)))

    def _stretches(
        self, seen: pd.DataFrame, rows: Bools
    ) -> Iterator[tuple[Ints, Earlier, int, int]]:
        """Rows that have the same history, as places among `rows`, and that history."""
        places = np.flatnonzero(rows)
        now = seconds(seen)[places]
        for job in np.unique(self.job[places]):
            mine = np.flatnonzero(self.job[places] == job)
            cluster = int(self.cluster[places[mine[0]]])
            others = self.earlier.take(self.earlier.key != job)
            known = np.searchsorted(others.ended_s, now[mine], side="right")
            kinds = np.column_stack([known, self.collection[places[mine]]])
            for count, collection in np.unique(kinds, axis=0).tolist():
                at = mine[(kinds == (count, collection)).all(axis=1)]
                ended = others.take(np.arange(count))
                yield at, ended.nearest(cluster, collection, MOST_HISTORY), cluster, collection


def _completed(seen: pd.DataFrame) -> pd.DataFrame:
    """The first snapshot that says Completed, of each job that did, with all that was seen."""
    done = seen[seen["phase"].eq("Completed")]
    return done.drop_duplicates("job", ignore_index=True)


def _replayed(seen: pd.DataFrame) -> pd.DataFrame:
    """Some snapshots of each completed job, evenly spread, and the time that was left.

    Jobs that waited for their user have no one remaining time and are left out.
    """
    done = seen["phase"].eq("Completed")
    end = pd.Series(seconds(seen), index=seen.index).where(done).groupby(seen["job"])
    left = end.transform("min") - seconds(seen)
    waited = seen["phase"].eq("Uncommitted").groupby(seen["job"]).transform("any")
    work = seen.assign(true_remaining_s=left)[
        seen["phase"].isin(WORK_PHASES) & ~waited & (left > 0)
    ]
    place = work.groupby("job").cumcount()
    size = work.groupby("job")["job"].transform("size")
    chosen = place * REPLAYED_SNAPSHOTS // size != (place - 1) * REPLAYED_SNAPSHOTS // size
    return work[chosen]


def _named(seen: pd.DataFrame) -> pd.DataFrame:
    """With names as plain texts, and a column ``collection_name`` if there was none."""
    if "collection_name" not in seen:
        seen = seen.assign(collection_name=None)
    return seen.astype({**dict.fromkeys(JOB_KEY, "str"), "collection_name": "str"})
