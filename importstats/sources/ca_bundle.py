"""CA bundles: the certificates that vouch for a server's, checked before a request."""

from __future__ import annotations

import ssl
from pathlib import Path

from importstats.errors import UsageError


def check_ca_bundle(path: str | Path) -> None:
    """Raise :class:`UsageError` if a file of certificates cannot be used; a folder is taken."""
    if not Path(path).is_dir():
        read_ca_file(path)


def read_ca_file(path: str | Path) -> bytes:
    """A file of certificates.

    Raises
    ------
    UsageError
        It is missing, may not be read, or holds no certificate.
    """
    try:
        content = Path(path).read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise UsageError(
            f"the CA file {str(path)!r} holds no certificate in PEM form; check the path"
        ) from error
    except OSError as error:
        raise UsageError(
            f"the CA file {str(path)!r} cannot be read ({error.strerror}); check the path"
        ) from error
    return content
