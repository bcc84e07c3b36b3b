"""How a page looks in a real browser: whole names, and shapes that are seen on its paper."""

import re
from datetime import UTC, datetime
from importlib import resources

import pytest
from browsers import need_browser, open_browser, until_true
from frames import simulated

from importstats import ImportJob, rewind
from importstats.reports.html import to_html
from importstats.reports.job_pages import JobRow, jobs_html

need_browser()

# The contrast of each line of pixels of a chart, in a column of it, to the paper: the best of it.
CONTRASTS = """
const canvas = document.querySelector(`#${arguments[0]} canvas`);
const paper = arguments[1], ratio = devicePixelRatio;
const luminance = (color) => [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => {
  const part = color[i] / 255;
  return sum + share * (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
}, 0);
const ground = luminance(paper);
const over = document.querySelector(`#${arguments[0]} .u-over`);
const { left, top, width, height } = over.getBoundingClientRect();
const box = canvas.getBoundingClientRect();
const x = Math.round((left - box.left + arguments[2] * width) * ratio);
const y = Math.round((top - box.top) * ratio);
const pixels = canvas.getContext("2d").getImageData(x, y, 6, Math.round(height * ratio)).data;
return Array.from({ length: Math.round(height * ratio) }, (_, line) =>
  Math.max(...Array.from({ length: 6 }, (_, column) => {
    const at = 4 * (6 * line + column);
    const alpha = pixels[at + 3] / 255;
    const seen = luminance([0, 1, 2].map((i) => pixels[at + i] * alpha + paper[i] * (1 - alpha)));
    return (Math.max(seen, ground) + 0.05) / (Math.min(seen, ground) + 0.05);
  })));
"""


def page_of(files, share, shape="steady", seed=8, rename=None):
    jobs, details = simulated(shape, files=files, seed=seed, poll_every_s=20)
    if rename:
        details = details.assign(file=details["file"].astype("str").replace(rename))
    at = jobs["observed_at"].iloc[int(share * (len(jobs) - 1))]
    job = ImportJob(rewind(jobs, at), rewind(details, at, jobs), at, zone=UTC)
    return job, to_html(job, UTC)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


def show(browser, path, theme="light", width=1200):
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")
    browser.get(path.as_uri())
    ready = "return document.documentElement.classList.contains('ready')"
    until_true(lambda: browser.execute_script(ready))


@pytest.fixture(scope="module")
def shown(browser, tmp_path_factory):
    job, html = page_of(300, 1.0)
    path = tmp_path_factory.mktemp("page") / "job.html"
    path.write_text(html, encoding="utf-8")

    def show_it(theme, width):
        show(browser, path, theme, width)
        return job

    return show_it


def paper_of(theme):
    css = (resources.files("importstats.show") / "page" / f"{theme}.css").read_text("utf-8")
    paper = re.search(r"--paper: #(\w{6})", css)[1]
    return [int(paper[place : place + 2], 16) for place in (0, 2, 4)]


@pytest.mark.parametrize("width", [360, 1200])
def test_every_phase_has_its_whole_name_and_the_look_of_its_bar(browser, shown, width):
    job = shown("light", width)
    items = browser.execute_script(
        "return [...document.querySelectorAll('.phases li')].map((li) => ["
        "li.textContent.trim().split(' ')[0], li.scrollWidth <= li.clientWidth + 1,"
        "getComputedStyle(li.firstChild).background])"
    )
    bars = browser.execute_script(
        "return [...document.querySelectorAll('.strip i')].map((bar) => ["
        "bar.clientWidth, getComputedStyle(bar).background])"
    )
    assert [name for name, _, _ in items] == job.phases["phase"].astype("str").tolist()
    assert all(whole for _, whole, _ in items)
    assert [look for _, _, look in items] == [look for _, look in bars]
    assert len({look for _, look in bars}) == len(bars)
    assert min(wide for wide, _ in bars) >= 4


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_done_is_seen_all_over_the_chart_of_files(browser, shown, theme):
    shown(theme, 1200)
    # By then all files are done, and the job is not.
    lines = browser.execute_script(CONTRASTS, "chart-files", paper_of(theme), 0.93)
    seen = [place for place, value in enumerate(lines) if value >= 3]
    pauses = [b - a for a, b in zip([0, *seen], [*seen, len(lines)], strict=True)]
    assert max(pauses) <= 24
    assert len(seen) < len(lines) / 2, "what is done does not ask to be looked at"


