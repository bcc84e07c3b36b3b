"""A comparison of two jobs: which took longer, by how much, and in which phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from importstats.analysis.phase import phases
from importstats.analysis.totals import summary
from importstats.arrays import Bools, floats
from importstats.names import END_PHASES, PHASES
from importstats.text import (
    UNKNOWN,
    format_bytes,
    format_count,
    format_duration,
    format_rate,
    printable,
)

# A recording that began so long after the job, and so late in it, does not show its begin.
_LATE_S: Final = 60.0
_LATE_SHARE: Final = 0.02


@dataclass(frozen=True)
class SideBySide:
    """The comparison of two jobs.

    Attributes
    ----------
    verdict : str
        A sentence: which is slower, by which factor, and where most of the difference lies.
    phases : DataFrame
        ``phase`` : str; ``a_s``, ``b_s`` : float64, the time seen in it (0 if never in it, NaN if
        nobody looked or it is still to come); ``a_whole``, ``b_whole`` : bool, whether that is all
        of it; ``difference_s`` : float64, b minus a where both are whole, else NaN.
    facts : DataFrame
        ``what``, ``a``, ``b`` : str, other facts about both jobs, as text.
    """

    verdict: str
    phases: pd.DataFrame
    facts: pd.DataFrame


def compare_two_jobs(
    a: pd.DataFrame,
    b: pd.DataFrame,
    a_details: pd.DataFrame | None = None,
    b_details: pd.DataFrame | None = None,
) -> SideBySide:
    """The comparison of two jobs, phase by phase.

    Parameters
    ----------
    a, b : DataFrame
        Jobs frames of one job each.
    a_details, b_details : DataFrame, optional
        Their details frames, for the time after the last file.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "u", "job_id": "7", "collection_name": "books", "snapshot_id": range(4),
    ...     "observed_at": pd.date_range("2026-05-18", periods=4, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Importing", "Importing", "Completed"],
    ...     "progress_pct": [5.0, 45.0, 60.0, 100.0], "imported_rows": [0, 90, 500, 900],
    ...     "total_rows": [0, 900, 900, 900], "detail_count": 3, "file_size_bytes": 9000})
    >>> start = jobs["observed_at"].iloc[0]
    >>> slow = jobs.assign(job_id="8", observed_at=start + 2 * (jobs["observed_at"] - start))
    >>> compare_two_jobs(jobs, slow).verdict
    'job 8 took 2 times as long as job 7 (5 min instead of 2 min 30 s), 80 % of the difference in \
Importing'
    """
    table = _compared_phases(phases(a), phases(b), a, b)
    facts = [_compared_values(a, a_details), _compared_values(b, b_details)]
    rows = [(what, facts[0][what], facts[1][what]) for what in facts[0]]
    ids = job_names(a, b, id_limit=40, uri_limit=80)
    return SideBySide(
        _comparison_text(table, ids), table, pd.DataFrame(rows, columns=["what", "a", "b"])
    )


def job_names(
    a: pd.DataFrame, b: pd.DataFrame, *, id_limit: int = 200, uri_limit: int = 200
) -> tuple[str, str]:
    """The ids of two jobs, with their servers if the ids are the same.

    Parameters
    ----------
    a, b : DataFrame
        Jobs frames of one job each.
    id_limit, uri_limit : int
        The most characters of an id, and of a server's address.

    Examples
    --------
    >>> jobs = pd.DataFrame({"source_uri": ["http://a"], "job_id": ["7"]})
    >>> job_names(jobs, jobs.assign(job_id="8"))
    ('7', '8')
    >>> job_names(jobs, jobs.assign(source_uri="http://b"))
    ('7 on http://a', '7 on http://b')
    """
    first, second = (printable(str(jobs["job_id"].iloc[0]), id_limit) for jobs in (a, b))
    if first != second:
        return first, second
    one, other = (printable(str(jobs["source_uri"].iloc[0]), uri_limit) for jobs in (a, b))
    return f"{first} on {one}", f"{second} on {other}"


def _compared_phases(
    a_runs: pd.DataFrame, b_runs: pd.DataFrame, a: pd.DataFrame, b: pd.DataFrame
) -> pd.DataFrame:
    """The time of both jobs in each phase, and whether it was seen from its begin to its end."""
    a_times, b_times = _phase_times(a_runs), _phase_times(b_runs)
    names = [name for name in PHASES if name in a_times.index or name in b_times.index]
    # Without its creation a job is known to have been joined late by what the other shows.
    a_first, b_first = (PHASES.index(str(runs["phase"].iloc[0])) for runs in (a_runs, b_runs))
    a_whole = _seen_whole(names, a, a_runs, begins_later=a_first > b_first)
    b_whole = _seen_whole(names, b, b_runs, begins_later=b_first > a_first)
    a_s, b_s = (times.reindex(names, fill_value=0.0).to_numpy() for times in (a_times, b_times))
    return pd.DataFrame(
        {
            "phase": pd.Series(names, dtype="str"),
            "a_s": np.where(a_whole | (a_s > 0), a_s, np.nan),
            "a_whole": a_whole,
            "b_s": np.where(b_whole | (b_s > 0), b_s, np.nan),
            "b_whole": b_whole,
            "difference_s": np.where(a_whole & b_whole, b_s - a_s, np.nan),
        }
    )


def _seen_whole(
    names: list[str], jobs: pd.DataFrame, runs: pd.DataFrame, *, begins_later: bool
) -> Bools:
    """Whether each phase lies after the first that was seen of a late job, and before its last."""
    late = _joined_late(jobs)
    begun = PHASES.index(str(runs["phase"].iloc[0]))
    begun = begun if (begins_later if late is None else late) else -1
    is_over = str(runs["phase"].iloc[-1]) == "Completed"
    last = len(PHASES) if is_over else PHASES.index(_last_phase(runs))
    place = np.array([PHASES.index(name) for name in names], np.int64)
    return (place > begun) & (place < last)


def _phase_times(runs: pd.DataFrame) -> pd.Series[Any]:
    timed = runs[runs["duration_s"].notna() & ~runs["phase"].astype("str").isin(END_PHASES)]
    return timed.groupby(timed["phase"].astype("str"), sort=False)["duration_s"].sum()


def _last_phase(runs: pd.DataFrame) -> str:
    """The phase that a job is in, or in which it failed."""
    names = runs["phase"].astype("str")
    before = names[~names.isin(END_PHASES)]
    return str(before.iloc[-1]) if len(before) else str(names.iloc[-1])


def _joined_late(jobs: pd.DataFrame) -> bool | None:
    """Whether recording began long after the job's creation; None if that is not known."""
    if "create_time" not in jobs or jobs["create_time"].isna().all():
        return None
    seen = jobs["observed_at"]
    missed_s = (seen.min() - jobs["create_time"].min()).total_seconds()
    span_s = (seen.max() - seen.min()).total_seconds()
    return bool(missed_s > max(_LATE_S, _LATE_SHARE * span_s))


