"""One job as an object: what notebooks show when a cell ends in ``job``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pandas as pd

from importstats.analysis.cluster_causes import cause_text
from importstats.analysis.cluster_cut import cluster_between
from importstats.analysis.cluster_state import Cluster, last_look
from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.gaps import find_gaps
from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import phases
from importstats.analysis.ranking import rank_files, verdict_text
from importstats.analysis.rates import throughput
from importstats.analysis.spent import time_spent
from importstats.analysis.words import headline, is_stale
from importstats.names import END_PHASES
from importstats.show.attention import Look, looks
from importstats.show.notebook import REFRESH_S, live
from importstats.show.recorded_job import RecordedJob
from importstats.store import SnapshotStore
from importstats.store.cluster_frames import load_cluster_of
from importstats.store.frames import load_details, load_jobs
from importstats.store.inputs import at_the_door
from importstats.text import UNKNOWN, format_duration, format_rate, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from importstats.collect.policy import PollPolicy
    from importstats.show.widget import LiveJob
    from importstats.sources.source import ProgressSource

_SHOWN_STRAGGLERS: Final = 5
_Store = SnapshotStore | str | Path


class ImportJob(RecordedJob):
    """One import job: its snapshots and all results, each computed when you first ask for it.

    A thin view for notebooks. It does not change as time passes: for the job, now is `at`.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame of one job, see :mod:`importstats.store.frames`.
    details : DataFrame, optional
        Its details frame, expanded or runs.
    at : datetime, optional
        See the job as of this time. By default as of its latest snapshot.
    history : DataFrame or sequence of DataFrame, optional
        Jobs frames of earlier jobs, for the ETA.
    expected : int, mapping or Series of int, optional
        The rows that the job, or each of its files, should have, see :func:`importstats.diagnose`.
    cluster : ClusterFrames, optional
        What its cluster was doing, see :func:`~importstats.store.cluster_frames.load_cluster`.
    zone : tzinfo, optional
        Zone of the times shown, by default the reader's.

    Attributes
    ----------
    jobs, details : DataFrame
        The frames until `at`, without recorded gaps and with each snapshot's phase. `details` is
        empty if none were given.
    at : datetime
    source_uri, job_id : str

    Raises
    ------
    ValueError
        The frames hold no job at `at`, or several jobs.

    Examples
    --------
    >>> from datetime import UTC
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7", "collection_name": "books",
    ...     "snapshot_id": [1, 2],
    ...     "observed_at": pd.date_range("2026-05-18", periods=2, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Completed"], "progress_pct": [5.0, 100.0],
    ...     "imported_rows": [0, 900], "total_rows": [0, 900], "detail_count": [0, 0]})
    >>> job = ImportJob(jobs, zone=UTC)
    >>> job
    <ImportJob 7: Completed at 00:01:00 UTC after 1 min>
    >>> job.state, job.phase, job.progress_pct
    ('Completed', 'Completed', 100.0)
    """

    @at_the_door
    def __init__(
        self,
        jobs: pd.DataFrame,
        details: pd.DataFrame | None = None,
        at: datetime | None = None,
        *,
        history: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
        expected: int | Mapping[str, int] | pd.Series[int] | None = None,
        cluster: Cluster | None = None,
        zone: tzinfo | None = None,
    ) -> None:
        super().__init__(jobs, details, at, cluster=cluster)
        self._history = history
        self._expected = expected
        self._zone = zone
        self._store: _Store | None = None

    @classmethod
    def load(
        cls,
        store: SnapshotStore | str | Path,
        job_id: str | None = None,
        *,
        source_uri: str | None = None,
        at: datetime | None = None,
        zone: tzinfo | None = None,
    ) -> ImportJob:
        """The job from a store, whose other jobs are the history for its ETA.

        Parameters
        ----------
        store : SnapshotStore, str or Path
            The store, its folder or its URI.
        job_id : str, optional
            Needed only if the store has several jobs.
        source_uri : str, optional
            The job's server; needed only if several servers in the store have a job with this id.
        at, zone
            As for :class:`ImportJob`.

        Raises
        ------
        StoreError
            There is no store, or it cannot be read.
        ValueError
            The store does not have this job, or several jobs match.
        """
        every = load_jobs(store, until=at)
        own = every if job_id is None else every[every["job_id"] == job_id]
        own = own if source_uri is None else own[own["source_uri"] == source_uri]
        details = load_details(store, job_id=job_id, source_uri=source_uri, until=at, runs=True)
        cluster = load_cluster_of(store, own)
        job = cls(own, details, at, history=every, cluster=cluster, zone=zone)
        job._store = store
        return job

    @property
    def eta(self) -> pd.Series[Any]:
        """When the job will end, as of now: the last row of :func:`~importstats.eta`."""
        return self.eta_frame.iloc[-1]

    @cached_property
    def eta_frame(self) -> pd.DataFrame:
        """The :func:`~importstats.eta` at the latest snapshot, one row."""
        if "eta_history" in self.__dict__:
            return self.eta_history.tail(1)
        return eta(
            self.jobs, self._details, history=self._history, at=self.at, cluster=self._cluster
        )

    @cached_property
    def eta_history(self) -> pd.DataFrame:
        """The :func:`~importstats.eta` at every snapshot, one row each."""
        return eta(self.jobs, self._details, history=self._history, cluster=self._cluster)

    @cached_property
    def phases(self) -> pd.DataFrame:
        """Every phase with its start and duration: see :func:`importstats.phases`."""
        return phases(self.jobs)

    @cached_property
    def throughput(self) -> pd.DataFrame:
        """The job's rows and bytes per second: see :func:`importstats.throughput`."""
        return throughput(self.jobs, by="job")

    @cached_property
    def spent(self) -> pd.DataFrame:
        """Where the time went: see :func:`importstats.analysis.spent.time_spent`."""
        return time_spent(self.jobs, self._history)

    @cached_property
    def stragglers(self) -> pd.DataFrame:
        """Every file with its verdict, those that matter most first.

        See :func:`importstats.stragglers` and :func:`~importstats.analysis.ranking.rank_files`.
        """
        if self.details.empty:
            return pd.DataFrame(
                columns=["file_index", "file", "delay_s", "verdict", "is_straggler", "matters"]
            )
        return rank_files(stragglers(self.details, at=self.at))

    @cached_property
    def diagnosis(self) -> pd.DataFrame:
        """See :func:`importstats.diagnose`; the history is that of the ETA."""
        return diagnose(
            self._recorded,
            self._details,
            history=self._history,
            expected=self._expected,
            at=self._last_look,
            cluster=self._cluster,
        )

    @property
    def cause(self) -> str:
        """A few words about what holds the job up, as its cluster proves; empty if nothing does."""
        return "" if self.phase in END_PHASES or self.stale else cause_text(self.diagnosis)

    @property
    def knows_its_cluster(self) -> bool:
        """Whether the store has its cluster's tasks, which causes are read from."""
        return self._cluster is not None and len(self._cluster.tasks) > 0

    @property
    def stale(self) -> bool:
        """Whether the job was last seen long ago and had not ended then."""
        return self.phase not in END_PHASES and is_stale(self.jobs, self.at)

    @property
    def rate_text(self) -> str:
        """How fast rows are or were written, in words."""
        return _rate_text(self.throughput, over=self.stale or self.phase in END_PHASES)

    @cached_property
    def looks(self) -> list[Look]:
        """What to look at, the most important first; see :mod:`importstats.show.attention`."""
        running = self.phase not in END_PHASES and not self.stale
        found = looks(self.stragglers, self.diagnosis, running=running)
        if self.stale and not self.diagnosis["finding"].astype("str").eq("forgotten_soon").any():
            found.insert(0, _unheard_look(self))
        return found

    @property
    def headline(self) -> str:
        """The job in one line: see :func:`importstats.analysis.words.headline`."""
        known = (self.eta_frame, self.stragglers, self.diagnosis)
        return headline(self.jobs, *known, at=self.at, zone=self._zone)

    def plot(self, theme: Literal["auto", "light", "dark"] = "auto") -> Figure:
        """The :func:`importstats.plots.overview` of the job, on a transparent background.

        Parameters
        ----------
        theme : {"auto", "light", "dark"}
            Whether to draw for light or for dark paper. ``auto`` draws for light paper, and a
            notebook with a dark theme shows a second drawing for dark paper.
        """
        # matplotlib would double the start of a command that draws nothing.
        from importstats import plots

        def draw() -> plots.ShownFigure:
            return plots.draw_overview(
                self.jobs,
                self._details,
                self.eta_frame,
                None if self.details.empty else self.stragglers,
                self.throughput,
                self.diagnosis,
                at=self.at,
                zone=self._zone,
            )

        if theme == "auto":
            return plots.for_both(draw)
        with plots.theme(theme):
            return draw()

    def plot_cluster(self) -> Figure:
        """Draw the nodes' work, the queue and the segments during the job's life.

        See :func:`importstats.plots.draw_cluster`.

        Raises
        ------
        ValueError
            The store has nothing about its cluster.
        """
        if self._cluster is None or not self.knows_its_cluster:
            raise ValueError(
                "nothing is known about this job's cluster: collect with --management-uri, "
                "then load the job from the store"
            )
        from importstats.plots import draw_cluster

        times = self._recorded["observed_at"]
        part = cluster_between(self._cluster, self.source_uri, times.iloc[0], self._last_look)
        return draw_cluster(part, gaps=find_gaps(times), zone=self._zone)

    def watch(
        self,
        source: ProgressSource | None = None,
        *,
        policy: PollPolicy | None = None,
        refresh_s: float = REFRESH_S,
    ) -> LiveJob:
        """Show the job live in a notebook from now on; see :func:`importstats.live`.

        Parameters
        ----------
        source : ProgressSource, optional
            A client of the job's server. Its answers are stored in the store that this job was
            loaded from. Without it, the view follows that store, which some other collector fills.
        policy, refresh_s
            As for :func:`importstats.live`, which also lists what is raised. A job that was made
            from frames and not loaded from a store raises ``ValueError``.
        """
        if self._store is None:
            raise ValueError(
                "this job was made from frames and does not grow: load it with ImportJob.load, or "
                "use importstats.live(client, job_id)"
            )
        return live(
            source,
            self.job_id,
            store=self._store,
            source_uri=self.source_uri,
            policy=policy,
            refresh_s=refresh_s,
            zone=self._zone,
        )

    @property
    def _last_look(self) -> pd.Timestamp:
        """Now, or for a job that has ended, the last poll of its cluster if that was soon after."""
        at = pd.Timestamp(self.at)
        if self._cluster is None or self._at_is_given or self.phase not in END_PHASES:
            return at
        return last_look(self._cluster, self.source_uri, at)

    def __repr__(self) -> str:
        return f"<ImportJob {printable(self.job_id, 60)}: {self.headline}>"

    def _repr_html_(self) -> str:
        return _as_html(self, self._zone)


