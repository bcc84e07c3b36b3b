"""One job's snapshots and phases up to now, and what a rule finds in them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from importstats.analysis.file_facts import FileFacts
from importstats.analysis.finding_kinds import KIND_OF
from importstats.analysis.habits import Habits, limit_of, moved_since
from importstats.analysis.phase import phases, with_phase, without_gaps
from importstats.analysis.waiting_line import jobs_ahead, latest_states
from importstats.arrays import US_PER_S, Floats, floats, microseconds
from importstats.names import END_PHASES, JOB_KEY
from importstats.text import format_duration

MINUTE: Final = 60.0
HOUR: Final = 3600.0
# A job that was not seen for longer than this may have ended.
_LATELY: Final = pd.Timedelta(hours=1)

#: Phases in which tasks work on files: hashing them, with Import V3, or writing their rows.
FILE_PHASES: Final = ("Resharding", "Importing")

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True)
class Finding:
    """What a rule finds in a job, with its evidence; by default its kind's advice applies."""

    job: JobHistory
    finding: str
    severity: Severity
    since: pd.Timestamp
    message: str
    evidence: dict[str, Any]
    advice: str | None = None

    @property
    def what_to_do(self) -> str:
        """The rule's own advice, or else the advice for this kind of finding."""
        return self.advice or KIND_OF[self.finding].advice


@dataclass(frozen=True)
class JobHistory:
    """One job's answered snapshots up to now, its phases, and how it was polled.

    Attributes
    ----------
    files : FileFacts
        The facts about its files; without details there are none.
    habits : Habits
        How long earlier jobs stood still.
    ahead : int
        How many jobs of its cluster were created before it and had not ended when last seen.
    """

    key: tuple[str, str]
    snapshots: pd.DataFrame
    runs: pd.DataFrame
    now: pd.Timestamp
    poll_s: float
    files: FileFacts = field(default_factory=FileFacts)
    habits: Habits = field(default_factory=lambda: Habits.from_frames([]))
    ahead: int = 0

    @property
    def phase(self) -> str:
        """The phase in which the job was last seen, or Unknown."""
        return str(self.runs["phase"].iloc[-1]) if len(self.runs) else "Unknown"

    @property
    def ended(self) -> bool:
        """Whether the job has completed or failed."""
        return self.phase in END_PHASES

    @property
    def phase_since(self) -> pd.Timestamp:
        """The start of the current phase."""
        return pd.Timestamp(self.runs["start"].iloc[-1])

    @property
    def last(self) -> pd.Series[Any]:
        """The last snapshot."""
        return self.snapshots.iloc[-1]

    @property
    def last_seen(self) -> pd.Timestamp:
        """The time at which the job was last seen."""
        return pd.Timestamp(self.snapshots["observed_at"].iloc[-1])

    @property
    def collection(self) -> str | None:
        """The collection that the job writes to, if any answer named it."""
        if "collection_name" not in self.snapshots:
            return None
        named = self.snapshots["collection_name"].dropna()
        return str(named.iloc[-1]) if len(named) else None

    @property
    def begun_at(self) -> pd.Timestamp:
        """The time of the job's creation if it is known, else that of its first snapshot."""
        first: pd.Timestamp = self.snapshots["observed_at"].iloc[0]
        if "create_time" not in self.snapshots:
            return first
        created = self.snapshots["create_time"].dropna()
        return min(first, created.iloc[0]) if len(created) else first

    def seconds_since(self, time: pd.Timestamp) -> float:
        """The seconds from a time until the job was last seen."""
        return float((self.last_seen - time).total_seconds())

    def most(self, name: str) -> float:
        """The greatest value of a count that the job ever showed, NaN if it showed none."""
        return greatest(self.snapshots, name)

    @cached_property
    def earlier_s(self) -> Floats:
        """The longest standstills of the collection's latest jobs in this phase."""
        return self.habits.longest_s(self.key, self.collection, self.phase)

    @cached_property
    def earlier_of_its_size_s(self) -> Floats:
        """The same standstills, lengthened in proportion to this job's rows."""
        rows = self.most("total_rows")
        return self.habits.longest_s(self.key, self.collection, self.phase, rows)

    @property
    def usual_s(self) -> float:
        """The longest of the earlier standstills, NaN if none is known."""
        return float(self.earlier_s.max()) if len(self.earlier_s) else math.nan

    @property
    def limit_s(self) -> float:
        """The limit beyond which a standstill in this phase is unusual, from earlier jobs."""
        return limit_of(self.earlier_of_its_size_s, self.phase)

    @property
    def usual_text(self) -> str:
        """The longest standstill of earlier jobs in this phase, in words; empty if unknown."""
        if math.isnan(self.usual_s):
            return ""
        return f" (earlier jobs of its collection: {format_duration(self.usual_s)} at most)"

    @cached_property
    def standstill(self) -> tuple[float, float, int]:
        """Seconds since the last move, the longest pause before in this phase, and the moves."""
        part = self.snapshots[self.snapshots["observed_at"] >= self.runs["start_latest"].iloc[-1]]
        time, _ = microseconds(part, "observed_at")
        moved = moved_since(part)
        moved[0] = True
        marks = time[moved] / US_PER_S
        longest_s = float(np.diff(marks).max()) if len(marks) > 1 else math.nan
        return float(time[-1] / US_PER_S - marks[-1]), longest_s, len(marks) - 1


