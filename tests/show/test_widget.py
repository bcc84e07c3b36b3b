"""The live view of a notebook: in a real JupyterLab, after its cell has returned, until the end."""

import json
import math
import os
import re
import subprocess
import sys
import zlib
from datetime import UTC

import nbformat
import pytest
from browsers import need_browser, open_browser, until_true
from servers import server_of

import importstats
from importstats.show.assets import widget_module
from importstats.show.job import ImportJob
from importstats.simulator import simulate_job
from importstats.store.frames import jobs_frame
from importstats.text import format_count

pytest.importorskip("anywidget", reason="the live view needs the extra widget")

FAST = importstats.PollPolicy(min_s=0.05, max_s=0.4)
# The job begins when all that takes time to import has been imported.
CELL = """
import importstats, importstats.show.widget
from importstats.simulator import SimulatorServer, make_shape
cluster, spec = make_shape("stragglers", files=12, seed=3)
server = SimulatorServer(cluster, [spec], seed=3, acceleration={acceleration})
server.start()
view = importstats.live(
    importstats.ImportClient(server.uri), server.job_ids[0], store="store",
    policy=importstats.PollPolicy(min_s=0.05, max_s=0.4), refresh_s=0.3)
view
"""


def shown(view):
    """What a view has sent to its browser last."""
    return json.loads(zlib.decompress(view.page))


def test_a_view_goes_on_by_itself_stores_what_it_shows_and_ends_with_the_job(tmp_path):
    with server_of("steady", seconds=math.inf, files=8) as server:
        client = importstats.ImportClient(server.uri)
        [job_id] = server.job_ids
        view = importstats.live(
            client, job_id, store=tmp_path / "store", policy=FAST, refresh_s=0.1, zone=UTC
        )
        until_true(lambda: view.page, 120)
        first = shown(view)
        assert first["first"]["name"].startswith(f"Import job {job_id} into ")
        assert view.running
        server.acceleration = 1000
        assert view.wait(150)
    assert not view.running
    assert view.problem == ""
    last = shown(view)
    assert last["ended"]
    assert last["first"]["line"].startswith("Completed at ")
    assert last["at"] > first["at"]
    assert last["files"]["count"] == 8
    kept = ImportJob.load(tmp_path / "store", job_id)
    assert kept.state == view.job.state == "Completed"
    assert repr(view) == f"<LiveJob {job_id}: stopped>"
    client.close()


def test_stop_keeps_what_is_stored_and_says_that_it_has_stopped(tmp_path):
    with (
        server_of("steady", seconds=math.inf, files=8) as server,
        importstats.ImportClient(server.uri) as client,
    ):
        [job_id] = server.job_ids
        view = importstats.live(
            client, job_id, store=tmp_path / "store", policy=FAST, refresh_s=0.1
        )
        until_true(lambda: view.page, 120)
        view.stop()
        assert view.wait(150)
    assert not view.running
    assert not shown(view)["ended"]
    assert len(ImportJob.load(tmp_path / "store", job_id).jobs) >= 1


def test_a_job_that_the_server_does_not_know_is_a_problem_that_is_shown(tmp_path):
    with (
        server_of("steady", seconds=math.inf, files=2) as server,
        importstats.ImportClient(server.uri) as client,
    ):
        view = importstats.live(client, "8", store=tmp_path / "store", policy=FAST)
        assert view.wait(150)
    assert "8" in view.problem
    assert "not" in view.problem
    assert view.page == b""
    with pytest.raises(importstats.StoreError):
        _ = view.job


