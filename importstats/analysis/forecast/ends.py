"""The end of a job: an estimate with an 80 % interval, at every snapshot.

:func:`eta` is the whole interface. The estimate is made in stages, each a module: what was seen
(:mod:`~importstats.analysis.forecast.observed`), what earlier jobs and finished phases show about
the phases (:mod:`~importstats.analysis.forecast.levels`), the rest of Importing by its tasks
(:mod:`~importstats.analysis.forecast.importing`) and of other phases by their pace
(:mod:`~importstats.analysis.forecast.remaining`), the twin
(:mod:`~importstats.analysis.forecast.twin`), interruptions
(:mod:`~importstats.analysis.forecast.interruption`), and the calibration of the interval
(:mod:`~importstats.analysis.forecast.calibration`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.cluster_phase import with_known_phase
from importstats.analysis.cluster_state import Cluster
from importstats.analysis.forecast.assembly import Outlook, outlook
from importstats.analysis.forecast.memory import cluster_memories
from importstats.analysis.forecast.observed import observe
from importstats.analysis.forecast.past import ended_at
from importstats.analysis.forecast.priors import QUANTILES, Priors, shipped_priors
from importstats.analysis.work_left import WORK, with_work_left
from importstats.arrays import US_PER_S, Floats, floats, timestamps
from importstats.names import JOB_KEY, PHASE_DTYPE

#: The values of ``method``: from earlier jobs, from priors alone, from the work left in the
#: cluster, ended jobs, and no estimate.
METHODS: Final = ("history", "priors", WORK, "ended", "none")

#: A century: further than any import, and still a time that pandas can hold.
LONGEST_S: Final = 100 * 365.25 * 86400.0

_NAMES: Final = tuple(f"p{round(100 * quantile)}" for quantile in QUANTILES)
_REASONS: Final = {
    "Uncommitted": "waits for the user's commit",
    "Failed": "job failed",
    "Unknown": "the answer does not show the phase",
}


def eta(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None = None,
    history: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    at: datetime | None = None,
    *,
    explain: bool = False,
    priors: Priors | None = None,
    cluster: Cluster | None = None,
) -> pd.DataFrame:
    """When each job will end, as known at each of its snapshots.

    Each row uses its snapshot and earlier ones of the same job, and from `history` the jobs that
    had ended by then, but nothing later.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame of any number of jobs, see :mod:`importstats.store.frames`.
    details : DataFrame, optional
        Their details frame, expanded or as runs; it sharpens the estimate while files are imported.
    history : DataFrame or sequence of DataFrame, optional
        Jobs frames of earlier jobs. Only completed jobs count, each from the snapshot that shows it
        Completed on and never for itself, so you can pass a whole store, including `jobs`. Jobs of
        the same collection count most, then those of the same cluster (``source_uri``), then
        others.
    at : datetime, optional
        Only the last snapshot of each job as of this time, instead of all.
    explain : bool
        Add the parts of the estimate, and two scenarios; see below.
    priors : Priors, optional
        Priors that replace the shipped ones, for experiments.
    cluster : ClusterFrames, optional
        What the cluster did, see :func:`~importstats.store.cluster_frames.load_cluster`. If it is
        given, the phase is exact, and from Importing on the estimate follows from the work that is
        left; ``method`` is then ``work``. If no earlier job of the cluster is known, the mean times
        in its metrics are a prior of all other estimates.

    Returns
    -------
    DataFrame
        One row per snapshot, ordered by job and time; repeated snapshots and recorded gaps are
        left out.

        ``source_uri``, ``job_id`` : category or str
            As in the input.
        ``snapshot_id`` : int64
        ``observed_at`` : datetime64[us, UTC]
        ``phase`` : ordered category
        ``eta_p10`` : datetime64[us, UTC]
            The begin of an interval that contains the job's end in 80 of 100 cases. The interval is
            kept short: of the other jobs, more end after it than before it. NaT without an
            estimate.
        ``eta_p50`` : datetime64[us, UTC]
            The median. NaT if nothing supports an estimate. Never before ``observed_at``; for a job
            that has ended, its end.
        ``eta_p90`` : datetime64[us, UTC]
            The end of that interval. NaT without an estimate.
        ``remaining_p10_s``, ``remaining_p50_s``, ``remaining_p90_s`` : float64
            The same in seconds from ``observed_at``; 0 once the job has ended.
        ``method`` : category
            One of :data:`METHODS`.
        ``reason`` : str
            Why there is no estimate; missing if there is one.

        With `explain` also these, in seconds if the name ends in ``_s``, NaN if there is no such
        part:

        ``phase_rest_s`` : float64
            The median of the rest of the current phase.
        ``later_phases_s`` : float64
            The median of the phases after it.
        ``model_s`` : float64
            The median of the model's forecast; in Pending without the wait.
        ``twin_s`` : float64
            The median of the forecast by earlier jobs at the same point, see
            :mod:`importstats.analysis.forecast.twin`; in Pending without the wait.
        ``twin_weight`` : float64
            The twin's weight in the estimate.
        ``earlier_jobs`` : int64
            How many ended jobs of the collection it uses.
        ``interrupted`` : float64
            The probability that the job is interrupted.
        ``slots`` : float64
            Tasks at work at once.
        ``if_all_goes_well_s`` : float64
            The median if the job is not interrupted.
        ``if_a_node_restarts_s`` : float64
            The median if everything that runs now has to begin again.

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
    if cluster is not None and len(cluster.tasks):
        jobs = with_known_phase(jobs[jobs["observed_at"].notna()], cluster)
    seen = observe(jobs)
    frames = [history] if isinstance(history, pd.DataFrame) else list(history or [])
    past = [observe(frame) for frame in frames if len(frame)]
    last = seen["job"].ne(seen["job"].shift(-1)).to_numpy(np.bool_)
    wanted = last if at is not None else np.ones(len(seen), np.bool_)
    memories = {} if cluster is None else cluster_memories(seen, cluster)
    found = outlook(seen, details, past, wanted, priors or shipped_priors(), memories)
    answer = _outlook_frame(seen, found)
    if explain:
        answer = answer.assign(**_part_columns(len(seen), found))
    answer = answer[wanted].reset_index(drop=True)
    if cluster is None:
        return answer
    return with_work_left(answer, cluster, floats(seen, "total_rows")[wanted])


