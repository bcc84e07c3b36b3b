"""A real browser for tests, and waiting for what comes to pass in it."""

import os
import shutil
import time

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1200,1100",
]  # fmt: skip


def need_browser():
    """Skip the module where there is no browser; in CI that is a failure: nothing else looks."""
    if CHROMIUM and DRIVER:
        return
    if os.environ.get("CI") == "true":
        raise RuntimeError("tests of what browsers show need Debian's chromium and chromium-driver")
    pytest.skip("needs chromium and chromium-driver", allow_module_level=True)


def open_browser(profile):
    """A headless browser that keeps what it logs and asks for."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


def _answer(question):
    """The answer; none while the page is being loaded, when there is nothing to ask."""
    try:
        return question()
    except WebDriverException:
        return None


def until_true(question, seconds=20):
    end = time.monotonic() + seconds
    while not (answer := _answer(question)):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)
    return answer
