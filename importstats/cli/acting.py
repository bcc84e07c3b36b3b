"""Commands that change something on a server: ``submit``, ``commit`` and ``abort``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
import pandas as pd
from cyclopts import Parameter
from cyclopts.validators import Number

from importstats.cli.expecting import paths_of_file
from importstats.cli.options import (
    DEFAULT_STORE,
    ENVIRONMENT,
    Connection,
    Job,
    Output,
    PatientConnection,
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

#: The environment variables with Zilliz Cloud's access to the files, which are secrets.
_STORAGE: Final = {
    "accessKey": "IMPORTSTATS_STORAGE_ACCESS_KEY",
    "secretKey": "IMPORTSTATS_STORAGE_SECRET_KEY",
    "token": "IMPORTSTATS_STORAGE_TOKEN",
}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Load:
    """What to import, and into what."""

    collection: Annotated[str, Parameter(help="Collection to import into.")]
    files: Annotated[
        tuple[str, ...],
        Parameter(
            help="Paths as the server sees them, or object URLs on Zilliz Cloud. Give several, "
            "or repeat the option. Join a set of NumPy files with commas: x.npy,y.npy.",
            consume_multiple=True,
            show_default=False,
        ),
    ] = ()
    files_from: Annotated[
        Path | None, Parameter(help="Text file with one path per line; - is standard input.")
    ] = None
    manifest: Annotated[
        Path | None,
        Parameter(
            help="CSV, Parquet or JSON file with a column `file` and, if known, a column `rows`."
        ),
    ] = None
    partition: Annotated[str | None, Parameter(help="Partition to import into.")] = None
    option: Annotated[
        tuple[str, ...],
        Parameter(
            help="Option of the server, NAME=VALUE, such as auto_commit=false. May be repeated.",
            show_default=False,
        ),
    ] = ()
    volume: Annotated[str | None, Parameter(help="Zilliz Cloud volume with the files.")] = None

    def named(self) -> tuple[list[list[str]], pd.Series[int] | None]:
        """The import files, each as a list of paths, and their rows if there is a manifest."""
        rows = None if self.manifest is None else read_manifest(self.manifest)
        listed = [] if rows is None else rows.index.tolist()
        return _files_named(self.files, self.files_from, listed), rows

    def create(self, source: ProgressSource, files: Sequence[Sequence[str]]) -> str:
        """Create a job with some of the files, and return its id."""
        options = dict(_option(each) for each in self.option)
        if isinstance(source, ImportClient):
            storage = {name: os.environ[key] for name, key in _STORAGE.items() if key in os.environ}
            if self.volume is not None:
                storage["volumeName"] = self.volume
            return source.submit(
                self.collection, files, partition=self.partition, options=options, storage=storage
            )
        from importstats.sources.grpc import GrpcImportClient

        assert isinstance(source, GrpcImportClient), "there are two kinds of clients"  # noqa: S101
        return source.submit(self.collection, files, partition=self.partition, options=options)


def submit(
    *,
    load: Load,
    per_job: Annotated[
        int,
        Parameter(
            help="Largest number of files in a job; more files make several jobs.",
            validator=Number(gte=1, lte=MOST_FILES),
        ),
    ] = MOST_FILES,
    save: Annotated[
        Path | None,
        Parameter(
            validator=in_a_folder,
            help="Write the jobs and their files to this file (.json), for `wait` and `group`.",
        ),
    ] = None,
    watch: Annotated[
        bool, Parameter(help="Collect the submitted jobs and show them until they end.")
    ] = False,
    store: Store = DEFAULT_STORE,
    output: Output = "table",
    connection: Connection = ENVIRONMENT,
) -> int:
    """Create import jobs on the server, and print their ids."""
    named, rows = load.named()
    for each in load.option:
        _option(each)
    jobs: list[GroupJob] = []
    own_server, _ = connection.one_server()
    with contextlib.closing(own_server.opened()) as source:
        for part in range(0, len(named), per_job):
            own = named[part : part + per_job]
            job = GroupJob(
                job_id=load.create(source, own),
                source_uri=source.uri,
                db_name=own_server.db[0] if own_server.db else None,
                collection_name=load.collection,
                files=[_entry(each, rows) for each in own],
            )
            jobs.append(job)
            # Saved after each job, so that this one is known even if the next one fails.
            count = f"{len(own):,} file{'' if len(own) == 1 else 's'}"
            said = sys.stdout if output == "table" else sys.stderr
            print(f"submitted job={printable(job.job_id)} {count}", file=said, flush=True)
            if save is not None:
                write_group(save, jobs)
    if output != "table":
        counted = [{**msgspec.structs.asdict(job), "files": len(job.files)} for job in jobs]
        print_tables(output, "importstats.submit/1", {"jobs": pd.DataFrame(counted)})
        sys.stdout.flush()
    return _watch_jobs(jobs, store, connection) if watch else 0


def _watch_jobs(jobs: Sequence[GroupJob], store: str, connection: Connection) -> int:
    """Show one job, or wait for several, until they end; returns the exit code."""
    from importstats.cli import collecting, waiting

    if len(jobs) == 1:
        return collecting.watch(jobs[0].job_id, store=store, connection=connection)
    patient = PatientConnection(**vars(connection))
    return waiting.wait(*(job.job_id for job in jobs), store=store, connection=patient)


def _files_named(
    files: Iterable[str], files_from: Path | None, listed: Iterable[str]
) -> list[list[str]]:
    """The import files from all options, each as a list of paths."""
    words = [*files, *listed]
    if files_from is not None:
        try:
            text = sys.stdin.read() if str(files_from) == "-" else files_from.read_text("utf-8")
        except OSError as error:
            raise UsageError(f"cannot read {files_from}: {error.strerror}") from None
        words += [line.strip() for line in text.splitlines() if line.strip()]
    if not words:
        raise UsageError("no files to import: give --files, --files-from or --manifest")
    return [paths_of_file(word) for word in words]


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
    """Commit two-phase imports that wait for a commit: their rows become visible."""
    _check_named(jobs)
    with contextlib.closing(_two_phase_client(connection)) as client:
        for job in jobs:
            client.commit(job)
            if not quiet:
                print(f"committed job={printable(job)}", flush=True)


def abort(
    *jobs: Job,
    yes: Annotated[
        bool, Parameter(name=("--yes", "-y"), help="Do not ask for confirmation.")
    ] = False,
    discard: Annotated[
        bool, Parameter(help="Abort even if all rows of the job are written; they are lost.")
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
            if not yes and not _ask_to_discard(job, data):
                print(f"left job={printable(job)} alone")
                return 1
            client.abort(job, discard=discard)
            if not quiet:
                print(f"aborted job={printable(job)}", flush=True)
    return 0


def _ask_to_discard(job: str, data: ImportProgressData) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("abort asks for confirmation, and nobody can answer here: give --yes")
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
        raise UsageError("name one or more jobs")
    check_job_ids(jobs)


def _two_phase_client(connection: Connection) -> ImportClient:
    source = connection.opened()
    if isinstance(source, ImportClient):
        return source
    source.close()
    raise UsageError(
        "only the REST API of Milvus 3.0 can commit and abort jobs; leave out --source grpc"
    )
