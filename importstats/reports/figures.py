"""Figures: the plots of a page as markup that takes ink and paper from the page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final
from warnings import catch_warnings, filterwarnings
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from importstats import plots
from importstats.show.job import ImportJob

# An SVG larger than this is drawn as a PNG instead.
_MOST_SVG_BYTES: Final = 350_000
_INK: Final = "#1f2328"
_PAPER: Final = "#ffffff"

# What a figure takes from the page around it; lines in that blue are too dark for a dark page.
_PAGE_COLORS: Final = {
    _INK: "currentColor",
    _PAPER: "var(--paper)",
    f"stroke: {plots.PHASE_COLORS['Importing'].lower()}": "stroke: var(--blue)",
}


@dataclass(frozen=True)
class _Drawing:
    """A figure of the page: its markup, and what it shows in words."""

    title: str
    caption: str
    markup: Markup


def drawings_of(job: ImportJob, zone: tzinfo) -> list[_Drawing]:
    """The figures of a page about one job."""
    estimates = job.eta_history
    drawn = [
        _drawing(
            "Progress",
            "Progress in percent over time, as the server sent it, on bands that name the hidden "
            "phase. The grey cone leads to the earliest, most likely and latest end.",
            4.2,
            lambda ax: plots.plot_progress(job.jobs, job.eta_frame, zone=zone, ax=ax),
        )
    ]
    if job.throughput["rows_per_s_window"].gt(0).any():
        drawn.append(
            _drawing(
                "Throughput",
                "Rows per second over time: between two snapshots as an area, over the last "
                "minute as a line.",
                2.8,
                lambda ax: plots.plot_throughput(job.throughput, zone=zone, ax=ax),
            )
        )
    if estimates["eta_p50"].notna().sum() > 2:
        drawn.append(
            _drawing(
                "Predicted end over time",
                "The end that was predicted at each snapshot, with the interval that holds it "
                "with a probability of 80 %. The grey diagonal is now.",
                3.4,
                lambda ax: plots.plot_eta(estimates, zone=zone, ax=ax),
            )
        )
    if not job.details.empty:
        drawn.append(
            _drawing(
                "Files",
                "When each file waited and was imported, one row each; stragglers are named, with "
                "their verdict and by how much they delay the job.",
                plots.files_height(job.details, job.stragglers),
                lambda ax: plots.plot_files(
                    job.details, job.stragglers, at=job.at, zone=zone, ax=ax
                ),
            )
        )
    return drawn


def _drawing(title: str, caption: str, height_in: float, draw: Callable[[Axes], Axes]) -> _Drawing:
    # The reader's own settings of matplotlib have no place in a page that is passed on. The text of
    # an SVG is drawn by the browser, which has more scripts than matplotlib's font.
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}), catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure = Figure(figsize=(9, height_in), layout="constrained")
        finding = draw(figure.subplots()).get_title(loc="left").replace(r"\$", "$")
        alt = f"{title}: {' '.join(finding.split())}. {caption}"
        prefix = re.sub(r"\W+", "-", title.lower())
        markup = _svg(figure, alt, prefix)
        if len(markup) > _MOST_SVG_BYTES:
            markup = _png(figure, alt)
    return _Drawing(title, caption, markup)


_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "importstats",
    "font.family": ["DejaVu Sans"],
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.facecolor": _PAPER,
}
_SVG: Final = "{http://www.w3.org/2000/svg}"
_XLINK: Final = "{http://www.w3.org/1999/xlink}"
_NO_METADATA: Final = dict.fromkeys(["Creator", "Date", "Format", "Type"])


def _svg(figure: Figure, alt: str, prefix: str) -> Markup:
    """The figure as inline SVG that takes ink and paper from the page around it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, dpi=150, metadata=_NO_METADATA)
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314 -- our own SVG
    for metadata in root.findall(f"{_SVG}metadata"):
        root.remove(metadata)
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", buffer.getvalue().decode()))
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = {
            name.removeprefix(_XLINK): _adapted(name, value, prefix)
            for name, value in element.attrib.items()
            if name != "id" or value in used
        }
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": alt}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 -- escaped by it


def _adapted(name: str, value: str, prefix: str) -> str:
    """An attribute with the page's colours and font, and ids that are unique on the page."""
    if name == "id":
        return f"{prefix}-{value}"
    if name == f"{_XLINK}href" and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    if name == "clip-path":
        return value.replace("url(#", f"url(#{prefix}-")
    if name == "style":
        for color, named in _PAGE_COLORS.items():
            value = value.replace(color, named)
        return _FONT.sub(r"font-weight: \1; font-size: \2", value).replace("font-weight: ; ", "")
    return value


_FONT: Final = re.compile(r"font: (?:(bold|\d+) )?([\d.]+px) [^;]*")


def _png(figure: Figure, alt: str) -> Markup:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, facecolor="white", metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(alt, data)