def _rate_text(rates: pd.DataFrame, *, over: bool) -> str:
    if rates.empty or not rates["rows_per_s_window"].gt(0).any():
        return UNKNOWN
    latest = rates.iloc[-1]
    mean = format_rate(latest["rows_per_s_mean"], "rows")
    if over:
        return f"{mean} on average while rows were written"
    if not latest["rows_per_s_window"] > 0:
        return f"{mean} on average while rows were written; none in the last minute"
    now = format_rate(latest["rows_per_s_window"], "rows")
    size = format_rate(latest["bytes_per_s_window"], "B")
    return f"{now} · {size} in the last minute, {mean} on average"


def _unheard_look(job: ImportJob) -> Look:
    age = format_duration((job.at - job.jobs["observed_at"].iloc[-1]).total_seconds())
    text = (
        f"The job has not been seen for {age}. Check that its collector runs; "
        f"importstats watch {printable(job.job_id, 60)} asks the server."
    )
    return Look(text, "warning")


def _as_html(job: ImportJob, zone: tzinfo | None) -> str:
    late = job.stragglers[job.stragglers["is_straggler"].astype("bool")]
    from importstats.show.pages import render  # jinja2 is slow to import.

    return render(
        "importstats.show",
        "job.html.jinja",
        job=job,
        known=job.last_at_work,
        observed_at=job.jobs["observed_at"].iloc[-1].to_pydatetime(),
        rows_per_s=job.throughput["rows_per_s_window"].iloc[-1:].max(),
        late=[
            {**file, "said": verdict_text(file)}
            for file in late.head(_SHOWN_STRAGGLERS).to_dict("records")
        ],
        more=max(len(late) - _SHOWN_STRAGGLERS, 0),
        findings=job.diagnosis.head(1).to_dict("records"),
        zone=zone,
    )
