"""Themes: a figure holds on dark paper, and what shows it picks the one that suits."""

import base64
import re
from io import BytesIO

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from importstats import plots
from importstats.plots.themes import PAPERS
from importstats.show.job import ImportJob

JOBS = pd.DataFrame(
    {
        "source_uri": "http://localhost:19530", "job_id": "7", "snapshot_id": range(4),
        "observed_at": pd.date_range("2026-05-18", periods=4, freq="60s", tz="UTC"),
        "state": ["Pending", "Importing", "Importing", "Importing"],
        "progress_pct": [5.0, 40.0, 55.0, 60.0], "imported_rows": [0, 0, 500, 600],
        "total_rows": [0, 1000, 1000, 1000], "detail_count": [0, 3, 3, 3],
    }
)  # fmt: skip


def pixels(png):
    return np.asarray(Image.open(BytesIO(png)).convert("RGBA"))


def saved(figure):
    png = BytesIO()
    figure.savefig(png, format="png", dpi=50)
    return pixels(png.getvalue())


@pytest.mark.parametrize("name", ["light", "dark"])
def test_the_paper_shines_through_and_the_ink_is_that_of_the_theme(name):
    figure = ImportJob(JOBS).plot(theme=name)
    image = saved(figure)
    assert image[0, -1, 3] == 0
    inks = {to_hex(text.get_color()) for ax in figure.axes for text in ax.texts}
    inks |= {to_hex(label.get_color()) for ax in figure.axes for label in ax.get_xticklabels()}
    assert inks == {PAPERS[name][1]}
    assert matplotlib.rcParams["text.color"] == "black"


def test_a_notebook_gets_both_and_who_shows_no_html_one_on_white():
    bundle = ImportJob(JOBS).plot()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png", "text/html"}
    assert pixels(base64.b64decode(bundle["image/png"]))[0, -1].tolist() == [255, 255, 255, 255]
    light, dark = (
        pixels(base64.b64decode(found)).astype(int)
        for found in (
            re.search(r'src="data:image/png;base64,([\w+/=]+)"', bundle["text/html"])[1],
            re.search(r"--dark: url\(data:image/png;base64,([\w+/=]+)\)", bundle["text/html"])[1],
        )
    )
    assert light.shape == dark.shape
    # The title and all other ink is dark on one and light on the other.
    inked = (light[..., 3] == 255) & (dark[..., 3] == 255)
    assert light[inked][:, :3].min() < 60 < 200 < dark[inked][:, :3].max()


def test_the_style_can_be_taken_away_and_the_light_one_is_left():
    html = ImportJob(JOBS).plot()._repr_mimebundle_()["text/html"]
    bare = re.sub(r"<style>.*</style>", "", html, flags=re.DOTALL)
    assert bare.count("<img") == 1
    assert "dark" not in bare


def test_marimo_gets_both_too_and_a_figure_of_one_theme_as_it_is():
    kind, html = ImportJob(JOBS).plot()._mime_()
    assert kind == "text/html"
    assert html.count("data:image/png;base64,") == 2
    kind, url = ImportJob(JOBS).plot(theme="dark")._mime_()
    assert (kind, url[:27]) == ("image/png", "data:image/png;base64,iVBOR")


def test_a_figure_of_one_theme_is_shown_as_it_is():
    assert plots.overview(JOBS)._repr_mimebundle_() == {}
    assert plots.overview(JOBS)._repr_png_().startswith(b"\x89PNG")
