"""Names in any script: in an installed font that has them, else as numbers, never as boxes."""

import warnings
from datetime import UTC
from io import BytesIO

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure

from importstats import plots
from importstats.simulator import simulate_job
from importstats.store.frames import details_frame


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A font of a family that has one letter, installed for the time of a test."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((0, 700)), pen.lineTo((700, 0)), pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "number"])
    builder.setupCharacterMap({ord("数"): "number"})
    builder.setupGlyf({".notdef": pen.glyph(), "number": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "number": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Noto Sans CJK SC", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(tmp_path / "NotoSansCJKsc.ttf")
    fonts = font_manager.fontManager
    before = list(fonts.ttflist)
    fonts.addfont(tmp_path / "NotoSansCJKsc.ttf")
    yield "Noto Sans CJK SC"
    fonts.ttflist[:] = before
    fonts._findfont_cached.cache_clear()


def files_named(name):
    _, details = simulate_job("steady", files=3, seed=1, poll_every_s=300).tables(runs=True)
    details = details_frame(details)
    names = details["file_index"].map(lambda index: f"{name}{index}.parquet")
    return details.assign(file=names, file_name=names)


def drawn(details):
    figure = Figure(layout="constrained")
    ax = plots.plot_files(details, zone=UTC, ax=figure.subplots())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(BytesIO(), format="png", dpi=50)
    return ax.get_yticklabels()


def test_a_letter_that_no_font_has_is_its_number_and_files_keep_their_names():
    assert plots.label("\U00012000-1") == r"\U00012000-1"
    assert plots.label("\U00012000/a") != plots.label("\U00012001/a")
    names = [label.get_text() for label in drawn(files_named("\U00012000"))]
    assert names == [rf"\U00012000{place}.parquet" for place in range(3)]


def test_a_letter_of_an_installed_font_is_drawn_in_it(installed):
    assert plots.label("数-1") == "数-1"
    assert plots.label("数据-1") == r"数\u636e-1"
    labels = drawn(files_named("数"))
    assert [label.get_text() for label in labels] == [f"数{place}.parquet" for place in range(3)]
    assert all(installed in label.get_fontfamily() for label in labels)
