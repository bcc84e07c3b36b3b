"""Simple methods that people use in place of an ETA, each as its source describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.forecast.timeline import (
    expand_details,
    is_state,
    job_slices,
    ordered_snapshots,
    running_since,
)
from importstats.arrays import Floats, Ints, floats, seconds
from importstats.names import JOB_KEY

#: An ETA method: jobs and details frames in, ``source_uri``, ``job_id``, ``snapshot_id`` and
#: ``remaining_p50_s`` out (and ``remaining_p10_s``, ``remaining_p90_s``, if it has an interval).
Method = Callable[[pd.DataFrame, pd.DataFrame | None], pd.DataFrame]

_SNAPSHOT_KEY: Final = [*JOB_KEY, "snapshot_id"]
# tqdm's defaults (std.py, class tqdm): smoothing, mininterval, maxinterval.
_SMOOTHING: Final = 0.3
_MIN_INTERVAL_S: Final = 0.1
_MAX_INTERVAL_S: Final = 10.0


def linear(jobs: pd.DataFrame, details: pd.DataFrame | None = None) -> pd.DataFrame:
    """Baseline: the job goes on at its mean rate of ``progress`` since the first snapshot.

    ``remaining = (100 - p) * (t - t0) / (p - p0)``, the textbook estimate of a progress bar, and
    what tqdm falls back to without smoothing (``rate = (n - initial) / elapsed``, tqdm/std.py,
    ``format_meter``). It has no answer until progress has moved.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame.
    details : DataFrame, optional
        Not used.

    Returns
    -------
    DataFrame
        ``source_uri``, ``job_id``, ``snapshot_id`` and ``remaining_p50_s`` : float64.
    """
    rows = ordered_snapshots(jobs)
    first = rows.groupby("job").transform("first")
    progress = floats(rows, "progress_pct")
    done = progress - floats(first, "progress_pct")
    return _remaining_frame(
        rows, _time_at_rate(100 - progress, done, seconds(rows) - seconds(first))
    )


def tqdm_ema(jobs: pd.DataFrame, details: pd.DataFrame | None = None) -> pd.DataFrame:
    """Baseline: tqdm fed with ``progress`` at every snapshot, with its defaults.

    From tqdm/std.py: ``remaining = (total - n) / rate`` with ``rate = ema(dn) / ema(dt)``, where
    ``ema`` has smoothing 0.3 and is corrected for its start
    (``last / (1 - (1 - smoothing) ** calls)``), and is fed whenever the bar is redrawn and has
    moved; before that ``rate = (n - initial) / elapsed``. The bar is redrawn when it has moved by
    ``miniters`` or more and ``mininterval`` (0.1 s) has passed; ``miniters`` adapts itself. It has
    no answer if the rate is zero or negative.

    Parameters and result are those of :func:`linear`.
    """
    rows = ordered_snapshots(jobs)
    times, progress = seconds(rows), floats(rows, "progress_pct")
    remaining = np.full(len(rows), np.nan)
    for at in rows.groupby("job").indices.values():
        known = at[~np.isnan(progress[at])]
        remaining[known] = _tqdm_remaining(times[known], progress[known])
    return _remaining_frame(rows, remaining)


def rows_rate(jobs: pd.DataFrame, details: pd.DataFrame | None = None) -> pd.DataFrame:
    """Baseline: the rows left, divided by their mean rate since they could be counted.

    ``remaining = (total - rows) * (t - t0) / (rows - rows0)``, with `t0` the first snapshot that
    has a total: what one computes from the reference struct's ``importedRows`` and ``totalRows``.
    It has no answer before the first row is written; 0 once all are.

    Parameters and result are those of :func:`linear`.
    """
    rows = ordered_snapshots(jobs)
    total, written = floats(rows, "total_rows"), floats(rows, "imported_rows")
    counted = pd.DataFrame({"at": seconds(rows), "written": written})
    counted[~(total > 0)] = np.nan
    first = counted.groupby(rows["job"]).transform("first")
    since = counted - first
    left = total - written
    return _remaining_frame(
        rows, _time_at_rate(left, floats(since, "written"), floats(since, "at"))
    )


def late(jobs: pd.DataFrame, details: pd.DataFrame | None = None) -> pd.DataFrame:
    """Baseline: LATE's longest time to the end among the running files.

    "Improving MapReduce Performance in Heterogeneous Environments" (Zaharia, Konwinski, Joseph,
    Katz, Stoica; OSDI 2008), section 4: ``ProgressRate = ProgressScore / T`` with `T` how long the
    task has been running, ``time to end = (1 - ProgressScore) / ProgressRate``. The score is the
    file's ``progress``; `T` counts from the last snapshot in which the file was not running. LATE
    ignores tasks that wait, and has no answer when none runs.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame.
    details : DataFrame, optional
        Its details frame; without it there is no answer.

    Returns
    -------
    DataFrame
        As :func:`linear`.
    """
    rows = ordered_snapshots(jobs)
    remaining = np.full(len(rows), np.nan)
    if details is not None and len(details):
        files = expand_details(rows, details)
        running = is_state(files, "InProgress")
        done = files["progress_pct"].to_numpy() / 100
        now = seconds(rows)[files["row"].to_numpy()]
        with np.errstate(divide="ignore", invalid="ignore"):
            to_end = (1 - done) / (done / (now - running_since(files, running, now)))
        usable = running & np.isfinite(to_end)
        longest = pd.Series(to_end[usable]).groupby(files["row"].to_numpy()[usable]).max()
        remaining[longest.index.to_numpy()] = longest.to_numpy()
    return _remaining_frame(rows, remaining)


def twin(
    jobs: pd.DataFrame, details: pd.DataFrame | None = None, history: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Baseline: how long the collection's earlier jobs still took at equal progress.

    For each earlier job that had ended, this takes how long it still took once it had come as far
    and, if it stood there, had stood as long. That is scaled by the ratio of the two jobs' bytes
    (once the server reports them), and the median is the answer. While rows are imported, they give
    progress its fraction of a percent. It has no answer without an earlier job of the collection.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame.
    details : DataFrame, optional
        Not used.
    history : DataFrame, optional
        A jobs frame of earlier jobs; may be the whole store, `jobs` included.

    Returns
    -------
    DataFrame
        As :func:`linear`.
    """
    rows, past = ordered_snapshots(jobs), _Past.from_history(history)
    now, size, reached = seconds(rows), _bytes(rows), _fine_progress(rows)
    remaining = np.full(len(rows), np.nan)
    for at, earlier in past.pairs(rows):
        said = []
        new = np.append(True, np.diff(reached[at]) > 0)
        stood = now[at] - np.maximum.accumulate(np.where(new, now[at], -np.inf))
        for job in earlier:
            left = job.end_s - job.time_at(reached[at], stood)
            with np.errstate(invalid="ignore", divide="ignore"):
                scale = size[at] / job.size_bytes
            left *= np.where(np.isfinite(scale), scale, 1.0)
            said.append(np.where(job.end_s <= now[at], left, np.nan))
        remaining[at] = _median(said)
    return _remaining_frame(rows, remaining)


