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

#: About how often a live view is made anew.
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
    """A job as it runs, in a notebook: collected and stored in the background, shown as it grows.

    The cell returns at once, and its output goes on: phases, throughput, files, the ETA and what to
    look at, as on the page of a report. It ends with the job. JupyterLab, VS Code, Colab and
    marimo show it.

    Parameters
    ----------
    source : ProgressSource or None
        An :class:`~importstats.ImportClient` or another source. None if someone else collects the
        job, such as ``importstats collect``: then the view follows the store.
    job_id : str
    store : SnapshotStore, str or Path
        Where the snapshots go: a store, its folder or its URI.
    source_uri : str, optional
        The server of the job; needed only without `source`, where the store has jobs of this id
        from several.
    policy : PollPolicy, optional
        How often the job is asked for.
    refresh_s : float
        About how often the view is made anew; of jobs of many thousands of files less often.
    zone : tzinfo, optional
        Zone of the times shown, by default the kernel's.

    Returns
    -------
    LiveJob
        The view. Its ``stop()`` ends collecting, its ``job`` is the job as it is now.

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
    from importstats.show.widget import LiveJob  # The extra is asked for where it is needed.

    opened = store if isinstance(store, SnapshotStore) else SnapshotStore(str(store))
    collector = None
    if source is not None:
        collector = Collector(source, opened, jobs=[job_id], policy=policy)
        source_uri = source.uri
    return LiveJob(
        opened,
        job_id,
        source_uri=source_uri,
        collector=collector,
        refresh_s=refresh_s,
        zone=zone,
    )
