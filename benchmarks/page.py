"""How heavy a job's page is, and how soon a browser shows it: ``python benchmarks/page.py``.

Needs chromium and chromedriver. First paint is the browser's own figure (first contentful paint),
of a page read from disk by a new profile, as after a click on the file; ready is when table and
charts answer. The least, the median and the most of some openings.
"""

import argparse
import shutil
import statistics
import tempfile
from datetime import UTC
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

from importstats import report
from importstats.simulator import simulate_job
from importstats.store.frames import details_frame, jobs_frame

PAINT = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
IS_READY = "return document.documentElement.className.includes('ready')"
NOW = "return performance.now()"


def page(files):
    """The page of a running job with so many files."""
    simulated = simulate_job("many_small_files", files=files, seed=4, poll_every_s=60)
    jobs, details = simulated.tables(runs=True)
    jobs, details = jobs_frame(jobs), details_frame(details)
    at = jobs["observed_at"].iloc[int(0.7 * (len(jobs) - 1))]
    return report(jobs, details, at=at, zone=UTC)


def opened(path):
    """Milliseconds until the first paint of a page, and until it is ready."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,1100"):
        options.add_argument(flag)
    with webdriver.Chrome(
        options=options, service=Service(shutil.which("chromedriver"))
    ) as browser:
        browser.get(path.as_uri())
        wait = WebDriverWait(browser, 60, poll_frequency=0.01)
        wait.until(lambda browser: browser.execute_script(IS_READY))
        ready = browser.execute_script(NOW)
        return wait.until(lambda browser: browser.execute_script(PAINT)), ready


def spread(values):
    """The least, the median and the most."""
    return f"{min(values):,.0f}, {statistics.median(values):,.0f}, {max(values):,.0f}"


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--openings", type=int, default=7)
    options.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    options = options.parse_args()
    sizes, openings = ((3,), 1) if options.smoke else ((3, 300, 10_000), options.openings)
    print("| files | page, kB | first paint, ms | ready, ms |\n|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for files in sizes:
            path = Path(folder) / f"{files}.html"
            path.write_text(page(files), encoding="utf-8")
            times = [opened(path) for _ in range(openings)]
            paint, ready = zip(*times, strict=True)
            size = path.stat().st_size / 1e3
            print(f"| {files:,} | {size:,.0f} | {spread(paint)} | {spread(ready)} |", flush=True)


if __name__ == "__main__":
    main()
