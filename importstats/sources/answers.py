"""The one parser for every dialect of the import API's answers.

The dialects (Milvus 2.4 to 3.0, Zilliz Cloud v1 and v2) differ in names, in types and in what they
leave out; :func:`parse_response` accepts all of them under three rules:

* a value that is absent or null is ``None``;
* a number sent as text is a number;
* a value that cannot be a value of its field (a negative count, ``progress`` of 250, text where a
  number belongs) is ``None``, and ``extra`` keeps it under its wire name, as it keeps every field
  that this module does not know.

So nothing that a server sends is lost, and no later code has to check a number again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from importstats.errors import BadResponseError
from importstats.sources.envelope import SUCCESS_CODES, check_message, check_status
from importstats.sources.messages import (
    INT64_MAX,
    GetImportProgressResponse,
    ImportJobRecord,
    ImportProgressData,
    ImportProgressDetail,
)
from importstats.text import excerpt


class _PlainEnvelope(msgspec.Struct, forbid_unknown_fields=True):
    """The envelope as nearly every server sends it; all others take the tolerant path."""

    data: ImportProgressData
    code: Annotated[int, msgspec.Meta(ge=-INT64_MAX, le=INT64_MAX)]
    message: str | None = None


_PLAIN: Final = msgspec.json.Decoder(_PlainEnvelope)
_NO_DATA: Final = ImportProgressData()
_ENCODER: Final = msgspec.json.Encoder()


def parse_response(body: bytes | str | Mapping[str, Any]) -> GetImportProgressResponse:
    """Parse the body of a ``describe`` call from any server.

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
        The body is not a progress response (HTML, truncated, another type). The message has a short
        excerpt.
    UnauthorizedError, PrivilegeError, UnreachableError, JobNotFoundError, ServerError
        The envelope has an error. Servers send these with HTTP 200.

    Examples
    --------
    >>> answer = parse_response('{"code": 0, "data": {"jobId": 7, "state": "Importing", '
    ...                         '"progress": "70", "importedRows": -1, "shard": 2}}')
    >>> answer.data.job_id, answer.data.progress, answer.data.imported_rows
    ('7', 70.0, None)
    >>> answer.data.extra
    {'importedRows': -1, 'shard': 2}
    """
    plain = parse_plain_response(body)
    return _parse_tolerantly(body) if plain is None else plain


def parse_plain_response(body: bytes | str | Mapping[str, Any]) -> GetImportProgressResponse | None:
    """The result of :func:`parse_response` for a plain answer; ``None`` at an unknown field."""
    plain = _plain_envelope(body)
    if plain is None or plain.data == _NO_DATA:
        return None
    check_status(plain.code, plain.message)
    return GetImportProgressResponse(
        status=plain.code, message=plain.message, data=_with_reasons(plain.data)
    )


def _plain_envelope(body: bytes | str | Mapping[str, Any]) -> _PlainEnvelope | None:
    """An answer in the plain dialect, or ``None`` for the tolerant parser to decide."""
    try:
        if not isinstance(body, Mapping):
            return _PLAIN.decode(body)
        plain = msgspec.convert(body, _PlainEnvelope)
        _ENCODER.encode_into(plain, bytearray())  # Raises at a lone surrogate.
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    progress = plain.data.progress
    return plain if progress is None or math.isfinite(progress) else None


def _with_reasons(data: ImportProgressData) -> ImportProgressData:
    """The same data with None for empty reasons, since both mean that there is none."""
    data.reason = data.reason or None
    for detail in data.details:
        if detail.reason == "":
            detail.reason = None
    return data


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a job list.

    Attributes
    ----------
    records : list of ImportJobRecord
        In the server's order.
    sent : int
        How many records the page had, including those without an id.
    count : int or None
        How many records all pages have, if the server reports it.
    page_size : int or None
        How many the server puts on a page, if it reports it; it may be fewer than requested.
    """

    records: list[ImportJobRecord]
    sent: int
    count: int | None
    page_size: int | None


