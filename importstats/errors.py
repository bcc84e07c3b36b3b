"""The errors that importstats raises on purpose, so that callers can tell them apart.

All derive from :class:`ImportStatsError`. The message is one line that says what happened, where,
and what to do. No message ever holds a token.
"""

from __future__ import annotations

from typing import Final

#: What to do about a refused token, which may come from either place.
REFUSED_ADVICE: Final = "check MILVUS_TOKEN or the token file"


class ImportStatsError(Exception):
    """The base of all errors of this package."""


class UnreachableError(ImportStatsError):
    """No answer: refused, timed out, no such host, TLS failure, or not ready to the end.

    Attributes
    ----------
    retry_after_s : float
        How many seconds the server asks us to wait; 0 if it does not.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnauthorizedError(ImportStatsError):
    """The server refused the token (HTTP 401, or an error code that says so)."""


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


class PrivilegeError(ServerError):
    """The token is valid, but its user may not see this import; other jobs may be readable.

    Attributes
    ----------
    database : str or None
        The database in which the privilege is missing, if it is known.
    """

    def __init__(self, said: str, *, code: int | None = None, database: str | None = None) -> None:
        where = "the database asked" if database is None else f"database {database!r}"
        super().__init__(
            f"the user lacks the Import privilege in {where} (code {code}: {said}); "
            "have it granted, or name the database of the job, see --db",
            code=code,
            server_message=said,
        )
        self.database = database


class JobNotFoundError(ServerError):
    """The server does not know the job: a wrong id, or it ended and its retention has passed."""


class BadResponseError(ImportStatsError):
    """The answer is not a progress response: HTML, cut-off JSON, a wrong type, or too long."""


class StoreError(ImportStatsError):
    """The store cannot be read or written: no space, no permission, or not a store."""


class UsageError(ImportStatsError):
    """The caller's address, file or option cannot be used. A retry does not help."""


class FinishedWorkError(UsageError):
    """The request would destroy finished work, and nobody has confirmed it."""


class MissingExtraError(UsageError):
    """A feature needs an optional dependency; the message names the extra to install.

    Parameters
    ----------
    purpose, package, extra : str
        The feature, the missing package, and the extra that installs it.
    """

    def __init__(self, purpose: str, package: str | None, extra: str) -> None:
        super().__init__(
            f"{purpose} needs {package or extra}; install importstats with the extra {extra}: "
            f"pip install '.[{extra}]' in its source folder"
        )


def nested_errors(error: BaseException) -> list[BaseException]:
    """The error and its causes, the innermost last."""
    found = [error]
    while True:
        last = found[-1]
        inside = [last.__cause__, last.__context__, getattr(last, "reason", None), *last.args]
        inner = next((each for each in inside if isinstance(each, BaseException)), None)
        if inner is None or inner in found:
            return found
        found.append(inner)
