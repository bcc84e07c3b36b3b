"""A job in words: its headline, its ETA, and times that are more exact the nearer they are."""

from __future__ import annotations

import json
from datetime import datetime, tzinfo
from typing import Any, Final

import pandas as pd

from importstats.analysis.finding_kinds import FINDING_KINDS
from importstats.analysis.findings import diagnose
from importstats.analysis.phase import with_phase
from importstats.analysis.ranking import stragglers_text
from importstats.analysis.reasons import known_reasons
from importstats.names import END_PHASES
from importstats.text import excerpt, format_duration, format_percent, printable

_NEAR_S: Final = 600.0
_STALE_S: Final = 300.0
_STALE_PAUSES: Final = 5


def headline(
    jobs: pd.DataFrame,
    estimates: pd.DataFrame | None = None,
    verdicts: pd.DataFrame | None = None,
    findings: pd.DataFrame | None = None,
    *,
    at: datetime | None = None,
    zone: tzinfo | None = None,
) -> str:
    """The most important facts about a job, in one line.

    It has the phase, progress and end; then the first finding, unless that only explains something
    over or normal and not what the job is doing; then the file that matters most
    (:mod:`importstats.analysis.ranking`). For a job that has not been seen for long it uses the
    past tense and gives no ETA.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame of one job.
    estimates, verdicts : DataFrame, optional
        Its :func:`~importstats.eta` and :func:`~importstats.stragglers`.
    findings : DataFrame, optional
        Its :func:`~importstats.diagnose`. By default that of `jobs` alone.
    at : datetime, optional
        Now. By default the time of the latest snapshot.
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
    snapshots = answered_snapshots(jobs)
    if snapshots.empty:
        return "No snapshots yet"
    if findings is None:
        findings = diagnose(jobs, at=at)
    latest = snapshots.iloc[-1]
    phase = phase_text(str(latest["phase"]), latest["state"])
    if str(latest["phase"]) in END_PHASES:
        said = _first_finding(findings, phase)
        end = _ending(snapshots, phase, findings, zone)
        return f"{end}. {said}" if said else end
    stale = at is not None and is_stale(snapshots, at)
    text = f"Was {phase}" if stale else phase
    if pd.notna(latest["progress_pct"]) and (phase != "Unknown" or latest["progress_pct"] > 0):
        text += f", {format_percent(latest['progress_pct'])}"
    if stale and at is not None:
        text += f", when last seen {_last_seen_text(latest['observed_at'], at, zone)}"
    elif estimates is not None and len(estimates):
        text += f": {eta_text(estimates, zone)}"
    said, late = what_matters(findings, None if stale else verdicts, phase)
    text = f"{text}. {said}" if said else text
    return f"{text}{'. ' if said else '; '}{late}" if late else text


def what_matters(
    findings: pd.DataFrame, verdicts: pd.DataFrame | None, phase: str
) -> tuple[str, str]:
    """The texts of a working job's first finding and first file for a headline; empty if none.

    Parameters
    ----------
    findings, verdicts : DataFrame
        As for :func:`headline`.
    phase : str
        The job's phase.
    """
    late = "" if verdicts is None else stragglers_text(verdicts)
    if late:
        findings = findings[~findings["finding"].isin(_OF_FILES)]
    return _first_finding(findings, phase), late


def phase_text(phase: str, state: object = None) -> str:
    """A phase in words; an unknown phase has the server's own word for the state, if any.

    Examples
    --------
    >>> phase_text("SortingOrIndexing"), phase_text("Unknown", "Defragmenting")
    ('Sorting or indexing', 'Defragmenting')
    """
    if phase == "SortingOrIndexing":
        return "Sorting or indexing"
    known = isinstance(state, str) and state.strip() and state.lower() != "none"
    return printable(str(state), 40) if phase == "Unknown" and known else phase


def _first_finding(findings: pd.DataFrame, phase: str) -> str:
    """The text from the first finding for a headline; empty if it has none."""
    said = findings[~findings["finding"].isin(_SAID if phase in END_PHASES else ())]
    grave = said["severity"].astype("str").ne("info")
    waited_s = said["evidence"].map(lambda evidence: json.loads(evidence).get("waited_s"))
    brief = pd.to_numeric(waited_s) < _BRIEF_S
    worth = said[grave | (said["finding"].isin(_EXPLAINS) & ~brief)]
    return printable(str(worth["message"].iloc[0]), _LONGEST_FINDING) if len(worth) else ""


# Findings about one file, which the headline names separately.
_OF_FILES: Final = ("one_file_holds_up",)
# Findings that the job's end expresses already.
_SAID: Final = ("failed",)
_EXPLAINS: Final = tuple(kind.name for kind in FINDING_KINDS if kind.explains)
_LONGEST_FINDING: Final = 240
_LONGEST_NAME: Final = 80
# A wait that has just begun needs no explanation.
_BRIEF_S: Final = 120.0


def is_stale(jobs: pd.DataFrame, at: datetime) -> bool:
    """Whether the job's last snapshot is so old that its present state is unknown.

    That is five of its usual pauses between snapshots, and at least five minutes (ours: the
    collector polls at least every minute, and a restarting server is back by then).

    Examples
    --------
    >>> from datetime import UTC
    >>> jobs = pd.DataFrame({"observed_at": pd.date_range("2026-05-18", periods=3, freq="60s",
    ...                                                   tz="UTC")})
    >>> [is_stale(jobs, datetime(2026, 5, 18, 0, minute, tzinfo=UTC)) for minute in (6, 8)]
    [False, True]
    """
    times = jobs["observed_at"].dropna().sort_values()
    pause = times.diff().dt.total_seconds().median() if len(times) > 1 else 0.0
    age = (pd.Timestamp(at) - times.iloc[-1]).total_seconds()
    return bool(age > max(_STALE_S, _STALE_PAUSES * (pause if pd.notna(pause) else 0.0)))


def _last_seen_text(seen: datetime, at: datetime, zone: tzinfo | None) -> str:
    """The time of the last snapshot in words, more exact the nearer it is."""
    local, here = in_zone(seen, zone), in_zone(at, zone)
    if local.date() == here.date():
        return f"at {clock(seen, at, zone)}, {format_duration((at - seen).total_seconds())} ago"
    year = f" {local.year}" if local.year != here.year else ""
    return f"on {local.day} {local:%B}{year}"


def eta_text(estimates: pd.DataFrame, zone: tzinfo | None = None) -> str:
    """The latest ETA with its interval, in words, or why there is none.

    Examples
    --------
    >>> from datetime import UTC
    >>> times = pd.to_datetime(["2026-05-18T16:00Z", "2026-05-18T16:30Z", "2026-05-18T16:42Z",
    ...                         "2026-05-18T17:10Z"])
    >>> estimates = pd.DataFrame([times], columns=["observed_at", "eta_p10", "eta_p50", "eta_p90"])
    >>> eta_text(estimates, UTC)
    'ends 16:42 UTC (16:30 to 17:10)'
    """
    latest = estimates.sort_values("observed_at").iloc[-1]
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


def left_text(estimates: pd.DataFrame, at: datetime) -> str:
    """The time left with its 80 % interval, in words, or why it is unknown.

    Examples
    --------
    >>> from datetime import UTC
    >>> times = pd.to_datetime(["2026-05-18T16:00Z", "2026-05-18T16:15Z", "2026-05-18T16:31Z",
    ...                         "2026-05-18T17:16Z"])
    >>> estimates = pd.DataFrame([times], columns=["observed_at", "eta_p10", "eta_p50", "eta_p90"])
    >>> left_text(estimates, datetime(2026, 5, 18, 16, tzinfo=UTC))
    '31 min left (15 to 76)'
    >>> left_text(estimates, datetime(2026, 5, 18, 16, 40, tzinfo=UTC))
    'should have ended by now (at most 36 min more)'
    """
    latest = estimates.sort_values("observed_at").iloc[-1]
    if pd.isna(latest["eta_p50"]):
        reason = latest.get("reason")
        return "no ETA" + (f": {printable(str(reason))}" if pd.notna(reason) else "")
    low, middle, high = (
        (latest[name] - at).total_seconds() if pd.notna(latest.get(name)) else float("nan")
        for name in ("eta_p10", "eta_p50", "eta_p90")
    )
    if middle <= 0:
        more = f" (at most {_rough(high)} more)" if high > 0 else ""
        return f"should have ended by now{more}"
    if pd.isna(low) or pd.isna(high):
        return f"{_rough(middle)} left"
    low = max(low, 0.0)
    if middle >= 120 and high < 7200:
        return f"{middle / 60:.0f} min left ({low / 60:.0f} to {high / 60:.0f})"
    return f"{_rough(middle)} left ({_rough(low)} to {_rough(high)})"


def _rough(seconds: float) -> str:
    """An estimated duration in words: without seconds from two minutes on."""
    return format_duration(60 * round(seconds / 60) if seconds >= 120 else seconds)


def clock(
    time: datetime,
    near: datetime,
    zone: tzinfo | None = None,
    *,
    named: bool = True,
    seconds: bool | None = None,
) -> str:
    """A time of day: with seconds if it is within ten minutes, with the date on other days.

    Parameters
    ----------
    time, near : datetime
        The time, and the time to compare it with.
    zone : tzinfo, optional
        By default the reader's.
    named : bool
        Whether to name the zone.
    seconds : bool, optional
        Whether to show seconds, however near the time is.

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
    """Whether two times are near enough for seconds to matter."""
    return abs((time - near).total_seconds()) < _NEAR_S


