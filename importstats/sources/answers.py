"""The typed answer of ``GetImportProgress``, and the one parser for every dialect of it.

Field names are the wire's, in snake case. The dialects (Milvus 2.4 to 3.0, Zilliz Cloud v1 and v2)
differ in names, types and in what they leave out; :func:`parse_response` accepts all of them under
three rules:

* a value that is absent or null is ``None``;
* a number sent as text is a number;
* a value that cannot be a value of its field (a negative count, ``progress`` of 250, text where a
  number belongs) is ``None``, and what was sent is kept in ``extra`` under its wire name, as is
  every field this module does not know.

So nothing a server sends is lost, and nothing downstream has to doubt a number again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from importstats.errors import BadResponseError, JobNotFoundError, ServerError, UnauthorizedError
from importstats.text import excerpt

INT64_MAX: Final = 2**63 - 1
SUCCESS_CODES: Final = frozenset({0, 200})

Count = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]

# `extra` is ours, not the wire's: no server can send a field of this name.
_NOT_ON_THE_WIRE: Final = "(extra)"


def _wire_name(name: str) -> str:
    if name == "extra":
        return _NOT_ON_THE_WIRE
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


class ImportProgressDetail(
    msgspec.Struct, rename=_wire_name, forbid_unknown_fields=True, kw_only=True, gc=False
):
    """One source file of a job, as the server reported it.

    Attributes
    ----------
    file_name : str or None
        The printed list of paths, as sent; see :func:`parse_file_name`.
    file_size : int or None
        Size of the file in bytes.
    progress : float or None
        Percent, 0 to 100. Files of one task share it.
    complete_time : str or None
        RFC 3339, empty or ``None`` until the file is done.
    state : str or None
        ``Pending``, ``InProgress``, ``Completed``, ``Failed``, ``Retry``, ``None`` or a newer one.
    imported_rows, total_rows : int or None
        Rows. ``total_rows`` has been seen to be the job's total instead of the file's.
    reason : str or None
        Why the file failed.
    extra : dict
        Unknown fields and unusable values, by wire name.
    """

    file_name: str | None = None
    file_size: Count | None = None
    progress: Percent | None = None
    complete_time: str | None = None
    state: str | None = None
    imported_rows: Count | None = None
    total_rows: Count | None = None
    reason: str | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


class ImportProgressData(
    msgspec.Struct, rename=_wire_name, forbid_unknown_fields=True, kw_only=True
):
    """The job itself: state, progress, rows and one detail per source file.

    Attributes are those of :class:`ImportProgressDetail` for the job as a whole, and
    ``collection_name``, ``job_id`` and ``details``.
    """

    collection_name: str | None = None
    job_id: str | None = None
    complete_time: str | None = None
    state: str | None = None
    progress: Percent | None = None
    imported_rows: Count | None = None
    total_rows: Count | None = None
    reason: str | None = None
    file_size: Count | None = None
    details: list[ImportProgressDetail] = msgspec.field(default_factory=list)
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


class GetImportProgressResponse(
    msgspec.Struct, rename=_wire_name, forbid_unknown_fields=True, kw_only=True
):
    """A whole answer: the envelope and its data.

    Attributes
    ----------
    status : int
        0 (early 2.4: 200) for success, whether the server called it ``status`` or ``code``.
    message : str or None
        The server's words, mostly empty.
    data : ImportProgressData
        The job.
    extra : dict
        Unknown fields of the envelope.
    """

    status: int = 0
    message: str | None = None
    data: ImportProgressData = msgspec.field(default_factory=ImportProgressData)
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


class ImportJobRecord(msgspec.Struct, kw_only=True):
    """One job as ``list`` reports it. ``progress`` is in percent."""

    job_id: str
    collection_name: str | None = None
    state: str | None = None
    progress: float | None = None
    reason: str | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


class _PlainEnvelope(msgspec.Struct, forbid_unknown_fields=True):
    """The envelope as nearly every server sends it; anything else takes the tolerant path."""

    data: ImportProgressData
    code: int
    message: str | None = None


_PLAIN: Final = msgspec.json.Decoder(_PlainEnvelope)
_NO_DATA: Final = ImportProgressData()


def parse_response(body: bytes | str | Mapping[str, Any]) -> GetImportProgressResponse:
    """Parse the body of a ``describe`` call, whatever server it came from.

    Parameters
    ----------
    body : bytes, str or mapping
        The HTTP body, or the JSON object it holds.

    Returns
    -------
    GetImportProgressResponse

    Raises
    ------
    BadResponseError
        The body is no progress response (HTML, truncated, another type). The message carries a
        short excerpt.
    UnauthorizedError, JobNotFoundError, ServerError
        The envelope carries an error number. Servers send these with HTTP 200.

    Examples
    --------
    >>> answer = parse_response('{"code": 0, "data": {"jobId": 7, "state": "Importing", '
    ...                         '"progress": "70", "importedRows": -1, "shard": 2}}')
    >>> answer.data.job_id, answer.data.progress, answer.data.imported_rows
    ('7', 70.0, None)
    >>> answer.data.extra
    {'importedRows': -1, 'shard': 2}
    """
    if not isinstance(body, Mapping):
        try:
            plain = _PLAIN.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            pass  # Not the plain dialect; the tolerant path below decides whether it is any.
        else:
            if plain.data != _NO_DATA:
                check_status(plain.code, plain.message)
                return GetImportProgressResponse(
                    status=plain.code, message=plain.message, data=plain.data
                )
    return _parse_tolerantly(decode_object(body))


def parse_job_list(body: bytes | str | Mapping[str, Any]) -> list[ImportJobRecord]:
    """Parse the body of a ``list`` call into its job records, in the server's order.

    Records without a job id are dropped, since nothing can be asked about them. Raises as
    :func:`parse_response` does.

    Examples
    --------
    >>> jobs = parse_job_list('{"code": 0, "data": {"records": [{"jobId": "1", "progress": 40}]}}')
    >>> jobs[0].job_id, jobs[0].progress
    ('1', 40.0)
    """
    envelope = decode_object(body)
    check_status(*_status_and_message(envelope))
    data = envelope.get("data")
    records = data.get("records") if isinstance(data, dict) else data
    if records is None:
        return []
    if not isinstance(records, list):
        raise BadResponseError(f"the job list is a {type(records).__name__}, not a list of records")
    jobs = []
    for record in records:
        if isinstance(record, dict):
            fields, extra = _convert(record, _JOB_FIELDS, _JOB_ALIASES)
            if fields.get("job_id"):
                known = {name: fields[name] for name in _RECORD_FIELDS if name in fields}
                jobs.append(ImportJobRecord(**known, extra=extra))
    return jobs


def check_status(status: int | None, message: str | None) -> None:
    """Raise the error that an envelope's number and message stand for, if they stand for one.

    The numbers are those of Milvus' ``merr`` package and of the Zilliz Cloud reference; where
    one number means many things (65535, 2100) the message decides.
    """
    if status is None or status in SUCCESS_CODES:
        return
    said = excerpt(message or "no message")
    text = f"server error {status}: {said}"
    kind: type[ServerError] = ServerError
    if status in _UNAUTHORIZED_CODES or _SAYS_UNAUTHORIZED.search(said):
        raise UnauthorizedError(
            f"the server refused the token (code {status}: {said}); check MILVUS_TOKEN"
        )
    if _SAYS_NO_JOB.search(said):
        kind = JobNotFoundError
        text = (
            f"the server does not know this import job (code {status}: {said}); "
            "wrong id, or it ended and was forgotten"
        )
    raise kind(text, code=status, server_message=said)


_UNAUTHORIZED_CODES: Final = frozenset({401, 403, 1400, 1401, 1800, 80001, 90001, 90002})
_SAYS_UNAUTHORIZED: Final = re.compile(
    r"hasn't authenticated|unauthenticated|unauthorized|auth(entication)? (check )?fail|"
    r"invalid (api ?key|token|credential)|permission deny|permission denied",
    re.IGNORECASE,
)
_SAYS_NO_JOB: Final = re.compile(
    r"\bjob\b.*(not exist|not found|doesn't exist|unknown)|"
    r"(not found|cannot find|can't find|unknown|no such)\b.*\bjob\b",
    re.IGNORECASE | re.DOTALL,
)


def decode_object(body: bytes | str | Mapping[str, Any]) -> dict[str, Any]:
    """Decode a JSON object, or raise :class:`BadResponseError` that shows what came instead."""
    if isinstance(body, Mapping):
        return _of_bounded_depth(dict(body))
    try:
        decoded = _decode_json(body)
    except (ValueError, RecursionError) as error:
        what = "HTML" if re.match(rb"\s*<", _as_bytes(body[:64])) else "not valid JSON"
        if not body:
            what = "empty"
        raise BadResponseError(
            f"the answer is {what} ({len(body):,} bytes): {excerpt(body)!r}; "
            "is this the URI of a Milvus or Zilliz Cloud REST endpoint?"
        ) from error
    if not isinstance(decoded, dict):
        raise BadResponseError(
            f"the answer is a JSON {type(decoded).__name__}, not an object: {excerpt(body)!r}"
        )
    return _of_bounded_depth(decoded)


def _of_bounded_depth(decoded: dict[str, Any]) -> dict[str, Any]:
    """The object, or an error: what is nested deeper could be read, but not written again."""
    level: list[Any] = [decoded]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return decoded
    raise BadResponseError(f"the answer is nested more than {_DEEPEST} levels deep; refused")


_DEEPEST: Final = 100


def _as_bytes(text: bytes | str) -> bytes:
    return text.encode("utf-8", "replace") if isinstance(text, str) else text


def _decode_json(body: bytes | str) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError):
        # Python's decoder also takes lone surrogates and numbers of any size.
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        # What is no finite number stays text, which JSON can say again.
        return json.loads(text, parse_float=_finite_or_text, parse_constant=str)


def _finite_or_text(printed: str) -> float | str:
    number = float(printed)
    return number if math.isfinite(number) else printed


def _status_and_message(envelope: Mapping[str, Any]) -> tuple[int | None, str | None]:
    status = None
    for name in ("code", "status"):
        number = _count_or_negative(envelope.get(name))
        # Both may stand there; the one that tells of an error wins.
        if number is not None and (status is None or status in SUCCESS_CODES):
            status = number
    message = envelope.get("message")
    return status, None if message is None else _text(message)


def _parse_tolerantly(envelope: dict[str, Any]) -> GetImportProgressResponse:
    status, message = _status_and_message(envelope)
    check_status(status, message)
    data = envelope.get("data")
    if data is None and status is None and ("state" in envelope or "jobId" in envelope):
        data, envelope = envelope, {}
    if not isinstance(data, dict):
        raise BadResponseError(
            f"the answer's data is a {type(data).__name__}, not an object: "
            f"{excerpt(json.dumps(envelope, default=str))!r}"
        )
    if not data.keys() & _TELLTALE_FIELDS:
        raise BadResponseError(
            "the answer's data has no field of an import job: "
            f"{excerpt(json.dumps(data, default=str))!r}"
        )
    fields, extra = _convert(data, _JOB_FIELDS, _JOB_ALIASES)
    details = data.get("details")
    if isinstance(details, list):
        parsed = [_parse_detail(detail) for detail in details]
    else:
        parsed = []
        if details is not None:
            extra["details"] = details
    return GetImportProgressResponse(
        status=status or 0,
        message=message,
        data=ImportProgressData(**fields, details=parsed, extra=extra),
        extra={k: v for k, v in envelope.items() if k not in _ENVELOPE_FIELDS},
    )


def _parse_detail(detail: Any) -> ImportProgressDetail:
    if not isinstance(detail, dict):
        return ImportProgressDetail(extra={"detail": detail})
    known = {name: value for name, value in detail.items() if name in _DETAIL_FIELDS}
    try:
        parsed = msgspec.convert(known, ImportProgressDetail)
        msgspec.json.encode(parsed)  # Fails if there is a lone surrogate in it.
    except (msgspec.ValidationError, UnicodeEncodeError):
        known = {}
    if len(known) == len(detail):
        return parsed
    if known and not detail.keys() & _DETAIL_ALIASES.keys():
        # The common case of a newer release: plain values and fields we do not know yet.
        parsed.extra = {name: value for name, value in detail.items() if name not in known}
        return parsed
    fields, extra = _convert(detail, _DETAIL_FIELDS, _DETAIL_ALIASES)
    return ImportProgressDetail(**fields, extra=extra)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    # A lone surrogate cannot be stored or printed.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        for parse in (int, float):
            try:
                return parse(value.strip())
            except ValueError:
                continue
    return None


def _count_or_negative(value: Any) -> int | None:
    number = _number(value)
    if number is None or not math.isfinite(number) or number != int(number):
        return None
    return int(number) if abs(number) <= INT64_MAX else None


def _count(value: Any) -> int | None:
    number = _count_or_negative(value)
    return number if number is not None and number >= 0 else None


def _percent(value: Any) -> float | None:
    number = _number(value)
    return float(number) if number is not None and 0 <= number <= 100 else None


def _ready_percentage(value: Any) -> float | None:
    # Cloud v1 sends a share (0..1) in some releases and percent in others. A whole 1 is 1.0: "all".
    number = _number(value)
    return _percent(round(number * 100, 6) if number is not None and 0 <= number <= 1 else number)


def _text_or_none(value: Any) -> str | None:
    return None if isinstance(value, dict | list | bool) else _text(value)


def _file_name(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(path, str) for path in value):
        return _text("[" + " ".join(value) + "]")
    return _text_or_none(value)


_Converter = Callable[[Any], Any]

_DETAIL_FIELDS: Final[dict[str, tuple[str, _Converter]]] = {
    "fileName": ("file_name", _file_name),
    "fileSize": ("file_size", _count),
    "progress": ("progress", _percent),
    "completeTime": ("complete_time", _text_or_none),
    "state": ("state", _text_or_none),
    "importedRows": ("imported_rows", _count),
    "totalRows": ("total_rows", _count),
    "reason": ("reason", _text_or_none),
}
_DETAIL_ALIASES: Final[dict[str, tuple[str, _Converter]]] = {
    "errorMessage": ("reason", _text_or_none),
    "readyPercentage": ("progress", _ready_percentage),
}
_JOB_FIELDS: Final[dict[str, tuple[str, _Converter]]] = {
    **{wire: field for wire, field in _DETAIL_FIELDS.items() if wire != "fileName"},
    "collectionName": ("collection_name", _text_or_none),
    "jobId": ("job_id", _text_or_none),
}
_JOB_ALIASES: Final = _DETAIL_ALIASES
_RECORD_FIELDS: Final = ("job_id", "collection_name", "state", "progress", "reason")
_ENVELOPE_FIELDS: Final = frozenset({"code", "status", "message", "data"})
_TELLTALE_FIELDS: Final = frozenset(_JOB_FIELDS) | frozenset(_JOB_ALIASES) | {"details"}


def _convert(
    wire: Mapping[str, Any],
    known: Mapping[str, tuple[str, _Converter]],
    aliases: Mapping[str, tuple[str, _Converter]],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Known fields by their Python names, and everything else by its wire name."""
    fields: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for wire_name, value in wire.items():
        if wire_name == "details" or value is None:
            continue
        name, convert = known.get(wire_name) or aliases.get(wire_name) or (None, None)
        if name is None or convert is None:
            extra[wire_name] = value
            continue
        if wire_name in aliases and wire.get(_WIRE_NAMES[name]) is not None:
            extra[wire_name] = value  # The standard name is there too, and it goes first.
            continue
        converted = convert(value)
        if converted is None:
            extra[wire_name] = value
        else:
            fields[name] = converted
    return fields, extra