def _comparison_text(table: pd.DataFrame, ids: tuple[str, str]) -> str:
    whole = table["a_s"].sum(), table["b_s"].sum()
    if not (whole[0] > 0 and whole[1] > 0):
        return "nothing to compare: one of the jobs has no phase of known duration"
    both = table["difference_s"].notna()
    if not both.all():
        if not both.any():
            return "nothing to compare: no phase was seen from begin to end in both jobs"
        text = _comparison_text(table[both].reset_index(drop=True), ids)
        return f"in {', '.join(table['phase'][both])}, all that was seen whole of both: {text}"
    slow = int(whole[1] >= whole[0])
    factor = whole[slow] / whole[1 - slow]
    durations = [format_duration(seconds) for seconds in whole]
    if factor < 1.05:
        return (
            f"job {ids[1]} took about as long as job {ids[0]} ({durations[1]} and {durations[0]})"
        )
    text = (
        f"job {ids[slow]} took {factor:.2g} times as long as job {ids[1 - slow]} "
        f"({durations[slow]} instead of {durations[1 - slow]})"
    )
    excess = table["difference_s"].to_numpy() * (1 if slow else -1)
    share = excess.max() / excess.sum()
    phase = table["phase"].iloc[int(excess.argmax())]
    if share <= 1:
        return f"{text}, {100 * share:.0f} % of the difference in {phase}"
    return f"{text}, all of the difference in {phase}"


def _compared_values(jobs: pd.DataFrame, details: pd.DataFrame | None) -> dict[str, str]:
    """Other facts about both jobs, as text."""
    total = summary(jobs, details).iloc[0]
    latest = jobs.sort_values("observed_at").iloc[-1]
    version = latest.get("server_version")
    return {
        "state": str(total["phase"]),
        "server": printable(str(latest["source_uri"]), 80),
        "server version": UNKNOWN if pd.isna(version) else printable(str(version), 40),
        "collection": UNKNOWN
        if pd.isna(latest.get("collection_name"))
        else printable(str(latest["collection_name"]), 80),
        "files": format_count(total["files"]),
        "rows": format_count(total["rows"]),
        "bytes in files": format_bytes(total["bytes"]),
        "rate in Importing": _rate_in_importing(jobs, total),
        "rate over all phases": format_rate(total["rows_per_s"], "rows"),
        "after the last file": format_duration(_tail_s(jobs, details)),
    }


def _rate_in_importing(jobs: pd.DataFrame, total: pd.Series[Any]) -> str:
    """Rows per second in Importing, as exactly as the phase's borders are known.

    If recording began in that phase, the rows that were present by then do not count.
    """
    runs = phases(jobs)
    own = runs[runs["phase"].astype("str").eq("Importing")]
    seconds = float(own["duration_s"].sum())
    unsure = float(floats(own, "uncertainty_s")[~own["uncertainty_s"].isna()].sum())
    rows = total["rows"]
    if len(own) and own.index[0] == 0:
        rows = rows - own["rows_at_start"].iloc[0]
    if pd.isna(rows) or not seconds > 0:
        return UNKNOWN
    text = format_rate(rows / seconds, "rows")
    if not 0 < unsure < 2 * seconds:
        return text
    least, most = rows / (seconds + unsure / 2), rows / (seconds - unsure / 2)
    return f"{text} ({format_rate(least, 'rows')} to {format_rate(most, 'rows')})"


def _tail_s(jobs: pd.DataFrame, details: pd.DataFrame | None) -> float:
    """The seconds from the first snapshot with all files done to the job's end."""
    runs = phases(jobs)
    ends = runs.loc[runs["phase"].astype("str").isin(END_PHASES), "start"]
    if details is None or details.empty or ends.empty:
        return float("nan")
    done = details[details["state"].astype("str").str.lower().eq("completed")]
    if done.empty:
        return float("nan")
    last = done.groupby("file_index")["observed_at"].min().max()
    return float(np.maximum((ends.iloc[0] - last).total_seconds(), 0.0))
