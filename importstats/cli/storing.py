"""The command ``compact``, which keeps a store in order."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from importstats.cli.options import DEFAULT_STORE, StoreArgument
from importstats.store import SnapshotStore
from importstats.store.cluster_tables import ClusterTables


def compact(
    store: StoreArgument = DEFAULT_STORE,
    /,
    *,
    delta: Annotated[
        bool, Parameter(help="Write a Delta Lake log, so that other tools can read a live store.")
    ] = False,
) -> None:
    """Merge a store's many small files into few, without disturbing readers."""
    opened = SnapshotStore(store)
    print(opened.compact(final=True))
    before, after = ClusterTables(opened).compact_all()
    if before:
        print(f"tables of the clusters: {before:,} files before, {after:,} now")
    if delta:
        opened.publish()
