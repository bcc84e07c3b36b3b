"""Every error importstats raises on purpose, so that callers can tell them apart.

All derive from :class:`ImportStatsError`. The message is one line that says what happened, where,
and what to do. No message ever holds a token.
"""

from __future__ import annotations


class ImportStatsError(Exception):
    """Base of all errors of this package."""


class UnreachableError(ImportStatsError):
    """No answer: refused, timed out, no such host, TLS failure, or 5xx to the end."""


class UnauthorizedError(ImportStatsError):
    """The server refused the token (HTTP 401/403, or an error code that says so)."""


class ServerError(ImportStatsError):
    """The server answered with an error of its own.

    Attributes
    ----------
    code : int or None
        The number from the envelope (``code`` or ``status``), or the HTTP status.
    server_message : str
        The server's own words.
    """

    def __init__(self, message: str, *, code: int | None = None, server_message: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.server_message = server_message


class JobNotFoundError(ServerError):
    """The server does not know the job: a wrong id, or it ended and its retention has passed."""


class BadResponseError(ImportStatsError):
    """The answer is no progress response at all: HTML, cut-off JSON, a wrong type, or too large."""


class StoreError(ImportStatsError):
    """The store cannot be read or written: no space, no permission, or not a store."""


class MissingExtraError(ImportStatsError):
    """A feature needs an optional dependency; the message names the extra to install."""
