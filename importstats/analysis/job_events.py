"""Events of jobs that are worth a message, each with an id that never changes.

:func:`events` finds them in frames; :mod:`importstats.collect.notifier` sends them to webhooks and
commands. An id depends on what happened and not on when it was noticed. So all readers of a store
find the same event under the same id, at any time and after any crash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from typing import Any, Final

import numpy as np
import pandas as pd

from importstats.analysis.cluster_causes import with_causes
from importstats.analysis.cluster_state import Cluster
from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.phase import with_phase
from importstats.names import END_PHASES, JOB_KEY, PHASE_DTYPE
from importstats.text import (
    format_bytes,
    format_count,
    format_duration,
    format_rate,
    format_time,
    printable,
)

#: All events of jobs.
EVENTS: Final = (
    "started",
    "finished",
    "failed",
    "stalled",
    "late",
    "waits_for_commit",
    "gap",
    "forgotten",
    "rows_differ",
)
EVENT_DTYPE: Final = pd.CategoricalDtype(list(EVENTS), ordered=True)

#: The findings that are events, and what distinguishes one such event from the next.
_FINDINGS: Final = {
    "stalled": ("stalled", ["phase", "progress_pct", "imported_rows"]),
    "one_file_holds_up": ("late", []),
    "waits_for_commit": ("waits_for_commit", []),
}
#: The phases in which every file has been read: rows are being written, or more is done.
_ESTIMABLE: Final = ("Importing", "Sorting", "SortingOrIndexing", "IndexBuilding", "Committing")
#: In how many successive snapshots an estimate must be late.
_SUSTAINED: Final = 3
_ETA_COLUMNS: Final = ["eta_p10", "eta_p50", "eta_p90"]
_TEXT_LIMIT: Final = 600


def events(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None,
    at: datetime | pd.Timestamp,
    *,
    estimates: pd.DataFrame | None = None,
    gap_s: float = 900.0,
    expected: int | Mapping[str, int] | pd.Series[int] | None = None,
    cluster: Cluster | None = None,
) -> pd.DataFrame:
    """The events of jobs, as known at a time.

    ====================  ========================================================================
    event                 when
    ====================  ========================================================================
    ``started``           the first snapshot in which the job is at work: neither pending nor ended
    ``finished``          the first snapshot that says Completed
    ``failed``            the first snapshot that says Failed
    ``stalled``           nothing moves any more (:func:`~importstats.diagnose`); again
                          each time it stands still at other numbers
    ``late``              the job will more likely than not end after the time by which it was 90 %
                          sure to have ended, or a straggler holds it up (``one_file_holds_up`` of
                          the diagnosis); once each
    ``waits_for_commit``  all is imported and a two-phase import waits for somebody to commit it
    ``gap``               the job had not ended, and no snapshot has come for `gap_s`; again each
                          time
    ``forgotten``         the server does not know the job any more, and its end was never seen
    ``rows_differ``       it completed with other rows than were `expected`
    ====================  ========================================================================

    ``started``, ``finished``, ``failed``, ``forgotten`` and ``rows_differ`` are facts of the
    history: they are found however late you look, so a crash loses none. The others are conditions,
    which are found while they last.

    ``late`` compares an estimate with an earlier one. The deadline is ``eta_p90`` of the first
    snapshot in which rows are written: by then all files have been read and their rows counted, and
    before that the size of the job is not known. The job is late if ``eta_p50`` is after the
    deadline in each of the last three snapshots. (Ours. On simulated jobs of all shapes it finds
    nearly every job that ends after its deadline, and nine of ten alarms are true. A single
    snapshot raises twice as many false alarms, and a deadline that waits for a narrow interval
    leaves a fifth of the jobs without one.)

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`, best with gaps
        (``load_jobs(gaps=True)``): without them no job is found to be forgotten.
    details : DataFrame, optional
        Their details frame, expanded or as runs; without it no straggler is found.
    at : datetime
        Now. Later rows are not used.
    estimates : DataFrame, optional
        The result of ``eta(jobs)``, if you have it already.
    gap_s : float
        Seconds; the default is 15 times the collector's longest pause between polls.
    expected : int, mapping or Series of int, optional
        See :func:`~importstats.diagnose`.
    cluster : ClusterFrames, optional
        What their cluster did: ``stalled`` and ``late`` then say what holds the job up.

    Returns
    -------
    DataFrame
        One row per event, by time:

        ``event_id`` : str
            The same whenever and wherever the event is found.
        ``event`` : ordered category, one of :data:`EVENTS`
        ``occurred_at`` : datetime64[us, UTC]
            For a fact, the time of the snapshot that shows it; for a condition, `at`.
        ``source_uri``, ``job_id``, ``collection_name`` : str
        ``snapshot_id`` : int64
            The snapshot that shows it, which the columns below are from.
        ``phase`` : ordered category
        ``progress_pct`` : float64
        ``imported_rows``, ``total_rows`` : Int64
        ``eta_p10``, ``eta_p50``, ``eta_p90`` : datetime64[us, UTC]
            NaT if nothing supports an estimate, or there is nothing left to estimate.
        ``message`` : str
            What happened, in a sentence, on one printable line.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7", "snapshot_id": [1, 2, 3, 4],
    ...     "collection_name": "products",
    ...     "observed_at": pd.date_range("2026-05-18", periods=4, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Importing", "Importing", "Completed"],
    ...     "progress_pct": [5.0, 40.0, 55.0, 100.0], "imported_rows": [0, 0, 500, 1000],
    ...     "total_rows": [0, 1000, 1000, 1000], "detail_count": [0, 3, 3, 3]})
    >>> found = events(jobs, None, pd.Timestamp("2026-05-18T00:04Z"))
    >>> found[["event", "snapshot_id", "message"]]
          event  snapshot_id                                       message
    0   started            2  Import of 1,000 rows in 3 files is under way
    1  finished            4    1,000 rows imported in 3 min (5.56 rows/s)
    >>> found["event_id"].iloc[0]
    'started-cdafdccf8e67343e'
    """
    at = pd.Timestamp(at)
    until = _rows_until(jobs, at)
    snapshots = until[until["error"].isna()]
    if estimates is None:
        estimates = eta(jobs)
    estimates = estimates[estimates["observed_at"] <= at]
    diagnosis = diagnose(jobs, details, at=at, expected=expected, cluster=cluster)
    found = pd.concat(
        [
            _endings_and_starts(snapshots, diagnosis),
            _conditions(snapshots, diagnosis, at),
            _behind_the_estimate(snapshots, estimates, at),
            _gaps(until, snapshots, at, gap_s),
        ]
    )
    return _with_job_columns(with_causes(found, diagnosis), snapshots, estimates)


def payloads(found: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Events as JSON objects, the form in which they are delivered.

    Parameters
    ----------
    found : DataFrame
        As :func:`events` returns it.

    Yields
    ------
    dict
        ``id``, ``event``, ``text`` (the message with the job's name, escaped for Slack), and the
        frame's other columns, with times as RFC 3339 and ``None`` for missing values.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7", "snapshot_id": [1],
    ...     "observed_at": pd.to_datetime(["2026-05-18T08:00Z"]), "state": ["Failed"],
    ...     "collection_name": "a<b", "progress_pct": 0.0, "imported_rows": 0, "total_rows": 0,
    ...     "reason": ["no such file"]})
    >>> [event] = payloads(events(jobs, None, pd.Timestamp("2026-05-18T08:01Z")))
    >>> event["text"]
    'importstats: job 7 (a&lt;b) failed. Failed in an unknown phase: no such file'
    >>> event["occurred_at"], event["eta_p50"]
    ('2026-05-18T08:00:00Z', None)
    """
    for row in found.to_dict("records"):
        values = {str(name): _plain(value) for name, value in row.items()}
        name = printable(values["job_id"], 80)
        if values["collection_name"]:
            name += f" ({printable(values['collection_name'], 80)})"
        text = f"importstats: job {name} {_VERBS[values['event']]}. {values['message']}"
        # Slack needs three escapes: a collection called ``<!channel>`` must alert nobody.
        yield {"id": values.pop("event_id"), "text": escape(text, quote=False), **values}


_VERBS: Final = {
    "started": "started",
    "finished": "finished",
    "failed": "failed",
    "stalled": "stalled",
    "late": "is late",
    "waits_for_commit": "waits for a commit",
    "gap": "is out of sight",
    "forgotten": "was forgotten",
    "rows_differ": "has more or fewer rows than expected",
}


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat().replace("+00:00", "Z")
    return value


def _rows_until(jobs: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    """The snapshots up to a time, by job and time, with phases and the columns used below."""
    rows = with_phase(jobs[jobs["observed_at"] <= at])
    texts = [*JOB_KEY, "collection_name", "reason", "error"]
    rows = rows.reindex(columns=_COLUMNS).astype(dict.fromkeys(texts, "str"))
    return rows.sort_values(
        [*JOB_KEY, "observed_at", "snapshot_id"], kind="stable", ignore_index=True
    )


_COLUMNS: Final = [
    *JOB_KEY,
    "snapshot_id",
    "observed_at",
    "collection_name",
    "phase",
    "progress_pct",
    "imported_rows",
    "total_rows",
    "file_size_bytes",
    "detail_count",
    "complete_time",
    "reason",
    "error",
]


def _endings_and_starts(snapshots: pd.DataFrame, diagnosis: pd.DataFrame) -> pd.DataFrame:
    """The events started, finished, failed and rows_differ."""
    parts = []
    begun = _first_per_job(snapshots[snapshots["phase"].ne("Pending")])
    begun = begun[~begun["phase"].isin(END_PHASES)]
    parts.append(begun.assign(event="started", message=_messages(begun, _started_words)))
    first_seen = snapshots.groupby(JOB_KEY)["observed_at"].min().rename("first_seen")
    ended = _first_per_job(snapshots[snapshots["phase"].isin(END_PHASES)])
    ended = ended.merge(first_seen.reset_index(), on=JOB_KEY)
    finished = ended[ended["phase"].eq("Completed")]
    parts.append(finished.assign(event="finished", message=_messages(finished, _finished_words)))
    differ = diagnosis.loc[diagnosis["finding"].eq("rows_differ"), [*JOB_KEY, "message"]]
    parts.append(finished.merge(differ, on=JOB_KEY).assign(event="rows_differ"))
    failed = ended[ended["phase"].eq("Failed")].merge(
        diagnosis.loc[diagnosis["finding"].eq("failed"), [*JOB_KEY, "message"]],
        on=JOB_KEY,
        how="left",
    )
    reason = "Failed: " + failed["reason"].fillna("the server gives no reason")
    parts.append(failed.assign(event="failed", message=failed["message"].fillna(reason)))
    return _evidence_columns(pd.concat(parts))


def _conditions(snapshots: pd.DataFrame, diagnosis: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    """The events that the diagnosis finds at the time."""
    latest = _last_per_job(snapshots)
    latest = latest[~latest["phase"].isin(END_PHASES)]
    parts = []
    for finding, (event, episode) in _FINDINGS.items():
        mine = diagnosis.loc[diagnosis["finding"].eq(finding), [*JOB_KEY, "message", "advice"]]
        rows = latest.merge(mine, on=JOB_KEY)
        parts.append(
            rows.assign(
                event=event,
                occurred_at=at,
                message=rows["message"] + ". " + rows["advice"],
                episode=[
                    "/".join([finding, *map(str, values)])
                    for values in rows[episode].astype("object").to_numpy()
                ],
            )
        )
    return _evidence_columns(pd.concat(parts))


def _behind_the_estimate(
    snapshots: pd.DataFrame, estimates: pd.DataFrame, at: pd.Timestamp
) -> pd.DataFrame:
    """The events of jobs that are late by their estimates alone."""
    known = estimates[estimates["phase"].isin(_ESTIMABLE) & estimates["eta_p50"].notna()]
    promise = known.groupby(JOB_KEY, as_index=False).first()
    promise = promise[[*JOB_KEY, "observed_at", "eta_p90"]].rename(
        columns={"observed_at": "promised_at", "eta_p90": "deadline"}
    )
    recent = estimates.groupby(JOB_KEY, as_index=False).tail(_SUSTAINED)
    earliest = recent.groupby(JOB_KEY, as_index=False)["eta_p50"].agg(["min", "count"])
    last = _last_per_job(estimates).merge(promise, on=JOB_KEY).merge(earliest, on=JOB_KEY)
    late = (
        last["phase"].isin(_ESTIMABLE)
        & last["count"].eq(_SUSTAINED)
        & (last["min"] > last["deadline"])
    )
    columns = [*JOB_KEY, "snapshot_id", "eta_p50", "promised_at", "deadline"]
    rows = snapshots.merge(last.loc[late, columns], on=[*JOB_KEY, "snapshot_id"])
    return _evidence_columns(
        rows.assign(
            event="late", occurred_at=at, message=_messages(rows, _late_words), episode="eta"
        )
    )


def _gaps(
    until: pd.DataFrame, snapshots: pd.DataFrame, at: pd.Timestamp, gap_s: float
) -> pd.DataFrame:
    """The events of jobs that have not ended but are no longer seen."""
    silent = _last_per_job(snapshots)
    silent = silent[~silent["phase"].isin(END_PHASES)]
    # A collector records why there is no answer: once when a gap opens, and again when it gives up
    # the job because the server does not know it.
    unanswered = until["error"].notna()
    is_second = unanswered.groupby([until[name] for name in JOB_KEY]).shift(fill_value=False)
    is_given_up = unanswered & is_second & until["error"].str.contains("forgotten", na=False)
    why = _last_per_job(until.assign(is_given_up=is_given_up))
    why = why[[*JOB_KEY, "observed_at", "error", "is_given_up"]]
    silent = silent.merge(
        why.rename(columns={"observed_at": "noted_at", "error": "why"}), on=JOB_KEY
    )
    forgotten = silent[silent["is_given_up"]]
    age_s = (at - silent["observed_at"]).dt.total_seconds()
    unseen = silent.assign(age_s=age_s)[~silent["is_given_up"] & (age_s > gap_s)]
    return pd.concat(
        [
            _evidence_columns(
                forgotten.assign(
                    event="forgotten",
                    occurred_at=forgotten["noted_at"],
                    message=_messages(forgotten, _forgotten_words),
                )
            ),
            _evidence_columns(
                unseen.assign(
                    event="gap",
                    occurred_at=at,
                    message=_messages(unseen, _gap_words),
                    episode=unseen["snapshot_id"].astype("str"),
                )
            ),
        ]
    )


def _started_words(row: Any) -> str:
    rows = f"{format_count(row.total_rows)} rows" if _is_positive(row.total_rows) else ""
    size = format_bytes(row.file_size_bytes) if _is_positive(row.file_size_bytes) else ""
    files = f"in {format_count(row.detail_count)} files" if _is_positive(row.detail_count) else ""
    what = " ".join(part for part in (rows or size, files) if part)
    return f"Import of {what} is under way" if what else "The import is under way"


def _finished_words(row: Any) -> str:
    end = row.observed_at if pd.isna(row.complete_time) else row.complete_time
    seconds = (end - row.first_seen).total_seconds()
    words = f"{format_count(row.imported_rows)} rows imported"
    if seconds <= 0:
        return words
    rate = row.imported_rows / seconds if pd.notna(row.imported_rows) else None
    return f"{words} in {format_duration(seconds)} ({format_rate(rate, 'rows')})"


def _late_words(row: Any) -> str:
    behind = (row.eta_p50 - row.deadline).total_seconds()
    return (
        f"The end is now expected at about {_utc_text(row.eta_p50)}, {format_duration(behind)} "
        f"after the time by which it was 90 % sure at {_utc_text(row.promised_at)}"
    )


def _forgotten_words(row: Any) -> str:
    return (
        f"The server does not know the job any more. It was in {row.phase} when last seen at "
        f"{_utc_text(row.observed_at)}; the collection shows whether it completed"
    )


def _gap_words(row: Any) -> str:
    cause = f": {row.why}" if pd.notna(row.why) else "; is its collector running?"
    return (
        f"No snapshot for {format_duration(row.age_s)}, "
        f"the last one in {row.phase} at {_utc_text(row.observed_at)}{cause}"
    )


def _utc_text(time: pd.Timestamp) -> str:
    return format_time(time, time.tzinfo, day=True)


def _is_positive(count: Any) -> bool:
    return bool(pd.notna(count) and count > 0)


def _messages(rows: pd.DataFrame, words: Any) -> list[str]:
    return [words(row) for row in rows.itertuples()]


def _first_per_job(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.groupby(JOB_KEY).head(1)


def _last_per_job(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.groupby(JOB_KEY).tail(1)


def _evidence_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns with each event's evidence."""
    if "occurred_at" not in rows:
        rows = rows.assign(occurred_at=rows["observed_at"])
    if "episode" not in rows:
        rows = rows.assign(episode="")
    return rows[[*JOB_KEY, "snapshot_id", "event", "occurred_at", "message", "episode"]]


def _with_job_columns(
    found: pd.DataFrame, snapshots: pd.DataFrame, estimates: pd.DataFrame
) -> pd.DataFrame:
    key = [*JOB_KEY, "snapshot_id"]
    shown = ["collection_name", "phase", "progress_pct", "imported_rows", "total_rows"]
    expected = estimates.loc[~estimates["phase"].isin(END_PHASES), [*key, *_ETA_COLUMNS]]
    rows = found.merge(snapshots[[*key, *shown]].drop_duplicates(key), on=key, how="left").merge(
        expected.drop_duplicates(key), on=key, how="left"
    )
    identity = rows[["event", *JOB_KEY, "episode"]].itertuples(index=False)
    rows = rows.assign(
        event_id=[_event_id(*parts) for parts in identity],
        message=[printable(str(message), _TEXT_LIMIT) for message in rows["message"]],
    )
    rows = rows.astype(
        {
            **dict.fromkeys(["event_id", *JOB_KEY, "collection_name", "message"], "str"),
            **dict.fromkeys(["imported_rows", "total_rows"], "Int64"),
            **dict.fromkeys(["occurred_at", *_ETA_COLUMNS], "datetime64[us, UTC]"),
            "snapshot_id": "int64",
            "event": EVENT_DTYPE,
            "phase": PHASE_DTYPE,
            "progress_pct": np.float64,
        }
    )
    columns = [
        "event_id",
        "event",
        "occurred_at",
        *JOB_KEY,
        "collection_name",
        "snapshot_id",
        *shown[1:],
        *_ETA_COLUMNS,
        "message",
    ]
    return rows.sort_values(["occurred_at", *JOB_KEY, "event"], ignore_index=True)[columns]


def _event_id(event: str, source_uri: str, job_id: str, episode: str) -> str:
    identity = json.dumps([source_uri, job_id, episode]).encode()
    return f"{event}-{hashlib.blake2b(identity, digest_size=8).hexdigest()}"
