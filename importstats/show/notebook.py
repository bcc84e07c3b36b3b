"""Notebook: a job collected and shown live in a notebook cell."""

from __future__ import annotations

from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Final

from importstats.collect.collector import Collector
from importstats.collect.policy import PollPolicy
from importstats.sources.source import ProgressSource
from importstats.store import SnapshotStore

if TYPE_CHECKING:
    from importstats.show.widget import LiveJob

#: About how often a live view is redrawn.
REFRESH_S: Final = 5.0


def live(
    source: ProgressSource | None,
    job_id: str,
    *,
    store: SnapshotStore | str | Path = "importstats-store",
    source_uri: str | None = None,
    policy: PollPolicy | None = None,
    refresh_s: float = REFRESH_S,
    zone: tzinfo | None = None,
) -> LiveJob:
    """Collect and store a running job in the background, and show it live in a notebook.

    The cell returns at once, and its output keeps up with the job: phases, throughput, files, the
    ETA and what to look at, as on a report's page. It stops when the job ends. JupyterLab, VS Code,
    Colab and marimo can show it.

    Parameters
    ----------
    source : ProgressSource or None
        An :class:`~importstats.ImportClient` or another source. None if another process collects
        the job, such as ``importstats collect``: then the view follows the store.
    job_id : str
    store : SnapshotStore, str or Path
        Where the snapshots go: a store, its folder or its URI.
    source_uri : str, optional
        The job's server; needed only without `source`, if several servers in the store have a job
        with this id.
    policy : PollPolicy, optional
        How often to ask for the job.
    refresh_s : float
        About how often the view is redrawn; less often if the job has many thousands of files.
    zone : tzinfo, optional
        Zone of the times shown, by default the kernel's.

    Returns
    -------
    LiveJob
        The view. ``stop()`` ends the collecting, and ``job`` is the job as it is now.

    Raises
    ------
    MissingExtraError
        The extra ``widget`` is not installed.

    Examples
    --------
    >>> import importstats
    >>> client = importstats.ImportClient("http://localhost:19530")
    >>> view = importstats.live(client, "449839014328146740")  # doctest: +SKIP
    """
    from importstats.show.widget import LiveJob  # Only this function needs the extra.

    opened = store if isinstance(store, SnapshotStore) else SnapshotStore(str(store))
    collector = None
    if source is not None:
        collector = Collector(source, opened, jobs=[job_id], policy=policy)
        source_uri = source.uri
    return LiveJob(
        opened, job_id, source_uri=source_uri, collector=collector, refresh_s=refresh_s, zone=zone
    )