def _ending(
    snapshots: pd.DataFrame, phase: str, findings: pd.DataFrame, zone: tzinfo | None
) -> str:
    before = snapshots[~snapshots["phase"].isin(END_PHASES)]
    first_end = snapshots[snapshots["phase"].isin(END_PHASES)].iloc[0]
    end = first_end["observed_at"]
    said = first_end.get("complete_time")
    if pd.notna(said):
        end = said
    text = f"{phase} at {clock(end, end, zone)}"
    took = ""
    created = first_end.get("create_time")
    if pd.notna(created) and created <= end:
        took = format_duration((end - created).total_seconds())
    elif not before.empty:
        begin = before.iloc[0]
        took = format_duration(max((end - begin["observed_at"]).total_seconds(), 0))
        if begin["phase"] != "Pending":
            took += " of recording"
    if phase == "Completed":
        return f"{text} after {took}" if took else text
    if not before.empty:
        last = before.iloc[-1]
        text += f", in {phase_text(str(last['phase']), last['state'])}"
        if pd.notna(last["progress_pct"]):
            text += f" at {format_percent(last['progress_pct'])}"
    reason = _failure_reason(snapshots, findings)
    shown = excerpt(reason) if reason else "the server gives no reason"
    culprit = _failure(findings).get("culprit")
    if isinstance(culprit, str) and culprit not in shown:
        shown = f"{printable(culprit, _LONGEST_NAME)}: {shown}"
    return f"{text}: {shown}"


