"""The colours: each is seen on light and on dark paper, in figures, in pages and in notebooks."""

import re
from datetime import UTC, timedelta
from importlib import resources
from itertools import chain, combinations, pairwise

import numpy as np
import pytest
from drawn_frames import axes, day, files, simulated
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from importstats import plots
from importstats.analysis.forecast import eta
from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import phases
from importstats.analysis.rates import throughput
from importstats.names import PHASES
from importstats.plots.cluster import STAGE_LOOKS, WORK_LOOKS
from importstats.plots.fleet import CLUSTER_COLORS
from importstats.plots.hatching import (
    DASH_CYCLE,
    HATCH_CYCLE,
    MARKER_CYCLE,
    OTHER_HATCH,
    PHASE_HATCHES,
    STATE_HATCHES,
    paper,
)
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


def seen(artist):
    """The best contrast to the paper of what is drawn of an artist: its fill, edge or hatch."""
    if isinstance(artist, Line2D):
        colors = [(*to_rgb(artist.get_color()), artist.get_alpha() or 1)]
    else:
        colors = [*np.atleast_2d(artist.get_facecolor()).reshape(-1, 4)]
        if artist.get_hatch() or np.max(artist.get_linewidth()) > 0:
            colors += [*np.atleast_2d(artist.get_edgecolor()).reshape(-1, 4)]
    ground = np.array(to_rgb(paper()))
    mixed = [np.array(to_rgb(c)) * c[3] + ground * (1 - c[3]) for c in colors]
    return max(contrast(color, ground) for color in mixed)


def drawn_by_all_plots():
    """The axes of every kind of figure, in the theme that is set."""
    jobs, details, at = simulated(files=60, share=0.6)
    ended, all_details, _ = simulated(files=60)
    estimates, late = eta(ended, all_details), stragglers(details, at=at)
    thousands = files([["Pending", "InProgress", "Completed"]] * 1200)
    gap = jobs.drop(index=jobs.index[20:90])
    yield from plots.overview(jobs, details, at=at, zone=UTC).axes
    yield from plots.overview(gap, details, at=at, zone=UTC).axes
    yield plots.plot_eta(estimates, zone=UTC, ax=axes())
    yield plots.plot_throughput(throughput(details, by="file"), zone=UTC, ax=axes())
    yield plots.plot_throughput(throughput(jobs), zone=UTC, ax=axes())
    yield plots.plot_files(thousands, zone=UTC, ax=axes())
    yield plots.plot_file_heatmap(thousands, zone=UTC, ax=axes())
    yield plots.plot_stragglers(late, ax=axes())
    yield plots.plot_comparison(phases(ended), ax=axes())


# A band of a phase has its colour in full above it, and the ends of the cone are a line.
CARRIED = ("phase:", "eta-interval")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_shape_of_every_figure_is_seen_on_its_paper(theme):
    with plots.theme(theme):
        weak, count = set(), 0
        for ax in drawn_by_all_plots():
            for artist in [*ax.patches, *ax.collections, *ax.lines]:
                gid = str(artist.get_gid() or type(artist).__name__)
                if gid.startswith(CARRIED):
                    continue
                count += 1
                if (found := seen(artist)) < 3:
                    weak.add((gid, round(found, 2)))
    assert weak == set()
    assert count > 40


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_shade_of_a_heatmap_is_seen_on_its_paper(theme):
    with plots.theme(theme):
        ax = plots.plot_file_heatmap(files([["InProgress"] * 3] * 9), zone=UTC, ax=axes())
        shades = ax.images[0].get_cmap()(np.linspace(0, 1, 256))
        assert min(contrast(shade[:3], paper()) for shade in shades) >= 3
        # The less there is of a file, the more it asks to be looked at.
        light = [luminance(shade[:3]) for shade in shades]
        assert light == sorted(light, reverse=theme == "dark")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("number", [100, 1200])
def test_what_is_done_is_seen_all_over_or_has_an_edge(theme, number):
    with plots.theme(theme):
        details = files([["InProgress", *["Completed"] * 9]] * number)
        ax = plots.plot_files(details, named=30, zone=UTC, ax=axes())
        ground = to_rgb(paper())
        figure = ax.get_figure()
        figure.set_facecolor(ground)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        image = np.asarray(canvas.buffer_rgba())[..., :3] / 255
    start, end = (day(details["observed_at"].iloc[0] + timedelta(minutes=m)) for m in (8.9, 9))
    left, right = ax.transData.transform([(start, 0), (end, 0)])[:, 0].astype(int)
    box = ax.get_window_extent()
    block = image[len(image) - int(box.y1) + 4 : len(image) - int(box.y0) - 4, left : right + 2]
    lines = [max(contrast(color, ground) for color in np.unique(line, axis=0)) for line in block]
    seen_at = np.flatnonzero(np.array(lines) >= 3)
    assert np.diff(seen_at, prepend=0, append=len(lines)).max() <= figure.dpi / 4


