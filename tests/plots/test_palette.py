"""The colours: each is seen on light and on dark paper, in figures, in pages and in notebooks."""

import re
from importlib import resources
from itertools import chain

import pytest
from matplotlib.colors import to_rgb

from importstats import plots
from importstats.plots.fleet import CLUSTER_COLORS
from importstats.plots.style import CYCLE

# White, GitHub's dark, JupyterLab's dark.
PAPERS = ("#ffffff", "#0d1117", "#111111")
SHAPES = sorted(
    {
        *plots.PHASE_COLORS.values(), *plots.FILE_STATE_COLORS.values(),
        *plots.VERDICT_COLORS.values(), plots.OTHER_COLOR, *CLUSTER_COLORS, *CYCLE,
    }
)  # fmt: skip
TEXTS = ("ink", "soft", "info", "warning", "critical", "blue")


def luminance(color):
    parts = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(color))
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(one, other):
    """The contrast of two colours by the Web Content Accessibility Guidelines 2.2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def page_colors(theme):
    text = (resources.files("importstats.show") / "page" / f"{theme}.css").read_text("utf-8")
    return dict(re.findall(r"--(\w+): (#\w+)", text))


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("color", SHAPES)
def test_every_shape_is_seen_on_light_and_on_dark_paper(color):
    papers = {*PAPERS, page_colors("light")["paper"], page_colors("dark")["paper"]}
    assert {paper: contrast(color, paper) for paper in papers if contrast(color, paper) < 3} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_of_a_page_is_read_on_paper_panel_and_chosen_row(theme):
    colors = page_colors(theme)
    assert set(TEXTS) < set(colors)
    grounds = [colors[name] for name in ("paper", "panel", "chosen")]
    weak = {
        (text, ground): contrast(colors[text], ground)
        for text in TEXTS
        for ground in grounds
        if contrast(colors[text], ground) < 4.5
    }
    assert weak == {}


def test_colours_of_one_kind_are_not_alike():
    assert len(set(CLUSTER_COLORS)) == len(CLUSTER_COLORS)
    assert not set(CLUSTER_COLORS) & set(chain(plots.PHASE_COLORS.values()))
