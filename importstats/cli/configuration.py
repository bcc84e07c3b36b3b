"""The configuration file: several servers, each with its address, token file, store and events."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from importstats.errors import UsageError
from importstats.sources.endpoint import parse_endpoint
from importstats.text import printable

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Seconds = Annotated[float, msgspec.Meta(gt=0)]


class ServerSettings(msgspec.Struct, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """A server of a configuration file; ``None`` or empty for what the file leaves out.

    Attributes have the names and meanings of ``collect``'s options: ``databases`` is ``--db``,
    ``events`` is ``--on-event``.
    """

    name: _Text = "default"
    uri: _Text | None = None
    token_file: _Text | None = None
    databases: list[_Text] = []
    store: _Text | None = None
    events: list[_Text] = []
    collection: _Text | None = None
    cluster_id: _Text | None = None
    project_id: _Text | None = None
    region_id: _Text | None = None
    ca_file: _Text | None = None
    timeout: _Seconds | None = None
    source: Literal["rest", "grpc", "cloud-v1"] | None = None
    server_version: _Text | None = None
    metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    management_uri: list[_Text] = []


class _File(msgspec.Struct, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    servers: Annotated[list[ServerSettings], msgspec.Meta(min_length=1)]
    store: _Text | None = None
    events: list[_Text] = []


def read_configuration(path: Path) -> list[ServerSettings]:
    """The servers of a configuration file, each with the settings that the file has for all.

    Paths in the file are relative to its folder.

    Raises
    ------
    UsageError
        The file cannot be read, or something in it is wrong; the message says what and where.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "importstats.toml")
    >>> _ = path.write_text('''
    ... store = "s3://bucket/imports"
    ... [[servers]]
    ... name = "prod"
    ... uri = "http://milvus:19530"
    ... ''')
    >>> [server] = read_configuration(path)
    >>> server.name, server.store
    ('prod', 's3://bucket/imports')
    """
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the configuration {path} is not text (UTF-8); check the path") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        said, _, where = str(error).partition(" - at `$.")
        place = f" in {where.rstrip('`')}" if where else ""
        raise UsageError(f"{path}: {printable(said[:1].lower() + said[1:], 300)}{place}") from None
    names = [server.name for server in found.servers]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageError(
            f"{path}: two servers have the name {printable(min(twice))}; give each its own name"
        )
    return [_with_defaults(server, found, path) for server in found.servers]


def _with_defaults(server: ServerSettings, found: _File, path: Path) -> ServerSettings:
    """A server with its file's defaults and with absolute paths."""
    if server.uri is not None:
        try:
            endpoint = parse_endpoint(server.uri)
        except UsageError as error:
            raise UsageError(f"{path}: server {printable(server.name)}: {error}") from None
        if endpoint.credentials is not None:
            raise UsageError(
                f"{path}: the uri of server {printable(server.name)} has a user or password in "
                "it: write them to a file of their own, and its path to token-file"
            )
    store = server.store or found.store
    if store is not None and "://" not in store:
        store = _path_beside(path, store)
    return msgspec.structs.replace(
        server,
        store=store,
        events=server.events or found.events,
        token_file=server.token_file and _path_beside(path, server.token_file),
        ca_file=server.ca_file and _path_beside(path, server.ca_file),
    )


def _path_beside(path: Path, named: str) -> str:
    return str(path.absolute().parent / Path(named).expanduser())
