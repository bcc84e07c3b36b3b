"""Columns: an answer's details straight from its JSON, without an object for each of them.

A server prints each detail by one pattern: the same names in the same order, and nothing between.
So the text between two values is the same in all details, and a value is a slice of the answer
whose place follows from those of the quotes. Every byte is either compared with the pattern or
part of a value that is checked. An answer that is not of that form, or that needs a judgment, is
left to :func:`~importstats.sources.answers.parse_response`: the same columns, but more slowly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from importstats.arrays import Ints
from importstats.errors import ImportStatsError
from importstats.sources.answers import parse_response
from importstats.sources.messages import GetImportProgressResponse
from importstats.store.schema import DETAIL_VALUES, DETAILS_SCHEMA, parse_timestamps


class Columns(NamedTuple):
    """An answer whose details are columns.

    Attributes
    ----------
    response : GetImportProgressResponse
        The answer without its details.
    columns : dict of Array
        The value columns of :data:`~importstats.store.schema.DETAILS_SCHEMA`, in the order of the
        answer.
    """

    response: GetImportProgressResponse
    columns: dict[str, pa.Array]


def read_columns(answer: bytes | str | Mapping[str, Any]) -> Columns | None:
    """The answer with its details as columns, or ``None`` if they are not all alike.

    Examples
    --------
    >>> details = '{"fileName":"a","importedRows":5},{"fileName":"b","importedRows":7}'
    >>> read = read_columns('{"code":0,"data":{"jobId":"7","details":[' + details + "]}}")
    >>> read.response.data.job_id, read.columns["imported_rows"].to_pylist()
    ('7', [5, 7])
    """
    try:
        if isinstance(answer, Mapping):
            return _parse_mapping(answer)
        return _parse_text(answer.encode() if isinstance(answer, str) else bytes(answer))
    except (
        ImportStatsError,
        msgspec.MsgspecError,
        pa.ArrowInvalid,
        UnicodeError,
        RecursionError,
        KeyError,
        OverflowError,
    ):
        return None


def _parse_text(body: bytes) -> Columns | None:
    begin = body.find(b'"details":[{') + len(b'"details":')
    found = _columns_and_end(body, begin) if begin >= len(b'"details":') else None
    if found is None:
        return None
    columns, end = found
    # With one detail in place of all, what is around them is read as any answer is. As the name
    # occurs once, and there are no escapes, that detail is in the job's list if it is in any.
    around = body[:begin] + b"[{}]" + body[end:]
    if around.count(b'"details"') != 1:
        return None
    return _without_details(parse_response(around), columns)


def _parse_mapping(answer: Mapping[str, Any]) -> Columns | None:
    data: Any = answer.get("data")
    details: Any = data.get("details") if type(data) is dict else None
    if type(details) is not list or set(map(type, details)) != {dict}:
        return None
    columns = _parse_objects(details)
    if columns is None:
        return None
    around = parse_response({**answer, "data": {**data, "details": [{}]}})
    return _without_details(around, columns)


def _without_details(
    response: GetImportProgressResponse, columns: dict[str, pa.Array]
) -> Columns | None:
    if len(response.data.details) != 1:
        return None
    response.data.details = []
    return Columns(response, columns)


def _parse_objects(details: list[dict[str, Any]]) -> dict[str, pa.Array] | None:
    """The columns of objects that all have the same names, each with one type of value."""
    names = details[0].keys()
    if not names or names & _JUDGED or sum(map(len, details)) != len(names) * len(details):
        return None
    texts: dict[str, pa.Array] = {}
    numbers: dict[str, pa.Array] = {}
    unknown: dict[str, list[Any]] = {}
    for name in names:
        values = list(map(itemgetter(name), details))
        types = set(map(type, values))
        if name not in _KNOWN:
            if types not in ({str}, {int}):
                return None
            unknown[name] = [_json_texts(values, types)]
        elif types == {str}:
            texts[name] = pa.array(values, pa.string())
        elif types == {int}:
            numbers[name] = pa.array(values, pa.int64())
            if pc.min(numbers[name]).as_py() < 0:
                return None
        elif types != {type(None)}:
            return None
    # A name that is no text would be printed in another way.
    if unknown and set(map(type, chain.from_iterable(details))) != {str}:
        return None
    return _decoded_columns(texts, numbers, unknown, len(details))


def _json_texts(values: list[Any], types: set[type]) -> pa.Array:
    if types == {int}:
        return pa.array(values, pa.int64()).cast(pa.string())
    return pa.array(msgspec.json.Encoder().encode_lines(values).decode().split("\n")[:-1])


# --- The pattern ----------------------------------------------------------------------------------


class _Field(NamedTuple):
    """A field of the pattern; ``before`` is the text between the value before and its own.

    ``quote`` is a quote's number within a detail: a text begins right after it, a number two
    letters after it.
    """

    name: str
    is_text: bool
    before: bytes
    quote: int


class _Pattern(NamedTuple):
    """The parts that all details share; ``after`` is the text that follows the last value."""

    fields: list[_Field]
    after: bytes
    quotes: int


_PRINTED_FIELD: Final = re.compile(rb'("([^"]*)":)(?:(")[^"]*"|(null)|[0-9]+)([,}])')
_TEXTS: Final = {"fileName": "file_name", "state": "state"}
_COUNTS: Final = {
    "fileSize": "file_size_bytes",
    "importedRows": "imported_rows",
    "totalRows": "total_rows",
}
_NUMBERS: Final = frozenset({*_COUNTS, "progress"})
_KNOWN: Final = frozenset({*_TEXTS, *_NUMBERS, "completeTime", "reason"})
#: Other names of known fields, and names that the parser leaves out.
_JUDGED: Final = frozenset({"errorMessage", "readyPercentage", "details", "(extra)"})


def _first_pattern(body: bytes, begin: int) -> _Pattern | None:
    """The pattern of the first detail."""
    fields: list[_Field] = []
    names: set[str] = set()
    before, quotes, place = b"{", 0, begin + 1
    while match := _PRINTED_FIELD.match(body, place):
        printed, letters, text, null, after = match.groups()
        name = letters.decode()
        # What comes twice counts once, and an unknown null is kept as one.
        if name in names or name in _JUDGED or (null and name not in _KNOWN):
            return None
        names.add(name)
        before += printed + (text or null or b"")
        if not null:
            fields.append(_Field(name, bool(text), before, quotes + (2 if text else 1)))
            before = text or b""
        before += after
        quotes += 4 if text else 2
        place = match.end()
        if after == b"}":
            return _Pattern(fields, before, quotes) if fields else None
    return None


def _columns_and_end(body: bytes, begin: int) -> tuple[dict[str, pa.Array], int] | None:
    """The columns of the list of details that begins at a place, and the place after its end."""
    letters = np.frombuffer(body, np.uint8)
    if b"\\" in body or len(body) > _LONGEST or letters.min(initial=_BLANK) < _BLANK:
        return None
    body.decode()  # Raises if the body is not UTF-8.
    pattern = _first_pattern(body, begin + 1) if body.startswith(b"[{", begin) else None
    if pattern is None:
        return None
    quotes, ends = _quote_places(body, letters, begin, pattern)
    slices = _slices(quotes, ends, pattern)
    if not (
        _fits_pattern(body, quotes[:, 0] - 1, ends, slices, pattern)
        and body.startswith(b"]", ends[-1])
    ):
        return None
    texts: dict[str, pa.Array] = {}
    numbers: dict[str, pa.Array] = {}
    for field, (first, end) in zip(pattern.fields, slices, strict=True):
        if not field.is_text and not _are_numbers(letters, first, end):
            return None
        (texts if field.is_text else numbers)[field.name] = _cut(body, first, end)
    unknown = {name: ['"', texts[name], '"'] for name in texts.keys() - _KNOWN}
    unknown |= {name: [numbers[name]] for name in numbers.keys() - _KNOWN}
    columns = _decoded_columns(texts, numbers, unknown, len(ends))
    return None if columns is None else (columns, int(ends[-1]) + 1)


#: The longest body in which 32 bits can hold each place.
_LONGEST: Final = 2**31 - 16
_BLANK: Final = 0x20


def _quote_places(
    body: bytes, letters: npt.NDArray[np.uint8], begin: int, pattern: _Pattern
) -> tuple[npt.NDArray[np.int64], Ints]:
    """The places of each detail's quotes, one row each, and of the end of its closing bracket."""
    every = np.flatnonzero(letters[begin:] == ord('"')) + begin
    rows = len(every) // pattern.quotes
    quotes = every[: rows * pattern.quotes].reshape(rows, pattern.quotes)
    begins = quotes[1:, 0] - 1
    goes_on = (letters[begins] == ord("{")) & (letters[begins - 1] == ord(","))
    if not goes_on.all():
        begins = begins[: int(np.argmin(goes_on))]
    quotes = quotes[: len(begins) + 1]
    last = pattern.fields[-1]
    stop = body.find(b"}", int(quotes[-1, last.quote + last.is_text]))
    return quotes, np.append(begins - 1, stop + 1)


