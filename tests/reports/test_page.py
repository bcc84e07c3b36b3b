"""The page in a real browser: hover, search, sort, zoom and links show what the data say."""

import functools
import http.server
import json
import re
import threading
from datetime import UTC, timedelta
from functools import lru_cache
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
from browsers import need_browser, open_browser, until_true
from frames import simulated
from selenium.webdriver.common.by import By

from importstats import report
from importstats.analysis.ranking import delay_text
from importstats.analysis.samples import FileSamples
from importstats.plots.files import state_spans
from importstats.reports.html import TOP_FILES, to_html
from importstats.show.attention import Look
from importstats.show.job import ImportJob
from importstats.show.page_data import file_columns
from importstats.text import format_count, format_duration

need_browser()


@lru_cache(maxsize=8)
def frames(shape="stragglers", files=60, share=0.6, poll=20):
    jobs, details = simulated(shape, files=files, seed=4, poll_every_s=poll)
    at = jobs["observed_at"].iloc[int(share * (len(jobs) - 1))]
    return jobs, details, at


def shown_job(*args, **options):
    return ImportJob(*frames(*args, **options), zone=UTC)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A folder on loopback: its path, its address, and the paths asked of it."""
    folder = tmp_path_factory.mktemp("pages")
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            # Of two versions of a page within one second it would call the second unchanged.
            del self.headers["If-Modified-Since"]
            super().do_GET()

        def log_message(self, *args):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=folder)
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


class Page:
    """A page of a job in the browser, which said nothing to its console and asked for nothing."""

    def __init__(self, browser, served, name, text, fragment=""):
        folder, address, _ = served
        (folder / name).write_text(text, encoding="utf-8")
        self.browser, self.address = browser, f"{address}/{name}"
        browser.get("about:blank")
        browser.get_log("browser"), browser.get_log("performance")
        browser.get(self.address + fragment)
        until_true(lambda: "ready" in self.js("return document.documentElement.className"))

    def js(self, code, *values):
        return self.browser.execute_script(code, *values)

    def text(self, css):
        return self.browser.find_element(By.CSS_SELECTOR, css).get_attribute("textContent")

    def all(self, css):
        return self.js(
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter((e) => !e.closest('[hidden]')).map((e) => e.textContent)", css
        )  # fmt: skip

    def click(self, css):
        self.js("document.querySelector(arguments[0]).click()", css)

    def search(self, text):
        self.js(
            "const e = document.querySelector('#files-search'); e.value = arguments[0];"
            "e.dispatchEvent(new Event('input'))", text
        )  # fmt: skip

    def point(self, css, x, y=0.5):
        """Where a share of the width and height of an element's plot is on the screen."""
        self.js("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", css)
        box = self.js(
            "const b = document.querySelector(arguments[0] + ' .u-over').getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]", css
        )  # fmt: skip
        return box[0] + x * box[2], box[1] + y * box[3]

    def mouse(self, kind, x, y, pressed=0):
        self.browser.execute_cdp_cmd(
            "Input.dispatchMouseEvent",
            {"type": kind, "x": x, "y": y, "button": "left" if pressed else "none",
             "buttons": pressed, "clickCount": pressed},
        )  # fmt: skip

    def hover(self, css, x, y=0.5):
        self.mouse("mouseMoved", *self.point(css, x, y))
        return until_true(lambda: not self.js("return document.querySelector('#tip').hidden") and
                          self.all("#tip > *"))  # fmt: skip

    def drag(self, css, start, end):
        """Drag along a share of a plot; the zoom that the link then has."""
        middle = (start + end) / 2
        for kind, share, pressed in (
            ("mouseMoved", start, 0), ("mousePressed", start, 1), ("mouseMoved", middle, 1),
            ("mouseMoved", end, 1), ("mouseReleased", end, 1),
        ):  # fmt: skip
            self.mouse(kind, *self.point(css, share), pressed)
        asked = until_true(
            lambda: re.search(r"from=([\d.-]+)&to=([\d.-]+)", self.js("return location.hash"))
        )
        return float(asked[1]), float(asked[2])

    def complaints(self):
        return self.browser.get_log("browser")

    def requests(self):
        events = [json.loads(e["message"])["message"] for e in self.browser.get_log("performance")]
        return [
            e["params"]["request"]["url"]
            for e in events
            if e["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture(scope="module")
def page(browser, served):
    job = shown_job()
    worst = job.stragglers.iloc[0]
    job.looks = [Look(f"{worst['file']} is stuck.", "warning", int(worst["file_index"]))]
    return Page(browser, served, "job.html", to_html(job, UTC))


def test_the_first_screen_says_when_and_what_and_links_it(page):
    job = shown_job()
    assert re.fullmatch(r".+ left \(.+ to .+\) when this page was made", page.text("#left"))
    assert page.text("#left").split()[0] in page.js("return document.title")
    strip = " ".join(page.all(".phases li"))
    assert all(phase in strip for phase in job.phases["phase"].astype("str"))
    [link, *_] = page.js(
        "return [...document.querySelectorAll('.verdict a')].map((a) => a.getAttribute('href'))"
    )
    worst = job.stragglers.iloc[0]["file"]
    assert worst in page.text(".verdict")
    page.js("location.hash = arguments[0]", link)
    until_true(lambda: page.all("#files-rows tr.selected th") == [worst])
    page.js("location.hash = ''")


def test_every_file_is_in_the_table_with_its_numbers(page):
    page.js("location.hash = ''")
    job = shown_job()
    files = file_columns(job)
    assert page.text("#files-count") == f"{len(files)} files"
    for place in (0, len(files) // 2, len(files) - 1):
        file = files.iloc[place]
        page.search(file["file"])
        [row] = page.js(
            "return [...document.querySelectorAll('#files-rows tr[data-row]')]"
            ".filter((r) => !r.hidden).map((r) => [...r.children].map((c) => c.textContent))"
        )
        assert row[0] == file["file"]
        assert row[3] == delay_text(file["delay_s"])
        assert row[7] == format_count(file["imported_rows"])
        if pd.notna(file["run_s"]):
            assert row[4] == format_duration(round(file["run_s"], 1))
    page.search("")


def test_the_quartiles_are_those_of_the_chosen_files(page):
    page.js("location.hash = ''")
    files = file_columns(shown_job())
    for only, chosen in (("all", files), ("done", files[files["state"].eq("Completed")])):
        page.click(f"[data-only={only}]")
        lines = page.js(
            "return [...document.querySelectorAll('#files-quantiles tr')]"
            ".map((r) => [...r.children].map((c) => c.textContent))"
        )
        shares = (0, 0.25, 0.5, 0.75, 1)
        expected = [float(np.quantile(chosen["imported_rows"], share)) for share in shares]
        said = [float(line[7].replace(",", "")) for line in lines]
        assert said == pytest.approx(expected, abs=0.5)
    page.click("[data-only=all]")


def test_hover_says_phase_progress_and_the_file_under_the_pointer(page):
    page.js("location.hash = ''")
    jobs, _, at = frames()
    known = jobs[jobs["observed_at"] <= at]
    low, high = page.js("const b = document.querySelector('#chart-progress .u-over');"
                        "return [b.clientWidth, b.clientHeight]")  # fmt: skip
    assert low > 300 < high + 300
    lines = page.hover("#chart-progress", 0.3)
    moment = pd.Timestamp(f"{at:%Y-%m-%d} {lines[0].split()[0]}", tz="UTC")
    before = known[known["observed_at"] <= moment + timedelta(seconds=1)].iloc[-1]
    assert f"{before['progress_pct']:g} %" in lines[1]
    files = file_columns(shown_job())
    names = files.sort_values("begin", kind="stable")["file"].tolist()
    said = page.hover("#chart-files", 0.3, 0.5 / len(names))
    file = files[files["file"].eq(said[0])].iloc[0]
    assert file["begin"] == files["begin"].min()
    assert (
        f"{format_count(file['imported_rows'])} of {format_count(file['total_rows'])} rows"
        in said[2]
    )


def test_a_drag_zooms_all_charts_and_the_link_keeps_it(page):
    page.js("location.hash = ''")
    start, end = page.drag("#chart-rates", 0.2, 0.5)
    lines = page.hover("#chart-progress", 0.001)
    first = frames()[0]["observed_at"].iloc[0].floor("s")
    moment = pd.Timestamp(f"{first:%Y-%m-%d} {lines[0].split()[0]}", tz="UTC")
    assert abs((moment - first).total_seconds() - start) < 0.02 * (end - start) + 2
    page.click("#zoom-out")
    assert "from=" not in page.js("return location.hash")


def test_a_click_on_a_bar_goes_to_its_row(page):
    page.js("location.hash = ''")
    name = page.hover("#chart-files", 0.3, 0.4)[0]
    for kind in ("mousePressed", "mouseReleased"):
        page.mouse(kind, *page.point("#chart-files", 0.3, 0.4), 1)
    until_true(lambda: page.all("#files-rows tr.selected th") == [name])
    assert "file=" in page.js("return location.hash")


def test_nothing_is_asked_of_anyone_and_the_console_is_silent(page):
    complaints = [c for c in page.complaints() if "favicon" not in c["message"]]
    assert complaints == []
    assert {url for url in page.requests() if not url.endswith("favicon.ico")} <= {page.address}


def test_ten_thousand_files_are_searched_sorted_and_scrolled(browser, served):
    jobs, details, at = frames("many_small_files", 10_000, 0.7, 60)
    text = report(jobs, details, at=at)
    assert len(text.encode()) < 1_000_000
    page = Page(browser, served, "many.html", text)
    files = file_columns(ImportJob(jobs, details, at, zone=UTC))
    assert page.text("#files-count") == f"{len(files):,} files"
    assert len(page.all("#files-rows tr[data-row]")) < 120
    page.click("[data-sort=run_s]")
    rows = page.all("#files-rows tr[data-row] td:nth-child(5)")
    assert rows[0] == format_duration(round(files["run_s"].max(), 1))
    page.js("document.querySelector('#files-scroll').scrollTop = 1e9")
    until_true(lambda: "unknown" in page.all("#files-rows tr[data-row] td:nth-child(5)")
               or page.all("#files-rows tr[data-row]"))  # fmt: skip
    for only, state in (("done", "Completed"), ("waiting", "Pending")):
        page.click(f"[data-only={only}]")
        count = int(files["state"].eq(state).sum())
        assert page.text("#files-count") == f"{count:,} of 10,000 files"
    page.click("[data-only=all]")
    page.search("part-00042")
    assert page.text("#files-count").startswith("1 of 10,000")
    page.search("")
    page.click("[data-sort=run_s]")
    page.click("[data-sort=run_s]")
    assert page.hover("#chart-files", 0.4)[0] in set(files["file"])
    start, end = page.drag("#chart-rates", 0.2, 0.5)
    first = jobs["observed_at"].iloc[0].floor("s")
    moment = page.hover("#chart-progress", 0.001)[0].split()[0]
    shown = pd.Timestamp(f"{first:%Y-%m-%d} {moment}", tz="UTC")
    assert abs((shown - first).total_seconds() - start) < 0.02 * (end - start) + 2
    page.click("#zoom-out")
    assert {url for url in page.requests() if not url.endswith("favicon.ico")} <= {page.address}
    assert [c for c in page.complaints() if "favicon" not in c["message"]] == []


def test_of_hundreds_the_late_ones_lie_on_top_and_the_others_are_counted(browser, served):
    job = ImportJob(*frames(files=300, share=0.7), zone=UTC)
    files = file_columns(job)
    cost = files["matters"].eq("was") & files["delay_s"].ge(60)
    late = files.loc[files["matters"].isin(["now", "failed"]) | cost, "file"].tolist()
    assert 0 < len(late) < 12
    page = Page(browser, served, "hundreds.html", to_html(job, UTC))
    [high] = page.js(
        "return [document.querySelector('#chart-files .u-over').clientHeight]",
    )
    for place, name in enumerate(late):
        said = page.hover("#chart-files", 0.3, (14 * place + 7) / high)
        assert said[0] == name
    counts = (
        files["state"]
        .astype("str")
        .replace({"Completed": "done", "Pending": "waiting"})
        .value_counts()
    )
    said = page.text("#files-title")
    assert said.startswith(f"300 files, {counts['done']} done, ")
    _, spans = state_spans(FileSamples.from_details(job.details))
    last = spans.drop_duplicates("key", keep="last")
    at_work = last.loc[last["state"].eq("inprogress"), "start"]
    oldest = format_duration((job.jobs["observed_at"].iloc[-1] - at_work.min()).total_seconds())
    assert f" {counts['InProgress']} importing (the oldest for {oldest})" in said
    assert f" {counts['waiting']} waiting" in said
    assert said.endswith("late ones on top")
    # Rows below them are those of the others, by start.
    rest = files[~files["file"].isin(late)]
    assert page.hover("#chart-files", 0.3, (14 * len(late) + 1) / high)[0] in set(
        rest.loc[rest["begin"] <= rest["begin"].min() + pd.Timedelta("60s"), "file"]
    )


def test_a_state_is_known_in_the_legend_without_its_colour(browser, served):
    page = Page(browser, served, "legend.html", to_html(shown_job(), UTC))
    looks = page.js(
        "return [...document.querySelectorAll('.legend li')].map((li) => [li.textContent,"
        " getComputedStyle(li.firstChild).backgroundImage.replace(/rgb\\([^)]*\\)/g, 'ink')])"
    )
    assert len(looks) >= 3
    assert len({look for _, look in looks}) == len(looks)


def test_a_link_to_a_file_opens_at_its_row(browser, served):
    jobs, details, at = frames()
    files = file_columns(shown_job())
    name = files["file"].iloc[-1]
    page = Page(
        browser,
        served,
        "linked.html",
        report(jobs, details, at=at),
        f"#{urlencode({'file': name})}",
    )
    until_true(lambda: page.all("#files-rows tr.selected th") == [name])
    row = page.js(
        "const box = document.querySelector('#files-rows tr.selected').getBoundingClientRect();"
        "return [box.top >= 0, box.bottom <= innerHeight]"
    )
    assert row == [True, True], "the reader sees it at once"


def test_a_live_page_keeps_its_place_and_turns_stale(browser, served):
    folder, _, _ = served
    jobs, details, at = frames()
    now = pd.Timestamp.now("UTC")
    shift = now - at
    moved = [
        frame.assign(**{name: frame[name] + shift for name in frame.columns
                        if str(frame[name].dtype).startswith("datetime64")})
        for frame in (jobs, details)
    ]  # fmt: skip
    text = report(*moved, at=now, refresh_s=1)
    page = Page(browser, served, "live.html", text, "#q=part&sort=-run_s")
    assert page.text("#age").startswith("updated ")
    page.js("scrollTo(0, 900); document.querySelector('#files-scroll').scrollTop = 90")
    newer = report(*moved, at=now + timedelta(seconds=2), refresh_s=1)
    (folder / "live.html").write_text(newer.replace("Import job <code>", "Import job anew <code>"))
    until_true(lambda: "anew" in page.text("h1"))
    until_true(lambda: "ready" in page.js("return document.documentElement.className"))
    place = "return [scrollY, document.querySelector('#files-scroll').scrollTop]"
    until_true(lambda: page.js(place) == [900, 90], seconds=5)
    page.js("return new Promise((done) => requestAnimationFrame(() => setTimeout(done, 200)))")
    assert page.js(place) == [900, 90]
    assert page.js("return document.querySelector('#files-search').value") == "part"
    assert page.js("return document.querySelector('[aria-sort=descending]').textContent") == "ran"
    (folder / "live.html").unlink()
    until_true(lambda: page.js("return document.body.classList.contains('stale')"))
    assert page.js("return document.title").startswith("stale: ")


def test_without_javascript_the_files_that_matter_are_there():
    jobs, details, at = frames("stragglers", 200)
    text = report(jobs, details, at=at)
    files = file_columns(ImportJob(jobs, details, at, zone=UTC))
    body = re.search(r'<tbody id="files-rows">(.*?)</tbody>', text, re.DOTALL)[1]
    assert re.findall(r'<th scope="row">(.*?)</th>', body) == files["file"].head(TOP_FILES).tolist()
    assert f"the other {len(files) - TOP_FILES} are shown with JavaScript" in text
