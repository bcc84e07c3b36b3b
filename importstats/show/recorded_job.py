"""A recorded job: its snapshots up to a time, and the facts from the latest of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd

from importstats.analysis.cluster_phase import with_known_phase
from importstats.analysis.cluster_state import Cluster
from importstats.analysis.cut import rewind
from importstats.analysis.phase import job_codes, with_phase
from importstats.names import JOB_KEY


class RecordedJob:
    """One job, from its snapshots up to `at`; see :class:`~importstats.ImportJob`."""

    def __init__(
        self,
        jobs: pd.DataFrame,
        details: pd.DataFrame | None,
        at: datetime | None,
        *,
        cluster: Cluster | None,
    ) -> None:
        recorded = jobs[jobs["observed_at"].notna()]
        if at is not None:
            recorded = rewind(recorded, at)
        recorded = recorded.sort_values("observed_at", kind="stable")
        if cluster is not None and len(cluster.tasks):
            recorded = with_known_phase(recorded, cluster)
        answered = recorded[recorded["error"].isna()] if "error" in recorded else recorded
        _, keys = job_codes(answered)
        if len(keys) != 1:
            raise ValueError(_not_one_job(len(keys), jobs["observed_at"].min(), at))
        self.source_uri, self.job_id = (str(keys[name].iloc[0]) for name in JOB_KEY)
        self.jobs = with_phase(answered)
        self._recorded = recorded
        self.at: datetime = recorded["observed_at"].iloc[-1] if at is None else at
        self._at_is_given = at is not None
        self.details = pd.DataFrame() if details is None else self._own(details)
        self._cluster = cluster

    @property
    def collection_name(self) -> str | None:
        """The collection that the job writes to."""
        return self._last_text("collection_name")

    @property
    def state(self) -> str | None:
        """The latest state, as the server sent it."""
        return self._last_text("state")

    @property
    def reason(self) -> str | None:
        """Why the job failed, in the server's words."""
        return self._last_text("reason")

    @property
    def phase(self) -> str:
        """The phase, derived from state and progress: see :func:`~importstats.with_phase`."""
        return str(self.jobs["phase"].iloc[-1])

    @property
    def progress_pct(self) -> float | None:
        """The latest progress, as the server sent it, in percent."""
        value = self.jobs["progress_pct"].iloc[-1]
        return None if pd.isna(value) else float(value)

    @property
    def last_at_work(self) -> pd.Series[Any]:
        """The latest snapshot, or the one before if the job failed, since then all counts are 0."""
        before = self.jobs[self.jobs["phase"] != "Failed"]
        return (before if len(before) else self.jobs).iloc[-1]

    @property
    def _details(self) -> pd.DataFrame | None:
        return None if self.details.empty else self.details

    def _last_text(self, column: str) -> str | None:
        value = self.jobs[column].iloc[-1] if column in self.jobs else None
        return None if pd.isna(value) else str(value)

    def _own(self, details: pd.DataFrame) -> pd.DataFrame:
        own = details["job_id"].eq(self.job_id) & details["source_uri"].eq(self.source_uri)
        return rewind(details[own], self.at, self.jobs)


def _not_one_job(count: int, first: pd.Timestamp, at: datetime | None) -> str:
    """Why a frame with the snapshots of `count` jobs by `at` cannot be shown as one job."""
    if count:
        when = "" if at is None else f" by {at.isoformat()}"
        return (
            f"the jobs frame holds snapshots of {count} jobs{when} and ImportJob shows one: "
            "select it by source_uri and job_id"
        )
    if at is not None and first > at:
        return (
            f"the jobs frame holds no snapshot by {at.isoformat()}: its first is of "
            f"{first.isoformat()}"
        )
    return "the jobs frame holds no answer about a job: check source_uri and job_id"