def _outlook_frame(seen: pd.DataFrame, found: Outlook) -> pd.DataFrame:
    remaining = np.full((len(seen), len(QUANTILES)), np.nan)
    remaining[found.rows] = np.minimum(found.quantiles, LONGEST_S)
    method = np.full(len(seen), "none", dtype=object)
    known = found.rows[~np.isnan(found.quantiles[:, 1])]
    method[found.rows] = np.where(found.any_history, "history", "priors")
    method[np.setdiff1d(found.rows, known)] = "none"
    over = seen["phase"].eq("Completed").to_numpy(np.bool_)
    remaining[over], method[over] = 0.0, "ended"
    answer = seen[[*JOB_KEY, "snapshot_id", "observed_at"]].astype(dict.fromkeys(JOB_KEY, "str"))
    answer["phase"] = seen["shown_phase"].astype(PHASE_DTYPE)
    now = answer["observed_at"]
    end = timestamps(np.rint(ended_at(seen) * US_PER_S).astype(np.int64))
    for place, name in enumerate(_NAMES):
        left = pd.Series(_timedeltas(remaining[:, place]), index=now.index)
        answer[f"eta_{name}"] = (now + left).where(~over, end)
    for place, name in enumerate(_NAMES):
        answer[f"remaining_{name}_s"] = remaining[:, place]
    answer["method"] = pd.Categorical(method, METHODS)
    answer["reason"] = _reason_column(answer, found)
    return answer


def _timedeltas(seconds: Floats) -> npt.NDArray[np.timedelta64]:
    """Seconds as time deltas of whole microseconds, NaT for NaN."""
    missing = np.isnan(seconds)
    whole = np.round(np.where(missing, 0.0, seconds) * US_PER_S).astype(np.int64)
    return np.where(missing, np.timedelta64("NaT", "us"), whole.astype("timedelta64[us]"))


def _reason_column(answer: pd.DataFrame, found: Outlook) -> npt.NDArray[Any] | pd.Series[str]:
    reason = answer["phase"].astype("str").map(_REASONS).astype(object)
    reason.iloc[found.rows] = found.reason
    return reason.where(answer["remaining_p50_s"].isna()).astype("str")


def _part_columns(rows: int, found: Outlook) -> dict[str, Floats | npt.NDArray[np.int64]]:
    parts: dict[str, Any] = {}
    for name, values in found.parts.items():
        column = np.full(rows, np.nan)
        column[found.rows] = values
        parts[name] = column
    parts["earlier_jobs"] = np.nan_to_num(parts["earlier_jobs"]).astype(np.int64)
    return parts
