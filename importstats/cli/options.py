"""Options that several commands share, and what they stand for: a source, a store, a console."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import pandas as pd
from cyclopts import Parameter
from rich.console import Console

from importstats.cli.logs import log_warnings_of
from importstats.collect.collector import PollPolicy
from importstats.errors import UsageError
from importstats.show.records import as_csv, as_json
from importstats.sources.endpoint import parse_endpoint
from importstats.sources.source import ProgressSource

DEFAULT_STORE: Final = "importstats-store"


def positive(_type: object, seconds: float) -> None:
    """Refuse what is no positive, finite number of seconds."""
    if not 0 < seconds < math.inf:
        raise ValueError(f"{seconds:g} is not a positive number of seconds")


def check_job_ids(jobs: Iterable[str]) -> None:
    """Refuse a job id that is empty, as of a shell variable that is not set."""
    if not all(job.strip() for job in jobs):
        raise UsageError("a job id is empty; leave it out to collect all jobs")


def in_a_folder(_type: object, path: Path | None) -> None:
    """Refuse a file in a folder that does not exist, before the work is done."""
    if path is not None and not path.absolute().parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}")


def poll_policy(min_interval: float, max_interval: float) -> PollPolicy:
    """The pauses between polls that two options ask for."""
    if min_interval > max_interval:
        raise UsageError(
            f"--min-interval {min_interval:g} is above --max-interval {max_interval:g}"
        )
    return PollPolicy(min_interval, max_interval)


Jobs = Annotated[str, Parameter(help="Job ids. None: all the server lists.")]
Job = Annotated[str, Parameter(help="Job id.")]
LoadFile = Annotated[
    Path | None,
    Parameter(name=("--file", "-f"), help="File of `submit --save`, or a text with an id a line."),
]
Store = Annotated[
    str,
    Parameter(
        name=("--store", "-s"),
        env_var="IMPORTSTATS_STORE",
        help="Folder, or s3://, gs://, abfs:// URI.",
    ),
]
StoreArgument = Annotated[
    str,
    Parameter(
        env_var="IMPORTSTATS_STORE",
        help="Folder, or s3://, gs://, abfs:// URI.",
    ),
]
MinInterval = Annotated[
    float, Parameter(help="Shortest pause between two polls, seconds.", validator=positive)
]
MaxInterval = Annotated[
    float, Parameter(help="Longest pause between two polls, seconds.", validator=positive)
]
Collection = Annotated[str | None, Parameter(help="With no job ids: only jobs of this collection.")]
LogFormat = Literal["text", "json"]
Quiet = Annotated[
    bool, Parameter(name=("--quiet", "-q"), help="Print nothing but warnings and errors.")
]
Verbose = Annotated[bool, Parameter(name=("--verbose", "-v"), help="Log each step.")]
Output = Annotated[
    Literal["table", "json", "csv"],
    Parameter(help="Form of the output; docs/output.md has the columns of json and csv."),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Connection:
    """The server to ask, and how."""

    uri: Annotated[
        str | None,
        Parameter(
            name=("--uri", "-u"),
            help="Server: http://host:19530 or https://api.cloud.zilliz.com. "
            "Default: MILVUS_URI or ZILLIZ_CLOUD_URI.",
        ),
    ] = None
    token_file: Annotated[
        Path | None,
        Parameter(
            help="File that holds the token. Default: MILVUS_TOKEN or ZILLIZ_CLOUD_API_KEY. "
            "There is no --token: anyone could read it off the process list.",
        ),
    ] = None
    db: Annotated[
        tuple[str, ...],
        Parameter(help="Database. May be repeated: jobs are found in each.", show_default=False),
    ] = ()
    cluster_id: Annotated[str | None, Parameter(help="Zilliz Cloud cluster.")] = None
    project_id: Annotated[str | None, Parameter(help="Zilliz Cloud project.")] = None
    region_id: Annotated[str | None, Parameter(help="Zilliz Cloud region.")] = None
    ca_file: Annotated[Path | None, Parameter(help="CA bundle to verify the server with.")] = None
    timeout: Annotated[
        float,
        Parameter(help="Seconds to wait for an answer, all tries together.", validator=positive),
    ] = 30.0
    source: Annotated[
        Literal["rest", "grpc", "cloud-v1"],
        Parameter(help="grpc for Milvus up to 2.3, cloud-v1 for Zilliz Cloud's first API."),
    ] = "rest"
    server_version: Annotated[
        str | None,
        Parameter(help="The server's release, as 2.4.15. Default: what its answers give away."),
    ] = None

    def opened(self) -> ProgressSource:
        """The source that these options name; the caller closes it."""
        if self.uri is not None and parse_endpoint(self.uri).credentials is not None:
            raise UsageError(
                "--uri has a user or password in it, and anyone could read it off the process "
                "list: set MILVUS_URI or MILVUS_TOKEN instead, or give --token-file"
            )
        log_warnings_of("importstats.sources")
        token = read_token(self.token_file) if self.token_file else None
        if self.source == "grpc":
            from importstats.sources.grpc import GrpcImportClient

            if len(self.db) > 1:
                raise UsageError("--source grpc takes one --db: its tasks are of the whole server")
            return GrpcImportClient(
                self.uri,
                token=token,
                db_name=self.db[0] if self.db else None,
                timeout=self.timeout,
                ca_file=self.ca_file,
            )
        from importstats.sources.rest import ImportClient

        return ImportClient(
            self.uri,
            token=token,
            db_name=self.db or None,
            cluster_id=self.cluster_id,
            project_id=self.project_id,
            region_id=self.region_id,
            timeout=self.timeout,
            verify=str(self.ca_file) if self.ca_file else True,
            server_version=self.server_version,
            api="cloud-v1" if self.source == "cloud-v1" else None,
        )


ENVIRONMENT: Final = Connection()


def read_token(path: Path) -> str:
    """The token in a file, without the white space around it."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"cannot read the token file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the token file {path} is not UTF-8 text; check the path") from None


def output_console() -> Console:
    """The console of standard output. Names come from a server: they are not markup."""
    # A pipe has no width to be cut to.
    width = None if sys.stdout.isatty() else 120
    return Console(markup=False, highlight=False, emoji=False, width=width)


def print_tables(
    output: Literal["json", "csv"], form: str, tables: Mapping[str, pd.DataFrame]
) -> None:
    """Print tables for a program: all as one JSON object, or the first as CSV."""
    if output == "json":
        print(as_json(form, tables))
    else:
        print(as_csv(next(iter(tables.values()))), end="")
