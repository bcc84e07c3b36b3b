"""Earlier jobs: those that count at a snapshot, and what they show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.forecast.levels import Earlier, job_variables
from importstats.analysis.phase import job_codes
from importstats.arrays import US_PER_S, Floats, Ints
from importstats.names import JOB_KEY

#: At how many snapshots of an earlier job its interval is compared with what then happened.
REPLAYED_ROWS: Final = 8


@dataclass(frozen=True)
class Course:
    """An earlier job's course: the times at which it came to each point.

    Attributes
    ----------
    point : ndarray of float64
        Ascending.
    left_s : ndarray of float64
        Seconds from then to its end.
    log_bytes : float
    replay : DataFrame
        Some of its rows, spread evenly, with ``true_left_s``.
    waited_s : float
        Its time in the queue; NaN if that is not known.
    """

    point: Floats
    left_s: Floats
    log_bytes: float
    replay: pd.DataFrame
    waited_s: float = np.nan


@dataclass(frozen=True)
class Stretch:
    """Rows of one job at hand that have the same history."""

    rows: Ints
    earlier: Earlier
    cluster: int
    collection: int


class Past:
    """Earlier jobs, numbered together with the jobs at hand."""

    def __init__(
        self, earlier: Earlier, courses: dict[int, Course], job: Ints, cluster: Ints, group: Ints
    ) -> None:
        self.earlier = earlier
        self.courses = courses
        self.job = job
        self.cluster = cluster
        self.collection = group

    @classmethod
    def from_snapshots(cls, seen: pd.DataFrame, observed: Sequence[pd.DataFrame]) -> Past:
        """The past from frames of :func:`~importstats.analysis.forecast.observed.observe`."""
        done = pd.concat([seen.iloc[:0], *map(_first_completed, observed)], ignore_index=True)
        every = [_names_as_texts(frame) for frame in (seen, done, *observed)]
        both = pd.concat(every, ignore_index=True)
        cluster = pd.factorize(both["source_uri"])[0].astype(np.int64)
        job, _ = job_codes(both)
        named = both["collection_name"].notna().to_numpy()
        group = both.groupby(["source_uri", "collection_name"], sort=False).ngroup()
        # A collection without a name is shared with no other job.
        collection = np.where(named, group.fillna(-1).to_numpy(dtype=np.int64), -1 - job)
        here, there = slice(0, len(seen)), slice(len(seen), len(seen) + len(done))
        values, noise = job_variables(done)
        ended = done["now_s"].to_numpy(np.float64)
        earlier = Earlier(job[there], cluster[there], collection[there], ended, values, noise)
        # A job may be in two frames; it counts once, from when its end was known.
        earlier = earlier.take(np.argsort(ended, kind="stable"))
        _, first = np.unique(earlier.key, return_index=True)
        courses: dict[int, Course] = {}
        offset = there.stop
        for frame in observed:
            codes = job[offset : offset + len(frame)]
            offset += len(frame)
            _add_courses(courses, frame, codes)
        return cls(
            earlier.take(np.sort(first)), courses, job[here], cluster[here], collection[here]
        )

    def stretches(self, now: Floats, rows: Ints) -> Iterator[Stretch]:
        """Rows that have the same history, and that history."""
        order = np.lexsort((now[rows], self.job[rows]))
        rows = rows[order]
        if not len(rows):
            return
        for mine in np.split(rows, np.flatnonzero(np.diff(self.job[rows])) + 1):
            first = mine[0]
            others = self.earlier.take(self.earlier.key != self.job[first])
            known = np.searchsorted(others.ended_s, now[mine], side="right")
            kinds = np.column_stack([known, self.collection[mine]])
            cluster = int(self.cluster[first])
            for count, collection in np.unique(kinds, axis=0).tolist():
                at = mine[(kinds == (count, collection)).all(axis=1)]
                ended = others.take(np.arange(count))
                yield Stretch(at, ended.nearest(cluster, collection), cluster, collection)


def _first_completed(seen: pd.DataFrame) -> pd.DataFrame:
    """The first Completed snapshot of each job that completed, with all its columns."""
    return seen[seen["phase"].eq("Completed")].drop_duplicates("job", ignore_index=True)


def _add_courses(courses: dict[int, Course], seen: pd.DataFrame, codes: Ints) -> None:
    """Add the courses of completed jobs that did not wait for a commit."""
    point = seen["point"].to_numpy(np.float64)
    reached_at = (
        seen["now_s"].to_numpy()
        - np.minimum(np.nan_to_num(seen["poll_s"].to_numpy(), nan=0.0), 1e9) / 2
    )
    done = seen["phase"].eq("Completed").to_numpy()
    waits = seen["phase"].eq("Uncommitted").to_numpy()
    place = seen["place"].to_numpy()
    now = seen["now_s"].to_numpy(np.float64)
    size, waited = job_variables(seen)[0][:, -1], seen["Pending_s"].to_numpy(np.float64)
    end = ended_at(seen)
    for mine in np.split(np.arange(len(seen)), np.flatnonzero(np.diff(codes)) + 1):
        if not len(mine) or int(codes[mine[0]]) in courses:
            continue
        over = mine[done[mine]]
        if not len(over) or waits[mine].any():
            continue
        work = mine[mine < over[0]]
        known = work[(point[work] >= 0)]
        if len(known) < 2 or not (place[known] >= 0).any():
            continue
        level, first = np.unique(point[known], return_index=True)
        left = end[over[0]] - reached_at[known[first]]
        true_left = end[over[0]] - now[known]
        at_work = np.flatnonzero(place[known] >= 0)
        some = at_work[np.linspace(0, len(at_work) - 1, REPLAYED_ROWS).astype(np.int64)]
        some = np.unique(some)
        some = some[true_left[some] > 0]
        replay = seen.iloc[known[some]].assign(true_left_s=true_left[some])
        courses[int(codes[mine[0]])] = Course(
            level,
            np.maximum(left, 0.5),
            float(size[over[0]]),
            replay,
            float(waited[over[0]]),
        )


def ended_at(seen: pd.DataFrame) -> Floats:
    """Each row's end of its job, as known by then; by the server's time if that is plausible.

    A completed job ended when that was first seen, whatever the server reports later.
    """
    now = seen["now_s"].to_numpy(np.float64)
    end = now
    if "complete_time" in seen:
        before = now - np.nan_to_num(seen["poll_s"].to_numpy(np.float64), nan=np.inf)
        reported = seen["complete_time"].to_numpy(dtype="datetime64[us]")
        at = np.where(np.isnat(reported), np.nan, reported.astype(np.int64) / US_PER_S)
        end = np.where((at >= before) & (at <= now), at, now)
    over = seen["phase"].eq("Completed").to_numpy()
    job, _ = job_codes(seen)
    first = pd.Series(np.where(over, end, np.nan)).groupby(job).transform("first").to_numpy()
    return np.where(over, first, end)


def _names_as_texts(seen: pd.DataFrame) -> pd.DataFrame:
    """The names as plain texts; ``collection_name`` is missing if the frame lacks it."""
    return seen.reindex(columns=[*JOB_KEY, "collection_name"]).astype("str")
