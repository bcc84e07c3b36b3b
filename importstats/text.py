"""Text as people read it: numbers with units, and a server's text made printable and safe.

A missing value is shown as ``unknown``, never as a number.
"""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from typing import Final, TypeGuard, TypeVar

import pandas as pd

UNKNOWN: Final = "unknown"


def format_duration(seconds: float | None) -> str:
    """A duration in its two largest units.

    Examples
    --------
    >>> [format_duration(s) for s in (0.4, 59, 61, 3725, 100_000, float("nan"))]
    ['0.4 s', '59 s', '1 min 1 s', '1 h 2 min', '1 d 4 h', 'unknown']
    """
    if not _is_known(seconds):
        return UNKNOWN
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    for unit, size, next_unit, next_size in (
        ("d", 86_400, "h", 3_600),
        ("h", 3_600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            # Rounded to the smaller of the two units, so that 119 min 59 s is 2 h.
            rounded = round(whole / next_size) * next_size
            if rounded >= size * 24 and unit == "h":
                return format_duration(rounded)
            large, rest = divmod(rounded, size)
            small = rest // next_size
            return f"{large} {unit} {small} {next_unit}" if small else f"{large} {unit}"
    return f"{whole} s"


def format_count(count: float | None) -> str:
    """A count with thousands separators, from a million on with three digits and a prefix.

    Examples
    --------
    >>> [format_count(n) for n in (7, 12_345, 12_345_678, 2_500_000_000, None)]
    ['7', '12,345', '12.3 M', '2.5 G', 'unknown']
    """
    if not _is_known(count):
        return UNKNOWN
    return f"{count:,.0f}" if abs(count) < 999_500 else _prefixed(count)


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    Examples
    --------
    >>> [plural(n, "task") for n in (1, 2, 1234)]
    ['1 task', '2 tasks', '1,234 tasks']
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def format_times(count: int) -> str:
    """A number of times in words.

    Examples
    --------
    >>> [format_times(n) for n in (1, 2, 1234)]
    ['once', '2 times', '1,234 times']
    """
    return "once" if count == 1 else f"{count:,} times"


def format_bytes(size: float | None) -> str:
    """Bytes with a decimal prefix.

    Examples
    --------
    >>> [format_bytes(n) for n in (0, 999, 1_500, 2_000_000_000)]
    ['0 B', '999 B', '1.5 kB', '2 GB']
    """
    return f"{_prefixed(size)}B" if _is_known(size) else UNKNOWN


def format_rate(rate: float | None, unit: str) -> str:
    """Something per second.

    Examples
    --------
    >>> format_rate(12_345.6, "rows"), format_rate(5e6, "B"), format_rate(None, "rows")
    ('12.3 k rows/s', '5 MB/s', 'unknown')
    """
    if not _is_known(rate):
        return UNKNOWN
    number = _prefixed(rate)
    return f"{number}B/s" if unit == "B" else f"{number.rstrip()} {unit}/s"


def format_percent(percent: float | None) -> str:
    """A percentage.

    Examples
    --------
    >>> format_percent(80.0), format_percent(57.55), format_percent(None)
    ('80 %', '57.5 %', 'unknown')
    """
    return f"{percent:.1f}".removesuffix(".0") + " %" if _is_known(percent) else UNKNOWN


def format_time(time: datetime | None, zone: tzinfo | None = None, *, day: bool = False) -> str:
    """A time of day in a zone (default: the reader's), with the date if asked.

    Examples
    --------
    >>> from datetime import UTC
    >>> format_time(datetime(2026, 5, 18, 9, 5, 7, tzinfo=UTC), UTC, day=True)
    '2026-05-18 09:05:07 UTC'
    """
    if not _is_known(time):
        return UNKNOWN
    # A pandas Timestamp takes astimezone(None) for "drop the zone"; a datetime for the reader's.
    time = pd.Timestamp(time).to_pydatetime(warn=False)
    return time.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z" if day else "%H:%M:%S %Z").strip()


_PREFIXES: Final = ("", "k", "M", "G", "T", "P", "E")


def _prefixed(number: float) -> str:
    """Three significant digits and a decimal prefix, with a space where a unit can follow."""
    power = 0
    while power < len(_PREFIXES) - 1 and abs(float(f"{number:.3g}")) >= 1000:
        number /= 1000
        power += 1
    digits = f"{float(f'{number:.3g}'):g}"
    return f"{digits} {_PREFIXES[power]}"


_Value = TypeVar("_Value", float, datetime)


def _is_known(value: _Value | None) -> TypeGuard[_Value]:
    return value is not None and not pd.isna(value)


def printable(text: str, limit: int = 200) -> str:
    r"""A server's text on one line of printable characters, for terminals, logs and plots.

    Control characters (terminal escapes among them) become spaces, and white space is folded.

    Examples
    --------
    >>> printable("a\x1b[31m\nb", 80)
    'a [31m b'
    >>> printable("part-00001.parquet", 8)
    'part-00…'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def excerpt(text: str | bytes, limit: int = 120) -> str:
    """The start of a server's text on one printable line, with what looks like a secret masked.

    Examples
    --------
    >>> excerpt("<html>  <b>502</b> Authorization: Bearer root:Milvus")
    '<html> <b>502</b> Authorization: ***'
    """
    if isinstance(text, bytes):
        text = text[: 8 * limit].decode("utf-8", "replace")
    line = _SECRET.sub(r"\1***", printable(text, 8 * limit))
    return printable(line, limit)


# What follows a word alone ("the token is illegal") is a word; a secret is assigned.
_SECRET: Final = re.compile(
    r"((?:authorization|token|api[_-]?key|password|secret)[\"']?\s*[:=]\s*[\"']?|"
    r"bearer\s+(?=\S{8}))(?:bearer\s+)?[^\s\"'<>,;]+",
    re.IGNORECASE,
)


def without_secrets(uri: str) -> str:
    """Any URI without user, password, query and fragment, even one that is no valid URI.

    Examples
    --------
    >>> without_secrets("s3://key:secret@bucket/folder?region=eu")
    's3://bucket/folder'
    """
    head, separator, rest = uri.partition("://")
    if not separator:
        head, rest = "", uri
    authority, slash, path = rest.split("?")[0].split("#")[0].partition("/")
    return head + separator + authority.rpartition("@")[2] + slash + path
