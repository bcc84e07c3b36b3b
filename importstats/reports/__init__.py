"""Reports: one job as a page, as text or as data, each complete in itself.

:func:`report` takes frames and returns text; it reads and writes no files. The HTML page needs no
other file and no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final, Literal

import pandas as pd

from importstats.analysis.cluster_state import Cluster
from importstats.reports.data import JSON_FORMAT as JSON_FORMAT
from importstats.reports.data import to_json
from importstats.reports.html import to_html
from importstats.reports.markdown import to_markdown
from importstats.show.job import ImportJob

Form = Literal["html", "md", "json"]


def report(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None = None,
    *,
    at: datetime,
    history: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    expected: int | Mapping[str, int] | pd.Series[int] | None = None,
    form: Form = "html",
    zone: tzinfo = UTC,
    refresh_s: float | None = None,
    cluster: Cluster | None = None,
) -> str:
    """A report of one job: how far it is, when it ends, what is wrong with it, and the evidence.

    Parameters
    ----------
    jobs, details : DataFrame
        The job's frames, see :mod:`importstats.store.frames`.
    at : datetime
        Now. The report says how old the latest snapshot is and leaves out what came later.
    history : DataFrame or sequence of DataFrame, optional
        Jobs frames of earlier jobs, for the ETA.
    expected : int, mapping or Series of int, optional
        The rows that the job, or each of its files, should have; a difference is a finding.
    form : {"html", "md", "json"}
        ``html``
            A page with figures, light and dark, for browsers, phones and printers.
        ``md``
            Text with tables, for terminals and code hosts.
        ``json``
            Data, see below.
    zone : tzinfo
        Zone of the times shown in ``html`` and ``md``. A report is passed on to others, so the
        default is UTC and not the author's zone.
    refresh_s : float, optional
        How often, roughly, the ``html`` page is rewritten: the page then says how old it is and
        reloads itself.
    cluster : ClusterFrames, optional
        What its cluster was doing, see :func:`~importstats.store.cluster_frames.load_cluster`.

    Returns
    -------
    str
        The ``json`` form is one object. Times are ISO 8601 in UTC, missing values are null, names
        are as the server sent them, and keys have units:

        ``format``, ``at``, ``headline``
            :data:`JSON_FORMAT`, now, and the job in one line.
        ``job``
            ``source_uri``, ``db_name``, ``job_id``, ``collection_name``, ``state``, ``phase``,
            ``progress_pct``, ``imported_rows``, ``total_rows``, ``file_size_bytes``, ``reason``,
            ``first_observed_at``, ``last_observed_at``, ``snapshots``.
        ``eta``
            ``p10``, ``p50``, ``p90``, ``remaining_p10_s``, ``remaining_p50_s``,
            ``remaining_p90_s``, ``method``, ``reason``.
        ``throughput``
            ``rows_per_s``, ``bytes_per_s`` over the last minute, ``rows_per_s_mean``.
        ``diagnosis``
            A list of ``finding``, ``severity``, ``since``, ``message``, ``advice``, ``evidence``.
        ``phases``
            A list of ``phase``, ``start``, ``end``, ``duration_s``, ``uncertainty_s``,
            ``snapshots``.
        ``files``
            ``count``, and ``states``: how many files have each state.
        ``stragglers``
            A list of ``file_index``, ``file``, ``state``, ``verdict``, ``delay_s``,
            ``remaining_s``, ``elapsed_s``, ``rows_per_s``, ``imported_rows``, ``total_rows``,
            ``file_size_bytes``; the latest first.
        ``failures``
            A list of ``reason`` (``FILE`` stands for a file's name), ``files`` (how many),
            ``culprits`` (the files that reasons name) and ``examples``.

    Raises
    ------
    ValueError
        The frames hold no snapshot up to `at`, or several jobs; or `form` is unknown.

    Examples
    --------
    >>> import json
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7", "collection_name": "books",
    ...     "snapshot_id": [1, 2],
    ...     "observed_at": pd.date_range("2026-05-18", periods=2, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Completed"], "progress_pct": [5.0, 100.0],
    ...     "imported_rows": [0, 900], "total_rows": [0, 900], "detail_count": [0, 0]})
    >>> now = datetime(2026, 5, 18, 0, 2, tzinfo=UTC)
    >>> print(report(jobs, at=now, form="md").splitlines()[2])
    **Completed at 00:01:00 UTC after 1 min**
    >>> json.loads(report(jobs, at=now, form="json"))["eta"]["p50"]
    '2026-05-18T00:01:00Z'
    """
    if form not in _FORMS:
        raise ValueError(f"form is one of {', '.join(_FORMS)}, not {form!r}")
    job = ImportJob(
        jobs, details, at, history=history, expected=expected, cluster=cluster, zone=zone
    )
    if form == "html":
        return to_html(job, zone, refresh_s=refresh_s)
    return _FORMS[form](job, zone)


_FORMS: Final[Mapping[str, Callable[[ImportJob, tzinfo], str]]] = {
    "html": to_html,
    "md": to_markdown,
    "json": to_json,
}
