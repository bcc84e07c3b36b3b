"""Commands that keep a store in order: ``compact``."""

from __future__ import annotations

from importstats.cli.options import DEFAULT_STORE, StoreArgument
from importstats.store import SnapshotStore


def compact(store: StoreArgument = DEFAULT_STORE, /) -> None:
    """Merge a store's many small files into few, with no reader disturbed."""
    print(SnapshotStore(store).compact(final=True))