_WIRE_NAMES: Final = {name: wire for wire, (name, _) in _DETAIL_FIELDS.items()}


class FileName(NamedTuple):
    """A detail's ``fileName``, taken apart.

    Attributes
    ----------
    paths : tuple of str
        The paths of the import file: one, or several for a set of numpy files.
    display : str
        One short name for it: the path, or the first path and how many more.
    """

    paths: tuple[str, ...]
    display: str


def parse_file_name(printed: str | None) -> FileName:
    """Take a printed ``fileName`` apart, whichever way the server printed it.

    Servers print a Go list (``[x.npy y.npy]``, no quotes, so a space may separate paths or
    belong to one: a path is taken to end where a known file extension does), a protobuf message
    (``id:7 paths:"a.parquet"``) or a bare path.

    Examples
    --------
    >>> parse_file_name("[a/ids.npy a/vectors.npy]")
    FileName(paths=('a/ids.npy', 'a/vectors.npy'), display='a/ids.npy +1')
    >>> parse_file_name("[in/my file (2).parquet]").paths
    ('in/my file (2).parquet',)
    >>> parse_file_name('id:449839014328146740 paths:"/a/1.parquet" ').paths
    ('/a/1.parquet',)
    >>> parse_file_name(None)
    FileName(paths=(), display='')
    """
    paths = tuple(_paths(printed.strip())) if printed else ()
    if not paths:
        return FileName((), "")
    return FileName(paths, paths[0] if len(paths) == 1 else f"{paths[0]} +{len(paths) - 1}")