def parse_job_page(body: bytes | str | Mapping[str, Any]) -> JobPage:
    """Parse the body of a ``list`` call: its job records, and the sizes of the list and its pages.

    Records without a job id are dropped, since nothing can be asked about them. Raises as
    :func:`parse_response` does.

    Examples
    --------
    >>> page = parse_job_page('{"code": 0, "data": {"count": 25, "pageSize": 10, "records": []}}')
    >>> page.records, page.count, page.page_size
    ([], 25, 10)
    """
    envelope, status, message = checked_envelope(body)
    data = envelope.get("data")
    if not data:
        check_message(status, message)
    listing = data if isinstance(data, dict) else {}
    # Zilliz Cloud v1 calls them tasks.
    records = listing.get("records", listing.get("tasks")) if isinstance(data, dict) else data
    if records is None:
        records = []
    if not isinstance(records, list):
        raise BadResponseError(f"the job list is a {type(records).__name__}, not a list of records")
    return JobPage(
        [job for record in records if (job := _record(record)) is not None],
        len(records),
        _count_or_none(listing.get("count")),
        _count_or_none(listing.get("pageSize")),
    )


def parse_names(body: bytes | str | Mapping[str, Any]) -> list[str]:
    """Parse the body of a call whose data is a list of names.

    Examples
    --------
    >>> parse_names('{"code": 0, "data": ["default", "sales"]}')
    ['default', 'sales']
    """
    envelope, status, message = checked_envelope(body)
    names = envelope.get("data")
    if not isinstance(names, list):
        check_message(status, message)
        raise BadResponseError(f"the names are a {type(names).__name__}, not a list")
    return [_text(name) for name in names]


def _record(record: Any) -> ImportJobRecord | None:
    if not isinstance(record, dict):
        return None
    fields, extra = _convert(record, _JOB_FIELDS, _JOB_ALIASES)
    if not fields.get("job_id"):
        return None
    known = {name: fields[name] for name in _RECORD_FIELDS if name in fields}
    state = known.get("state")
    if state in _V1_LIST_STATES:
        known["state"], extra["state"] = _V1_LIST_STATES[state], state
    return ImportJobRecord(**known, extra=extra)


_V1_LIST_STATES: Final = {
    "ImportPending": "Pending",
    "ImportRunning": "Importing",
    "ImportCompleted": "Completed",
    "ImportFailed": "Failed",
}


def decode_object(body: bytes | str | Mapping[str, Any]) -> dict[str, Any]:
    """The decoded JSON object. Raises :class:`BadResponseError` with an excerpt for others."""
    if isinstance(body, Mapping):
        return _refuse_too_deep(dict(body))
    try:
        decoded = _decode_json(body)
    except (ValueError, RecursionError) as error:
        what, hint = "not valid JSON" if body else "empty", "is this the URI of"
        if re.match(rb"\s*<", _as_bytes(body[:64])):
            what, hint = "HTML", "a login page or a proxy stands in between, or this is not"
        raise BadResponseError(
            f"the answer is {what} ({len(body):,} bytes): {excerpt(body)!r}; {hint} a Milvus or "
            "Zilliz Cloud REST endpoint"
        ) from error
    if not isinstance(decoded, dict):
        raise BadResponseError(
            f"the answer is a JSON {type(decoded).__name__}, not an object: {excerpt(body)!r}"
        )
    return _refuse_too_deep(decoded)


def _refuse_too_deep(decoded: dict[str, Any]) -> dict[str, Any]:
    """The object. Raises if it is nested so deep that it could not be written as JSON again."""
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
        # A number that is not finite stays text, which JSON can hold.
        return json.loads(text, parse_float=_finite_or_text, parse_constant=str)


def _finite_or_text(printed: str) -> float | str:
    number = float(printed)
    return number if math.isfinite(number) else printed


def checked_envelope(
    body: bytes | str | Mapping[str, Any],
) -> tuple[dict[str, Any], int | None, str | None]:
    """An answer's envelope, its number and its message. Raises the error that these report."""
    envelope = decode_object(body)
    status = None
    for name in ("code", "status"):
        number = _count_or_negative(envelope.get(name))
        # Both may be present; the one with an error wins.
        if number is not None and (status is None or status in SUCCESS_CODES):
            status = number
    message = None if envelope.get("message") is None else _text(envelope["message"])
    check_status(status, message)
    return envelope, status, message


