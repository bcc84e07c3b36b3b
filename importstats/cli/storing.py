"""Commands that keep a store in order: ``compact``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from importstats.cli.options import DEFAULT_STORE, StoreArgument
from importstats.store import SnapshotStore


def compact(
    store: StoreArgument = DEFAULT_STORE,
    /,
    *,
    delta: Annotated[
        bool, Parameter(help="Write a Delta Lake log, by which other tools read a live store.")
    ] = False,
) -> None:
    """Merge a store's many small files into few, without disturbing readers."""
    opened = SnapshotStore(store)
    print(opened.compact(final=True))
    if delta:
        opened.publish()
