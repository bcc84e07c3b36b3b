"""Reads a JSON list entry by entry as its bytes come, so that a long list takes no memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from typing import Any, Final

_LONGEST_ENTRY: Final = 1_000_000
_BLANKS: Final = " \t\r\n"
_LONGEST_NUMBER: Final = 32
_OF_NUMBERS: Final = _BLANKS + "+-.eE0123456789"


class ListReader:
    """Takes a JSON list's bytes piece by piece, and passes on each entry once it is whole.

    ``null``, which Go prints for a list that was never made, and an empty body are empty lists.

    Parameters
    ----------
    take : callable
        Gets each entry. If it raises a ``ValueError``, the reading ends.

    Examples
    --------
    >>> entries = []
    >>> reader = ListReader(entries.append)
    >>> [reader.feed(piece) for piece in (b'[{"a"', b': 1}, ', b'2', b'3]')]
    [True, True, True, True]
    >>> reader.finish()
    >>> entries
    [{'a': 1}, 23]
    """

    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take
        self._decoder = json.JSONDecoder()
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._read: Callable[[], bool] = self._read_begin
        self._problem: Exception | None = None

    def feed(self, piece: bytes) -> bool:
        """Read a piece; returns whether more is wanted."""
        if self._problem is None:
            self._text += self._bytes.decode(piece)
            try:
                while self._read():
                    pass
                self._text = self._text[: _LONGEST_ENTRY + 1]
                if len(self._text) > _LONGEST_ENTRY:
                    raise ValueError(f"an entry of more than {_LONGEST_ENTRY:,} characters")
            except (ValueError, TypeError, RecursionError) as error:
                self._problem = error
                self._text = ""
        return self._problem is None

    def finish(self) -> None:
        """Note that there are no more pieces.

        Raises
        ------
        ValueError, TypeError, RecursionError
            The pieces were no JSON list, or `take` refused an entry.
        """
        if self._problem is not None:
            raise self._problem
        is_none = self._read == self._read_begin and self._text.strip(_BLANKS) in ("", "null")
        if self._read != self._read_end and not is_none:
            raise ValueError("a list is cut off, or is not a list")

    def _read_begin(self) -> bool:
        self._text = self._text.lstrip(_BLANKS)
        if not self._text or "null".startswith(self._text.rstrip(_BLANKS)):
            return False
        if self._text[0] != "[":
            raise ValueError("not a list where one should be")
        self._text = self._text[1:]
        self._read = self._read_first
        return True

    def _read_first(self) -> bool:
        self._text = self._text.lstrip(_BLANKS)
        if not self._text:
            return False
        if not self._ends():
            self._read = self._read_entries
        return True

    def _read_more(self) -> bool:
        self._text = self._text.lstrip(_BLANKS)
        if not self._text:
            return False
        if self._ends():
            return True
        if self._text[0] != ",":
            raise ValueError("a list of JSON that goes on without a comma")
        self._text = self._text[1:]
        self._read = self._read_entries
        return True

    def _read_entries(self) -> bool:
        """Read all entries that the text has whole."""
        place, text = 0, self._text
        while True:
            while place < len(text) and text[place] in _BLANKS:
                place += 1
            try:
                entry, end = self._decoder.raw_decode(text, place)
            except json.JSONDecodeError:
                self._text = text[place:]
                self._read = self._read_entries
                return False
            after = end
            while after < len(text) and text[after] in _BLANKS:
                after += 1
            rest = text[after : after + _LONGEST_NUMBER]
            if after + len(rest) == len(text) and not rest.strip(_OF_NUMBERS):
                # A number may go on.
                self._text = text[place:]
                self._read = self._read_entries
                return False
            self._take(entry)
            if text[after] != ",":
                self._text = text[after:]
                self._read = self._read_more
                return True
            place = after + 1

    def _ends(self) -> bool:
        if not self._text.startswith("]"):
            return False
        self._text = self._text[1:]
        self._read = self._read_end
        return True

    def _read_end(self) -> bool:
        if self._text.strip(_BLANKS):
            raise ValueError("something after a list of JSON")
        self._text = ""
        return False
