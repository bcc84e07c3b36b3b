"""A server's address: its parsed URI, and the environment variables about it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from importstats.errors import UsageError
from importstats.text import excerpt, without_secrets

#: Environment variables in order of preference: Milvus' names, then Zilliz Cloud's.
ENVIRONMENT: Final[Mapping[str, tuple[str, ...]]] = {
    "uri": ("MILVUS_URI", "ZILLIZ_CLOUD_URI", "ZILLIZ_URI"),
    "token": ("MILVUS_TOKEN", "ZILLIZ_CLOUD_API_KEY", "ZILLIZ_API_KEY", "ZILLIZ_CLOUD_TOKEN"),
    "db_name": ("MILVUS_DB_NAME", "MILVUS_DATABASE"),
    "cluster_id": ("ZILLIZ_CLUSTER_ID", "ZILLIZ_CLOUD_CLUSTER_ID"),
    "project_id": ("ZILLIZ_PROJECT_ID", "ZILLIZ_CLOUD_PROJECT_ID"),
    "region_id": ("ZILLIZ_REGION_ID", "ZILLIZ_CLOUD_REGION_ID"),
}


class Endpoint(NamedTuple):
    """A server's address.

    Attributes
    ----------
    uri : str
        Scheme, host, port and path: no user, password, query or trailing slash.
    scheme, hostname : str
    port : int or None
    credentials : str or None
        ``user:password`` if the URI had them.
    """

    uri: str
    scheme: str
    hostname: str
    port: int | None
    credentials: str | None

    @property
    def is_cloud_v1(self) -> bool:
        """Whether this is the control plane of Zilliz Cloud's first API."""
        return is_cloud(self.hostname) and self.hostname.startswith("controller.")


def parse_endpoint(uri: str | None) -> Endpoint:
    """A server's parsed URI; by default the one in the environment.

    Raises
    ------
    UsageError
        No URI is given or set, or it is not an http(s) URI. Without a scheme it is ``https``, or
        ``http`` for private hosts, see :func:`is_private`.

    Examples
    --------
    >>> endpoint = parse_endpoint("http://root:Milvus@localhost:19530/?timeout=5")
    >>> endpoint.uri, endpoint.credentials
    ('http://localhost:19530', 'root:Milvus')
    >>> [parse_endpoint(uri).uri for uri in ("milvus:19530", "api.cloud.zilliz.com")]
    ['http://milvus:19530', 'https://api.cloud.zilliz.com']
    """
    uri = uri or from_environment("uri")
    if not uri:
        raise UsageError(
            "no server: give a URI or set MILVUS_URI (http://host:19530, or "
            "https://api.cloud.zilliz.com)"
        )
    try:
        parts = urlsplit(uri if "://" in uri else f"//{uri}")
        hostname, port = parts.hostname, parts.port
        if not parts.scheme and hostname:
            # A missing scheme must not send a token unencrypted across the internet.
            parts = parts._replace(scheme="http" if is_private(hostname) else "https")
    except ValueError:
        parts, hostname, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not hostname or port == 0:
        raise UsageError(
            f"{excerpt(without_secrets(uri))!r} is not a server URI; write http://host:19530"
        )
    credentials = None
    if parts.username is not None:
        credentials = unquote(parts.username)
        if parts.password is not None:
            credentials += f":{unquote(parts.password)}"
    authority = parts.netloc.rpartition("@")[2]
    bare = urlunsplit((parts.scheme, authority, parts.path.rstrip("/"), "", ""))
    return Endpoint(bare, parts.scheme, hostname, port, credentials)


def is_private(hostname: str) -> bool:
    """Whether a host is on this machine or in a private network.

    These are loopback, private and link-local addresses, and names without a dot or with an ending
    that the internet does not have.

    Examples
    --------
    >>> [is_private(name) for name in ("127.0.0.1", "10.1.2.3", "milvus", "m.db.svc", "8.8.8.8")]
    [True, True, True, True, False]
    """
    try:
        address = ipaddress.ip_address(hostname.strip("[]"))
    except ValueError:
        name = hostname.rstrip(".").lower()
        return "." not in name or name.endswith(_PRIVATE_ENDINGS)
    return address.is_private or address.is_loopback or address.is_link_local


#: Endings of private names: reserved ones (RFC 6762, 8375, ICANN) and those of Kubernetes.
_PRIVATE_ENDINGS: Final = (".local", ".localhost", ".internal", ".home.arpa", ".lan", ".svc")


def is_cloud(hostname: str) -> bool:
    """Whether a host belongs to Zilliz Cloud.

    Examples
    --------
    >>> is_cloud("api.cloud.zilliz.com"), is_cloud("zilliz.com.example")
    (True, False)
    """
    domains = ("zilliz.com", "zillizcloud.com", "zilliz.com.cn", "zillizcloud.com.cn")
    return any(hostname == domain or hostname.endswith(f".{domain}") for domain in domains)


def from_environment(name: str) -> str | None:
    """The value of the first variable in :data:`ENVIRONMENT` that is set and not empty."""
    return next((os.environ[key] for key in ENVIRONMENT[name] if os.environ.get(key)), None)
