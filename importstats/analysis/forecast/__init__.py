"""When a job will end: an estimate with an honest interval, at every snapshot.

:func:`eta` is the whole interface; :mod:`importstats.analysis.forecast.model` holds the model and
its sources,
:mod:`importstats.analysis.forecast.timeline` what it sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.forecast.model import calibrated, given_progress
from importstats.analysis.forecast.past import Past
from importstats.analysis.forecast.priors import QUANTILES, Priors, shipped_priors
from importstats.analysis.forecast.timeline import LONGEST_S, observe
from importstats.arrays import Floats
from importstats.names import JOB_KEY, PHASE_DTYPE, WORK_PHASES

__all__ = ["METHODS", "eta"]

#: The values of ``method``: learned from earlier jobs, from the shipped priors alone, the job has
#: ended, and no estimate.
METHODS: Final = ("history", "priors", "ended", "none")

_NAMES: Final = tuple(f"p{round(100 * quantile)}" for quantile in QUANTILES)


def eta(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None = None,
    history: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    at: datetime | None = None,
    *,
    priors: Priors | None = None,
) -> pd.DataFrame:
    """When each job will end, as could be known at each of its snapshots.

    Every row uses that snapshot and earlier ones of the same job, and of `history` the jobs that
    had ended by then; never anything that came later. The estimate is the rest of the current
    phase, from its pace so far, plus all later phases, from what the phases of other jobs took;
    :mod:`importstats.analysis.forecast.model` has the formulas and their sources.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame of any number of jobs, see :mod:`importstats.store.frames`.
    details : DataFrame, optional
        Their details frame, expanded or as runs; sharpens the estimate while files are imported.
    history : DataFrame or sequence of DataFrame, optional
        Jobs frames of earlier jobs. Only jobs that completed count, each from the snapshot on that
        says so, and never for itself, so a whole store may be given, `jobs` included. Jobs of the
        same collection tell most, then those of the same cluster (``source_uri``), then others.
    at : datetime, optional
        Only the last snapshot of each job as of this time, instead of all.
    priors : Priors, optional
        Instead of those shipped, for experiments.

    Returns
    -------
    DataFrame
        One row per snapshot, ordered by job and time; repeated snapshots and recorded gaps are
        left out.

        ``source_uri``, ``job_id`` : str
        ``snapshot_id`` : int64
        ``observed_at`` : datetime64[us, UTC]
        ``phase`` : ordered category
        ``eta_p10``, ``eta_p50``, ``eta_p90`` : datetime64[us, UTC]
            The job will have ended by then with probability 10, 50 and 90 %. NaT where nothing
            supports an estimate. Not before ``observed_at``, but for a job that has ended it is
            the end.
        ``remaining_p10_s``, ``remaining_p50_s``, ``remaining_p90_s`` : float64
            The same in seconds from ``observed_at``; 0 once the job has ended.
        ``method`` : category
            One of :data:`METHODS`.
        ``reason`` : str
            Why there is no estimate; missing if there is one.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7", "collection_name": "products",
    ...     "snapshot_id": [1, 2, 3],
    ...     "observed_at": pd.date_range("2026-05-18", periods=3, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Importing", "Importing"],
    ...     "progress_pct": [5.0, 40.0, 55.0], "imported_rows": [0, 0, 500_000],
    ...     "total_rows": [0, 1_000_000, 1_000_000], "detail_count": [0, 3, 3]})
    >>> answer = eta(jobs)
    >>> answer[["phase", "method", "reason"]]
           phase  method               reason
    0    Pending    none  pending: no history
    1  Importing  priors                  NaN
    2  Importing  priors                  NaN
    >>> bool((answer["eta_p10"].dropna() < answer["eta_p90"].dropna()).all())
    True
    """
    if at is not None:
        jobs = jobs[jobs["observed_at"] <= at]
        details = None if details is None else details[details["observed_at"] <= at]
    seen = observe(jobs, details)
    known = priors or shipped_priors()
    remaining = np.full((len(seen), len(QUANTILES)), np.nan)
    method = np.full(len(seen), "none", dtype=object)

    at_work = seen["phase"].isin(WORK_PHASES).to_numpy()
    if at_work.any():
        frames = [history] if isinstance(history, pd.DataFrame) else list(history or [])
        past = Past.of(seen, [observe(frame) for frame in frames if len(frame)])
        belief = past.belief(known, seen, at_work)
        pending = seen["phase"].eq("Pending").to_numpy()[at_work]
        chosen = belief.any_history | ~pending
        rows = np.flatnonzero(at_work)[chosen]
        progress = given_progress(
            known, seen.iloc[rows], belief.mean[chosen], belief.covariance[chosen]
        )
        scale = past.scale(known, seen, at_work)[chosen]
        remaining[rows] = calibrated(known, *progress, belief.near_history[chosen], scale)
        method[rows] = np.where(belief.any_history[chosen], "history", "priors")
    ended = seen["phase"].eq("Completed").to_numpy()
    remaining[ended], method[ended] = 0.0, "ended"
    answer = _answer(seen, np.minimum(remaining, LONGEST_S), method)
    if at is None:
        return answer
    return answer.groupby(JOB_KEY, as_index=False).tail(1).reset_index(drop=True)


def _answer(seen: pd.DataFrame, remaining: Floats, method: npt.NDArray[np.object_]) -> pd.DataFrame:
    shown = seen.drop(columns="phase").rename(columns={"shown_phase": "phase"})
    answer = shown[[*JOB_KEY, "snapshot_id", "observed_at", "phase"]].astype(
        {**dict.fromkeys(JOB_KEY, "str"), "phase": PHASE_DTYPE}
    )
    now = answer["observed_at"]
    ended = pd.Series(method == "ended", index=answer.index)
    end = now
    if "complete_time" in seen:
        end = seen["complete_time"].astype(now.dtype).fillna(now)
        end = end.where(end <= now, now)
    for place, name in enumerate(_NAMES):
        left = pd.to_timedelta(np.round(remaining[:, place] * 1e6), unit="us").astype(
            "timedelta64[us]"
        )
        answer[f"eta_{name}"] = (now + left).where(~ended, end)
    for place, name in enumerate(_NAMES):
        answer[f"remaining_{name}_s"] = remaining[:, place]
    answer["method"] = pd.Categorical(method, METHODS)
    silent = answer["remaining_p50_s"].isna()
    answer["reason"] = answer["phase"].astype("str").map(_REASONS).where(silent).astype("str")
    return answer


_REASONS: Final = {
    "Pending": "pending: no history",
    "Uncommitted": "waits for the user's commit",
    "Failed": "job failed",
    "Unknown": "the answer does not tell the phase",
}