_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_PROTO: Final = re.compile(rf"(?:id:\d+\s*)?(?:paths:{_QUOTED}\s*)*")
_QUOTED_LIST: Final = re.compile(rf"\[{_QUOTED}(?:,?\s*{_QUOTED})*\]")
_PATH: Final = re.compile(
    r"\S.*?\.(?:parquet|npy|jsonl?|ndjson|csv|tsv|gz|zst)(?=\s|$)|\S.*$", re.IGNORECASE | re.DOTALL
)


def _paths(printed: str) -> list[str]:
    if printed.startswith(("id:", "paths:")) and _PROTO.fullmatch(printed):
        return [_unquote(quoted) for quoted in re.findall(_QUOTED, printed)]
    if not (printed.startswith("[") and printed.endswith("]")):
        return [printed]
    if _QUOTED_LIST.fullmatch(printed):
        return [_unquote(quoted) for quoted in re.findall(_QUOTED, printed)]
    return _PATH.findall(printed[1:-1].rstrip())


def _unquote(quoted: str) -> str:
    """The text of a double-quoted literal with the escapes that Go, protobuf and JSON share."""
    raw = re.sub(
        rb"\\([0-7]{3})|\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\(.)",
        _unescape,
        quoted[1:-1].encode(),
    )
    return raw.decode("utf-8", "replace")


def _unescape(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, unicode, char = match.groups()
    if octal:
        return bytes([int(octal, 8) & 0xFF])
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    if unicode:
        return chr(int(unicode, 16)).encode("utf-8", "replace")
    return {b"n": b"\n", b"t": b"\t", b"r": b"\r"}.get(char, char)