def _failure_reason(snapshots: pd.DataFrame, findings: pd.DataFrame) -> str | None:
    """A failed job's own reason, else its files' reason if the findings have it."""
    if "reason" in snapshots:
        own = known_reasons(snapshots["reason"].iloc[-1:]).iloc[0]
        if isinstance(own, str):
            return own
    reason = _failure(findings).get("reason")
    return reason if isinstance(reason, str) else None


def _failure(findings: pd.DataFrame) -> dict[str, Any]:
    """The evidence of the failure; empty if no finding has any."""
    failed = findings.loc[findings["finding"].eq("failed"), "evidence"]
    return dict(json.loads(failed.iloc[0])) if len(failed) else {}


def answered_snapshots(jobs: pd.DataFrame) -> pd.DataFrame:
    """The snapshots with an answer, in order, with their phase."""
    rows = with_phase(jobs).sort_values("observed_at", kind="stable")
    answered = rows["observed_at"].notna() & (rows["state"].notna() | rows["phase"].ne("Unknown"))
    return rows[answered]


def in_zone(time: datetime, zone: tzinfo | None) -> datetime:
    """The time in a zone; None is the reader's zone, but a Timestamp would take it for no zone."""
    return pd.Timestamp(time).to_pydatetime(warn=False).astimezone(zone)