def _slices(quotes: Ints, ends: Ints, pattern: _Pattern) -> list[tuple[Ints, Ints]]:
    """The first and the end place of each field's values, if all details have the pattern."""
    slices = []
    for field in pattern.fields:
        first = quotes[:, field.quote] + (1 if field.is_text else 2)
        if field.is_text:
            end = quotes[:, field.quote + 1]
        elif field.quote + 1 < pattern.quotes:
            end = quotes[:, field.quote + 1] - 1
        else:
            end = ends - len(pattern.after)
        slices.append((first, end))
    return slices


def _fits_pattern(
    body: bytes, begins: Ints, ends: Ints, slices: list[tuple[Ints, Ints]], pattern: _Pattern
) -> bool:
    """Whether the text around the values follows the pattern in every detail."""
    stops = [begins, *(end for _, end in slices)]
    firsts = [*(first for first, _ in slices), ends]
    texts = [*(field.before for field in pattern.fields), pattern.after]
    for stop, first, text in zip(stops, firsts, texts, strict=True):
        if not np.array_equal(stop + len(text), first):
            return False
        # As many letters from each place on as the text has.
        pieces = np.ndarray(len(body) - len(text) + 1, f"V{len(text)}", body, strides=(1,))
        if pieces[stop].tobytes() != text * len(stop):
            return False
    return True


