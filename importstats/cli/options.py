"""Options that several commands share, and the source, store and console they stand for."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import pandas as pd
from cyclopts import Parameter
from rich.console import Console

from importstats.cli.configuration import ServerSettings, read_configuration
from importstats.cli.logs import log_warnings_of
from importstats.errors import UsageError
from importstats.show.records import as_csv, as_json
from importstats.sources.endpoint import from_environment, parse_endpoint
from importstats.text import printable

if TYPE_CHECKING:
    from importstats.collect.collector import PollPolicy
    from importstats.sources.source import ProgressSource


class _NotGiven(str):
    """Stands for an option that was not given, which a configuration may replace."""

    __slots__ = ()


DEFAULT_STORE: Final[str] = _NotGiven("importstats-store")


_TIMEOUT_S: Final = 30.0


def positive(_type: object, seconds: float) -> None:
    """Refuse anything but a positive, finite number of seconds."""
    if not 0 < seconds < math.inf:
        raise ValueError(f"{seconds:g} is not a positive number of seconds")


def check_job_ids(jobs: Iterable[str]) -> None:
    """Refuse an empty job id, as an unset shell variable gives."""
    if not all(job.strip() for job in jobs):
        raise UsageError("a job id is empty; leave it out to collect all jobs")


def in_a_folder(_type: object, path: Path | None) -> None:
    """Refuse a file whose folder does not exist, before the work is done."""
    if path is not None and not path.absolute().parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}")


def a_page(_type: object, path: Path | None) -> None:
    """Refuse a file that is not .html or whose folder does not exist."""
    if path is not None and path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"a page is not a {path.suffix or 'file without an ending'}; use .html")
    in_a_folder(_type, path)


def poll_policy(min_interval: float, max_interval: float) -> PollPolicy:
    """The policy with the shortest and the longest pause between polls."""
    if min_interval > max_interval:
        raise UsageError(
            f"--min-interval {min_interval:g} is above --max-interval {max_interval:g}"
        )
    from importstats.collect.collector import PollPolicy

    return PollPolicy(min_interval, max_interval)


Jobs = Annotated[str, Parameter(help="Job ids. Default: all jobs that the server lists.")]
Job = Annotated[str, Parameter(help="Job id.")]
LoadFile = Annotated[
    Path | None,
    Parameter(
        name=("--file", "-f"),
        help="File written by `submit --save`, or a text file with one id per line.",
    ),
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
    str, Parameter(env_var="IMPORTSTATS_STORE", help="Folder, or s3://, gs://, abfs:// URI.")
]
MinInterval = Annotated[
    float, Parameter(help="Shortest pause between two polls, seconds.", validator=positive)
]
MaxInterval = Annotated[
    float, Parameter(help="Longest pause between two polls, seconds.", validator=positive)
]
Collection = Annotated[str | None, Parameter(help="Without job ids: only jobs of this collection.")]
LogFormat = Literal["text", "json"]
Quiet = Annotated[
    bool, Parameter(name=("--quiet", "-q"), help="Print nothing but warnings and errors.")
]
Verbose = Annotated[bool, Parameter(name=("--verbose", "-v"), help="Log each step.")]
Output = Annotated[
    Literal["table", "json", "csv"],
    Parameter(help="Format of the output; docs/output.md lists the columns of json and csv."),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Connection:
    """The server to ask, and how to reach it."""

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
            "There is no --token: anyone could read it off the process list."
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
        Parameter(help="Seconds to wait for an answer, retries included.", validator=positive),
    ] = _TIMEOUT_S
    source: Annotated[
        Literal["rest", "grpc", "cloud-v1"],
        Parameter(help="grpc for Milvus up to 2.3, cloud-v1 for Zilliz Cloud's first API."),
    ] = "rest"
    server_version: Annotated[
        str | None,
        Parameter(help="The server's release, such as 2.4.15. Default: what its answers show."),
    ] = None
    config: Annotated[
        Path | None,
        Parameter(
            env_var="IMPORTSTATS_CONFIG",
            help="Configuration file that lists servers (importstats.toml). Options and "
            "environment variables override it.",
        ),
    ] = None
    server: Annotated[str | None, Parameter(help="Name of a server in the --config file.")] = None

    def of_each_server(self) -> list[tuple[Connection, ServerSettings]]:
        """The connection to each chosen server, with its settings from the configuration.

        Raises
        ------
        UsageError
            The configuration has no such server, or an option or the environment sets something for
            one server while several are chosen.
        """
        if self.config is None:
            if self.server is not None:
                raise UsageError(
                    "--server names a server of a configuration file: give the file with --config"
                )
            return [(self, ServerSettings())]
        servers = read_configuration(self.config)
        chosen = [each for each in servers if self.server in (None, each.name)]
        names = ", ".join(printable(each.name) for each in servers)
        if not chosen:
            raise UsageError(
                f"{self.config} has no server {printable(self.server or '')}; it has {names}"
            )
        for what, given in (("address", self.uri), ("token", self.token_file)):
            kind = "uri" if what == "address" else "token"
            if len(chosen) > 1 and (given or from_environment(kind)):
                raise UsageError(
                    f"an option or the environment (MILVUS_{kind.upper()}) gives one {what} to the "
                    f"{len(chosen)} servers of {self.config} ({names}): choose one with --server, "
                    "or leave it out"
                )
        return [(self._completed(each), each) for each in chosen]

    def one_server(self) -> tuple[Connection, ServerSettings]:
        """The connection to the only chosen server, with its settings.

        Raises
        ------
        UsageError
            Several servers are chosen, or none.
        """
        servers = self.of_each_server()
        if len(servers) > 1:
            names = ", ".join(printable(settings.name) for _, settings in servers)
            raise UsageError(
                f"{self.config} has {len(servers)} servers ({names}): choose one with --server"
            )
        return servers[0]

    def _completed(self, settings: ServerSettings) -> Connection:
        """The connection; a configuration adds what options and environment leave out."""

        def first(name: str, given: str | None, configured: str | None) -> str | None:
            return given or (None if from_environment(name) else configured)

        token_file = first("token", str(self.token_file or ""), settings.token_file)
        return replace(
            self,
            config=None,
            server=None,
            uri=first("uri", self.uri, settings.uri),
            token_file=Path(token_file) if token_file else None,
            db=self.db or (() if from_environment("db_name") else tuple(settings.databases)),
            cluster_id=first("cluster_id", self.cluster_id, settings.cluster_id),
            project_id=first("project_id", self.project_id, settings.project_id),
            region_id=first("region_id", self.region_id, settings.region_id),
            ca_file=self.ca_file or (Path(settings.ca_file) if settings.ca_file else None),
            timeout=self.timeout if self.timeout != _TIMEOUT_S else settings.timeout or _TIMEOUT_S,
            source=self.source if self.source != "rest" else settings.source or "rest",
            server_version=self.server_version or settings.server_version,
        )

    def opened(self) -> ProgressSource:
        """The source for these options; the caller closes it."""
        if self.config is not None or self.server is not None:
            return self.one_server()[0].opened()
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
                raise UsageError(
                    "--source grpc takes one --db: it lists the tasks of the whole server"
                )
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


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PatientConnection(Connection):
    """The server to ask, for commands whose ``--timeout`` limits the wait for jobs."""

    timeout: Annotated[
        float,
        Parameter(
            name="--request-timeout",
            help="Seconds to wait for an answer, retries included.",
            validator=positive,
        ),
    ] = _TIMEOUT_S


PATIENT: Final = PatientConnection()


def chosen_store(store: str, settings: ServerSettings) -> str:
    """The option's store if one was given, or the configuration's, or the default."""
    is_given = not isinstance(store, _NotGiven)
    return str(store) if is_given else settings.store or str(store)


def read_token(path: Path) -> str:
    """The token from a file, without white space around it."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"cannot read the token file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the token file {path} is not UTF-8 text; check the path") from None


def output_console() -> Console:
    """The console for standard output. Names come from a server: they are not markup."""
    # A pipe has no width, so nothing is cut.
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
