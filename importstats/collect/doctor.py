"""The doctor: checks everything that collecting needs, and names the first fault and its fix."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    PrivilegeError,
    ServerError,
    StoreError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.names import RETENTION_S
from importstats.releases import CLOUD
from importstats.sources.endpoint import is_private
from importstats.sources.messages import ImportJobRecord
from importstats.sources.rest import ImportClient
from importstats.sources.transport import TlsError
from importstats.store import SnapshotStore
from importstats.text import excerpt, format_bytes, format_duration

Outcome = Literal["ok", "warning", "failed", "skipped"]

_LARGEST_CLOCK_DIFFERENCE_S: Final = 30.0
_LITTLE_SPACE_BYTES: Final = 1e9
_NO_SPACE_BYTES: Final = 50e6


@dataclass(frozen=True)
class Check:
    """The outcome of one check, and what to do about it."""

    name: str
    #: ``skipped`` if an earlier check failed.
    outcome: Outcome
    #: What was found, on one line without secrets.
    said: str
    #: What to do about it; empty if nothing.
    fix: str = ""
    #: The error that a collector would have raised.
    error: ImportStatsError | None = None


def examine(
    client: ImportClient, store: SnapshotStore, *, poll_s: float, has_token: bool
) -> list[Check]:
    """The checks of a server, the user's rights on it, and a store, in this order.

    The check writes to the store and leaves it as it was. `poll_s` is the longest pause between two
    polls or scheduled snapshots.
    """
    return [
        *_check_server(client, has_token=has_token),
        _check_clock(client.clock_ahead_s),
        *_check_store(store),
        check_retention(poll_s),
    ]


def check_retention(poll_s: float) -> Check:
    """Whether polls are frequent enough to see a job's end before the server forgets it.

    Examples
    --------
    >>> check_retention(60).outcome, check_retention(7200).outcome
    ('ok', 'warning')
    """
    every, kept = format_duration(poll_s), format_duration(RETENTION_S)
    if poll_s * 2 <= RETENTION_S:
        said = f"a poll every {every}; a server forgets a job {kept} after its end by default"
        return Check("retention", "ok", said)
    return Check(
        "retention",
        "warning",
        f"a poll every {every} can miss the end of a job: a server forgets it after {kept}",
        "poll more often, or raise dataCoord.import.taskRetention on the server",
    )


def _check_server(client: ImportClient, *, has_token: bool) -> Iterator[Check]:
    records: list[ImportJobRecord] = []
    problem: ImportStatsError | None = None
    try:
        records = list(client.list_jobs())
    except ImportStatsError as error:
        problem = error
    later = ["TLS", "server", "token", "databases", "privilege", "describe"]
    if isinstance(problem, UnreachableError) and not isinstance(problem, TlsError):
        yield Check("address", "failed", str(problem), "is the server up?", problem)
        yield from _skipped(later)
        return
    yield Check("address", "ok", f"{client.uri} answers")
    if isinstance(problem, TlsError):
        yield Check("TLS", "failed", str(problem), error=problem)
        yield from _skipped(later[1:])
        return
    yield _check_encryption(client.uri, has_token=has_token)
    if isinstance(problem, BadResponseError) or _is_no_api(problem):
        fix = "give the URI of Milvus or Zilliz Cloud itself, not of a page or proxy before it"
        yield Check("server", "failed", str(problem), fix, problem)
        yield from _skipped(later[2:])
        return
    described = _check_describe(client, records)
    yield _check_release(client)
    yield _check_token(problem, has_token=has_token)
    if isinstance(problem, UnauthorizedError):
        yield from _skipped(later[3:])
        return
    yield _check_databases(client)
    yield _check_privilege(client, records, problem)
    yield described


def _skipped(names: list[str]) -> Iterator[Check]:
    for name in names:
        yield Check(name, "skipped", "not checked, because an earlier check failed")


def _is_no_api(problem: ImportStatsError | None) -> bool:
    return isinstance(problem, ServerError) and problem.code in (301, 302, 303, 307, 308, 404, 405)


def _check_encryption(uri: str, *, has_token: bool) -> Check:
    parts = urlsplit(uri)
    if parts.scheme == "https":
        return Check("TLS", "ok", "the certificate is verified")
    if has_token and not is_private(parts.hostname or ""):
        return Check("TLS", "warning", "the token is sent unencrypted", "use https")
    return Check("TLS", "ok", "none; the host is local or private, or no token is sent")


def _check_release(client: ImportClient) -> Check:
    version = client.server_version
    if version == CLOUD:
        return Check("server", "ok", "Zilliz Cloud")
    if version is None:
        return Check("server", "ok", "Milvus; its release is not known yet, see --server-version")
    return Check("server", "ok", f"Milvus, release {excerpt(version)}")


def _check_token(problem: ImportStatsError | None, *, has_token: bool) -> Check:
    if isinstance(problem, UnauthorizedError):
        fix = "set MILVUS_TOKEN to user:password or an API key of this server, or --token-file"
        return Check("token", "failed", str(problem), fix, problem)
    return Check("token", "ok", "accepted" if has_token else "none, and the server asks for none")


def _check_databases(client: ImportClient) -> Check:
    named = list(client.databases)
    try:
        visible = client.list_databases()
    except ImportStatsError as error:
        return Check(
            "databases", "ok", f"the server does not list them ({excerpt(str(error), 80)})"
        )
    missing = [name for name in named if name not in visible]
    shown = excerpt(", ".join(visible), 200) or "none"
    if missing:
        problem = ServerError(f"the user cannot see database {', '.join(missing)}")
        said = f"{problem}; it sees {shown}"
        return Check("databases", "failed", said, "check --db, or have access granted", problem)
    return Check(
        "databases", "ok", f"the user sees {shown}; asked: {', '.join(named) or 'default'}"
    )


def _check_privilege(
    client: ImportClient, records: list[ImportJobRecord], problem: ImportStatsError | None
) -> Check:
    if problem is not None:
        kind = "have the privilege Import granted" if isinstance(problem, PrivilegeError) else ""
        return Check(
            "privilege", "failed", str(problem), kind or "read what the server says", problem
        )
    if not records:
        return Check(
            "privilege",
            "warning",
            "the server lists no job; a server leaves out jobs that the user may not see",
            "if there should be one, have the privilege Import granted, or name its database: --db",
        )
    count = len(records)
    return Check("privilege", "ok", f"{count} job{'' if count == 1 else 's'} listed")


def _check_describe(client: ImportClient, records: list[ImportJobRecord]) -> Check:
    if not records:
        return Check("describe", "skipped", "the server lists no job to ask about")
    job_id = records[0].job_id
    try:
        answer = client.describe(job_id)
    except ImportStatsError as error:
        fix = "read what the server says; other jobs may answer"
        return Check("describe", "failed", str(error), fix, error)
    return Check("describe", "ok", f"job {excerpt(job_id)} is {excerpt(str(answer.data.state))}")


def _check_clock(ahead_s: float | None) -> Check:
    if ahead_s is None:
        return Check("clock", "skipped", "the server did not send its time")
    if abs(ahead_s) < _LARGEST_CLOCK_DIFFERENCE_S:
        return Check("clock", "ok", "the server's clock agrees with that of this machine")
    where = "ahead of" if ahead_s > 0 else "behind"
    return Check(
        "clock",
        "warning",
        f"the server's clock is {format_duration(abs(ahead_s))} {where} that of this machine",
        "synchronise both with NTP: the server times the ends of files, this machine the snapshots",
    )


def _check_store(store: SnapshotStore) -> Iterator[Check]:
    files = store.sidecar_files
    is_new = files.is_local and not Path(files.root).exists()
    path = f"_doctor/{secrets.token_hex(6)}"
    try:
        files.put(path, b"written to see that it can be\n")
        files.delete(path)
    except StoreError as error:
        fix = "see the reason; give another folder or bucket with --store"
        yield Check("store", "failed", str(error), fix, error)
        yield from _skipped(["disk"])
        return
    yield Check("store", "ok", f"{store.uri} can be written")
    yield (
        _check_disk(files.root) if files.is_local else Check("disk", "ok", "a bucket has no limit")
    )
    if files.is_local:
        for folder in ("_doctor", "_tmp"):
            _remove_if_empty(Path(files.root, folder))
        if is_new:
            _remove_if_empty(Path(files.root))


def _check_disk(folder: str) -> Check:
    free = shutil.disk_usage(folder).free
    said = f"{format_bytes(free)} free"
    if free >= _LITTLE_SPACE_BYTES:
        return Check("disk", "ok", said)
    fix = "free some space, or choose another store"
    if free >= _NO_SPACE_BYTES:
        return Check("disk", "warning", said, fix)
    return Check("disk", "failed", said, fix, StoreError(f"{folder}: only {said}"))


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
