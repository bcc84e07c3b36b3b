"""Lettering: fonts for names in any script, and numbers for letters that no font has."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import matplotlib
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.text import Text

# Fonts with letters that DejaVu Sans lacks, on Linux, macOS and Windows; the installed ones are
# used.
_MORE_FAMILIES: Final = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR",
    "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Microsoft YaHei", "SimHei",
    "Yu Gothic", "Malgun Gothic", "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil",
    "Noto Sans Thai", "Noto Sans Hebrew", "Noto Sans Arabic", "Nirmala UI", "Leelawadee UI",
    "Lohit Devanagari", "FreeSans", "Arial Unicode MS", "Noto Emoji", "Symbola",
)  # fmt: skip


def drawable(line: str) -> str:
    r"""The line with each character that no font can draw written as its number, never as a box.

    Examples
    --------
    >>> drawable("a/\U0001f9ff.parquet")
    'a/\\U0001f9ff.parquet'
    """
    if line.isascii():
        return line
    known = _characters(_families())
    missing = {c for c in line if ord(c) not in known}
    if missing:
        missing -= {c for family in _installed() for c in missing if ord(c) in _characters(family)}
    return "".join(
        c.encode("ascii", "backslashreplace").decode() if c in missing else c for c in line
    )


def use_fonts_for(artists: Iterable[Artist]) -> None:
    """Give each text the extra fonts that its characters need; other texts keep their font."""
    for artist in artists:
        if not isinstance(artist, Text) or artist.get_text().isascii():
            continue
        families = tuple(artist.get_fontfamily() or _families())
        known = _characters(families)
        missing = {ord(c) for c in artist.get_text() if not c.isspace() and ord(c) not in known}
        more = [family[0] for family in _installed() if missing & _characters(family)]
        if more:
            artist.set_fontfamily([*families, *more])


def _families() -> tuple[str, ...]:
    return tuple(matplotlib.rcParams["font.family"])


def _installed() -> list[tuple[str]]:
    names = {font.name for font in font_manager.fontManager.ttflist}
    return [(family,) for family in _MORE_FAMILIES if family in names]


@lru_cache(maxsize=64)
def _characters(families: tuple[str, ...]) -> frozenset[int]:
    """The characters that any of the fonts has."""
    found = (
        font_manager.findfont(font_manager.FontProperties(family=[family])) for family in families
    )
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in found))