def test_a_job_of_a_store_is_watched_while_someone_else_fills_it(tmp_path):
    snapshots = list(simulate_job("steady", files=4, seed=2, poll_every_s=60).snapshots())
    store = importstats.SnapshotStore(tmp_path / "store")
    store.append(snapshots[: len(snapshots) // 2])
    job = ImportJob.load(store, zone=UTC)
    view = job.watch(refresh_s=0.05)
    until_true(lambda: view.page, 120)
    assert not shown(view)["ended"]
    assert view.running
    store.append(snapshots[len(snapshots) // 2 :])
    assert view.wait(150)
    assert shown(view)["first"]["line"].startswith("Completed at ")


def test_a_job_made_of_frames_has_nothing_to_watch():
    jobs, _ = simulate_job("steady", files=2, seed=2, poll_every_s=600).tables()
    with pytest.raises(ValueError, match=r"use importstats\.live"):
        ImportJob(jobs_frame(jobs)).watch()


def test_the_module_imports_nothing_and_asks_nothing_of_any_network():
    module = widget_module()
    assert re.findall(r"\bimport\b|\brequire\(|fetch\(|XMLHttpRequest|WebSocket", module) == []
    # The address of a library in the licence that stands above it.
    assert re.findall(r"https?://\S+", module) == ["https://github.com/leeoniya/uPlot"]
    assert len(module) < 120_000


def test_without_the_extra_the_error_names_it():
    code = (
        "import sys; sys.modules['anywidget'] = None; import importstats\n"
        "importstats.live(importstats.ImportClient('http://localhost:1'), '7')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "importstats.errors.MissingExtraError: a live view in a notebook needs anywidget; "
        "install importstats with the extra widget: pip install '.[widget]' in its source folder"
    )


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab of its own in an empty folder: the folder and its address."""
    pytest.importorskip("jupyterlab", reason="needs JupyterLab")
    need_browser()
    config = tmp_path / "config"
    (config / "labconfig").mkdir(parents=True)
    (config / "labconfig" / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
    )
    folder = tmp_path / "notebooks"
    folder.mkdir()
    variables = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    places = {f"JUPYTER_{name}": str(config) for name in variables}
    process = subprocess.Popen(
        [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0",
            "--expose-app-in-browser", "--LabApp.extension_manager=readonly",
            f"--ServerApp.root_dir={folder}",
        ],
        env={**os.environ, **places, "IPYTHONDIR": str(config)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until_true(lambda: _served(config, process), 90)
        server = _served(config, process)
        yield folder, lambda path: f"{server['url']}{path}?token={server['token']}"
    finally:
        process.terminate()
        process.wait(30)


def _served(config, process):
    assert process.poll() is None, "JupyterLab has ended"
    return next((json.loads(p.read_text()) for p in config.glob("jpserver-*.json")), None)


IN_THE_VIEW = """
const root = document.querySelector(".importstats-live")?.shadowRoot;
if (!root) return null;
const text = (id) => root.getElementById(id).textContent;
return {line: text("left"), age: text("age"), name: text("name"), looks: text("verdict"),
        strip: [...root.querySelectorAll(".phases li")].map((li) => li.textContent.split(" ")[0]),
        charts: [...root.querySelectorAll("canvas")].filter((c) => c.clientWidth > 300).length,
        tip: root.getElementById("tip").hidden ? "" : root.getElementById("tip").innerText,
        chosen: text("chosen"), problem: text("problem"),
        dark: root.host.classList.contains("dark")};
"""


THEME = "window.jupyterapp.commands.execute('apputils:change-theme', {theme: arguments[0]})"
FIGURE = """
import pandas as pd
from importstats.show.assets import widget_module
from importstats.show.job import ImportJob
jobs = pd.DataFrame({
    "source_uri": "http://localhost:19530", "job_id": "7", "snapshot_id": range(3),
    "observed_at": pd.date_range("2026-05-18", periods=3, freq="60s", tz="UTC"),
    "state": "Importing", "progress_pct": [40.0, 55.0, 60.0], "imported_rows": [0, 500, 600],
    "total_rows": 1000, "detail_count": 3})
ImportJob(jobs).plot()
"""
# Whether the figure shows its own picture, which is for light paper.
OF_THE_FIGURE = """
const image = document.querySelector('.jp-OutputArea-output img[class^="importstats-"]');
if (!image?.complete) return null;
const shown = getComputedStyle(image).content.match(/url\\("(.*)"\\)/)?.[1] ?? image.src;
return {own: shown === image.src};
"""


@pytest.mark.timeout(240)
def test_jupyterlab_shows_a_figure_in_its_theme(lab, tmp_path):
    folder, address = lab
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    notebook.cells = [nbformat.v4.new_code_cell(FIGURE)]
    nbformat.write(notebook, folder / "figure.ipynb")
    browser = open_browser(tmp_path / "profile")
    try:
        _run_all(browser, address("lab/tree/figure.ipynb"))
        for system in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": system}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
            for name, own in (("JupyterLab Dark", False), ("JupyterLab Light", True)):
                browser.execute_script(THEME, name)
                until_true(lambda: _shown_as(browser, own=own), 60)  # noqa: B023
                if pictures := os.environ.get("IMPORTSTATS_PICTURES"):
                    browser.save_screenshot(f"{pictures}/{system} {name}.png")
    finally:
        browser.quit()


def _shown_as(browser, *, own):
    seen = browser.execute_script(OF_THE_FIGURE)
    return seen and seen["own"] is own


@pytest.mark.timeout(240)
def test_jupyterlab_shows_it_after_the_cell_has_returned(lab, tmp_path):
    folder, address = lab
    truth = simulate_job("stragglers", files=12, seed=3, poll_every_s=600).truth
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    code = CELL.format(acceleration=truth.duration_s / 12)
    notebook.cells = [nbformat.v4.new_code_cell(code)]
    nbformat.write(notebook, folder / "live.ipynb")
    browser = open_browser(tmp_path / "profile")
    try:
        _see_it_live(browser, address("lab/tree/live.ipynb"))
        seen = until_true(lambda: _completed(browser.execute_script(IN_THE_VIEW)), 90)
        job = ImportJob.load(folder / "store", zone=UTC)
        _see_its_numbers(browser, job)
        assert [line for line in browser.get_log("browser") if "blob:" in line["message"]] == []
    finally:
        browser.quit()
    assert job.state == "Completed"
    assert {"Importing", "Completed"} <= set(seen["strip"])
    assert seen["charts"] == 3
    assert seen["problem"] == ""
    assert f"Import job {job.job_id} into " in seen["name"]


def _completed(seen):
    return seen if seen and seen["line"].startswith("Completed at") else None


def _run_all(browser, address):
    """Open a notebook, wait for its kernel, and run all its cells."""
    browser.get(address)
    until_true(
        lambda: browser.execute_script("return !!window.jupyterapp?.shell.currentWidget"), 90
    )
    ready = """
        const panel = window.jupyterapp.shell.currentWidget;
        return panel.sessionContext?.isReady && panel.sessionContext.session?.kernel?.status
    """
    until_true(lambda: browser.execute_script(ready) == "idle", 90)
    browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")


def _see_it_live(browser, address):
    """Run the cell; it returns, and what it shows goes on changing and takes the theme."""
    _run_all(browser, address)
    first = until_true(lambda: _running(browser.execute_script(IN_THE_VIEW)), 90)
    count = "return document.querySelector('.jp-InputPrompt')?.innerText"
    assert re.fullmatch(r"\[1\]:", until_true(lambda: browser.execute_script(count)))
    assert not first["dark"]
    assert re.fullmatch(r"updated [\d.]+ s ago", first["age"])
    until_true(lambda: _later(first, browser.execute_script(IN_THE_VIEW)), 60)
    for name, dark in (("JupyterLab Dark", True), ("JupyterLab Light", False)):
        browser.execute_script(THEME, name)
        until_true(lambda: browser.execute_script(IN_THE_VIEW)["dark"] is dark, 60)  # noqa: B023


def _running(seen):
    return seen if seen and seen["charts"] >= 1 else None


def _later(first, seen):
    """Whether a later state of the job is seen, and not only a later time."""
    return seen and (seen["strip"], seen["looks"]) != (first["strip"], first["looks"])


def _see_its_numbers(browser, job):
    """The file under the pointer has the numbers of the store, and a click keeps them."""
    names = set(job.stragglers["file"])
    lines = until_true(lambda: _pointed_at(browser), 60)
    assert lines[0] in names
    chosen = until_true(lambda: _pointed_at(browser, click=True) and _chosen(browser), 60)
    file = job.stragglers.set_index("file").loc[chosen.split(" · ")[0]]
    rows = f"{format_count(file['imported_rows'])} of {format_count(file['total_rows'])} rows"
    assert chosen.split(" · ")[1].startswith(f"{file['state']}, ")
    assert rows in chosen


def _chosen(browser):
    return browser.execute_script(IN_THE_VIEW)["chosen"]


def _pointed_at(browser, *, click=False):
    """What is said of the file in the first line of the timeline, once its place stands still."""
    x, y, width, height = browser.execute_script(
        "const over = document.querySelector('.importstats-live').shadowRoot"
        ".querySelector('#chart-files .u-over'); over.scrollIntoView({block: 'center'});"
        "const b = over.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]"
    )
    kinds = [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 1)]
    for kind, pressed in kinds if click else kinds[:1]:
        browser.execute_cdp_cmd(
            "Input.dispatchMouseEvent",
            {"type": kind, "x": x + width / 2, "y": y + height / 24, "clickCount": 1,
             "button": "left" if pressed else "none", "buttons": pressed},
        )  # fmt: skip
    return browser.execute_script(IN_THE_VIEW)["tip"].splitlines()
