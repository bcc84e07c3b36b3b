"""The command ``summary``: every job of a store in one table.

It is used most often, so its module imports little.
"""

from __future__ import annotations

import pandas as pd

from importstats.analysis.totals import summary
from importstats.cli.options import (
    DEFAULT_STORE,
    Output,
    StoreArgument,
    output_console,
    print_tables,
)
from importstats.cli.stored import Server, known_source
from importstats.names import JOB_KEY
from importstats.show import terminal
from importstats.store import SnapshotStore
from importstats.store.pieces import jobs_frames


def summarise(
    store: StoreArgument = DEFAULT_STORE, /, *, server: Server = None, output: Output = "table"
) -> None:
    """Show every job of a store in one table."""
    opened = SnapshotStore(store)
    found = [summary(jobs) for jobs in jobs_frames(opened, source_uri=known_source(opened, server))]
    totals = pd.concat(found, ignore_index=True).sort_values(JOB_KEY, ignore_index=True)
    if output == "table":
        terminal.print_summary(output_console(), totals)
    else:
        print_tables(output, "importstats.summary/1", {"jobs": totals})
