"""The options that name management ports, and the watcher that polls these."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from importstats.cli.logs import log_warnings_of
from importstats.cli.options import Connection, positive, read_token
from importstats.collect.collector import Collector
from importstats.errors import UsageError
from importstats.sources.endpoint import parse_endpoint
from importstats.store import SnapshotStore

if TYPE_CHECKING:
    # Parsing its answers takes time to import, and most commands name no management port.
    from importstats.sources.management import ManagementClient

ManagementUri = Annotated[
    tuple[str, ...],
    Parameter(
        env_var="IMPORTSTATS_MANAGEMENT_URI",
        help="Management port of self-hosted Milvus, as http://proxy:9091: also collect tasks, "
        "index builds, segments and nodes, which say why a job waits. May be repeated, for the "
        "metrics of other processes.",
        show_default=False,
        negative="",
    ),
]
ManagementInterval = Annotated[
    float, Parameter(help="Seconds between requests to a management port.", validator=positive)
]


def watched(
    uris: tuple[str, ...],
    every_s: float,
    connection: Connection,
    store: SnapshotStore,
    collector: Collector,
) -> contextlib.AbstractContextManager[object]:
    """A context in which the named management ports are polled while a collector runs.

    Raises
    ------
    UsageError
        An address is not valid, or has a password in it.
    """
    if not uris:
        return contextlib.nullcontext()
    from importstats.collect.watcher import ClusterWatcher

    def running() -> list[str]:
        return [job.job_id for job in list(collector.jobs.values()) if not job.ended]

    clients = _clients(uris, connection)
    return ClusterWatcher(clients, store, collector.source.uri, running, every_s=every_s)


def look_once(
    uris: tuple[str, ...],
    connection: Connection,
    store: SnapshotStore,
    source_uri: str,
    running: Collection[str],
) -> None:
    """Poll the named management ports once, and store the answers; errors as in :func:`watched`."""
    if not uris:
        return
    from importstats.collect.watcher import ClusterWatcher

    log_warnings_of("importstats.collect")
    watcher = ClusterWatcher(_clients(uris, connection), store, source_uri, lambda: running)
    with contextlib.closing(watcher):
        watcher.look_once()


def _clients(uris: tuple[str, ...], connection: Connection) -> list[ManagementClient]:
    from importstats.sources.management import ManagementClient

    if any(parse_endpoint(uri).credentials is not None for uri in uris):
        raise UsageError(
            "--management-uri has a user or password in it, and anyone could read it off the "
            "process list: set MILVUS_TOKEN instead, or give --token-file"
        )
    token = read_token(connection.token_file) if connection.token_file else None
    verify = str(connection.ca_file) if connection.ca_file else True
    return [ManagementClient(uri, token=token, verify=verify) for uri in uris]
