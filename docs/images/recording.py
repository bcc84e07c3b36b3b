"""Record the live view of `importstats watch` as an animated SVG, frame by frame, without a screen.

    python docs/images/recording.py

The job is the one of the README's picture, so the recording is the same at every run.
"""

import argparse
import io
from datetime import UTC
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

from importstats import rewind
from importstats.show.panel import job_view
from importstats.simulator import make_shape, simulate_job, with_stragglers
from importstats.store.frames import details_frame, jobs_frame

SHAPE, FILES, SEED = "steady", 200, 8
WIDTH, FRAMES, FRAME_S = 92, 28, 0.9
COLUMN, LINE, MARGIN = 8.43, 18.5, 14
PAPER, INK = "#0d1117", "#e6edf3"


def lines_of(jobs: pd.DataFrame, details: pd.DataFrame, at: pd.Timestamp) -> list[list[Segment]]:
    """The terminal as it is at a time, with the command above it."""
    console = Console(
        width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    job_id = jobs["job_id"].iloc[0]
    shown = job_view(rewind(jobs, at), rewind(details, at, jobs), at=at, zone=UTC)
    command = Text(f"$ importstats watch {job_id}", style="bold")
    return [*console.render_lines(command), *console.render_lines(shown)]


def color_of(style: Style | None) -> str:
    """The colour of a text as SVG has it."""
    if style is None or style.color is None:
        return INK
    return style.color.get_truecolor(MONOKAI).hex


def text_of(segment: Segment, column: int, line: int) -> str:
    """A piece of a line as an SVG text; nothing if it is blank."""
    text = segment.text
    if not text.strip():
        return ""
    column += len(text) - len(text.lstrip(" "))
    text = text.strip(" ").replace("&", "&amp;").replace("<", "&lt;")
    style = segment.style
    bold = ' font-weight="bold"' if style is not None and style.bold else ""
    pale = ' opacity="0.65"' if style is not None and style.dim else ""
    x, y = MARGIN + column * COLUMN, MARGIN + (line + 0.8) * LINE
    length = f' textLength="{len(text) * COLUMN:.0f}" lengthAdjust="spacingAndGlyphs"'
    fill = f' fill="{color_of(style)}"' if color_of(style) != INK else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{length}{fill}{bold}{pale}>{text}</text>'


def frame_of(lines: list[list[Segment]]) -> str:
    """A frame as a group of texts."""
    pieces = []
    for number, line in enumerate(lines):
        column = 0
        for segment in line:
            pieces.append(text_of(segment, column, number))
            column += segment.cell_length
    return "".join(pieces)


def animated(frames: list[list[list[Segment]]]) -> str:
    """Frames that follow each other for ever; who wants no motion sees the one in the middle."""
    width = 2 * MARGIN + WIDTH * COLUMN
    height = 2 * MARGIN + max(len(lines) for lines in frames) * LINE
    whole = len(frames) * FRAME_S
    groups = "\n".join(
        f'<g class="f" style="animation-delay:{place * FRAME_S:.1f}s">{frame_of(lines)}</g>'
        for place, lines in enumerate(frames)
    )
    middle = len(frames) // 2 + 1
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" \
role="img" aria-label="importstats watch: a job of {FILES} files from its start to its end">
<style>
text {{ font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; \
white-space: pre; }}
.f {{ visibility: hidden; animation: show {whole:.1f}s step-end infinite; }}
@keyframes show {{ 0% {{ visibility: visible; }} \
{100 / len(frames):.3f}% {{ visibility: hidden; }} }}
@media (prefers-reduced-motion: reduce) {{
  .f {{ animation: none; }}
  .f:nth-of-type({middle}) {{ visibility: visible; }}
}}
</style>
<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>
<g fill="{INK}">
{groups}
</g>
</svg>
"""


def main() -> None:
    """Simulate the job, look at it at equal distances, and write the recording."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("live.svg"))
    options = parser.parse_args()
    cluster, job = make_shape(SHAPE, files=FILES, seed=SEED)
    job = with_stragglers(job, ["slow"], seed=SEED)
    tables = simulate_job((cluster, job), seed=SEED, poll_every_s=20).tables(runs=True)
    jobs, details = jobs_frame(tables[0]), details_frame(tables[1])
    places = np.linspace(2, len(jobs) - 1, options.frames).astype(int)
    frames = [lines_of(jobs, details, jobs["observed_at"].iloc[place]) for place in places]
    options.output.write_text(animated(frames), encoding="utf-8")


if __name__ == "__main__":
    main()
