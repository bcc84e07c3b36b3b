"""The command ``doctor``, which looks for what is wrong."""

from __future__ import annotations

import contextlib
from typing import Annotated, Final

import pandas as pd
from cyclopts import Parameter

from importstats.cli.options import (
    DEFAULT_STORE,
    ENVIRONMENT,
    Connection,
    Output,
    Store,
    chosen_store,
    positive,
    print_tables,
)
from importstats.cli.outcomes import exit_code_of
from importstats.collect.doctor import Check, examine
from importstats.errors import UsageError
from importstats.sources.rest import ImportClient
from importstats.store import SnapshotStore

_COLUMNS: Final = ("name", "outcome", "said", "fix")


def doctor(
    *,
    store: Store = DEFAULT_STORE,
    poll_interval: Annotated[
        float, Parameter(help="Longest pause between two polls, seconds.", validator=positive)
    ] = 60.0,
    json: Annotated[bool, Parameter(help="The same as --output json.")] = False,
    output: Output = "table",
    connection: Connection = ENVIRONMENT,
) -> int:
    """Check address, token, databases, privilege, store and clock, and name what is wrong."""
    connection, settings = connection.one_server()
    source = connection.opened()
    with contextlib.closing(source):
        if not isinstance(source, ImportClient):
            raise UsageError("doctor looks at the REST API; leave out --source grpc")
        checks = examine(
            source,
            SnapshotStore(chosen_store(store, settings)),
            poll_s=poll_interval,
            has_token=source.has_token,
        )
    if json or output != "table":
        rows = [[getattr(check, column) for column in _COLUMNS] for check in checks]
        frame = pd.DataFrame(rows, columns=["check", *_COLUMNS[1:]])
        print_tables("json" if json else output, "importstats.doctor/1", {"checks": frame})  # type: ignore[arg-type]
    else:
        for check in checks:
            print(_line(check))
    problems = [check.error for check in checks if check.outcome == "failed"]
    return exit_code_of(problems[0]) if problems and problems[0] is not None else 0


def _line(check: Check) -> str:
    line = f"{check.outcome:<8} {check.name:<10} {check.said}"
    return f"{line}; {check.fix}" if check.fix else line
