"""What is said of a job in words: the headline, the ETA, and times as exact as they are near."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final

import pandas as pd

from importstats.analysis.phase import with_phase
from importstats.names import END_PHASES
from importstats.text import excerpt, format_duration, format_percent, printable

_NEAR_S: Final = 600.0


def headline(
    jobs: pd.DataFrame,
    eta: pd.DataFrame | None = None,
    stragglers: pd.DataFrame | None = None,
    *,
    zone: tzinfo | None = None,
) -> str:
    """What there is to say of a job in one line.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame of one job.
    eta, stragglers : DataFrame, optional
        Its :func:`~importstats.eta` and :func:`~importstats.stragglers`.
    zone : tzinfo, optional
        Zone of the times, by default the reader's.

    Examples
    --------
    >>> from datetime import UTC
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7",
    ...     "observed_at": pd.date_range("2026-05-18", periods=2, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Failed"], "progress_pct": [5.0, 0.0], "imported_rows": 0,
    ...     "total_rows": 0, "detail_count": 0, "reason": [None, "no such bucket"]})
    >>> headline(jobs, zone=UTC)
    'Failed at 00:01:00 UTC, in Pending at 5 %: no such bucket'
    """
    told = answered_snapshots(jobs)
    if told.empty:
        return "No snapshots yet"
    latest = told.iloc[-1]
    phase = str(latest["phase"])
    if phase == "Unknown" and pd.notna(latest["state"]):
        phase = printable(str(latest["state"]), 40)
    if phase in END_PHASES:
        return _ending(told, phase, zone)
    text = phase
    if pd.notna(latest["progress_pct"]):
        text += f", {format_percent(latest['progress_pct'])}"
    if eta is not None and len(eta):
        text += f": {eta_text(eta, zone)}"
    if stragglers is not None and len(stragglers):
        late = int(stragglers["is_straggler"].sum())
        if late:
            text += f"; {late:,} straggler{'s' * (late > 1)}"
    return text


def eta_text(eta: pd.DataFrame, zone: tzinfo | None = None) -> str:
    """The latest ETA with its interval in words, or why there is none.

    Examples
    --------
    >>> from datetime import UTC
    >>> times = pd.to_datetime(["2026-05-18T16:00Z", "2026-05-18T16:30Z", "2026-05-18T16:42Z",
    ...                         "2026-05-18T17:10Z"])
    >>> eta = pd.DataFrame([times], columns=["observed_at", "eta_p10", "eta_p50", "eta_p90"])
    >>> eta_text(eta, UTC)
    'ends 16:42 UTC (16:30 to 17:10)'
    """
    latest = eta.sort_values("observed_at").iloc[-1]
    if pd.isna(latest["eta_p50"]):
        reason = latest.get("reason")
        return "end unknown" + (f" ({printable(str(reason))})" if pd.notna(reason) else "")
    near = latest["observed_at"]
    text = f"ends {clock(latest['eta_p50'], near, zone)}"
    if pd.notna(latest["eta_p10"]) and pd.notna(latest["eta_p90"]):
        exact = is_near(latest["eta_p50"], near)
        first, last = (
            clock(latest[name], near, zone, named=False, seconds=exact)
            for name in ("eta_p10", "eta_p90")
        )
        text += f" ({first} to {last})"
    return text


def clock(
    time: datetime,
    near: datetime,
    zone: tzinfo | None = None,
    *,
    named: bool = True,
    seconds: bool | None = None,
) -> str:
    """A time as exact as it is near: with seconds within ten minutes, with the date on other days.

    Parameters
    ----------
    time, near : datetime
        The time, and the one it is near to or far from.
    zone : tzinfo, optional
        By default the reader's.
    named : bool
        Whether the zone is named.
    seconds : bool, optional
        Whether to show them, however near it is.

    Examples
    --------
    >>> from datetime import UTC
    >>> now = datetime(2026, 5, 18, 16, tzinfo=UTC)
    >>> clock(datetime(2026, 5, 18, 16, 5, 7, tzinfo=UTC), now, UTC)
    '16:05:07 UTC'
    >>> clock(datetime(2026, 5, 19, 9, 30, 7, tzinfo=UTC), now, UTC, named=False)
    '2026-05-19 09:30'
    """
    local, here = in_zone(time, zone), in_zone(near, zone)
    if seconds is None:
        seconds = is_near(time, near)
    form = "%H:%M:%S" if seconds else "%H:%M"
    if local.date() != here.date():
        form = f"%Y-%m-%d {form}"
    return local.strftime(f"{form} %Z" if named else form).strip()


def is_near(time: datetime, near: datetime) -> bool:
    """Whether two times are so near that seconds matter."""
    return abs((time - near).total_seconds()) < _NEAR_S


def _ending(told: pd.DataFrame, phase: str, zone: tzinfo | None) -> str:
    before = told[~told["phase"].isin(END_PHASES)]
    first_end = told[told["phase"].isin(END_PHASES)].iloc[0]
    end = first_end["observed_at"]
    said = first_end.get("complete_time")
    if pd.notna(said):
        end = said
    text = f"{phase} at {clock(end, end, zone)}"
    if before.empty:
        took = ""
    else:
        begin = before.iloc[0]
        took = format_duration(max((end - begin["observed_at"]).total_seconds(), 0))
        if begin["phase"] != "Pending":
            took += " of recording"
    if phase == "Completed":
        return f"{text} after {took}" if took else text
    if not before.empty:
        last = before.iloc[-1]
        text += f", in {last['phase']}"
        if pd.notna(last["progress_pct"]):
            text += f" at {format_percent(last['progress_pct'])}"
    reason = told.iloc[-1].get("reason")
    return f"{text}: {excerpt(str(reason))}" if pd.notna(reason) else text


def answered_snapshots(jobs: pd.DataFrame) -> pd.DataFrame:
    """The snapshots with an answer, in order, with their phase."""
    rows = with_phase(jobs).sort_values("observed_at", kind="stable")
    answered = rows["observed_at"].notna() & (rows["state"].notna() | rows["phase"].ne("Unknown"))
    return rows[answered]


def in_zone(time: datetime, zone: tzinfo | None) -> datetime:
    """The time in a zone; None is the reader's, which a Timestamp would take for none at all."""
    return pd.Timestamp(time).to_pydatetime(warn=False).astimezone(zone)