def _are_numbers(letters: npt.NDArray[np.uint8], first: Ints, end: Ints) -> bool:
    """Whether the texts can be numbers from 0 on; a cast later finds letters that are no digits."""
    head, digits = letters[first], end - first
    begins_well = (head > ord("0")) & (head <= ord("9")) | (head == ord("0")) & (digits == 1)
    # 18 digits fit 64 bits, whatever they are.
    return bool(np.all(begins_well & (digits > 0) & (digits <= 18)))


def _cut(body: bytes, first: Ints, end: Ints) -> pa.Array:
    """The texts from each first place to its end."""
    places = np.empty(2 * len(first), np.int32)
    places[0::2], places[1::2] = first, end
    # Every second one lies between two values.
    texts = pa.StringArray.from_buffers(
        2 * len(first) - 1, pa.py_buffer(places), pa.py_buffer(body)
    )
    return texts.take(pa.array(np.arange(0, 2 * len(first), 2)))


def _decoded_columns(
    texts: dict[str, pa.Array],
    numbers: dict[str, pa.Array],
    unknown: dict[str, list[Any]],
    count: int,
) -> dict[str, pa.Array] | None:
    """The columns by name, or ``None`` if a value needs a judgment.

    ``unknown`` has the values of unknown fields as JSON, in parts to be joined.
    """
    counts = {name: digits.cast(pa.int64()) for name, digits in numbers.items()}
    if texts.keys() & _NUMBERS or counts.keys() & (_KNOWN - _NUMBERS):
        return None
    columns = {ours: texts.get(wire) for wire, ours in _TEXTS.items()}
    columns |= {ours: counts.get(wire) for wire, ours in _COUNTS.items()}
    if "progress" in counts:
        if pc.max(counts["progress"]).as_py() > 100:
            return None
        columns["progress_pct"] = counts["progress"].cast(pa.float64())
    if "completeTime" in texts:
        printed = texts["completeTime"]
        columns["complete_time"] = parse_timestamps(printed)
        unreadable = pc.and_(pc.is_null(columns["complete_time"]), pc.not_equal(printed, ""))
        if pc.any(unreadable).as_py():
            return None
    if "reason" in texts:
        none = pa.scalar(None, pa.string())
        columns["reason"] = pc.if_else(pc.equal(texts["reason"], ""), none, texts["reason"])
    columns["extra"] = _join_extras(unknown)
    return {
        name: pa.nulls(count, DETAILS_SCHEMA.field(name).type) if column is None else column
        for name, column in ((name, columns.get(name)) for name in DETAIL_VALUES)
    }


def _join_extras(unknown: dict[str, list[Any]]) -> pa.Array | None:
    """Unknown fields as JSON, as :func:`~importstats.store.schema.extra_json` prints them."""
    parts: list[Any] = []
    for name in sorted(unknown):
        parts += ["," if parts else "{", f"{msgspec.json.encode(name).decode()}:", *unknown[name]]
    return pc.binary_join_element_wise(*parts, "}", "") if parts else None
