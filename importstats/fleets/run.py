"""Running: jobs are read and analysed here, in local processes, or on a Dask cluster."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final, Generic, NamedTuple, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from importstats.analysis.forecast import eta
from importstats.errors import ImportStatsError, MissingExtraError, UnreachableError, UsageError
from importstats.fleets import parts
from importstats.fleets.parts import (
    EtaBatch,
    JobKey,
    Part,
    analyse,
    chunks,
    concat,
    eta_batches,
    merge_parts,
)
from importstats.fleets.tables import Fleet, combine
from importstats.names import RETENTION_S
from importstats.store import JOBS_RESULT_SCHEMA, CorruptSegmentWarning, SnapshotStore
from importstats.store.frames import details_frame, jobs_frame
from importstats.store.schema import TIMESTAMP
from importstats.text import excerpt

_T = TypeVar("_T")

# A Dask task with this many jobs lasts seconds, so the milliseconds that Dask adds do not count.
_JOBS_PER_TASK: Final = 32
# This many jobs are done here before worker processes would have started.
_JOBS_ALONE: Final = 64


def fleet(
    store: SnapshotStore | str | Path,
    *,
    scheduler: str | None = None,
    since: datetime | None = None,
    source_uri: str | None = None,
    at: datetime | None = None,
    workers: int | None = None,
    retention_s: float = RETENTION_S,
) -> Fleet:
    """Analyse every job of a store: which run and until when, which are slow, which fail and why.

    Every worker reads the store itself, so it needs access: its own credentials for a bucket, or
    the same path to a folder.

    Parameters
    ----------
    store : SnapshotStore, str or Path
        The store, its folder or its URI (``s3://...``).
    scheduler : str, optional
        ``"synchronous"`` works in this process, without Dask. ``"processes"`` starts a local Dask
        cluster of worker processes, one thread each. ``tcp://host:port`` (or another address that
        Dask knows) uses that Dask cluster. By default up to 64 jobs are done in this process, more
        on local processes.
    since : datetime, optional
        Only jobs that were last seen at or after this time, with all their snapshots.
    source_uri : str, optional
        Only jobs of this server.
    at : datetime, optional
        Now; later snapshots are not used. By default the clock's.
    workers : int, optional
        How many local processes; by default as many as Dask finds cores.
    retention_s : float
        How long the servers remember a job after its end.

    Returns
    -------
    Fleet

    Raises
    ------
    StoreError
        There is no store, or it cannot be read.
    MissingExtraError
        Dask is needed but not installed: install importstats with the extra ``dask``.
    UnreachableError
        There is no Dask scheduler at the address.
    ImportStatsError
        A Dask task killed its worker several times, or `scheduler` is something else.

    Warns
    -----
    CorruptSegmentWarning
        A file of the store cannot be read, here or on a worker; the rest was.

    Notes
    -----
    Local processes are spawned and import the main module anew, as in :mod:`multiprocessing`: a
    script calls this below ``if __name__ == "__main__":``.
    """
    opened = store if isinstance(store, SnapshotStore) else SnapshotStore(store)
    now = datetime.now(UTC) if at is None else at
    keys = _keys(opened, since, now, source_uri)
    with _mapper(scheduler, len(keys), workers) as map_batches:
        analysed = map_batches(
            partial(_part, opened, at=now, retention_s=retention_s), chunks(keys, _JOBS_PER_TASK)
        )
        pieces = [answer.result for answer in analysed]
        batches = eta_batches(merge_parts(pieces).jobs)
        estimated = map_batches(partial(_estimates, opened, at=now), batches)
    for message in dict.fromkeys(
        message for answer in (*analysed, *estimated) for message in answer.warnings
    ):
        warnings.warn(message, CorruptSegmentWarning, stacklevel=2)
    return combine(pieces, [answer.result for answer in estimated], now)


class _Answer(NamedTuple, Generic[_T]):
    """A Dask task's result and its warnings, which would otherwise stay in a worker's log."""

    result: _T
    warnings: list[str]


def _keys(
    store: SnapshotStore, since: datetime | None, at: datetime, source_uri: str | None
) -> list[JobKey]:
    keys = store.job_keys(source_uri=source_uri)
    chosen = pc.less_equal(keys["first_observed_at"], pa.scalar(at, TIMESTAMP))
    if since is not None:
        recent = pc.greater_equal(keys["last_observed_at"], pa.scalar(since, TIMESTAMP))
        chosen = pc.and_(chosen, recent)
    keys = keys.filter(chosen)
    return list(zip(keys["source_uri"].to_pylist(), keys["job_id"].to_pylist(), strict=True))


def _part(
    store: SnapshotStore, keys: list[JobKey], *, at: datetime, retention_s: float
) -> _Answer[Part]:
    warnings_seen: list[str] = []
    read = _read_frames(store, keys, at, warnings_seen)
    pieces = [analyse(jobs, details, at=at, retention_s=retention_s) for jobs, details in read]
    return _Answer(merge_parts(pieces), warnings_seen)


def _estimates(store: SnapshotStore, batch: EtaBatch, *, at: datetime) -> _Answer[pd.DataFrame]:
    warnings_seen: list[str] = []
    earlier = [_read_snapshots(store, key, at, warnings_seen) for key in batch.earlier]
    history = jobs_frame(pa.concat_tables([JOBS_RESULT_SCHEMA.empty_table(), *earlier]))
    found: list[pd.DataFrame] = [
        eta(jobs, details, history=history, at=at)
        for jobs, details in _read_frames(store, batch.running, at, warnings_seen)
    ]
    return _Answer(concat(found), warnings_seen)


def _read_frames(
    store: SnapshotStore, keys: Sequence[JobKey], at: datetime, warnings_seen: list[str]
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """The jobs and details frames of some jobs at a time, so that rows do not become too many."""
    jobs, details, rows = [], [], 0
    for place, key in enumerate(keys, start=1):
        source_uri, job_id = key
        jobs.append(_read_snapshots(store, key, at, warnings_seen))
        with _recording(warnings_seen):
            details.append(store.details(source_uri=source_uri, job_id=job_id, until=at, runs=True))
        rows += jobs[-1].num_rows + details[-1].num_rows
        if rows >= parts.ROWS_AT_ONCE or place == len(keys):
            yield jobs_frame(pa.concat_tables(jobs)), details_frame(pa.concat_tables(details))
            jobs, details, rows = [], [], 0


def _read_snapshots(
    store: SnapshotStore, key: JobKey, at: datetime, warnings_seen: list[str]
) -> pa.Table:
    """A job's answered snapshots up to a time."""
    source_uri, job_id = key
    with _recording(warnings_seen):
        jobs = store.jobs(source_uri=source_uri, job_id=job_id, until=at)
    return jobs.filter(pc.is_null(jobs["error"]))


