"""Themes: figures for light and for dark paper, and which of them a notebook shows."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from typing import Any, Final, Literal

import matplotlib
from matplotlib.figure import Figure

ThemeName = Literal["light", "dark"]

#: The paper and the ink of each theme.
PAPERS: Final[dict[ThemeName, tuple[str, str]]] = {
    "light": ("#ffffff", "#1f2328"),
    "dark": ("#111111", "#e6edf3"),
}
_INKED: Final = (
    *("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor"),
    *("xtick.color", "ytick.color"),
)
_DPI: Final = 100
#: CSS selectors for dark and for light notebooks: JupyterLab and Jupyter Notebook, VS Code, marimo
#: and Colab. A page exported from one has the reader's theme.
DARK_MARKS: Final = (
    *('[data-jp-theme-light="false"]', ".vscode-dark", ".vscode-high-contrast"),
    *("body.dark", 'html[theme="dark"]'),
)
LIGHT_MARKS: Final = (
    *('[data-jp-theme-light="true"]', ".vscode-light", ".vscode-high-contrast-light"),
    *("body.light", 'html[theme="light"]'),
)


@contextmanager
def theme(name: ThemeName) -> Iterator[None]:
    """Matplotlib settings for drawing on light or dark paper, with a transparent background.

    Examples
    --------
    >>> with theme("dark"):
    ...     figure = Figure()
    >>> figure.get_facecolor()[3]
    0.0
    """
    paper, ink = PAPERS[name]
    faces = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    settings: dict[Any, Any] = {
        **dict.fromkeys(faces, f"{paper}00"),
        **dict.fromkeys(_INKED, ink),
        "legend.facecolor": paper,
    }
    with matplotlib.rc_context(settings):
        yield


class ShownFigure(Figure):
    """A figure that a notebook shows by itself, whatever pyplot's backend is.

    Attributes
    ----------
    on_dark : callable, optional
        Draws the same figure for dark paper; the notebook shows the one that suits its theme.
    """

    on_dark: Callable[[], Figure] | None = None

    def _repr_png_(self) -> bytes:
        return png_bytes(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        if self.on_dark is None:
            return {}
        # A notebook that shows no HTML gets the PNG, whatever its theme.
        plain = png_bytes(self, facecolor=PAPERS["light"][0])
        return {
            "text/plain": repr(self),
            "image/png": base64.b64encode(plain).decode(),
            "text/html": _both_pictures(png_bytes(self), png_bytes(self.on_dark())),
        }

    def _mime_(self) -> tuple[str, str]:
        """What marimo shows; without this it draws each matplotlib figure itself."""
        if self.on_dark is None:
            return "image/png", data_url(png_bytes(self))
        return "text/html", _both_pictures(png_bytes(self), png_bytes(self.on_dark()))


def png_bytes(figure: Figure, dpi: int = _DPI, **options: Any) -> bytes:
    """A figure as a PNG image."""
    png = BytesIO()
    figure.savefig(png, format="png", dpi=dpi, **options)
    return png.getvalue()


def data_url(png: bytes) -> str:
    """A PNG image as a URL that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _both_pictures(light: bytes, dark: bytes) -> str:
    """HTML with the light picture; a style, which may be removed, swaps in the dark one."""
    name = f"importstats-{sha256(light).hexdigest()[:12]}"
    shown, other = data_url(light), data_url(dark)
    dark_marks = ", ".join(DARK_MARKS)
    unless = "".join(f":not({mark} *)" for mark in LIGHT_MARKS)
    style = (
        f".{name} {{ --dark: url({other}); max-width: 100%; }}\n"
        f":is({dark_marks}) .{name} {{ content: var(--dark); }}\n"
        f"@media (prefers-color-scheme: dark) {{ .{name}{unless} {{ content: var(--dark); }} }}"
    )
    return f'<style>{style}</style><img class="{name}" alt="The figure of a job" src="{shown}">'


def for_both(draw: Callable[[], ShownFigure]) -> ShownFigure:
    """A figure for light paper that a notebook with a dark theme shows for dark paper."""

    def on_dark() -> Figure:
        with theme("dark"):
            return draw()

    with theme("light"):
        figure = draw()
    figure.on_dark = on_dark
    return figure