def survival(
    jobs: pd.DataFrame, details: pd.DataFrame | None = None, history: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Baseline: how long those earlier jobs still took that lasted longer than this one so far.

    The median of ``T - elapsed`` over their durations `T` above ``elapsed``: the conditional
    median of the empirical survival function (Kaplan and Meier, JASA 53(282), 1958; ended jobs
    only). It has no answer if there is none.

    Parameters and result are those of :func:`twin`.
    """
    rows, past = ordered_snapshots(jobs), _Past.from_history(history)
    return _remaining_frame(
        rows, _by_duration(rows, past, lambda left: np.where(left > 0, left, np.nan))
    )


def history_median(
    jobs: pd.DataFrame, details: pd.DataFrame | None = None, history: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Baseline: the median duration of the collection's earlier jobs, minus the time so far.

    It is 0 once the job has taken longer; without an earlier job there is no answer. Parameters and
    result are those of :func:`twin`.
    """
    rows, past = ordered_snapshots(jobs), _Past.from_history(history)
    remaining = _by_duration(rows, past, lambda left: left)
    return _remaining_frame(rows, np.maximum(remaining, 0))


#: The simple methods that look at a single job, by name.
BASELINES: Final[Mapping[str, Method]] = {
    "linear": linear,
    "tqdm": tqdm_ema,
    "rows_rate": rows_rate,
    "late": late,
}
#: The methods that look at the collection's earlier jobs; ``history`` is their third argument.
HISTORY_BASELINES: Final[Mapping[str, Callable[..., pd.DataFrame]]] = {
    "twin": twin,
    "survival": survival,
    "history_median": history_median,
}


@dataclass(frozen=True)
class _Earlier:
    """An earlier job that completed: its progress over time, its end and its size."""

    times_s: Floats
    reached: Floats
    start_s: float
    end_s: float
    size_bytes: float

    def time_at(self, reached: Floats, stood_s: Floats) -> Floats:
        """The time at which it had stood for `stood_s` at progress `reached`, or had moved on."""
        new = np.append(True, np.diff(self.reached) > 0)
        first = np.interp(reached, self.reached[new], self.times_s[new])
        last = np.searchsorted(self.reached, reached, "right") - 1
        left = np.maximum(first, self.times_s[np.maximum(last, 0)])
        return np.asarray(np.minimum(first + stood_s, left), np.float64)


@dataclass(frozen=True)
class _Past:
    """Earlier jobs by server and collection."""

    jobs: Mapping[tuple[str, str], list[_Earlier]]

    @classmethod
    def from_history(cls, history: pd.DataFrame | None) -> _Past:
        found: dict[tuple[str, str], list[_Earlier]] = {}
        if history is None or history.empty:
            return cls(found)
        rows = ordered_snapshots(history)
        now, size, reached = seconds(rows), _bytes(rows), _fine_progress(rows)
        completed = rows["state"].eq("Completed").fillna(False).to_numpy(np.bool_)
        key = _collection_keys(rows)
        for span in job_slices(rows):
            at = np.arange(span.start, span.stop)
            ended = at[completed[at]]
            if not len(ended):
                continue
            found.setdefault(key[at[-1]], []).append(
                _Earlier(
                    times_s=now[at],
                    reached=reached[at],
                    start_s=float(now[at[0]]),
                    end_s=float(now[ended[0]]),
                    size_bytes=float(size[at[-1]]),
                )
            )
        return cls(found)

    def pairs(self, rows: pd.DataFrame) -> Iterator[tuple[Ints, list[_Earlier]]]:
        """The rows of each job with the collection's earlier jobs, without the job itself."""
        now, key = seconds(rows), _collection_keys(rows)
        for span in job_slices(rows):
            at = np.arange(span.start, span.stop)
            earlier = self.jobs.get(key[at[-1]], [])
            yield at, [job for job in earlier if job.end_s <= now[at[-1]]]


def _collection_keys(rows: pd.DataFrame) -> list[tuple[str, str]]:
    name = rows["collection_name"] if "collection_name" in rows else pd.Series("", rows.index)
    return list(zip(rows["source_uri"].astype("str"), name.astype("str"), strict=True))


def _by_duration(rows: pd.DataFrame, past: _Past, left_of: Callable[[Floats], Floats]) -> Floats:
    """The median of the time left, by the durations of earlier jobs that had ended."""
    now = seconds(rows)
    remaining = np.full(len(rows), np.nan)
    for at, earlier in past.pairs(rows):
        elapsed = now[at] - now[at[0]]
        said = [
            np.where(job.end_s <= now[at], left_of(job.end_s - job.start_s - elapsed), np.nan)
            for job in earlier
            if job.start_s < now[at[0]]
        ]
        remaining[at] = _median(said)
    return remaining


def _median(said: list[Floats]) -> Floats | float:
    """The median of the earlier jobs' answers; NaN if there is none."""
    if not said:
        return np.nan
    return np.asarray(pd.DataFrame(said).median(), np.float64)


def _bytes(rows: pd.DataFrame) -> Floats:
    """The job's bytes as known so far; NaN before the server reports them."""
    said = floats(rows, "file_size_bytes")
    seen = pd.Series(np.where(said > 0, said, np.nan)).groupby(rows["job"].to_numpy()).cummax()
    return np.asarray(seen.groupby(rows["job"].to_numpy()).ffill(), np.float64)


def _fine_progress(rows: pd.DataFrame) -> Floats:
    """The highest progress so far, with a fraction from the rows if they agree with it."""
    progress = floats(rows, "progress_pct")
    with np.errstate(invalid="ignore", divide="ignore"):
        by_rows = 40 + 30 * floats(rows, "imported_rows") / floats(rows, "total_rows")
    fits = (by_rows >= progress) & (by_rows < progress + 1)
    fine = pd.Series(np.where(fits, by_rows, progress)).groupby(rows["job"].to_numpy()).cummax()
    return np.nan_to_num(np.asarray(fine, np.float64))


def _tqdm_remaining(times: Floats, progress: Floats) -> Floats:
    """The remaining time by tqdm at each snapshot of one job; NaN if it has no rate."""
    remaining = np.full(len(times), np.nan)
    keep = 1 - _SMOOTHING
    mean_dn = mean_dt = mean_step = 0.0
    fed = steps = 0
    step = 0.0
    drawn, drawn_at = (progress[0], times[0]) if len(progress) else (0.0, 0.0)
    for i, (now, done) in enumerate(zip(times, progress, strict=True)):
        dn, dt = done - drawn, now - drawn_at
        if abs(dn) >= step and dt >= _MIN_INTERVAL_S:
            if dn != 0:
                mean_dn = _SMOOTHING * dn + keep * mean_dn
                mean_dt = _SMOOTHING * dt + keep * mean_dt
                fed += 1
            if dt >= _MAX_INTERVAL_S:
                step = dn * _MIN_INTERVAL_S / dt
            else:
                mean_step = _SMOOTHING * dn * _MIN_INTERVAL_S / dt + keep * mean_step
                steps += 1
                step = mean_step / (1 - keep**steps)
            drawn, drawn_at = done, now
        elapsed = now - times[0]
        # The correction for the start is the same for both means, so it cancels.
        overall = (done - progress[0]) / elapsed if elapsed > 0 else 0.0
        rate = mean_dn / mean_dt if fed else overall
        if rate > 0:
            remaining[i] = (100 - done) / rate
    return remaining


def _time_at_rate(left: Floats, done: Floats, elapsed: Floats) -> Floats:
    """The time for the rest at the rate so far; NaN if there is no rate."""
    with np.errstate(divide="ignore", invalid="ignore"):
        remaining = np.maximum(left, 0) * elapsed / done
    return np.where((done > 0) & (elapsed > 0), remaining, np.nan)


def _remaining_frame(rows: pd.DataFrame, remaining: Floats) -> pd.DataFrame:
    return rows[_SNAPSHOT_KEY].assign(remaining_p50_s=remaining).reset_index(drop=True)
