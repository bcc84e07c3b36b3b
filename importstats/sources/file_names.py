"""Parses the paths that a server prints as a detail's ``fileName``."""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class FileName(NamedTuple):
    """A detail's parsed ``fileName``.

    Attributes
    ----------
    paths : tuple of str
        The import file's paths: one, or several for a set of numpy files.
    display : str
        A short name: the path, or the first path and how many follow.
    """

    paths: tuple[str, ...]
    display: str


def parse_file_name(printed: str | None) -> FileName:
    """Parse a printed ``fileName``, in any server's format.

    Servers print a Go list (``[x.npy y.npy]``), a protobuf message (``id:7 paths:"a.parquet"``) or
    a bare path. A list has no quotes, so a space may separate paths or belong to one: a path ends
    with a known file extension.

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
    paths = tuple(_unquoted_paths(printed.strip())) if printed else ()
    if not paths:
        return FileName((), "")
    return FileName(paths, paths[0] if len(paths) == 1 else f"{paths[0]} +{len(paths) - 1}")


_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_PROTO: Final = re.compile(rf"(?:id:\d+\s*)?(?:paths:{_QUOTED}\s*)*")
_QUOTED_LIST: Final = re.compile(rf"\[{_QUOTED}(?:,?\s*{_QUOTED})*\]")
# A restore names folders of logs, which have no extension.
_PATH: Final = re.compile(
    r"\S*(?:insert|delta)_log/\S*(?=\s|$)|\S.*?\.(?:parquet|npy|jsonl?|ndjson|csv|tsv|gz|zst)(?=\s|$)|\S.*$",
    re.IGNORECASE | re.DOTALL,
)


def _unquoted_paths(printed: str) -> list[str]:
    if printed.startswith(("id:", "paths:")) and _PROTO.fullmatch(printed):
        return [_unquote(quoted) for quoted in re.findall(_QUOTED, printed)]
    if not (printed.startswith("[") and printed.endswith("]")):
        return [printed]
    if _QUOTED_LIST.fullmatch(printed):
        return [_unquote(quoted) for quoted in re.findall(_QUOTED, printed)]
    return _PATH.findall(printed[1:-1].rstrip())


def _unquote(quoted: str) -> str:
    """The text of a double-quoted literal, whose escapes Go, protobuf and JSON share."""
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
