"""Pictures: figures embedded in a page, for light and for dark paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from importstats.plots.themes import data_url, png_bytes

_DPI: Final = 110
#: Paper and ink of a page on a dark screen, as in its style sheet.
_DARK: Final = ("#15191f", "#e6edf3")
#: Texts that are darker than this are plain ink, not a colour with a meaning.
_INK: Final = 0.45


@dataclass(frozen=True)
class Picture:
    """A figure as two images, with a description of them."""

    #: The PNG images as data URIs.
    light: str
    dark: str
    #: In CSS pixels, as is the height.
    width: int
    height: int
    alt: str


def picture(figure: Figure) -> Picture:
    """A figure as images for a page; the titles of its axes become the description.

    This leaves the figure on dark paper.
    """
    titles = [" ".join(axes.get_title(loc).split()) for axes in figure.axes for loc in _PLACES]
    light = _png_url(figure)
    _darken(figure)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    alt = ". ".join(title.rstrip(".") for title in titles if title)
    return Picture(light, _png_url(figure), width, height, alt)


_PLACES: Final = ("left", "center", "right")


def _png_url(figure: Figure) -> str:
    return data_url(png_bytes(figure, dpi=_DPI, facecolor=figure.get_facecolor()))


def _darken(figure: Figure) -> None:
    """Put a figure on dark paper, without matplotlib's settings, which all threads share."""
    paper, ink = _DARK
    figure.set_facecolor(paper)
    for axes in figure.axes:
        axes.set_facecolor(paper)
        axes.tick_params(colors=ink)
        for spine in axes.spines.values():
            spine.set_edgecolor(ink)
        legend = axes.get_legend()
        if legend is not None:
            legend.get_frame().set_facecolor(paper)
    for text in figure.findobj(Text):
        if isinstance(text, Text) and max(to_rgb(text.get_color())) < _INK:
            text.set_color(ink)