def test_colours_of_one_kind_are_not_alike():
    assert len(set(CLUSTER_COLORS)) == len(CLUSTER_COLORS)
    assert not set(CLUSTER_COLORS) & set(chain(plots.PHASE_COLORS.values()))


# What an eye sees that lacks a kind of cone, in linear RGB (Machado, Oliveira and Fernandes, 2009,
# severity 1), and one that sees no colour.
EYES = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
    "grey": [[0.2126, 0.7152, 0.0722]] * 3,
}  # fmt: skip
# Two colours that are nearer need something else beside them.
APART = 10.0


def lab(color, eye):
    """A colour as an eye sees it, in CIELAB under D65."""
    parts = np.array(to_rgb(color))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(EYES[eye]) @ linear, 0, 1)
    xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                    [0.0193339, 0.1191920, 0.9503041]]) @ seen  # fmt: skip
    x, y, z = (
        np.cbrt(v) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116
        for v in xyz / [0.95047, 1.0, 1.08883]
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def ciede2000(one, other):
    """The difference of two colours of CIELAB (Sharma, Wu and Dalal, 2005)."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = ((a1**2 + b1**2) ** 0.5 + (a2**2 + b2**2) ** 0.5) / 2
    grey = 1.5 - 0.5 * (mean**7 / (mean**7 + 25**7)) ** 0.5
    c1, c2 = np.hypot(a1 * grey, b1), np.hypot(a2 * grey, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a * grey)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    hue = 2 * (c1 * c2) ** 0.5 * np.sin(np.radians(turn / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    mean_h = h1 + h2 if c1 * c2 == 0 else (h1 + turn / 2) % 360
    t = (
        1 - 0.17 * np.cos(np.radians(mean_h - 30)) + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6)) - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )  # fmt: skip
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / (20 + (mean_l - 50) ** 2) ** 0.5
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    bend = 60 * np.exp(-(((mean_h - 275) / 25) ** 2))
    r_t = -2 * (mean_c**7 / (mean_c**7 + 25**7)) ** 0.5 * np.sin(np.radians(bend))
    dl, dc, dh = (l2 - l1) / s_l, (c2 - c1) / s_c, hue / s_h
    return float((dl**2 + dc**2 + dh**2 + r_t * dc * dh) ** 0.5)


def test_the_difference_is_that_of_the_published_pairs():
    for one, other, expected in (
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ):
        assert ciede2000(one, other) == pytest.approx(expected, abs=1e-4)


def alike(looks):
    """The neighbours that some eye takes for one: too near in colour, and with the same hatch."""
    return {
        (one, other, eye)
        for one, other in looks
        for eye in EYES
        if ciede2000(lab(one[1], eye), lab(other[1], eye)) < APART and one[2] == other[2]
    }


def test_no_two_phases_are_alike_to_any_eye():
    looks = [(name, plots.PHASE_COLORS[name], PHASE_HATCHES[name]) for name in PHASES]
    assert alike(pairwise(looks)) == set()
    bands = [look for look in looks if look[0] not in ("Completed", "Failed")]
    assert len({hatch for _, _, hatch in bands}) == len(bands)


def test_no_two_states_of_files_are_alike_to_any_eye():
    looks = {
        hatch: (name, plots.FILE_STATE_COLORS[name], hatch) for name, hatch in STATE_HATCHES.items()
    }
    assert set(plots.FILE_STATE_COLORS) == set(STATE_HATCHES)
    # Being done has no hatch either, and is drawn as a hair or pale: see the test of figures.
    assert sorted(looks) == ["", "---", "////", "\\\\\\\\", "xxxx"]
    assert OTHER_HATCH not in looks


def test_no_two_kinds_of_work_stages_or_clusters_are_alike_to_any_eye():
    for looks in (WORK_LOOKS, STAGE_LOOKS):
        named = [(name, *look) for name, look in looks.items()]
        assert alike(combinations(named, 2)) == set()
    clusters = zip(map(str, range(6)), CLUSTER_COLORS, HATCH_CYCLE, strict=False)
    assert alike(combinations(clusters, 2)) == set()


def test_every_line_of_a_cycle_has_its_own_dash_and_marker():
    assert len({*DASH_CYCLE}) == len({*MARKER_CYCLE}) == len(CYCLE)