@pytest.mark.parametrize("width", [500, 1200])
def test_a_name_of_any_length_leaves_the_bars_to_be_seen(browser, tmp_path, width):
    job, _ = page_of(8, 0.7)
    names = job.details["file"].astype("str").unique()
    _, html = page_of(8, 0.7, rename={name: f"{name}{'m' * 220}" for name in names})
    path = tmp_path / "long.html"
    path.write_text(html, encoding="utf-8")
    show(browser, path, width=width)
    # Nothing is drawn where no file has begun.
    lines = browser.execute_script(CONTRASTS, "chart-files", paper_of("light"), 0)
    assert max(lines) < 2


@pytest.mark.parametrize(("shape", "named"), [("stuck_file", 1), ("wrong_totals", 0)])
def test_where_names_of_all_files_do_not_fit_the_late_one_has_its_name(
    browser, tmp_path, shape, named
):
    job, html = page_of(40, 0.8, shape)
    assert job.stragglers["matters"].eq("now").sum() == named
    path = tmp_path / "named.html"
    path.write_text(html, encoding="utf-8")
    show(browser, path)
    # Bars and lines are paler than ink.
    ground, shares = paper_of("light"), [place / 200 for place in range(60, 198)]
    lines = [browser.execute_script(CONTRASTS, "chart-files", ground, at) for at in shares]
    written = [place for place, line in enumerate(zip(*lines, strict=True)) if max(line) > 10]
    assert bool(written) == bool(named)
    assert max(written, default=0) - min(written, default=0) <= 14


def tallest_ink(browser, share):
    """How many pixels high the tallest mark in ink is at a share of the progress chart's width."""
    lines = browser.execute_script(CONTRASTS, "chart-progress", paper_of("light"), share)
    runs = "".join("x" if value > 10 else " " for value in lines).split()
    return max(map(len, runs), default=0)


@pytest.mark.parametrize(("share", "beyond"), [(0.9, False), (0.35, True)])
def test_the_predicted_end_is_marked_where_it_is_or_at_the_edge(browser, tmp_path, share, beyond):
    job, html = page_of(24, share)
    seen = job.jobs["observed_at"].iloc[-1] - job.jobs["observed_at"].iloc[0]
    # The axis goes on for as long as the job has been seen, at most.
    assert (job.eta["eta_p50"] - job.jobs["observed_at"].iloc[-1] > seen) == beyond
    path = tmp_path / "eta.html"
    path.write_text(html, encoding="utf-8")
    show(browser, path)
    marks = [place / 100 for place in range(60, 100) if tallest_ink(browser, place / 100) >= 6]
    assert marks
    assert (min(marks) > 0.9) == beyond


def test_no_id_and_no_number_of_a_table_is_broken_on_a_phone(browser, tmp_path):
    cells = ("456165502745803595", "products", "IndexBuilding", "99.5 %", "6.13 M", "18 min 37 s")
    rows = [JobRow("http://milvus:19530", cells[0], cells)]
    headings = ("job", "collection", "phase", "done", "rows", "took")
    path = tmp_path / "load.html"
    at = datetime(2026, 5, 18, 8, tzinfo=UTC)
    text = jobs_html(path, headings, rows, headline="1 job: 1 at work", at=at, zone=UTC)
    path.write_text(text, encoding="utf-8")
    size = {"width": 360, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    words = browser.execute_script(
        "return [...document.querySelectorAll('tbody th, tbody td')].flatMap((cell) => {"
        "const text = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT).nextNode();"
        "const range = document.createRange(); const found = [];"
        "for (const word of text.textContent.matchAll(/\\S+/g)) {"
        "range.setStart(text, word.index); range.setEnd(text, word.index + word[0].length);"
        "found.push([word[0], range.getClientRects().length]); } return found; })"
    )
    assert [word for word, _ in words] == " ".join(cells).split()
    assert {lines for _, lines in words} == {1}
    assert browser.execute_script("return document.body.scrollWidth <= innerWidth")