def _parse_tolerantly(body: bytes | str | Mapping[str, Any]) -> GetImportProgressResponse:
    envelope, status, message = checked_envelope(body)
    data = envelope.get("data")
    if data is None and status is None and envelope.keys() & {"state", "jobId", "jobID"}:
        data, envelope = envelope, {}
    if not data:
        check_message(status, message)
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
    if "state" not in fields and "readyPercentage" in data:
        fields["state"] = _v1_state(fields, "Importing")
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
        data=_with_reasons(ImportProgressData(**fields, details=parsed, extra=extra)),
        extra={k: v for k, v in envelope.items() if k not in _ENVELOPE_FIELDS},
    )


def _parse_detail(detail: Any) -> ImportProgressDetail:
    if not isinstance(detail, dict):
        return ImportProgressDetail(extra={"detail": detail})
    known = {name: value for name, value in detail.items() if name in _DETAIL_FIELDS}
    try:
        parsed = msgspec.convert(known, ImportProgressDetail)
        msgspec.json.encode(parsed)  # Raises at a lone surrogate.
    except (msgspec.ValidationError, UnicodeEncodeError):
        known = {}
    if len(known) == len(detail):
        return parsed
    if known and not detail.keys() & _DETAIL_ALIASES.keys():
        # The common case of a newer release: plain values and fields we do not know yet.
        parsed.extra = {name: value for name, value in detail.items() if name not in known}
        return parsed
    fields, extra = _convert(detail, _DETAIL_FIELDS, _DETAIL_ALIASES)
    if "state" not in fields and "readyPercentage" in detail:
        fields["state"] = _v1_state(fields, "InProgress" if fields.get("progress") else "Pending")
    return ImportProgressDetail(**fields, extra=extra)


def _v1_state(fields: Mapping[str, Any], otherwise: str) -> str:
    """The state of a job or file on Zilliz Cloud v1, which sends none."""
    if fields.get("reason"):
        return "Failed"
    is_all = fields.get("progress") == 100 and fields.get("complete_time")
    return "Completed" if is_all else otherwise


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
    # An integer is compared as one: with 310 digits it has no float.
    if number is None or not -INT64_MAX <= number <= INT64_MAX or number != int(number):
        return None
    return int(number)


def _count_or_none(value: Any) -> int | None:
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
    "fileSize": ("file_size", _count_or_none),
    "progress": ("progress", _percent),
    "completeTime": ("complete_time", _text_or_none),
    "state": ("state", _text_or_none),
    "importedRows": ("imported_rows", _count_or_none),
    "totalRows": ("total_rows", _count_or_none),
    "reason": ("reason", _text_or_none),
}
_DETAIL_ALIASES: Final[dict[str, tuple[str, _Converter]]] = {
    "errorMessage": ("reason", _text_or_none),
    "readyPercentage": ("progress", _ready_percentage),
}
_JOB_FIELDS: Final[dict[str, tuple[str, _Converter]]] = {
    **{wire: field for wire, field in _DETAIL_FIELDS.items() if wire != "fileName"},
    "collectionName": ("collection_name", _text_or_none),
    "createTime": ("create_time", _text_or_none),
    "jobId": ("job_id", _text_or_none),
}
_JOB_ALIASES: Final[dict[str, tuple[str, _Converter]]] = {
    **_DETAIL_ALIASES,
    "jobID": ("job_id", _text_or_none),
}
_RECORD_FIELDS: Final = ("job_id", "collection_name", "state", "progress", "reason")
_ENVELOPE_FIELDS: Final = frozenset({"code", "status", "message", "data"})
_TELLTALE_FIELDS: Final = frozenset(_JOB_FIELDS) | frozenset(_JOB_ALIASES) | {"details"}


def _convert(
    wire: Mapping[str, Any],
    known: Mapping[str, tuple[str, _Converter]],
    aliases: Mapping[str, tuple[str, _Converter]],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The known fields by Python name, and all others by wire name."""
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
            extra[wire_name] = value  # The standard name is also present and goes first.
            continue
        converted = convert(value)
        if converted is None:
            extra[wire_name] = value
        else:
            fields[name] = converted
    return fields, extra


_WIRE_NAMES: Final = {name: wire for wire, (name, _) in {**_DETAIL_FIELDS, **_JOB_FIELDS}.items()}
