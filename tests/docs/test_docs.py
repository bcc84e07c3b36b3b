"""The documentation: that its links lead somewhere, its code runs, and its tables are current."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from importstats import load_details
from importstats.store import SnapshotStore, datasets

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"]
)
NEEDS_A_SERVER = {"operations", "fleet"}
SOURCES = sorted((ROOT / "notebooks").glob("[0-9]*.py"))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(path: Path) -> str:
    """A page, or the text of a notebook's source, without its code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("# "))
        # A link may be broken over two lines.
        text = text.replace("\n", " ")
    return FENCE.sub("", text)


def code(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [block for name, block in FENCE.findall(text) if name == language]


def anchors(page: Path) -> set[str]:
    """The anchors that a code host gives the headings of a page."""
    headings = re.findall(
        r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def own_pages() -> list[Path]:
    """The pages whose code needs no server, cluster or bucket."""
    return [page for page in PAGES if page.parent != ROOT and page.stem not in NEEDS_A_SERVER]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with a store, and its Delta log, as the pages say there is one."""
    store = tmp_path / "importstats-store"
    shutil.copytree(datasets.path("many_jobs"), store)
    SnapshotStore(store).publish()
    return tmp_path


@pytest.mark.parametrize("page", [*PAGES, *SOURCES], ids=lambda page: page.stem)
def test_links_are_relative_and_lead_somewhere(page):
    for link in LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        assert not re.match(r"\w+:", link), f"{link} leaves the repository"
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{link} leads nowhere"
        assert path.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(path), f"{link}: no such heading"


def test_links_are_found_and_headings_have_the_anchors_of_a_code_host():
    assert "eta.md#when-there-is-no-estimate" in LINK.findall(prose(DOCS / "faq.md"))
    assert "02_throughput_and_phases.ipynb" in LINK.findall(prose(SOURCES[0]))
    assert "what-the-numbers-mean" in anchors(ROOT / "README.md")


@pytest.mark.parametrize("page", own_pages(), ids=lambda page: page.stem)
def test_python_runs_from_the_top_of_a_page_to_its_end(page, folder):
    blocks = code(page, "python")
    if not blocks:
        pytest.skip("no Python on this page")
    subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks)],
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "Agg"},
        check=True,
        capture_output=True,
    )


def test_the_schema_page_is_current():
    made = runpy.run_path(str(DOCS / "schema.py"))["text"]()
    assert made == (DOCS / "schema.md").read_text(encoding="utf-8"), "run: python docs/schema.py"


def test_the_diagnosis_page_is_current():
    made = runpy.run_path(str(DOCS / "diagnosis.py"))["text"]()
    page = (DOCS / "diagnosis.md").read_text(encoding="utf-8")
    assert made == page, "run: python docs/diagnosis.py"


def test_sql_expands_runs_to_what_was_sent(folder, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(folder)
    expand, _ = code(DOCS / "schema.md", "sql")
    names = ["source_uri", "job_id", "snapshot_id", "file_index", "state", "imported_rows"]
    rows = duckdb.sql(expand).fetchall()
    columns = duckdb.sql(expand).columns
    found = [tuple(row[columns.index(name)] for name in names) for row in rows]
    frame = load_details("importstats-store")[names].astype({"imported_rows": "int64"})
    assert found == list(frame.itertuples(index=False, name=None))


def test_other_sql_runs(folder, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(folder)
    _, states = code(DOCS / "schema.md", "sql")
    found = duckdb.sql(states).fetchall()
    assert {row[2] for row in found} == {"Pending", "InProgress", "Completed", "Failed"}


def test_the_architecture_names_every_module():
    named = set(re.findall(r"`(\w+)`", (DOCS / "architecture.md").read_text(encoding="utf-8")))
    modules = {path.stem for path in (ROOT / "importstats").iterdir() if path.name[0] not in "_."}
    assert modules - named <= {"templates", "py"}


def test_the_index_names_every_other_page():
    named = {link for link in LINK.findall(prose(DOCS / "index.md")) if "/" not in link}
    assert named == {page.name for page in DOCS.glob("*.md")} - {"index.md"}
