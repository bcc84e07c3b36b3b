"""The command ``simulate``, which stands in for a server."""

from __future__ import annotations

import contextlib
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from importstats.cli.options import read_token
from importstats.cli.outcomes import stopped_by_signals
from importstats.errors import UsageError
from importstats.simulator import DIALECTS, SHAPES, SimulatorServer, make_shape
from importstats.simulator.dialects import dialect_named
from importstats.simulator.specs import Signal

AtLeastOne = Number(gte=1)


def _check_shape(_type: object, shape: str) -> None:
    if shape not in SHAPES:
        raise ValueError(f"there is no shape {shape!r}; one of {', '.join(SHAPES)}")


def _check_dialect(_type: object, dialect: str) -> None:
    dialect_named(dialect)


def simulate(
    *,
    shape: Annotated[
        str, Parameter(help=f"Kind of job: {', '.join(SHAPES)}.", validator=_check_shape)
    ] = "stragglers",
    count: Annotated[
        int, Parameter(name="--jobs", help="How many jobs.", validator=AtLeastOne)
    ] = 1,
    files: Annotated[
        int | None, Parameter(help="Files of each job; drawn if not given.", validator=AtLeastOne)
    ] = None,
    seed: Annotated[int, Parameter(help="Seed of everything random.")] = 0,
    acceleration: Annotated[
        float,
        Parameter(
            help="How many times faster than real time the jobs run.", validator=Number(gte=0)
        ),
    ] = 60.0,
    dialect: Annotated[
        str,
        Parameter(
            help=f"Kind of server: {', '.join(DIALECTS)}, or a version of Milvus from 2.4.0 on.",
            validator=_check_dialect,
        ),
    ] = "2.6",
    signal: Annotated[
        Signal,
        Parameter(help="When rows are reported: at the end of their file, or as they are written."),
    ] = "whole",
    collection: Annotated[
        list[str] | None,
        Parameter(help="Collection to make jobs for. May be repeated.", negative=""),
    ] = None,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int,
        Parameter(
            help="Port to listen on; 0 takes a free one.", validator=Number(gte=0, lte=65535)
        ),
    ] = 19530,
    token_file: Annotated[
        Path | None, Parameter(help="Refuse every request without the token in this file.")
    ] = None,
) -> None:
    """Run a server of simulated import jobs, to try the other commands on. Ctrl-C ends it."""
    cluster, _ = make_shape(shape, files=files, seed=seed)
    specs = [make_shape(shape, files=files, seed=seed + number)[1] for number in range(count)]
    server = SimulatorServer(
        replace(cluster, signal=signal),
        specs,
        host=host,
        port=port,
        dialect=dialect,
        token=read_token(token_file) if token_file else None,
        acceleration=acceleration,
        collections=collection or (),
        seed=seed,
    )
    ended = threading.Event()
    with contextlib.ExitStack() as running:
        try:
            running.enter_context(server)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host}:{port} ({error.strerror}); "
                "choose another --port or --host"
            ) from None
        running.enter_context(stopped_by_signals(ended.set))
        print(f"simulated {dialect} server at {server.uri}, {acceleration:g} times real time")
        for job_id in server.job_ids:
            print(f"job {job_id}")
        print(f"try: importstats watch --uri {server.uri} {server.job_ids[0]}")
        sys.stdout.flush()
        ended.wait()
