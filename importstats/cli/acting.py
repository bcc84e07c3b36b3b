"""Commands that change something on a server: ``submit``, ``commit`` and ``abort``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import pandas as pd
from cyclopts import Parameter
from cyclopts.validators import Number

from importstats.cli.options import (
    DEFAULT_STORE,
    ENVIRONMENT,
    Connection,
    Job,
    Output,
    Quiet,
    Store,
    check_job_ids,
    in_a_folder,
    print_tables,
)
from importstats.errors import UsageError
from importstats.sources.actions import MOST_FILES, check_abort
from importstats.sources.messages import ImportProgressData
from importstats.sources.rest import ImportClient
from importstats.sources.source import ProgressSource
from importstats.store.groups import GroupFile, GroupJob, write_group
from importstats.store.manifests import read_manifest
from importstats.text import format_count, format_percent, printable

#: How Zilliz Cloud reads the files, from the environment: these are secrets.
_STORAGE: Final = {
    "accessKey": "IMPORTSTATS_STORAGE_ACCESS_KEY",
    "secretKey": "IMPORTSTATS_STORAGE_SECRET_KEY",
    "token": "IMPORTSTATS_STORAGE_TOKEN",
}


def submit(
    *,
    collection: Annotated[str, Parameter(help="Collection to import to.")],
    files: Annotated[
        tuple[str, ...],
        Parameter(
            help="Files as the server sees them, several words or again; on Zilliz Cloud object "
            "URLs. A set of NumPy files is one word: x.npy,y.npy.",
            consume_multiple=True,
            show_default=False,
        ),
    ] = (),
    files_from: Annotated[
        Path | None, Parameter(help="Text file with a file a line; - is standard input.")
    ] = None,
    manifest: Annotated[
        Path | None,
        Parameter(help="CSV, Parquet or JSON with a column file and, if known, a column rows."),
    ] = None,
    per_job: Annotated[
        int,
        Parameter(
            help="Most files of one job; more files make several jobs.",
            validator=Number(gte=1, lte=MOST_FILES),
        ),
    ] = MOST_FILES,
    partition: Annotated[str | None, Parameter(help="Partition to import to.")] = None,
    option: Annotated[
        tuple[str, ...],
        Parameter(
            help="Option of the server, NAME=VALUE, such as auto_commit=false. May be repeated.",
            show_default=False,
        ),
    ] = (),
    volume: Annotated[str | None, Parameter(help="Zilliz Cloud volume that has the files.")] = None,
    save: Annotated[
        Path | None,
        Parameter(
            validator=in_a_folder,
            help="Write the jobs and their files to this file (.json), for `importstats group`.",
        ),
    ] = None,
    watch: Annotated[
        bool, Parameter(help="Collect what was submitted and show it until it ends.")
    ] = False,
    store: Store = DEFAULT_STORE,
    output: Output = "table",
    connection: Connection = ENVIRONMENT,
) -> int:
    """Create import jobs on the server, and print their ids."""
    rows = None if manifest is None else read_manifest(manifest)
    named = _files_named(files, files_from, [] if rows is None else rows.index.tolist())
    options = dict(_option(each) for each in option)
    storage = {name: os.environ[key] for name, key in _STORAGE.items() if os.environ.get(key)}
    if volume is not None:
        storage["volumeName"] = volume
    jobs: list[GroupJob] = []
    with contextlib.closing(connection.opened()) as source:
        for part in range(0, len(named), per_job):
            own = named[part : part + per_job]
            job_id = _submitted(source, collection, own, partition, options, storage)
            jobs.append(
                GroupJob(
                    job_id=job_id,
                    source_uri=source.uri,
                    db_name=connection.db[0] if connection.db else None,
                    collection_name=collection,
                    files=[_entry(each, rows) for each in own],
                )
            )
            # After each job: whatever happens to the next, this one is known.
            if save is not None:
                write_group(save, jobs)
            if output == "table":
                count = f"{len(own):,} file{'' if len(own) == 1 else 's'}"
                print(f"submitted job={printable(job_id)} {count}", flush=True)
    if output != "table":
        counted = [{**msgspec.structs.asdict(job), "files": len(job.files)} for job in jobs]
        print_tables(output, "importstats.submit/1", {"jobs": pd.DataFrame(counted)})
        sys.stdout.flush()
    if not watch:
        return 0
    from importstats.cli.waiting import wait

    return wait(*(job.job_id for job in jobs), store=store, connection=connection)


def _submitted(
    source: ProgressSource,
    collection: str,
    files: Sequence[Sequence[str]],
    partition: str | None,
    options: dict[str, str],
    storage: dict[str, str],
) -> str:
    if isinstance(source, ImportClient):
        return source.submit(
            collection, files, partition=partition, options=options, storage=storage
        )
    from importstats.sources.grpc import GrpcImportClient

    assert isinstance(source, GrpcImportClient), "there are two kinds of clients"  # noqa: S101
    return source.submit(collection, files, partition=partition, options=options)


def _files_named(
    files: Iterable[str], files_from: Path | None, listed: Iterable[str]
) -> list[list[str]]:
    """The import files of all options, each as its paths."""
    words = [*files, *listed]
    if files_from is not None:
        try:
            text = sys.stdin.read() if str(files_from) == "-" else files_from.read_text("utf-8")
        except OSError as error:
            raise UsageError(f"cannot read {files_from}: {error.strerror}") from None
        words += [line.strip() for line in text.splitlines() if line.strip()]
    if not words:
        raise UsageError("no files to import: give --files, --files-from or --manifest")
    return [_paths(word) for word in words]


def _paths(word: str) -> list[str]:
    """The paths of one import file: several only if all are NumPy files."""
    parts = word.split(",")
    return parts if all(part.lower().endswith(".npy") for part in parts) else [word]


def _option(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not name or not equals:
        raise UsageError(f"--option {given!r} is not NAME=VALUE")
    return name, value


def _entry(paths: Sequence[str], rows: pd.Series[int] | None) -> GroupFile:
    file = ",".join(paths)
    count = None if rows is None else rows.get(file)
    return GroupFile(file=file, rows=None if count is None or pd.isna(count) else int(count))


def commit(*jobs: Job, quiet: Quiet = False, connection: Connection = ENVIRONMENT) -> None:
    """Commit two-phase imports that wait for it: their rows become visible."""
    _check_named(jobs)
    with contextlib.closing(_two_phase_client(connection)) as client:
        for job in jobs:
            client.commit(job)
            if not quiet:
                print(f"committed job={printable(job)}", flush=True)


def abort(
    *jobs: Job,
    yes: Annotated[bool, Parameter(name=("--yes", "-y"), help="Do not ask.")] = False,
    discard: Annotated[
        bool, Parameter(help="Also if all rows of the job are written: they are lost.")
    ] = False,
    quiet: Quiet = False,
    connection: Connection = ENVIRONMENT,
) -> int:
    """Abort two-phase imports, which discards the rows that they have written."""
    _check_named(jobs)
    with contextlib.closing(_two_phase_client(connection)) as client:
        for job in jobs:
            data = client.describe(job).data
            check_abort(job, data, discard=discard)
            if not yes and not _agreed(job, data):
                print(f"left job={printable(job)} alone")
                return 1
            client.abort(job, discard=discard)
            if not quiet:
                print(f"aborted job={printable(job)}", flush=True)
    return 0


def _agreed(job: str, data: ImportProgressData) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("abort asks before it acts, and nobody can answer here: give --yes")
    rows = f"{format_count(data.imported_rows)} of {format_count(data.total_rows)} rows"
    sys.stderr.write(
        f"job {printable(job)} ({printable(data.collection_name or 'unknown', 60)}) is "
        f"{printable(data.state or 'unknown', 40)} at {format_percent(data.progress)}; "
        f"{rows} are written and will be discarded. Abort it? [y/N] "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _check_named(jobs: Sequence[str]) -> None:
    if not jobs:
        raise UsageError("name the job, or several")
    check_job_ids(jobs)


def _two_phase_client(connection: Connection) -> ImportClient:
    source = connection.opened()
    if isinstance(source, ImportClient):
        return source
    source.close()
    raise UsageError("only the REST API of Milvus 3.0 commits and aborts; leave out --source grpc")
