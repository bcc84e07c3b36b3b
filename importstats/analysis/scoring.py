"""Backtests: replay recordings, and compare every ETA with what then happened.

:func:`backtest` scores any function with the signature of :func:`importstats.eta`, including the
simple methods that people use in its place (:mod:`importstats.analysis.baselines`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.baselines import BASELINES, HISTORY_BASELINES, Method
from importstats.analysis.forecast import eta
from importstats.analysis.forecast.timeline import ordered_snapshots
from importstats.analysis.phase import with_phase
from importstats.names import JOB_KEY, PHASE_DTYPE

_QUANTILES: Final = (0.1, 0.5, 0.9)
_PREDICTED: Final = ("remaining_p10_s", "remaining_p50_s", "remaining_p90_s")
_SNAPSHOT_KEY: Final = [*JOB_KEY, "snapshot_id"]


@dataclass(frozen=True)
class Backtest:
    r"""The result of a backtest.

    Attributes
    ----------
    predictions : DataFrame
        One row per method and scored snapshot:

        ``method`` : category
        ``source_uri``, ``job_id``, ``snapshot_id``, ``observed_at``
        ``phase`` : ordered category
        ``tenth`` : int64
            The tenth of the job's life in which the snapshot lies, 0 to 9.
        ``true_remaining_s`` : float64
        ``remaining_p10_s``, ``remaining_p50_s``, ``remaining_p90_s`` : float64
            NaN if the method had no answer (for p10 and p90 also if it has no interval).
        ``relative_error`` : float64
            \|predicted median - true\| / true.
    """

    predictions: pd.DataFrame

    @cached_property
    def overall(self) -> pd.DataFrame:
        """Each method's scores, see :func:`score`."""
        return score(self.predictions)

    @cached_property
    def by_phase(self) -> pd.DataFrame:
        """Each method's scores in each phase."""
        return score(self.predictions, by="phase")

    @cached_property
    def by_tenth(self) -> pd.DataFrame:
        """Each method's scores in each tenth of the jobs' lives."""
        return score(self.predictions, by="tenth")


def true_end(jobs: pd.DataFrame) -> pd.DataFrame:
    """The true start and end of each completed job.

    The end is the server's ``complete_time``, or the first snapshot that says Completed. If a
    server's clock differs, snapshots limit the end: it is after the last snapshot before Completed
    and not after the first that says so. Jobs that failed, or whose end was not seen, have no row.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.

    Returns
    -------
    DataFrame
        ``source_uri``, ``job_id`` : str
        ``start``, ``end`` : datetime64[us, UTC]
            First snapshot, and the end.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7", "snapshot_id": [1, 2, 3],
    ...     "observed_at": pd.date_range("2026-05-18", periods=3, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Importing", "Completed"], "progress_pct": [5.0, 40.0, 100.0],
    ...     "complete_time": pd.to_datetime([None, None, "2026-05-18T00:01:30Z"])})
    >>> true_end(jobs)["end"].dt.time.tolist()
    [datetime.time(0, 1, 30)]
    """
    rows = ordered_snapshots(with_phase(jobs))
    completed = rows["phase"].eq("Completed")
    grouped = rows.groupby("job", sort=True)
    first = grouped[[*JOB_KEY, "observed_at"]].first().rename(columns={"observed_at": "start"})
    done = rows[completed].groupby("job")
    seen = done["observed_at"].first()
    said = (
        done["complete_time"].first()
        if "complete_time" in rows
        else pd.Series(pd.NaT, index=seen.index, dtype=seen.dtype)
    )
    before = rows[~completed].groupby("job")["observed_at"].last().reindex(seen.index)
    end = said.fillna(seen)
    end = end.where(~(end > seen), seen).where(~(end < before), before)
    ends = first.loc[seen.index].assign(end=end.astype(seen.dtype))
    # A job that was seen Completed and later in another state has no clear end.
    last = grouped["phase"].last().loc[seen.index]
    return ends[last.eq("Completed")].reset_index(drop=True)


