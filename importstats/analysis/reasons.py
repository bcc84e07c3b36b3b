"""Reasons: why a job or file failed, by kind of cause, and what to do about it.

The patterns match the servers' own wording: the readers of import files
(``internal/util/importutilv2``), the coordinator (``internal/datacoord/import_*.go``), the errors
they share (``pkg/util/merr``) and the object stores behind them. A reason that no pattern matches
is ``unknown``: it is quoted, without a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

import pandas as pd

ReasonKind = Literal[
    "cancelled", "missing", "privilege", "timeout", "quota", "data", "transient", "unknown"
]

#: The kinds of reasons with their meanings.
REASON_KINDS: Final[dict[ReasonKind, str]] = {
    "cancelled": "somebody aborted the job",
    "missing": "the database or collection is missing, or was dropped",
    "privilege": "a right is missing, on the cluster or in the object store",
    "timeout": "the job's own time, its option `timeout`, ran out",
    "quota": "a limit of disk, memory, collections or requests",
    "data": "a file is missing, unreadable, or does not fit the collection",
    "transient": "network, object store or node: it may pass by itself",
    "unknown": "any other",
}


@dataclass(frozen=True)
class ReasonPattern:
    """Reasons that match `pattern` are of this kind and call for this advice."""

    kind: ReasonKind
    pattern: re.Pattern[str]
    advice: str


def _reason_pattern(kind: ReasonKind, pattern: str, advice: str) -> ReasonPattern:
    return ReasonPattern(kind, re.compile(pattern, re.IGNORECASE | re.DOTALL), advice)


#: The first pattern that matches counts.
REASON_PATTERNS: Final = (
    _reason_pattern(
        "cancelled",
        r"\babort(?:ed)? by (?:the )?user|\bcancell?ed by|"
        r"\bjob (?:was |is )?(?:aborted|cancell?ed)",
        "Ask who aborted it.",
    ),
    _reason_pattern(
        "missing",
        r"\bcollection \S+ (?:was |has been |is )?dropped",
        "The collection was dropped while the job ran; create it before importing again.",
    ),
    _reason_pattern(
        "missing",
        r"(?:collection|database|partition) not found|can(?:'|no)t find (?:the )?"
        r"(?:collection|database|partition)|\b(?:collection|database|partition)\b[^,;]{0,80}"
        r"\b(?:not exist|doesn't exist)",
        "Check the name of the collection and its database (--db).",
    ),
    _reason_pattern(
        "privilege",
        r"\baccess ?denied\b|invalidaccesskeyid|signaturedoesnotmatch|io permission denied|"
        r"invalid ?credentials|authenticationfailed|authorizationpermissionmismatch|"
        r"\b(?:status(?: code)?:? ?)?403 forbidden",
        "The object store refuses Milvus: give the account that Milvus uses there the right to "
        "read these files.",
    ),
    _reason_pattern(
        "privilege",
        r"permission ?den(?:y|ied)|privilege not permitted|not authenticated|unauthenticated|"
        r"hasn't authenticated",
        "Grant the privilege Import to the user, in the database of the collection (--db).",
    ),
    _reason_pattern(
        "timeout",
        r"^\W*import timeout\b|expired the specified time",
        "The job's option `timeout` ran out: import again with a longer one, or with none.",
    ),
    _reason_pattern(
        "quota",
        r"disk quota|disk limit exceeded|disk (?:is )?full|no space left on device",
        "Give the cluster more disk, delete data that is not needed, or raise "
        "quotaAndLimits.limitWriting.diskProtection; before that, a new import of the same files "
        "fails too.",
    ),
    _reason_pattern(
        "quota",
        r"memory limit exceeded|memory quota|out of memory|\boom\b|insufficient memory|"
        r"resource insufficient",
        "Give the nodes more memory, or import smaller files.",
    ),
    _reason_pattern(
        "quota",
        r"number of jobs has reached the limit|import task queue max size|"
        r"max(?:imum)? number of import files|exceeded the limit number|"
        r"(?:request|rate) limit exceeded|rejected by limiter|general capacity exceeded|"
        r"quota ?exceeded|exceeds? (?:the )?quota",
        "Import fewer files or jobs at a time, or raise the limit.",
    ),
    _reason_pattern(
        "data",
        r"no ?such ?key|key not found|specified key does not exist|blobnotfound|"
        r"no such file|\bfile\b[^,;]{0,200}(?:not exist|not found)|no ?such ?bucket|"
        r"bucket (?:not found|does not exist)|specified bucket does not exist|"
        r"no (?:insert )?binlogs? to import|cannot be found with filepath|failed to get file size",
        "Check that the files are in the bucket of Milvus under exactly these paths, relative to "
        "the bucket.",
    ),
    _reason_pattern(
        "data",
        r"\bdim(?:ension)?s?\b[^;]{0,80}(?:expect|got|mis-?match|not equal|is not|differ)|"
        r"(?:expect|got|mis-?match)\w*[^;]{0,60}\bdim(?:ension)?s?\b|expected shape",
        "The vectors in the files do not have the dimension of the collection's field: correct the "
        "files or the field.",
    ),
    _reason_pattern(
        "data",
        r"not (?:defined |found )?in (?:arrow |the )?schema|schema not equal|is not in schema|"
        r"value of field '[^']*' is missed|no (?:parquet field|file) for|multi field with name|"
        r"auto-generated, no need to provide|no corresponding field|missing field|"
        r"field\b[^;]{0,80}\b(?:is )?missing|function output field|duplicated key",
        "The files' columns do not match the collection's fields: correct the files.",
    ),
    _reason_pattern(
        "data",
        r"\bnull(?:able)?\b|\bnil value|is none\b",
        "A field that may not be null has no value in the files: fill it, or make it nullable.",
    ),
    _reason_pattern(
        "data",
        r"type mis-?match|expect(?:ed|s)? (?:element )?(?:type|string|int|float|bool)|"
        r"expect '[^']*' type|got (?:'[^']*' )?type|unsupport(?:ed)? (?:importing|data) ?type|"
        r"unsupported importing|is not varchar data type|dtype '[^']*'|unexpected numpy header|"
        r"not supported data type|strconv\.|cannot (?:convert|unmarshal|parse)",
        "The type of a column differs from that of its field: correct the files.",
    ),
    _reason_pattern(
        "data",
        r"exceeds? (?:the )?max[_ ]?(?:imum )?(?:length|capacity)|out of range|"
        r"rows are not aligned|row count[^;]{0,60}not equal|reserved (?:id|pk) range",
        "A value or the number of rows is outside what the collection allows: correct the files.",
    ),
    _reason_pattern(
        "transient",
        r"connection (?:reset|refused|closed)|broken pipe|i/o time-?out|deadline ?exceeded|"
        r"context cancell?ed|timed? ?out\b|unavailable|service not ready|no such host|"
        r"node (?:not found|offline|lacks|not available|is down|lost|not match|crash)|"
        r"too ?many ?requests|slow ?down|internalerror|requesttimeout|bad gateway|"
        r"(?:status(?: ?code)?|http(?:/\d\.\d)?|code)[ :=]{0,3}(?:429|5\d\d)\b|server closed|"
        r"\b(?:429|50[0234]) (?:too|internal|bad|service|gateway)|transport is closing|"
        r"channel not (?:found|available)|\bio failed\b|tls handshake|"
        r"network (?:is |error|timeout)",
        "It may pass by itself; if it comes back, look at the network, the object store and the "
        "data nodes' logs at that time.",
    ),
    _reason_pattern(
        "data",
        r"unexpected eof|magic|footer|invalid (?:parquet|json|csv|utf)|parquet file too small|"
        r"failed to (?:decode|parse|unmarshal)|new \w+ reader failed|corrupt|checksum|"
        r"not a (?:valid )?\w+ file|unexpected file type|unexpected character|"
        r"looking for beginning|invalid character|accepts only one file|too many input paths|"
        r"file size[^;]{0,60}exceed|non-positive count|could not read|cannot read|failed to read",
        "The file cannot be read: check that it is whole and has the format that its name says, "
        "then upload it again.",
    ),
)

_UNKNOWN_ADVICE: Final = (
    "Look for the job's id in the logs of the data coordinator and the data nodes at that time."
)


def kind_of_reason(reason: str | None) -> ReasonKind:
    """The kind of cause that a server's reason names, or ``unknown``.

    Parameters
    ----------
    reason : str or None
        As the server sent it.

    Returns
    -------
    str
        One of :data:`REASON_KINDS`.

    Examples
    --------
    >>> kind_of_reason("quota exceeded[reason=disk quota exceeded, please allocate more resources]")
    'quota'
    >>> kind_of_reason("expected dim '128' for field 'v' with type 'FloatVector', got dim '64'")
    'data'
    >>> kind_of_reason("the moon is in the wrong house")
    'unknown'
    """
    found = _first_match(reason)
    return "unknown" if found is None else found.kind


def advice_on_reason(reason: str | None) -> str:
    """Advice on a reason, or on where to look if it is missing or unknown, in a sentence.

    Examples
    --------
    >>> advice_on_reason("collection 444 dropped")
    'The collection was dropped while the job ran; create it before importing again.'
    """
    found = _first_match(reason)
    return _UNKNOWN_ADVICE if found is None else found.advice


def _first_match(reason: str | None) -> ReasonPattern | None:
    if not reason:
        return None
    # Nearly every import error has a suffix that names no cause, and a path may contain any word.
    text = _PATHS.sub("<path>", _SUFFIX.sub("", reason[:_LONGEST]))
    return next((each for each in REASON_PATTERNS if each.pattern.search(text)), None)


# This much of a reason shows its cause; the time of a search grows with the square of the length.
_LONGEST: Final = 4096
_SUFFIX: Final = re.compile(r":? ?importing data failed\b", re.IGNORECASE)


def culprit_in(reason: str | None) -> str | None:
    """The file that a reason blames, or None.

    When a job fails, every file gets the job's reason, so only its text can show the file at fault.

    Examples
    --------
    >>> culprit_in('error: unexpected EOF: importing data failed, file: id:7 paths:"a/7.parquet"')
    'a/7.parquet'
    >>> culprit_in("import timeout") is None
    True
    """
    match = _CULPRIT.search((reason or "")[:_LONGEST])
    if match is None:
        return None
    return next(group for group in match.groups() if group) or None


_CULPRIT: Final = re.compile(
    r"\bpaths?:\s*\"([^\"]+)\"|\bfile:? '([^']+)'|\bkey=([^\s\])(,;]+)|\bpath=([^\s\])(,;]+)",
    re.IGNORECASE,
)


def normalised_reason(reason: str) -> str:
    """A failure's reason without the parts that differ from file to file: the cause to group by.

    Examples
    --------
    >>> normalised_reason("cannot read s3://b/part-00017.parquet: unexpected EOF (id 449839)")
    'cannot read <path>: unexpected EOF (id #)'
    """
    text = _PATHS.sub("<path>", reason[:_LONGEST])
    return " ".join(_NUMBERS.sub("#", text).split())


_PART: Final = r"[^\s'\"\[\](),;:=/]"
_PATHS: Final = re.compile(rf"(?:\w+://)?{_PART}*(?:/{_PART}+)+", re.IGNORECASE)
_NUMBERS: Final = re.compile(r"\b0x[0-9a-f]+\b|\b\d+(?:\.\d+)?\b", re.IGNORECASE)


def known_reasons(column: pd.Series[str]) -> pd.Series[str]:
    """A column of reasons; an empty or blank one is missing.

    Examples
    --------
    >>> known_reasons(pd.Series(["no such bucket", " ", None], dtype="str")).tolist()
    ['no such bucket', nan, nan]
    """
    texts = column.astype("str")
    return texts.where(texts.str.strip().ne("").fillna(False))
