"""An answer's envelope: the number and message that mean success or an error.

The numbers are those of Milvus' ``merr`` package and of the Zilliz Cloud reference. If a number
means many things (65535, 2100), the message decides.
"""

from __future__ import annotations

import re
from typing import Final

from importstats.errors import (
    REFUSED_ADVICE,
    JobNotFoundError,
    PrivilegeError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.text import excerpt

SUCCESS_CODES: Final = frozenset({0, 200})

#: The longest excerpt of a message: its end may matter, such as a database's name.
_MESSAGE_LIMIT: Final = 300

_UNAUTHORIZED_CODES: Final = frozenset({401, 1400, 1800, 80001, 90001, 90002})
_SAYS_UNAUTHORIZED: Final = re.compile(
    r"hasn't authenticated|unauthenticated|unauthorized|auth(entication)? (check )?fail|"
    r"invalid (api ?key|token|credential)|token is (illegal|invalid|expired)",
    re.IGNORECASE,
)
_PRIVILEGE_CODES: Final = frozenset({403, 1401})
_SAYS_NO_PRIVILEGE: Final = re.compile(
    r"permission ?den(y|ied)|privilege not permitted|no permission|not authorized to", re.IGNORECASE
)
_DATABASE: Final = re.compile(r"in the [`'\"]([^`'\"]+)[`'\"] database", re.IGNORECASE)
# Not ready, not available, too many requests, too slow: all may pass.
_TRANSIENT_CODES: Final = frozenset({2, 8, 408, 429, 1807, 10001})
_SAYS_TRANSIENT: Final = re.compile(
    r"service (not ready|unavailable)|rate limit exceeded|not ready yet", re.IGNORECASE
)
_SAYS_NO_JOB: Final = re.compile(
    r"\bjob\b.*(not exist|not found|doesn't exist|unknown)|"
    r"(not found|cannot find|can't find|unknown|no such)\b.*\bjob\b",
    re.IGNORECASE | re.DOTALL,
)
# For the reason of a failure, which may mention jobs and other things that were not found.
_IS_FORGOTTEN: Final = re.compile(r"\bjob\b[^:;]{0,40}(does not|doesn't|not) exist", re.IGNORECASE)
_SAYS_SUCCESS: Final = re.compile(r"\W*(success(ful|fully)?|ok|succeeded)?\W*", re.IGNORECASE)


def check_status(status: int | None, message: str | None) -> None:
    """Raise the error that an envelope's number and message stand for, if any.

    Raises
    ------
    UnauthorizedError, PrivilegeError, UnreachableError, JobNotFoundError, ServerError

    Examples
    --------
    >>> check_status(200, "")
    >>> check_status(1, "service not ready")
    Traceback (most recent call last):
    importstats.errors.UnreachableError: the server is not ready (code 1: service not ready)
    """
    if status is None or status in SUCCESS_CODES:
        return
    _raise(status, message or "")


def check_message(status: int | None, message: str | None) -> None:
    """Raise the error that the message of an answer without data stands for.

    Zilliz Cloud was seen to send ``{"code": "0", "message": "The token is illegal."}``.
    """
    if message and not _SAYS_SUCCESS.fullmatch(message):
        _raise(status or 0, message)


def says_forgotten(reason: str | None) -> bool:
    """Whether a Failed job's reason is that the server does not know the job (any longer).

    Examples
    --------
    >>> says_forgotten("import job does not exist, jobID=7")
    True
    >>> says_forgotten("import job failed: the file does not exist"), says_forgotten(None)
    (False, False)
    """
    return reason is not None and _IS_FORGOTTEN.search(reason) is not None


def _raise(status: int, message: str) -> None:
    said = excerpt(message or "no message", _MESSAGE_LIMIT)
    quoted = f"code {status}: {said}"
    if status in _PRIVILEGE_CODES or _SAYS_NO_PRIVILEGE.search(message):
        named = _DATABASE.search(message)
        raise PrivilegeError(said, code=status, database=named[1] if named else None)
    if status in _UNAUTHORIZED_CODES or _SAYS_UNAUTHORIZED.search(message):
        raise UnauthorizedError(f"the server refused the token ({quoted}); {REFUSED_ADVICE}")
    if _SAYS_NO_JOB.search(message):
        raise JobNotFoundError(
            f"the server does not know this import job ({quoted}); wrong id, or it ended and was "
            "forgotten, or it belongs to another database, see --db",
            code=status,
            server_message=said,
        )
    if status in _TRANSIENT_CODES or _SAYS_TRANSIENT.search(message):
        raise UnreachableError(f"the server is not ready ({quoted})")
    raise ServerError(f"server error {status}: {said}", code=status, server_message=said)