def true_remaining(jobs: pd.DataFrame, per_job: int | None = None) -> pd.DataFrame:
    """The snapshots that a backtest scores, and the true time left at each.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.
    per_job : int, optional
        How many snapshots of each job at most, spread evenly.

    Returns
    -------
    DataFrame
        ``source_uri``, ``job_id``, ``snapshot_id``, ``observed_at``, ``phase``, ``tenth`` and
        ``true_remaining_s`` as in :class:`Backtest`.
    """
    rows = ordered_snapshots(with_phase(jobs))
    rows = rows.drop_duplicates(["job", "snapshot_id"], ignore_index=True)
    rows = rows.astype(dict.fromkeys(JOB_KEY, "str"))
    rows = rows.merge(true_end(jobs), on=JOB_KEY, how="inner", validate="m:1")
    waiting = rows["phase"].eq("Uncommitted")
    gap = rows.groupby("job")["observed_at"].shift(-1) - rows["observed_at"]
    wait = gap.where(waiting).dt.total_seconds().fillna(0.0)
    later_wait = wait.groupby(rows["job"]).transform("sum") - wait.groupby(rows["job"]).cumsum()
    left = (rows["end"] - rows["observed_at"]).dt.total_seconds()
    life = (rows["end"] - rows["start"]).dt.total_seconds()
    rows["true_remaining_s"] = left - later_wait
    lived = (rows["observed_at"] - rows["start"]).dt.total_seconds()
    rows["tenth"] = (10 * lived / life.where(life > 0)).clip(0, 9).fillna(0).astype("int64")
    rows["phase"] = rows["phase"].astype(PHASE_DTYPE)
    rows = rows[(rows["true_remaining_s"] > 0) & ~waiting & rows["phase"].ne("Failed")]
    if per_job is not None:
        place = rows.groupby("job").cumcount()
        size = rows.groupby("job")["job"].transform("size")
        # Keep a snapshot if the integer part of its place on a scale of per_job moves on.
        kept = (place * per_job // size) != ((place - 1) * per_job // size)
        rows = rows[kept | (size <= per_job)]
    columns = [*_SNAPSHOT_KEY, "observed_at", "phase", "tenth", "true_remaining_s"]
    return rows[columns].reset_index(drop=True)


def backtest(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None = None,
    method: str | Method | Sequence[str] | Mapping[str, Method] = ("eta", "linear"),
    *,
    history: pd.DataFrame | None = None,
    per_job: int | None = None,
    truncated: bool = False,
) -> Backtest:
    """Replay recordings and score ETA methods at their snapshots.

    The scores are about the remaining time at each snapshot before a completed job's end. Nobody
    can predict how long a job waits for its user's commit: the clock stops during that wait, and
    its snapshots are not scored.

    Parameters
    ----------
    jobs, details : DataFrame
        Frames of any number of jobs, see :mod:`importstats.store.frames`.
    method : str, callable, sequence of str or mapping of str to callable
        One or more methods: ``"eta"``, names of :data:`~importstats.analysis.baselines.BASELINES`
        and :data:`~importstats.analysis.baselines.HISTORY_BASELINES`, or functions of your own. The
        first is the reference of the ``both`` scores.
    history : DataFrame, optional
        A jobs frame of earlier jobs, for the method ``"eta"`` and those that look at history. You
        can pass `jobs` itself, since each method uses only what had ended before the snapshot.
    per_job : int, optional
        How many snapshots of a job to score at most, spread evenly over its recording (all are
        replayed).
    truncated : bool
        Call the method once per scored snapshot with frames that end there, so that it cannot look
        into the future. This is slow; methods that only look back score the same without it.

    Returns
    -------
    Backtest

    Raises
    ------
    ValueError
        A method's name is unknown.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7", "snapshot_id": [1, 2, 3, 4],
    ...     "observed_at": pd.date_range("2026-05-18", periods=4, freq="60s", tz="UTC"),
    ...     "state": ["Importing", "Importing", "Importing", "Completed"],
    ...     "progress_pct": [0.0, 40.0, 80.0, 100.0], "imported_rows": 0, "total_rows": 0})
    >>> result = backtest(jobs, method="linear")
    >>> result.predictions[["remaining_p50_s", "true_remaining_s", "relative_error"]]
       remaining_p50_s  true_remaining_s  relative_error
    0              NaN             180.0             NaN
    1             90.0             120.0            0.25
    2             30.0              60.0            0.50
    """
    methods = _methods(method, history)
    scored = true_remaining(jobs, per_job)
    parts = []
    for name, function in methods.items():
        predicted = (
            _replay(jobs, details, function, scored) if truncated else function(jobs, details)
        )
        columns = [column for column in _PREDICTED if column in predicted]
        answers = predicted[[*_SNAPSHOT_KEY, *columns]].drop_duplicates(_SNAPSHOT_KEY)
        answers = answers.astype(dict.fromkeys(JOB_KEY, "str"))
        part = scored.merge(answers, on=_SNAPSHOT_KEY, how="left", validate="1:1")
        parts.append(part.assign(method=name))
    predictions = pd.concat(parts, ignore_index=True)
    for column in _PREDICTED:
        if column not in predictions:
            predictions[column] = np.nan
    predictions["method"] = pd.Categorical(predictions["method"], list(methods))
    missed = (predictions["remaining_p50_s"] - predictions["true_remaining_s"]).abs()
    predictions["relative_error"] = missed / predictions["true_remaining_s"]
    order = ["method", *_SNAPSHOT_KEY, "observed_at", "phase", "tenth", "true_remaining_s"]
    return Backtest(predictions[[*order, *_PREDICTED, "relative_error"]])


def score(predictions: pd.DataFrame, by: str | None = None) -> pd.DataFrame:
    r"""The scores of a backtest's predictions, for each method and on three supports.

    A method that often has no answer is not comparable with one that always answers, so each is
    scored on three sets of snapshots (``support``):

    ``answered``
        The snapshots that this method answers.
    ``both``
        The snapshots that both this method and the reference (the first) answer, with the
        reference's error on the same snapshots: the fair comparison of two methods.
    ``all``
        All snapshots; no answer counts as infinitely wrong, so a median is infinite if the method
        has no answer for half of them.

    Parameters
    ----------
    predictions : DataFrame
        As in :class:`Backtest`.
    by : str, optional
        A column to group by, such as ``phase`` or ``tenth``.

    Returns
    -------
    DataFrame
        ``method`` : category; `by`, if given; ``support`` : category
        ``snapshots``, ``jobs`` : int64
            How many there are in this support.
        ``silent_share`` : float64
            Share of the group's snapshots without an answer.
        ``median_relative_error``, ``p90_relative_error`` : float64
            Of \|predicted median - true\| / true.
        ``reference_median_relative_error`` : float64
            The reference's median on the same snapshots (support ``both``, else NaN).
        ``bias`` : float64
            Median of (predicted median - true) / true: negative is too early.
        ``coverage_80`` : float64
            Share of snapshots whose true remaining time lies in p10 to p90; NaN without interval.
        ``relative_width_80`` : float64
            Median of (p90 - p10) / true.
        ``mean_width_80`` : float64
            Mean of (p90 - p10) / true.
        ``median_log_error`` : float64
            Of \|log(predicted median / true)\|. The relative error favours predictions that are too
            small (it is at most 1 for these and unbounded for large ones); this one does not.
        ``relative_pinball`` : float64
            Mean pinball loss of the method's quantiles 0.1, 0.5 and 0.9, divided by the true
            remaining time (Koenker & Bassett, Econometrica 46(1), 1978); the median over the
            snapshots, since the last seconds of a job would dominate a mean of ratios.
    """
    rows = predictions.assign(
        answered=predictions["remaining_p50_s"].notna(),
        bias=(predictions["remaining_p50_s"] - predictions["true_remaining_s"])
        / predictions["true_remaining_s"],
        relative_width_80=(predictions["remaining_p90_s"] - predictions["remaining_p10_s"])
        / predictions["true_remaining_s"],
        relative_pinball=_relative_pinball(predictions),
        log_error=_log_error(predictions),
        inside=_interval_hits(predictions),
    )
    reference = rows["method"].cat.categories[0]
    errors = rows.loc[rows["method"].eq(reference), [*_SNAPSHOT_KEY, "relative_error"]]
    errors = errors.rename(columns={"relative_error": "reference_error"})
    rows = rows.merge(errors, on=_SNAPSHOT_KEY, how="left", validate="m:1")
    keys = ["method"] if by is None else ["method", by]
    totals = rows.groupby(keys, observed=True)["answered"].agg(["size", "sum"])
    silent = 1 - totals["sum"] / totals["size"]
    supports = {
        "answered": rows[rows["answered"]],
        "both": rows[rows["answered"] & rows["reference_error"].notna()],
        "all": rows.assign(relative_error=rows["relative_error"].fillna(np.inf)),
    }
    parts = [_summary(part, keys).assign(support=name) for name, part in supports.items()]
    table = pd.concat(parts).join(silent.rename("silent_share")).reset_index()
    table.loc[table["support"].ne("both"), "reference_median_relative_error"] = np.nan
    table["support"] = pd.Categorical(table["support"], list(supports))
    columns = [*keys, "support", "snapshots", "jobs", "silent_share", *_SCORES]
    return table.sort_values([*keys, "support"])[columns].reset_index(drop=True)


_SCORES: Final = (
    "median_relative_error",
    "p90_relative_error",
    "reference_median_relative_error",
    "bias",
    "coverage_80",
    "relative_width_80",
    "mean_width_80",
    "relative_pinball",
    "median_log_error",
)


def _methods(
    method: str | Method | Sequence[str] | Mapping[str, Method], history: pd.DataFrame | None
) -> dict[str, Method]:
    known: dict[str, Method] = {
        "eta": lambda jobs, details: eta(jobs, details, history=history),
        **BASELINES,
        **{name: partial(find, history=history) for name, find in HISTORY_BASELINES.items()},
    }
    if callable(method):
        return {getattr(method, "__name__", "method"): method}
    if isinstance(method, Mapping):
        return dict(method)
    names = [method] if isinstance(method, str) else list(method)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no ETA method {unknown[0]!r}; there are {', '.join(known)}")
    return {name: known[name] for name in names}


def _replay(
    jobs: pd.DataFrame, details: pd.DataFrame | None, method: Method, scored: pd.DataFrame
) -> pd.DataFrame:
    """The method's answers at the scored snapshots, each from frames that end there."""
    parts = [pd.DataFrame(columns=[*_SNAPSHOT_KEY, *_PREDICTED])]
    for (uri, job_id), snapshots in scored.groupby(JOB_KEY):
        of_job = jobs[(jobs["source_uri"] == uri) & (jobs["job_id"] == job_id)]
        files = None
        if details is not None:
            files = details[(details["source_uri"] == uri) & (details["job_id"] == job_id)]
        for snapshot_id, now in zip(
            snapshots["snapshot_id"], snapshots["observed_at"], strict=True
        ):
            seen = None if files is None else files[files["observed_at"] <= now]
            answer = method(of_job[of_job["observed_at"] <= now], seen)
            parts.append(answer[answer["snapshot_id"] == snapshot_id])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _relative_pinball(predictions: pd.DataFrame) -> pd.Series:
    true = predictions["true_remaining_s"]
    losses = pd.DataFrame(index=predictions.index)
    for quantile, column in zip(_QUANTILES, _PREDICTED, strict=True):
        missed = true - predictions[column]
        losses[column] = np.maximum(quantile * missed, (quantile - 1) * missed)
    return losses.mean(axis=1) / true


def _log_error(predictions: pd.DataFrame) -> pd.Series:
    """The error |log(predicted / true)|; a prediction of 0 counts as one second."""
    predicted = predictions["remaining_p50_s"].clip(lower=1.0)
    ratio = predicted / predictions["true_remaining_s"].clip(lower=1.0)
    return pd.Series(np.abs(np.log(ratio.to_numpy(np.float64))), predictions.index)


def _interval_hits(predictions: pd.DataFrame) -> pd.Series:
    """1 if the truth lies in the interval, 0 if not, NaN if there is no interval."""
    true = predictions["true_remaining_s"]
    low, high = predictions["remaining_p10_s"], predictions["remaining_p90_s"]
    return true.between(low, high).astype("float64").where(low.notna() & high.notna())


def _summary(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    job = rows["source_uri"].astype("str") + "\n" + rows["job_id"].astype("str")
    grouped = rows.assign(one_job=job).groupby(keys, observed=True)
    return pd.DataFrame(
        {
            "snapshots": grouped.size(),
            "jobs": grouped["one_job"].nunique(),
            "median_relative_error": grouped["relative_error"].median(),
            "p90_relative_error": grouped["relative_error"].quantile(0.9, interpolation="higher"),
            "reference_median_relative_error": grouped["reference_error"].median(),
            "bias": grouped["bias"].median(),
            "coverage_80": grouped["inside"].mean(),
            "relative_width_80": grouped["relative_width_80"].median(),
            "mean_width_80": grouped["relative_width_80"].mean(),
            "relative_pinball": grouped["relative_pinball"].median(),
            "median_log_error": grouped["log_error"].median(),
        }
    )
