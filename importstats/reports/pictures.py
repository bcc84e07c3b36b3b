"""Pictures: figures inside a page, for light and for dark paper, which need no other file."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Final

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

_DPI: Final = 110
#: Paper and ink of a page on a dark screen, as in its style sheet.
_DARK: Final = ("#15191f", "#e6edf3")
#: Letters that are darker than this are ink, and not a colour that means something.
_INK: Final = 0.45


@dataclass(frozen=True)
class Picture:
    """A figure as two images, with a description of them.

    Attributes
    ----------
    light, dark : str
        URIs that hold the images, in PNG.
    width, height : int
        In pixels of the page.
    alt : str
    """

    light: str
    dark: str
    width: int
    height: int
    alt: str


def picture(figure: Figure) -> Picture:
    """A figure for a page; the titles of its axes describe it.

    The figure is on dark paper afterwards.
    """
    titles = [" ".join(axes.get_title(loc).split()) for axes in figure.axes for loc in _PLACES]
    light = _png_url(figure)
    _darken(figure)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    alt = ". ".join(title.rstrip(".") for title in titles if title)
    return Picture(light, _png_url(figure), width, height, alt)


_PLACES: Final = ("left", "center", "right")


def _png_url(figure: Figure) -> str:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=_DPI, facecolor=figure.get_facecolor())
    return "data:image/png;base64," + base64.b64encode(image.getvalue()).decode()


def _darken(figure: Figure) -> None:
    """Put a figure on dark paper; not by settings of matplotlib, which all threads share."""
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