@contextmanager
def _recording(warnings_seen: list[str]) -> Iterator[None]:
    """Collect the warnings about a store instead of printing them."""
    with _LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CorruptSegmentWarning)
        yield
    warnings_seen += [
        str(each.message) for each in caught if each.category is CorruptSegmentWarning
    ]


# Recording warnings changes the interpreter's state, and a worker may run several threads.
_LOCK: Final = Lock()


_Map = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]


@contextmanager
def _mapper(scheduler: str | None, jobs: int, workers: int | None) -> Iterator[_Map]:
    """A function that maps a function over batches: here, in processes, or on a Dask cluster."""
    if scheduler == "synchronous" or (scheduler is None and jobs <= _JOBS_ALONE):
        yield lambda task, batches: [task(batch) for batch in batches]
        return
    if scheduler not in (None, "processes") and "://" not in scheduler:
        raise UsageError(
            f"no scheduler {scheduler!r}: it is synchronous, processes, or an address such as "
            "tcp://host:8786"
        )
    distributed = _distributed(jobs)
    with ExitStack() as running:
        if scheduler in (None, "processes"):
            where = running.enter_context(
                distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address="127.0.0.1:0",
                )
            )
        else:
            where = scheduler
        try:
            client = running.enter_context(distributed.Client(where, timeout=_CONNECT_S))
        except OSError as error:
            raise UnreachableError(
                f"no Dask scheduler answers at {scheduler}: {excerpt(str(error))}; check the "
                "address and that it runs"
            ) from error

        if where is not scheduler:
            running.callback(_await_restarts, client, len(where.workers))

        def map_batches(task: Callable[[Any], Any], batches: Sequence[Any]) -> list[Any]:
            # Not pure: the store may have changed since the same task ran last.
            futures = client.map(task, batches, pure=False)
            try:
                answers: list[Any] = client.gather(futures)
            except distributed.KilledWorker as error:
                client.cancel(futures, force=True)
                raise ImportStatsError(
                    f"a task ended its Dask worker again and again: {excerpt(str(error))}; see the "
                    "workers' logs (memory is the usual cause)"
                ) from error
            return answers

        yield map_batches


_CONNECT_S: Final = 10
# A worker process starts within a second; closing waits no longer than this.
_RESTART_S: Final = 30


def _await_restarts(client: Any, workers: int) -> None:
    """Wait until a local Dask cluster's workers are up, including those that Dask restarts.

    Dask restarts the process of a dead worker. A Dask cluster that is closed meanwhile would join a
    process that was not started, which is an AssertionError.
    """
    with suppress(TimeoutError):
        client.wait_for_workers(workers, timeout=_RESTART_S)


def _distributed(jobs: int) -> Any:
    try:
        import distributed  # Importing it takes a second, which only its users should pay.
    except ImportError as error:
        raise MissingExtraError(
            f"analysing {jobs:,} jobs on Dask (any scheduler but synchronous)", error.name, "dask"
        ) from error
    return distributed
