"""Stored jobs, as commands read them: those of the chosen server, if there are several."""

from __future__ import annotations

import contextlib
from typing import Annotated

import pandas as pd
from cyclopts import Parameter

from importstats.errors import JobNotFoundError, UsageError
from importstats.sources.endpoint import parse_endpoint
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs
from importstats.text import printable

Server = Annotated[
    str | None,
    Parameter(
        name="--source",
        help="Only jobs of the server at this address. Needed if several servers have a job with "
        "this id.",
    ),
]


def known_source(store: SnapshotStore, address: str | None) -> str | None:
    """The ``source_uri`` in a store that an address stands for; ``None`` for no address.

    Raises
    ------
    UsageError
        The store has no jobs of that server.
    """
    if address is None:
        return None
    sources = sorted(set(store.job_keys()["source_uri"].to_pylist()))
    spelled = [address]
    with contextlib.suppress(UsageError):
        spelled.append(parse_endpoint(address).uri)
    for each in spelled:
        if each in sources:
            return each
    raise UsageError(
        f"{store.uri} has no job of the server {printable(spelled[-1])}; it has jobs of "
        f"{', '.join(map(printable, sources)) or 'none'}"
    )


def source_of_job(store: SnapshotStore, job_id: str, address: str | None = None) -> str:
    """The ``source_uri`` of a job in a store.

    Raises
    ------
    JobNotFoundError
        The store does not hold the job.
    UsageError
        The store holds jobs of this id from several servers, and none was named.
    """
    wanted = known_source(store, address)
    keys = store.job_keys(job_id=job_id, source_uri=wanted)
    sources = keys["source_uri"].to_pylist()
    if not sources:
        raise JobNotFoundError(f"{store.uri} holds no snapshot of job {printable(job_id)}")
    if len(sources) > 1:
        raise UsageError(
            f"{store.uri} holds job {printable(job_id)} of {len(sources)} servers; choose one: "
            + " or ".join(f"--source {printable(source)}" for source in sources)
        )
    return str(sources[0])


def frames_of_job(
    store: SnapshotStore, job_id: str, address: str | None = None, *, gaps: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The jobs and details frames of one job; the details are runs.

    Raises
    ------
    JobNotFoundError, UsageError
        As :func:`source_of_job`; or the store has nothing but gaps of the job.
    """
    source = source_of_job(store, job_id, address)
    jobs = load_jobs(store, job_id=job_id, source_uri=source, gaps=gaps)
    if jobs["error"].notna().all():
        raise JobNotFoundError(f"{store.uri} holds no snapshot of job {printable(job_id)}")
    return jobs, load_details(store, job_id=job_id, source_uri=source, runs=True)