def greatest(snapshots: pd.DataFrame, name: str) -> float:
    """The greatest value of a column of numbers, NaN if there is none."""
    values = floats(snapshots, name)
    return float(np.nanmax(values)) if np.isfinite(values).any() else math.nan


def job_histories(
    jobs: pd.DataFrame,
    at: pd.Timestamp | None,
    details: pd.DataFrame | None = None,
    history: list[pd.DataFrame] | None = None,
) -> list[JobHistory]:
    """The history of each job in a jobs frame, as known at a time.

    Parameters
    ----------
    jobs, details : DataFrame
        Frames, cut at `at`.
    at : Timestamp, optional
        Now; by default each job's last snapshot.
    history : list of DataFrame, optional
        Jobs frames of other jobs, earlier and at the same time.
    """
    answered = without_gaps(jobs)
    if not len(answered):
        return []
    phased = with_phase(answered).sort_values("observed_at", kind="stable")
    runs = phases(answered)
    runs_of = dict(iter(runs.groupby(JOB_KEY, observed=True)))
    facts = FileFacts.of_jobs(details)
    others = [_seen_by(frame, at) for frame in history or []]
    habits = Habits.from_frames(others)
    ahead = _jobs_ahead(phased, others)
    histories = []
    for key, snapshots in phased.groupby(JOB_KEY, observed=True):
        seen = snapshots["observed_at"]
        gaps = seen.diff().dt.total_seconds().to_numpy()[1:]
        name = (str(key[0]), str(key[1]))
        histories.append(
            JobHistory(
                name,
                snapshots,
                runs_of.get(key, runs.iloc[:0]),
                seen.iloc[-1] if at is None else at,
                # A collector may poll less often in a long phase, which counts as usual too.
                float(np.quantile(gaps, 0.9)) if len(gaps) else math.nan,
                facts.get(name, FileFacts()),
                habits,
                ahead.get(name, 0),
            )
        )
    return histories


def _seen_by(frame: pd.DataFrame, at: pd.Timestamp | None) -> pd.DataFrame:
    known = frame[frame["observed_at"].notna()]
    return known if at is None else known[known["observed_at"] <= at]


def _jobs_ahead(phased: pd.DataFrame, others: list[pd.DataFrame]) -> dict[tuple[str, str], int]:
    """How many jobs of its cluster are ahead of each pending job and had not ended recently."""
    last = phased.drop_duplicates(JOB_KEY, keep="last").astype(dict.fromkeys(JOB_KEY, "str"))
    pending = last[last["phase"].eq("Pending")]
    if not len(pending) or not others:
        return {}
    seen = pd.concat([with_phase(frame) for frame in others], ignore_index=True)
    listed = latest_states(seen)
    found = {}
    for job in pending.to_dict("records"):
        key = (str(job["source_uri"]), str(job["job_id"]))
        lately = listed[listed["observed_at"] >= job["observed_at"] - _LATELY]
        found[key] = len(jobs_ahead(lately, key[1], source_uri=key[0]))
    return found
