"""The command ``summary``: every job of a store in one table.

It is asked for most often, so it stands alone and imports little.
"""

from __future__ import annotations

from importstats.analysis.totals import summary
from importstats.cli.options import (
    DEFAULT_STORE,
    Output,
    StoreArgument,
    output_console,
    print_tables,
)
from importstats.cli.stored import Server, known_source
from importstats.show import terminal
from importstats.store import SnapshotStore
from importstats.store.frames import load_jobs


def summarise(
    store: StoreArgument = DEFAULT_STORE, /, *, server: Server = None, output: Output = "table"
) -> None:
    """Show every job of a store in one table."""
    opened = SnapshotStore(store)
    jobs = load_jobs(opened, source_uri=known_source(opened, server))
    if output == "table":
        terminal.print_summary(output_console(), jobs)
    else:
        print_tables(output, "importstats.summary/1", {"jobs": summary(jobs)})
